//! How many connections may be open at once, in the whole program.

use std::sync::Arc;

use prometheus::{IntCounter, IntGauge};

use super::seats::{Seat, Seats};
use crate::limit::{Limit, Permit};

/// Counts open connections, and bounds them.
pub(crate) struct Connections {
    limit: Limit,
    open: IntGauge,
    /// Where a silent connection gives way to a new one.
    seats: Option<Arc<Seats>>,
}

/// One connection's place, free again when dropped.
pub(super) struct Slot {
    place: Place,
    open: IntGauge,
}

enum Place {
    Kept {
        _permit: Permit,
    },
    /// Until another needs it more.
    Lent(Arc<Seat>),
}

impl Connections {
    pub(crate) fn new(most: usize, open: IntGauge, refused: IntCounter) -> Arc<Self> {
        Arc::new(Self { limit: Limit::new(most, refused), open, seats: None })
    }

    /// Where all places are taken, the connection that has been silent the longest gives way.
    pub(crate) fn giving_way(most: usize, open: IntGauge, refused: IntCounter) -> Arc<Self> {
        Arc::new(Self { limit: Limit::new(most, refused), open, seats: Some(Arc::default()) })
    }

    /// A place for one more, or none, which is counted.
    pub(super) fn take(&self) -> Option<Slot> {
        let permit = self.limit.take();
        let place = match &self.seats {
            None => Place::Kept { _permit: permit? },
            Some(seats) => Place::Lent(seats.take(permit.or_else(|| seats.vacate())?)),
        };
        self.open.inc();
        Some(Slot { place, open: self.open.clone() })
    }

    pub(super) fn open(&self) -> i64 {
        self.open.get()
    }
}

impl Slot {
    /// The place, if it is only lent.
    pub(super) fn seat(&self) -> Option<Arc<Seat>> {
        match &self.place {
            Place::Kept { .. } => None,
            Place::Lent(seat) => Some(seat.clone()),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.open.dec();
    }
}
