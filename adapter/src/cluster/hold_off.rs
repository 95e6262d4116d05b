//! When to act on changes that come in crowds.

use std::time::Duration;

use tokio::time::Instant;

/// Acts are put off until changes pause, but not for ever.
#[derive(Debug, Default)]
pub(super) struct HoldOff {
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    first: Instant,
    last: Instant,
}

impl HoldOff {
    pub(super) fn changed(&mut self, now: Instant) {
        self.waiting.get_or_insert(Waiting { first: now, last: now }).last = now;
    }

    /// When to act, if anything has changed since the last act.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|Waiting { first, last }| (*last + PAUSE).min(*first + MOST))
    }

    pub(super) fn acted(&mut self) {
        self.waiting = None;
    }

    /// Acts again a while after an act that came to nothing, with or without changes.
    pub(super) fn retry(&mut self, now: Instant) {
        let due = now + RETRY;
        self.waiting = Some(Waiting { first: due, last: due });
    }
}

const PAUSE: Duration = Duration::from_millis(10);
const MOST: Duration = Duration::from_millis(200);
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_waits_for_the_pause_and_many_no_longer_than_the_most() {
        let mut hold_off = HoldOff::default();
        assert_eq!(hold_off.due(), None);
        let begin = Instant::now();
        hold_off.changed(begin);
        assert_eq!(hold_off.due(), Some(begin + PAUSE));
        for millis in (5..400).step_by(5) {
            let now = begin + Duration::from_millis(millis);
            hold_off.changed(now);
            assert_eq!(hold_off.due(), Some((now + PAUSE).min(begin + MOST)));
        }
        hold_off.acted();
        assert_eq!(hold_off.due(), None);
    }
}
