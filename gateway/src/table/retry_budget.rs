//! How many of the requests to a backend may be retries. They help through trouble of a moment; a
//! backend that is down, or drowning, they only burden with several times its requests.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

/// What a backend got in the last ten seconds from rules that retry: of retries as many as a fifth of
/// the requests, at most, and a hundred besides, so that where there are few requests each has the
/// attempts of its rule. The numbers are those that the Gateway API has for budgets: 20 %, and 10 in a
/// second.
///
/// Counts are lost by a few where threads meet at the turn of a second, or at the last retry.
#[derive(Debug)]
pub struct RetryBudget {
    epoch: Instant,
    /// Each second has the place of the one that is [`WINDOW`] seconds older.
    seconds: [Second; WINDOW as usize],
}

#[derive(Debug, Default)]
struct Second {
    /// Since the epoch.
    number: AtomicU32,
    requests: AtomicU32,
    retries: AtomicU32,
}

/// In seconds.
const WINDOW: u32 = 10;
const ALWAYS: u32 = 10 * WINDOW;
const REQUESTS_FOR_A_RETRY: u32 = 5;

impl RetryBudget {
    /// A request begins that may be retried.
    pub fn request(&self, now: Instant) {
        self.second(self.number(now)).requests.fetch_add(1, Relaxed);
    }

    /// Takes a retry out of the budget, if there is one in it.
    pub fn retry(&self, now: Instant) -> bool {
        let number = self.number(now);
        let current = self.second(number);
        let recent = self.seconds.iter().filter(|second| number - second.number.load(Relaxed).min(number) < WINDOW);
        let (requests, retries) = recent.fold((0_u32, 0_u32), |(requests, retries), second| {
            let count = |counter: &AtomicU32| counter.load(Relaxed);
            (requests.saturating_add(count(&second.requests)), retries.saturating_add(count(&second.retries)))
        });
        let is_left = retries < ALWAYS + requests / REQUESTS_FOR_A_RETRY;
        if is_left {
            current.retries.fetch_add(1, Relaxed);
        }
        is_left
    }

    fn number(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.epoch).as_secs()).unwrap_or(u32::MAX)
    }

    fn second(&self, number: u32) -> &Second {
        let second = &self.seconds[(number % WINDOW) as usize];
        let before = second.number.load(Relaxed);
        if before < number && second.number.compare_exchange(before, number, Relaxed, Relaxed).is_ok() {
            second.requests.store(0, Relaxed);
            second.retries.store(0, Relaxed);
        }
        second
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { epoch: Instant::now(), seconds: Default::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How many retries there are at this time, in tenths of a second after the epoch.
    fn retries(budget: &RetryBudget, tenths: u64) -> u32 {
        let now = budget.epoch + Duration::from_millis(100 * tenths);
        (0..).take_while(|_| budget.retry(now)).count() as u32
    }

    fn requests(budget: &RetryBudget, tenths: u64, count: u32) {
        (0..count).for_each(|_| budget.request(budget.epoch + Duration::from_millis(100 * tenths)));
    }

    #[test]
    fn few_requests_may_be_retried_as_often_as_they_want() {
        let budget = RetryBudget::default();
        requests(&budget, 0, 4);
        assert_eq!(retries(&budget, 0), ALWAYS);
        assert_eq!(retries(&budget, 99), 0);
        assert_eq!(retries(&budget, 100), ALWAYS, "ten seconds later");
    }

    #[test]
    fn of_many_requests_a_fifth_is_retried() {
        let budget = RetryBudget::default();
        requests(&budget, 0, 10_000);
        assert_eq!(retries(&budget, 5), ALWAYS + 2_000);
        requests(&budget, 50, 10_000);
        assert_eq!(retries(&budget, 51), 2_000);
        assert_eq!(retries(&budget, 100), ALWAYS, "the first 2,100 are forgotten, and so are their requests");
        assert_eq!(retries(&budget, 100_000), ALWAYS, "after a long time without any");
    }
}
