use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

use super::{Abort, Receiver};

/// A bound on something that is taken and given back, such as bytes.
pub(super) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// Takes all of `amount` or nothing.
    pub(super) fn take(&self, amount: usize) -> bool {
        let take = |used: usize| used.checked_add(amount).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    /// Takes what somebody else is about to give back, over the bound until then.
    pub(super) fn take_ahead(&self, amount: usize) {
        self.used.fetch_add(amount, Relaxed);
    }

    pub(super) fn give_back(&self, amount: usize) {
        self.used.fetch_sub(amount, Relaxed);
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub(super) fn is_more_than_half_used(&self) -> bool {
        self.used() > self.limit / 2
    }
}

/// What one copy's body may take up: of its own bound, of its mirror's and of the process's.
pub(super) struct Ledger {
    copy: Budget,
    receiver: Arc<Receiver>,
}

impl Ledger {
    pub(super) fn new(receiver: Arc<Receiver>) -> Arc<Self> {
        Arc::new(Self { copy: Budget::new(receiver.limits().copy_bytes), receiver })
    }

    /// Reserves what these bytes take up until they are written to the mirror's socket. If any of
    /// the three bounds stands against it, the copy cannot become whole any more.
    pub(super) fn reserve(self: &Arc<Self>, bytes: Bytes) -> Result<Chunk, Abort> {
        // A small slice may keep a buffer of 64 KiB alive that it is cut from, so its bytes are
        // copied. A large one may too, but of one such buffer at most the two slices at the ends
        // of the queue are without their neighbours, whose bytes are charged.
        let bytes = if bytes.len() < SMALL { Bytes::copy_from_slice(&bytes) } else { bytes };
        let charge = bytes.len() + OVERHEAD;
        if !self.copy.take(charge) {
            return Err(Abort::QueueFull);
        }
        if let Err(reason) = self.receiver.reserve(charge) {
            self.copy.give_back(charge);
            return Err(reason);
        }
        Ok(Chunk { bytes, _reservation: Reservation { ledger: self.clone(), charge } })
    }

    pub(super) fn is_behind(&self) -> bool {
        self.copy.is_more_than_half_used()
    }
}

/// A piece of a body, within the budgets until it is dropped.
pub(super) struct Chunk {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Chunk {
    /// Another reference to the bytes, for as long as the chunk itself is kept.
    pub(super) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

struct Reservation {
    ledger: Arc<Ledger>,
    charge: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.ledger.copy.give_back(self.charge);
        self.ledger.receiver.give_back(self.charge);
    }
}

/// Below this, bytes are copied rather than referred to.
const SMALL: usize = 1 << 10;

/// What a chunk takes up beside its bytes, so that a body of single bytes is bounded as well.
const OVERHEAD: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::Limits;
    use crate::mirror::receiver::tests::mirrors;

    #[test]
    fn a_budget_is_taken_whole_or_not_at_all() {
        let budget = Budget::new(10);
        assert!(budget.take(7));
        assert!(!budget.take(4));
        assert!(!budget.take(usize::MAX));
        assert_eq!(budget.used(), 7);
        assert!(budget.take(3));
        budget.give_back(10);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn each_bound_refuses_with_its_own_reason_and_takes_nothing() {
        let kib = |kib: usize| kib << 10;
        for (copy, mirror, process, expected) in [
            (kib(3), kib(9), kib(9), Abort::QueueFull),
            (kib(9), kib(3), kib(9), Abort::MirrorBudget),
            (kib(9), kib(9), kib(3), Abort::ProcessBudget),
        ] {
            let limits = Limits { copy_bytes: copy, mirror_bytes: mirror, process_bytes: process, ..Limits::default() };
            let mirrors = mirrors(limits);
            let receiver = mirrors.receiver(&"m".parse().unwrap());
            let ledger = Ledger::new(receiver.clone());
            let chunk = ledger.reserve(Bytes::from(vec![0; kib(2)])).unwrap();
            let used = (ledger.copy.used(), receiver.queued(), mirrors.queued());
            assert_eq!(used, (kib(2) + OVERHEAD, kib(2) + OVERHEAD, kib(2) + OVERHEAD));
            assert_eq!(ledger.reserve(Bytes::from(vec![0; kib(1)])).err(), Some(expected));
            assert_eq!(used, (ledger.copy.used(), receiver.queued(), mirrors.queued()));
            drop(chunk);
            assert_eq!((ledger.copy.used(), receiver.queued(), mirrors.queued()), (0, 0, 0));
        }
    }

    #[test]
    fn a_small_slice_does_not_keep_its_buffer_alive() {
        let receiver = mirrors(Limits::default()).receiver(&"m".parse().unwrap());
        let buffer = Bytes::from(vec![7; 64 << 10]);
        let chunk = Ledger::new(receiver).reserve(buffer.slice(5..6)).unwrap();
        assert!(buffer.is_unique());
        assert_eq!(chunk.as_ref(), [7]);
    }
}
