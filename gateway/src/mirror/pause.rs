//! Back-off for endpoints that cannot be connected to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use prometheus::IntGauge;

use super::Limits;

/// Which endpoints of one mirror are not to be connected to for a while, because that failed time
/// and again. One endpoint's trouble is not the others'.
///
/// As long as no connect fails, a copy costs one atomic load here; while one does, it is a lookup
/// among the few endpoints in trouble, without a lock.
pub(super) struct Pauses {
    any: AtomicBool,
    troubled: ArcSwap<HashMap<SocketAddr, Arc<Trouble>>>,
    /// Held to change which endpoints are in trouble.
    change: Mutex<()>,
    /// When to look for endpoints that are no longer among the mirror's, in milliseconds.
    sweep_at: AtomicU64,
    epoch: Instant,
    after: u32,
    min: Duration,
    max: Duration,
    paused: IntGauge,
}

#[derive(Default)]
struct Trouble {
    /// Failed connects in a row.
    failures: AtomicU32,
    /// When the last of them was, in milliseconds.
    failed_at: AtomicU64,
    /// When the next copy may go there, as a probe, in milliseconds; 0 as long as all may.
    probe_at: AtomicU64,
}

impl Pauses {
    /// `paused` shows how many endpoints are.
    pub(super) fn new(limits: &Limits, paused: IntGauge) -> Self {
        Self {
            any: AtomicBool::new(false),
            troubled: ArcSwap::default(),
            change: Mutex::new(()),
            sweep_at: AtomicU64::new(0),
            epoch: Instant::now(),
            after: limits.failures.max(1),
            min: limits.pause_min,
            max: limits.pause_max,
            paused,
        }
    }

    /// Whether a copy may go to this endpoint. Of a paused one, the first to ask when its pause is
    /// over may, as a probe; the others once that was successful, or after a longer pause.
    pub(super) fn admit(&self, endpoint: SocketAddr) -> bool {
        !self.any.load(Relaxed) || self.admit_at(endpoint, self.now())
    }

    fn admit_at(&self, endpoint: SocketAddr, now: u64) -> bool {
        if now >= self.sweep_at.load(Relaxed) {
            self.sweep(now);
        }
        let troubled = self.troubled.load();
        let Some(trouble) = troubled.get(&endpoint) else { return true };
        let probe_at = trouble.probe_at.load(Relaxed);
        if probe_at == 0 {
            return true;
        }
        // The probe's own pause begins at once, so that one that never comes to connect (its client
        // sends no body) does not stand in the way of the next.
        let next = now + self.pause(trouble.failures.load(Relaxed));
        now >= probe_at && trouble.probe_at.compare_exchange(probe_at, next, Relaxed, Relaxed).is_ok()
    }

    pub(super) fn connected(&self, endpoint: SocketAddr) {
        if self.any.load(Relaxed) {
            self.change(|troubled| drop(troubled.remove(&endpoint)));
        }
    }

    /// A connect failed.
    pub(super) fn failed(&self, endpoint: SocketAddr) {
        self.failed_at(endpoint, self.now());
    }

    fn failed_at(&self, endpoint: SocketAddr, now: u64) {
        self.change(|troubled| {
            let trouble = troubled.entry(endpoint).or_default();
            let failures = trouble.failures.fetch_add(1, Relaxed).saturating_add(1);
            trouble.failed_at.store(now, Relaxed);
            if failures >= self.after {
                trouble.probe_at.store(now + self.pause(failures), Relaxed);
            }
        });
    }

