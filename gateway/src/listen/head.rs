//! The head of the HTTP/1 request that a connection waits for, as far as it has come.
//!
//! Pingora bounds it by a megabyte and each of its reads by a minute, which is too much for a client
//! that sends it byte by byte.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::seats::Seat;

/// Shared by the connection, which counts, and what serves it, which knows where heads begin and end.
#[derive(Debug)]
pub(crate) struct Head {
    received: AtomicUsize,
    /// [`usize::MAX`] while no head is waited for.
    most: AtomicUsize,
    /// When it was noticed to have begun.
    noticed: Mutex<Option<Instant>>,
    /// Where a connection without requests may lose its place.
    seat: Option<Arc<Seat>>,
}

impl Head {
    pub(crate) fn new(seat: Option<Arc<Seat>>) -> Self {
        let (received, most) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        Self { received, most, noticed: Mutex::default(), seat }
    }

    /// What comes next is a head, of `most` bytes.
    pub(crate) fn expect(&self, most: usize) {
        self.received.store(0, Ordering::Relaxed);
        *lock(&self.noticed) = None;
        self.most.store(most, Ordering::Relaxed);
    }

    pub(crate) fn arrived(&self) {
        self.most.store(usize::MAX, Ordering::Relaxed);
        if let Some(seat) = &self.seat {
            seat.heard();
        }
    }

    /// Whether a head is waited for.
    pub(super) fn is_awaited(&self) -> bool {
        self.most.load(Ordering::Relaxed) != usize::MAX
    }

    /// Whether some of the head is here, but not all of it.
    pub(crate) fn has_begun(&self) -> bool {
        self.is_awaited() && self.received.load(Ordering::Relaxed) > 0
    }

    /// When all of the head is to be here, if it may take `limit` from the time that this is asked first
    /// with some of it here.
    pub(crate) fn due(&self, limit: Duration) -> Option<Instant> {
        self.has_begun().then(|| *lock(&self.noticed).get_or_insert_with(Instant::now) + limit)
    }

    /// Whether it is longer than it may be. What came with its end in one read does not count.
    pub(super) fn is_too_long(&self) -> bool {
        self.received.load(Ordering::Relaxed) >= self.most.load(Ordering::Relaxed)
    }

    pub(super) fn receive(&self, bytes: usize) {
        // Nobody else writes meanwhile: one task has the connection.
        self.received.store(self.received.load(Ordering::Relaxed).saturating_add(bytes), Ordering::Relaxed);
    }
}

/// Only the task of the connection ever takes it.
fn lock(noticed: &Mutex<Option<Instant>>) -> MutexGuard<'_, Option<Instant>> {
    noticed.lock().unwrap_or_else(PoisonError::into_inner)
}
