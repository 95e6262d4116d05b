//! When to act on changes that come in crowds.

use std::time::Duration;

use tokio::time::Instant;

/// Acts are put off until changes pause, but not for ever. A change out of the blue is not kept waiting
/// for long: whether a crowd follows it, the next one will tell.
#[derive(Debug, Default)]
pub(super) struct HoldOff {
    waiting: Option<Waiting>,
    /// When the last act began.
    acted: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    first: Instant,
    last: Instant,
    pause: Duration,
}

impl HoldOff {
    pub(super) fn changed(&mut self, now: Instant) {
        let is_crowd = self.acted.is_some_and(|acted| now < acted + CROWD);
        let pause = if is_crowd { PAUSE } else { SHORT_PAUSE };
        self.waiting.get_or_insert(Waiting { first: now, last: now, pause }).last = now;
    }

    /// When to act, if anything has changed since the last act.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|Waiting { first, last, pause }| (*last + *pause).min(*first + MOST))
    }

    pub(super) fn acted(&mut self, now: Instant) {
        self.waiting = None;
        self.acted = Some(now);
    }

    /// Acts again a while after an act that came to nothing, with or without changes.
    pub(super) fn retry(&mut self, now: Instant) {
        let due = now + RETRY;
        self.waiting = Some(Waiting { first: due, last: due, pause: PAUSE });
    }
}

/// For what was created together and is watched apart.
const SHORT_PAUSE: Duration = Duration::from_millis(3);
const PAUSE: Duration = Duration::from_millis(10);
const MOST: Duration = Duration::from_millis(200);
/// A change that comes this soon after an act is one of many.
const CROWD: Duration = Duration::from_millis(10);
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_change_waits_for_a_short_pause_and_many_no_longer_than_the_most() {
        let mut hold_off = HoldOff::default();
        assert_eq!(hold_off.due(), None);
        let begin = Instant::now();
        hold_off.changed(begin);
        assert_eq!(hold_off.due(), Some(begin + SHORT_PAUSE));
        hold_off.acted(begin);
        assert_eq!(hold_off.due(), None);

        for millis in (5..400).step_by(5) {
            let now = begin + Duration::from_millis(millis);
            hold_off.changed(now);
            assert_eq!(hold_off.due(), Some((now + PAUSE).min(begin + Duration::from_millis(5) + MOST)));
        }
        hold_off.acted(begin);
        assert_eq!(hold_off.due(), None);
        hold_off.changed(begin + CROWD);
        assert_eq!(hold_off.due(), Some(begin + CROWD + SHORT_PAUSE));
    }
}
