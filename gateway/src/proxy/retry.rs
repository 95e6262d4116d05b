//! Whether a request that failed is sent again.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use http::StatusCode;
use pingora_core::{Error, ErrorSource, ErrorType, RetryType};
use pingora_proxy::Session;

use super::answer;
use super::context::Context;
use super::course::Course;
use crate::metrics::Retry;

/// What came of one attempt that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No answer: no connection, a connection that broke, or no answer in time.
    NoAnswer,
    Status(StatusCode),
}

/// Whether a failed attempt is followed by another: if the rule wants one, it is possible, and the
/// backend's budget has one left, which it takes.
pub(super) fn follows(session: &Session, context: &Context, failure: Failure) -> bool {
    let Some(Course { rule, backend, .. }) = &context.course else { return false };
    if !rule.retry.as_ref().is_some_and(|retry| is_wanted(retry, context.attempts, failure)) {
        return false;
    }
    let now = Instant::now();
    let is_possible = !answer::is_begun(session)
        // Of a longer body the beginning is gone.
        && !session.as_ref().retry_buffer_truncated()
        && context.request_deadline().is_none_or(|deadline| now < deadline);
    if !is_possible {
        return false;
    }
    let is_sent = backend.retries.retry(now);
    rule.requests.retry(if is_sent { Retry::Sent } else { Retry::Refused });
    is_sent
}

/// Whether an attempt that found no connection is followed by one at the next endpoint, without being
/// asked for: nothing of the request was sent.
pub(super) fn follows_refusal(session: &Session, context: &Context, error: &Error) -> bool {
    use ErrorType::{ConnectError, ConnectNoRoute, ConnectRefused};
    let has_others = context.course.as_ref().is_some_and(|course| course.backend.endpoints().len() > 1);
    has_others && matches!(error.etype(), ConnectRefused | ConnectNoRoute | ConnectError) && is_free(session, context)
}

/// Whether an attempt that got no answer is followed by another without being asked for, because no
/// backend has processed it: one that HTTP/2 says so of, or one without effects and without a body
/// whose connection was kept from another request and closed as this one was sent. RFC 9110, 9.2.2,
/// and RFC 9113, 8.7.
pub(super) fn follows_closing(session: &mut Session, context: &Context, error: &Error, is_kept: bool) -> bool {
    use ErrorType::{ConnectionClosed, H2Error, ReadError, WriteError};
    let is_unprocessed = match error.etype() {
        H2Error => error.retry == RetryType::Decided(true) && !session.as_ref().retry_buffer_truncated(),
        ConnectionClosed | ReadError | WriteError => {
            is_kept && session.req_header().method.is_safe() && session.as_mut().is_body_empty()
        }
        _ => false,
    };
    is_unprocessed && *error.esource() == ErrorSource::Upstream && is_free(session, context)
}

/// Whether an attempt that no rule asks for may follow, which is counted: one for each request, unless
/// the rule says itself what is sent again.
fn is_free(session: &Session, context: &Context) -> bool {
    let Some(Course { rule, .. }) = &context.course else { return false };
    let is_free = rule.retry.is_none()
        && context.attempts == 1
        && session.response_written().is_none()
        && !context.exchange.has_expired()
        && context.request_deadline().is_none_or(|deadline| Instant::now() < deadline);
    if is_free {
        rule.requests.retry(Retry::Unprocessed);
    }
    is_free
}

/// Only what the rule asks for is sent again, whatever HTTP would permit.
fn is_wanted(retry: &conf::Retry, attempts: u32, failure: Failure) -> bool {
    attempts <= u32::from(retry.attempts)
        && match failure {
            Failure::NoAnswer => true,
            Failure::Status(status) => retry.codes.contains(&status),
        }
}

/// How long to wait before the attempt that follows `attempts` others: the rule's time, doubled
/// each time, up to [`MAX_BACKOFF`] or the rule's own time if that is longer.
pub(super) fn backoff(retry: &conf::Retry, attempts: u32) -> Option<Duration> {
    let least = retry.backoff?.as_std();
    let doublings = attempts.checked_sub(1)?.min(MAX_DOUBLINGS);
    Some((least * (1 << doublings)).min(MAX_BACKOFF.max(least)))
}

/// That time and up to a quarter more, so that what failed together does not come back together.
pub(super) fn scattered(wait: Duration) -> Duration {
    // Each state has keys of its own, which nobody can guess.
    let random = RandomState::new().hash_one(());
    wait + wait.mul_f64(random as f64 / u64::MAX as f64 / 4.0)
}

const MAX_DOUBLINGS: u32 = 10;
const MAX_BACKOFF: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> conf::Retry {
        let codes = vec![StatusCode::SERVICE_UNAVAILABLE];
        conf::Retry { attempts: 2, codes, backoff: Some(conf::Duration::from_millis(100)) }
    }

    #[test]
    fn only_what_the_rule_asks_for_is_sent_again() {
        let rule = rule();
        let status = |code| Failure::Status(StatusCode::from_u16(code).unwrap());
        for (attempts, failure, wanted) in [
            (1, Failure::NoAnswer, true),
            (2, Failure::NoAnswer, true),
            (3, Failure::NoAnswer, false),
            (1, status(503), true),
            (1, status(500), false),
        ] {
            assert_eq!(is_wanted(&rule, attempts, failure), wanted, "{attempts} {failure:?}");
        }
    }

    #[test]
    fn waits_double_up_to_a_limit() {
        let rule = rule();
        let waits = [0, 1, 2, 3, 20].map(|attempts| backoff(&rule, attempts).map(|wait| wait.as_millis()));
        assert_eq!(waits, [None, Some(100), Some(200), Some(400), Some(10_000)]);
        let long = conf::Retry { backoff: Some("1m".parse().unwrap()), ..rule.clone() };
        assert_eq!(backoff(&long, 5), Some(Duration::from_secs(60)));
        assert_eq!(backoff(&conf::Retry { backoff: None, ..rule }, 3), None);
    }

    #[test]
    fn waits_are_scattered_above_what_the_rule_asks_for() {
        let wait = Duration::from_millis(100);
        let waits: Vec<_> = (0..100).map(|_| scattered(wait)).collect();
        assert!(waits.iter().all(|scattered| (wait..=wait * 5 / 4).contains(scattered)), "{waits:?}");
        assert!(waits.iter().max().unwrap().abs_diff(*waits.iter().min().unwrap()) > wait / 8, "{waits:?}");
    }
}
