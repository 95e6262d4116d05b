//! The state of one request while it is under way.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode, Version};
use pingora::http::RequestHeader;
use pingora_core::{Error, ErrorSource};

use super::course::Course;
use super::exchange::Exchange;
use crate::access_log::{AccessLog, Row};
use crate::limit::Permit;
use crate::metrics::Requests;
use crate::mirror::{Abort, Tee};
use crate::table::{Rule, Table};

/// Where the end of every request is noted.
pub(super) struct Recorder {
    pub(super) access_log: AccessLog,
    /// For requests that no route matched.
    pub(super) unrouted: Requests,
}

/// What Pingora carries through the phases of a request. However the request ends, dropping this
/// ends its copies and notes it.
pub(super) struct Context {
    pub(super) exchange: Arc<Exchange>,
    /// The one table that this request is answered from.
    pub(super) table: Arc<Table>,
    started: Instant,
    pub(super) listener: Option<Arc<conf::Listener>>,
    /// The rule that answers, if any does.
    pub(super) rule: Option<Arc<Rule>>,
    /// Where it goes, unless the gateway answers itself.
    pub(super) course: Option<Course>,
    pub(super) tee: Tee,
    pub(super) attempts: u32,
    /// The next attempt is to be made on a connection of its own.
    pub(super) is_apart: bool,
    /// Its place among the requests that may be under way.
    pub(super) permit: Option<Permit>,
    pub(super) endpoint: Option<SocketAddr>,
    /// Of the answer, once it began.
    pub(super) status: Option<StatusCode>,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    recorder: Arc<Recorder>,
    /// As the client sent it, before any filter; only kept for the access log.
    asked: Option<Asked>,
    error: Option<Cow<'static, str>>,
    /// How the request ended, for the copies whose body did not.
    end: Option<Abort>,
}

struct Asked {
    method: Method,
    host: String,
    target: String,
    version: Version,
}

impl Context {
    pub(super) fn new(exchange: Arc<Exchange>, table: Arc<Table>, recorder: Arc<Recorder>) -> Self {
        Self {
            exchange,
            table,
            started: Instant::now(),
            listener: None,
            rule: None,
            course: None,
            tee: Tee::default(),
            attempts: 0,
            is_apart: false,
            permit: None,
            endpoint: None,
            status: None,
            request_bytes: 0,
            response_bytes: 0,
            recorder,
            asked: None,
            error: None,
            end: None,
        }
    }

    /// Remembers what was asked for, before filters change it.
    pub(super) fn note_request(&mut self, head: &RequestHeader) {
        if !self.recorder.access_log.is_on() {
            return;
        }
        let host = head.uri.authority().map(|authority| authority.as_str().to_owned());
        let host = host.or_else(|| Some(head.headers.get(http::header::HOST)?.to_str().ok()?.to_owned()));
        self.asked = Some(Asked {
            method: head.method.clone(),
            host: host.unwrap_or_default(),
            target: head.uri.path_and_query().map_or_else(String::new, |target| target.as_str().to_owned()),
            version: head.version,
        });
    }

    /// Why the request fails, or why the gateway answers itself; the first reason counts.
    pub(super) fn note_error(&mut self, why: impl Into<Cow<'static, str>>) {
        self.error.get_or_insert_with(|| why.into());
    }

    /// How the request ended; the first word counts.
    pub(super) fn note_end(&mut self, error: Option<&Error>) {
        let expired = self.exchange.has_expired();
        self.end.get_or_insert_with(|| match error.map(Error::esource) {
            _ if expired => Abort::Timeout,
            None => Abort::PrimaryAnswered,
            Some(ErrorSource::Downstream) => Abort::Client,
            Some(_) => Abort::PrimaryFailed,
        });
        if let Some(error) = error {
            self.note_error(error.to_string());
        }
    }

    /// Begins an attempt at a backend: sets the time by which it must be over, and returns how long
    /// that is.
    pub(super) fn begin_attempt(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let attempt = self.rule.as_ref().and_then(|rule| rule.timeouts.backend_request).map(|limit| now + limit);
        let deadline = [attempt, self.request_deadline()].into_iter().flatten().min();
        self.exchange.begin_attempt(deadline);
        self.attempts += 1;
        if self.attempts > 1 {
            self.tee.attempt();
        }
        deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    /// How many attempts were made that a rule asks for; see [`retry`](super::retry).
    pub(super) fn asked_attempts(&self) -> u32 {
        let has_rule = self.rule.as_ref().is_some_and(|rule| rule.retry.is_some());
        if has_rule { self.attempts } else { self.attempts.min(1) }
    }

    pub(super) fn request_deadline(&self) -> Option<Instant> {
        Some(self.started + self.rule.as_ref()?.timeouts.request?)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let copies = self.tee.started();
        // No end was noted, so the request was dropped: its time was over, or its client gone.
        let dropped = if self.exchange.has_expired() { Abort::Timeout } else { Abort::Client };
        self.tee.abort(self.end.unwrap_or(dropped));
        let duration = self.started.elapsed();
        let requests = self.rule.as_ref().map_or(&self.recorder.unrouted, |rule| &rule.requests);
        requests.record(self.status, duration);
        let Some(asked) = &self.asked else { return };
        self.recorder.access_log.write(&Row {
            listener: self.listener.as_ref().map(|listener| &listener.name),
            route: self.rule.as_ref().map(|rule| &rule.route),
            rule: self.rule.as_ref().map(|rule| rule.index),
            client: self.exchange.client(),
            method: asked.method.as_str(),
            host: &asked.host,
            path: &asked.target,
            version: asked.version,
            status: self.status.map(|status| status.as_u16()),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            duration,
            backend: self.course.as_ref().map(|course| &course.backend.name),
            endpoint: self.endpoint,
            attempts: self.attempts,
            mirrors: copies,
            error: self.error.as_deref(),
        });
    }
}
