//! How many connections may be open at once, in the whole program.

use std::sync::Arc;

use prometheus::{IntCounter, IntGauge};

use crate::limit::{Limit, Permit};

/// Counts open connections, and bounds them.
pub(crate) struct Connections {
    limit: Limit,
    open: IntGauge,
}

/// One connection's place, free again when dropped.
pub(super) struct Slot {
    _permit: Permit,
    open: IntGauge,
}

impl Connections {
    pub(crate) fn new(most: usize, open: IntGauge, refused: IntCounter) -> Arc<Self> {
        Arc::new(Self { limit: Limit::new(most, refused), open })
    }

    /// A place for one more, or none, which is counted.
    pub(super) fn take(&self) -> Option<Slot> {
        let permit = self.limit.take()?;
        self.open.inc();
        Some(Slot { _permit: permit, open: self.open.clone() })
    }

    pub(super) fn open(&self) -> i64 {
        self.open.get()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.open.dec();
    }
}
