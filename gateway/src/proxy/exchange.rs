//! What a connection and the request on it must tell each other, where Pingora has no hook.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora_core::server::ShutdownWatch;

/// One request and its answer, from the wait for its head on.
///
/// The phases of the request set the deadline, the [`Entrance`](super::Entrance) that polls them
/// keeps it. All of it happens in one task; the atomics only make it shareable.
pub(super) struct Exchange {
    /// The configured address of the listener that the connection came in on.
    pub(super) socket: SocketAddr,
    shutdown: ShutdownWatch,
    epoch: Instant,
    /// In microseconds after `epoch`; [`NEVER`] for none.
    deadline: AtomicU64,
    active: AtomicBool,
    expired: AtomicBool,
}

const NEVER: u64 = u64::MAX;

impl Exchange {
    pub(super) fn new(socket: SocketAddr, shutdown: ShutdownWatch) -> Arc<Self> {
        Arc::new(Self {
            socket,
            shutdown,
            epoch: Instant::now(),
            deadline: AtomicU64::new(NEVER),
            active: AtomicBool::new(false),
            expired: AtomicBool::new(false),
        })
    }

    /// The exchange of the task that this is called in.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Whether the listener is going away, or the whole program.
    pub(super) fn is_stopping(&self) -> bool {
        *self.shutdown.borrow()
    }

    /// Once it is. An error means that nobody is left to say so, which says it too.
    pub(super) async fn stopped(&self) {
        let _ = self.shutdown.clone().wait_for(|stopping| *stopping).await;
    }

    /// The head of the request is here.
    pub(super) fn begin(&self) {
        self.active.store(true, Ordering::Relaxed);
    }

    /// Whether a request is under way; if not, its connection is idle.
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// From now on reads from the client fail at this time, and some time later the whole request
    /// is dropped. What had expired before is forgotten.
    pub(super) fn set_deadline(&self, deadline: Option<Instant>) {
        let micros = deadline.map_or(NEVER, |at| at.saturating_duration_since(self.epoch).as_micros() as u64);
        self.deadline.store(micros, Ordering::Relaxed);
        self.expired.store(false, Ordering::Relaxed);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.deadline.load(Ordering::Relaxed) {
            NEVER => None,
            micros => Some(self.epoch + Duration::from_micros(micros)),
        }
    }

    pub(super) fn expire(&self) {
        self.expired.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed)
    }
}

tokio::task_local! {
    pub(super) static CURRENT: Arc<Exchange>;
}

/// Whether the request of this task has run out of time. A connection's stream fails its reads
/// then: Pingora reads from the client, or watches it, all the while a request is proxied, so this
/// reaches every wait of a request that has no time-out of its own, such as a backend that sends
/// its head byte by byte.
pub(crate) fn is_interrupted() -> bool {
    CURRENT.try_with(|exchange| exchange.has_expired()).unwrap_or(false)
}
