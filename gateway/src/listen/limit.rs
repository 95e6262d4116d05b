//! How many connections may be open at once, in the whole program.

use std::sync::Arc;

use prometheus::{IntCounter, IntGauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts open connections, and bounds them.
pub(crate) struct Connections {
    free: Arc<Semaphore>,
    open: IntGauge,
    refused: IntCounter,
}

/// One connection's place, free again when dropped.
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    open: IntGauge,
}

impl Connections {
    pub(crate) fn new(most: usize, open: IntGauge, refused: IntCounter) -> Arc<Self> {
        let most = most.min(Semaphore::MAX_PERMITS);
        Arc::new(Self { free: Arc::new(Semaphore::new(most)), open, refused })
    }

    /// A place for one more, or none, which is counted.
    pub(super) fn take(&self) -> Option<Slot> {
        match self.free.clone().try_acquire_owned() {
            Ok(permit) => {
                self.open.inc();
                Some(Slot { _permit: permit, open: self.open.clone() })
            }
            Err(_) => {
                self.refused.inc();
                None
            }
        }
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