    /// Forgets endpoints that nobody plans a copy to any more.
    fn sweep(&self, now: u64) {
        self.sweep_at.store(now + millis(SWEEP), Relaxed);
        self.change(|troubled| {
            let last = |trouble: &Trouble| trouble.failed_at.load(Relaxed).max(trouble.probe_at.load(Relaxed));
            troubled.retain(|_, trouble| last(trouble) + millis(SWEEP) >= now);
        });
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<SocketAddr, Arc<Trouble>>)) {
        let _held = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut troubled = HashMap::clone(&self.troubled.load());
        change(&mut troubled);
        let paused = troubled.values().filter(|trouble| trouble.probe_at.load(Relaxed) != 0).count();
        self.paused.set(paused as i64);
        self.any.store(!troubled.is_empty(), Relaxed);
        self.troubled.store(Arc::new(troubled));
    }

    /// How long to leave an endpoint alone, in milliseconds.
    fn pause(&self, failures: u32) -> u64 {
        let doublings = failures.saturating_sub(self.after).min(16);
        millis(self.min.saturating_mul(1 << doublings).min(self.max)).max(1)
    }

    fn now(&self) -> u64 {
        // From 1 on, because 0 stands for no pause.
        1 + millis(self.epoch.elapsed())
    }
}

impl Drop for Pauses {
    fn drop(&mut self) {
        self.paused.set(0);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}

/// How long after its pause an endpoint is forgotten if no copy was planned to it.
const SWEEP: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses() -> Pauses {
        let limits = Limits {
            failures: 3,
            pause_min: Duration::from_secs(1),
            pause_max: Duration::from_secs(4),
            ..Limits::default()
        };
        Pauses::new(&limits, IntGauge::new("paused", "paused").unwrap())
    }

    fn endpoint(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn an_endpoint_is_paused_after_failures_in_a_row_and_probed_with_growing_pauses() {
        let (pauses, dead) = (pauses(), endpoint(1));
        for _ in 0..2 {
            assert!(pauses.admit_at(dead, 10));
            pauses.failed_at(dead, 10);
        }
        pauses.connected(dead);
        for _ in 0..2 {
            pauses.failed_at(dead, 20);
            assert!(pauses.admit_at(dead, 20), "only failures in a row count");
        }
        pauses.failed_at(dead, 100);
        assert_eq!(pauses.paused.get(), 1);
        let mut probe_at = 1_100;
        for pause in [2_000, 4_000, 4_000, 4_000] {
            assert!(!pauses.admit_at(dead, probe_at - 1));
            assert!(pauses.admit_at(dead, probe_at), "a probe at {probe_at}");
            assert!(!pauses.admit_at(dead, probe_at), "one probe at a time");
            pauses.failed_at(dead, probe_at);
            probe_at += pause;
        }
        assert!(pauses.admit_at(dead, probe_at));
        pauses.connected(dead);
        assert!(pauses.admit_at(dead, probe_at) && pauses.admit(dead));
        assert_eq!(pauses.paused.get(), 0);
        assert!(!pauses.any.load(Relaxed));
    }

    #[test]
    fn the_other_endpoints_go_on() {
        let (pauses, dead, alive) = (pauses(), endpoint(1), endpoint(2));
        for _ in 0..5 {
            pauses.failed_at(dead, 1);
            assert!(pauses.admit_at(alive, 1));
        }
        assert!(!pauses.admit_at(dead, 1));
    }

    #[test]
    fn an_endpoint_that_left_is_forgotten() {
        let (pauses, gone, alive) = (pauses(), endpoint(1), endpoint(2));
        for _ in 0..3 {
            pauses.failed_at(gone, 1);
        }
        assert_eq!(pauses.paused.get(), 1);
        pauses.admit_at(alive, 59_000);
        assert_eq!(pauses.paused.get(), 1);
        pauses.admit_at(alive, 130_000);
        assert_eq!(pauses.paused.get(), 0);
        assert!(!pauses.any.load(Relaxed));
    }

    #[test]
    fn a_probe_that_never_connects_does_not_stand_in_the_way_of_the_next() {
        let (pauses, dead) = (pauses(), endpoint(1));
        for _ in 0..3 {
            pauses.failed_at(dead, 1);
        }
        assert!(pauses.admit_at(dead, 2_000));
        assert!(!pauses.admit_at(dead, 2_999));
        assert!(pauses.admit_at(dead, 3_000));
    }
}
