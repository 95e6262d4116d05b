//! How many requests may be under way at once, in the whole program.
//!
//! Connections of clients are bounded where they are accepted, but over HTTP/2 each carries many
//! requests, and each of these may take a connection to a backend.

use std::sync::Arc;

use prometheus::IntCounter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) struct Room {
    free: Arc<Semaphore>,
    refused: IntCounter,
}

/// One request's share, free again when dropped.
pub(super) struct Taken {
    _permit: OwnedSemaphorePermit,
}

impl Room {
    pub(super) fn new(most: usize, refused: IntCounter) -> Self {
        Self { free: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))), refused }
    }

    /// None, which is counted, if there is no room for another one.
    pub(super) fn take(&self) -> Option<Taken> {
        match self.free.clone().try_acquire_owned() {
            Ok(permit) => Some(Taken { _permit: permit }),
            Err(_) => {
                self.refused.inc();
                None
            }
        }
    }
}
