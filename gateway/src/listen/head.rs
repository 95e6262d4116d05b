//! The head of the HTTP/1 request that a connection waits for, as far as it has come.
//!
//! Pingora bounds it by a megabyte and each of its reads by a minute, which is too much for a client
//! that sends it byte by byte.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::seats::Seat;

/// Shared by the connection, which counts, and what serves it, which knows where heads begin and end.
#[derive(Debug)]
pub(crate) struct Head {
    received: AtomicUsize,
    /// [`usize::MAX`] while no head is waited for.
    most: AtomicUsize,
    /// Where a connection without requests may lose its place.
    seat: Option<Arc<Seat>>,
}

impl Head {
    pub(crate) fn new(seat: Option<Arc<Seat>>) -> Self {
        Self { received: AtomicUsize::new(0), most: AtomicUsize::new(usize::MAX), seat }
    }

    /// What comes next is a head, of `most` bytes.
    pub(crate) fn expect(&self, most: usize) {
        self.received.store(0, Ordering::Relaxed);
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

    /// Ready once the head has been on its way for `limit`. `timer` is unset until it has begun.
    pub(crate) fn poll_overdue(
        &self,
        context: &mut Context<'_>,
        mut timer: Pin<&mut Option<Sleep>>,
        limit: Duration,
    ) -> Poll<()> {
        if !self.has_begun() {
            return Poll::Pending;
        }
        if timer.is_none() {
            timer.set(Some(sleep(limit)));
        }
        timer.as_pin_mut().expect("it is set").poll(context)
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
