//! What all copies to one mirror share, and what all mirrors share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use conf::Name;
use log::warn;
use tokio::sync::Notify;

use super::budget::Budget;
use super::connect::Connectors;
use super::meter::{Meter, Meters};
use super::pause::Pauses;
use super::silent::Silent;
use super::{Abort, Account, Decline, Limits, Outcome};
use crate::metrics::{Metrics, Series};

/// All mirrors of one gateway, and what they share.
pub struct Mirrors {
    shared: Arc<Shared>,
    meters: Meters,
    receivers: Series<1, Receiver>,
    accounts: Series<2, Account>,
}

/// One mirror: a backend that is sent copies.
pub struct Receiver {
    name: Name,
    shared: Arc<Shared>,
    queue: Budget,
    in_flight: Budget,
    pub(super) silent: Silent,
    pub(super) pauses: Pauses,
    pub(super) meter: Meter,
    warnings: Warnings,
}

pub(super) struct Shared {
    limits: Limits,
    connectors: Connectors,
    queue: Budget,
    in_flight: AtomicUsize,
    /// Told when the last copy in flight has come to its end.
    idle: Notify,
}

impl Mirrors {
    /// At most one in a registry.
    pub fn new(limits: Limits, metrics: &Metrics) -> Arc<Self> {
        let shared = Shared {
            connectors: Connectors::new(&limits),
            queue: Budget::new(limits.process_bytes),
            in_flight: AtomicUsize::new(0),
            idle: Notify::new(),
            limits,
        };
        let meters = Meters::new();
        Arc::new(Self {
            shared: Arc::new(shared),
            receivers: metrics.series(["mirror"], meters.of_mirrors()),
            accounts: metrics.series(["route", "mirror"], vec![Box::new(meters.requests.clone())]),
            meters,
        })
    }

    /// The one receiver of copies to this backend.
    pub fn receiver(&self, backend: &Name) -> Arc<Receiver> {
        self.receivers.of([backend.clone()], || {
            let meter = self.meters.of(backend);
            Receiver {
                name: backend.clone(),
                queue: Budget::new(self.shared.limits.mirror_bytes),
                in_flight: Budget::new(self.shared.limits.in_flight),
                silent: Silent::default(),
                pauses: Pauses::new(&self.shared.limits, meter.paused.clone()),
                meter,
                warnings: Warnings::new(),
                shared: self.shared.clone(),
            }
        })
    }

    /// The books of this route's copies to this mirror.
    pub fn account(&self, route: &Name, mirror: &Name) -> Arc<Account> {
        self.accounts.of([route.clone(), mirror.clone()], || {
            Account::new(self.meters.requests.clone(), route.clone(), mirror.clone())
        })
    }

    /// How many copies are in flight.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Acquire)
    }

    /// Waits until no copy is in flight. Copies that begin later are not waited for.
    pub async fn drained(&self) {
        loop {
            let idle = self.shared.idle.notified();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }

    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.shared.queue.used()
    }
}

impl Receiver {
    pub fn name(&self) -> &Name {
        &self.name
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(super) fn connectors(&self) -> &Connectors {
        &self.shared.connectors
    }

    /// Begins one copy, or says why not. One that has begun is to end with [`Self::leave`].
    pub(super) fn enter(&self, endpoint: SocketAddr) -> Result<(), Decline> {
        if !self.in_flight.take(1) {
            if !self.silent.break_one_off() {
                return Err(Decline::InFlight);
            }
            self.in_flight.take_ahead(1);
        }
        // Asked last, because a yes may be the one probe of this endpoint.
        if !self.pauses.admit(endpoint) {
            self.in_flight.give_back(1);
            return Err(Decline::Paused);
        }
        self.shared.in_flight.fetch_add(1, Ordering::Relaxed);
        self.meter.in_flight.inc();
        Ok(())
    }

    pub(super) fn leave(&self) {
        self.in_flight.give_back(1);
        self.meter.in_flight.dec();
        if self.shared.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.idle.notify_waiters();
        }
    }

