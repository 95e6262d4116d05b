//! How many of something there may be at once, in the whole program.

use std::sync::Arc;

use prometheus::IntCounter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) struct Limit {
    free: Arc<Semaphore>,
    refused: IntCounter,
}

/// The place of one, free again when this is dropped.
pub(crate) struct Permit {
    _permit: OwnedSemaphorePermit,
}

impl Limit {
    pub(crate) fn new(most: usize, refused: IntCounter) -> Self {
        Self { free: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))), refused }
    }

    /// A place for one more, or none, which is counted.
    pub(crate) fn take(&self) -> Option<Permit> {
        let permit = self.free.clone().try_acquire_owned();
        if permit.is_err() {
            self.refused.inc();
        }
        permit.ok().map(|permit| Permit { _permit: permit })
    }
}