    pub(super) fn reserve(&self, bytes: usize) -> Result<(), Abort> {
        if !self.queue.take(bytes) {
            return Err(Abort::MirrorBudget);
        }
        if !self.shared.queue.take(bytes) {
            self.queue.give_back(bytes);
            return Err(Abort::ProcessBudget);
        }
        self.meter.queue_bytes.add(bytes as i64);
        Ok(())
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.queue.give_back(bytes);
        self.shared.queue.give_back(bytes);
        self.meter.queue_bytes.sub(bytes as i64);
    }

    /// Tells people of trouble with this mirror, but not of each copy's.
    pub(super) fn trouble(&self, endpoint: SocketAddr, outcome: Outcome) {
        if let Some(more) = self.warnings.due(self.shared.limits.warn.as_millis() as u64) {
            let (what, why) = outcome.labels();
            warn!("mirror {}: copy to {endpoint} {what} ({why}); {more} more since the last warning", self.name);
        }
    }

    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.queue.used()
    }
}

/// The first warning comes at once, each further one after an interval, with how many it stands for.
struct Warnings {
    epoch: Instant,
    /// Before this, in milliseconds, no warning is due.
    next: AtomicU64,
    silent: AtomicU64,
}

impl Warnings {
    fn new() -> Self {
        Self { epoch: Instant::now(), next: AtomicU64::new(0), silent: AtomicU64::new(0) }
    }

    /// Whether to warn now, and how many were passed over since the last time.
    fn due(&self, interval: u64) -> Option<u64> {
        self.due_at(self.epoch.elapsed().as_millis() as u64, interval)
    }

    fn due_at(&self, now: u64, interval: u64) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let due = now >= next
            && self.next.compare_exchange(next, now + interval, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if due {
            return Some(self.silent.swap(0, Ordering::Relaxed));
        }
        self.silent.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    pub(in crate::mirror) fn mirrors(limits: Limits) -> Arc<Mirrors> {
        Mirrors::new(limits, &Metrics::default())
    }

    fn name(name: &str) -> Name {
        name.parse().unwrap()
    }

    #[test]
    fn a_backend_has_one_receiver_and_a_route_one_account_with_it() {
        let mirrors = mirrors(Limits::default());
        let receiver = mirrors.receiver(&name("m"));
        assert!(Arc::ptr_eq(&receiver, &mirrors.receiver(&name("m"))));
        assert!(!Arc::ptr_eq(&receiver, &mirrors.receiver(&name("n"))));
        let account = mirrors.account(&name("r"), &name("m"));
        assert!(Arc::ptr_eq(&account, &mirrors.account(&name("r"), &name("m"))));
        assert!(!Arc::ptr_eq(&account, &mirrors.account(&name("s"), &name("m"))));
    }

    #[test]
    fn receivers_nobody_uses_are_forgotten() {
        let mirrors = Mirrors::new(Limits::default(), &Metrics::new(Duration::ZERO));
        for i in 0..10_000 {
            mirrors.receiver(&name(&format!("m{i}")));
        }
        assert!(mirrors.receivers.len() < 100);
    }

    #[test]
    fn copies_in_flight_are_bounded_per_mirror() {
        let mirrors = mirrors(Limits { in_flight: 2, ..Limits::default() });
        let (m, n, endpoint) = (mirrors.receiver(&name("m")), mirrors.receiver(&name("n")), ([127, 0, 0, 1], 1).into());
        assert_eq!((m.enter(endpoint), m.enter(endpoint)), (Ok(()), Ok(())));
        assert_eq!(m.enter(endpoint), Err(Decline::InFlight));
        assert_eq!(n.enter(endpoint), Ok(()));
        assert_eq!((mirrors.in_flight(), m.meter.in_flight.get()), (3, 2));
        m.leave();
        assert_eq!(m.enter(endpoint), Ok(()));
    }

    #[test]
    fn warnings_come_at_once_and_then_at_intervals_with_their_count() {
        let warnings = Warnings::new();
        assert_eq!(warnings.due_at(7, 100), Some(0));
        assert_eq!([8, 50, 106].map(|now| warnings.due_at(now, 100)), [None; 3]);
        assert_eq!(warnings.due_at(107, 100), Some(3));
        assert_eq!(warnings.due_at(108, 100), None);
    }
}
