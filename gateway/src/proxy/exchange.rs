//! What a connection and the request on it must tell each other, where Pingora has no hook.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::{Duration, Instant};

use http::HeaderValue;
use nix::sys::socket::{Shutdown, shutdown};
use pingora_core::server::ShutdownWatch;

use super::line::Outlet;
use crate::listen::Arrival;
use crate::table::Via;
use crate::tls::Bond;

/// One request and its answer, from the wait for its head on.
///
/// The phases of the request set the deadline, the [`Entrance`](super::Entrance) that polls them
/// keeps it. All of it happens in one task; the atomics only make it shareable.
pub(super) struct Exchange {
    arrival: Arc<Arrival>,
    /// As headers name it.
    client: HeaderValue,
    shutdown: ShutdownWatch,
    epoch: Instant,
    /// In microseconds after `epoch`; [`NEVER`] for none.
    deadline: AtomicU64,
    /// When a byte of the request or its answer was seen last, in microseconds after `epoch`.
    touched: AtomicU64,
    /// How long none may be seen, in microseconds; [`NEVER`] for no limit.
    idle: AtomicU64,
    active: AtomicBool,
    expired: AtomicBool,
    /// The connection to the backend, if no other request uses it; [`NONE`] otherwise.
    backend: AtomicI32,
    /// Whether it was kept from another request.
    kept: AtomicBool,
    /// What the connection to the backend is to rest on; none without TLS.
    bond: Mutex<Option<Bond>>,
    /// Of the connection to the backend, if something was written to it that is not sent.
    outlet: Mutex<Option<Outlet>>,
}

const NEVER: u64 = u64::MAX;
const NONE: RawFd = -1;

impl Exchange {
    /// `idle` is how long neither the request nor its answer may move on; none if it is zero.
    pub(super) fn new(
        arrival: Arc<Arrival>,
        client: HeaderValue,
        shutdown: ShutdownWatch,
        idle: Duration,
    ) -> Arc<Self> {
        let idle = if idle.is_zero() { NEVER } else { idle.as_micros() as u64 };
        Arc::new(Self {
            arrival,
            client,
            shutdown,
            epoch: Instant::now(),
            deadline: AtomicU64::new(NEVER),
            touched: AtomicU64::new(0),
            idle: AtomicU64::new(idle),
            active: AtomicBool::new(false),
            expired: AtomicBool::new(false),
            backend: AtomicI32::new(NONE),
            kept: AtomicBool::new(false),
            bond: Mutex::new(None),
            outlet: Mutex::new(None),
        })
    }

    /// The exchange of the task that this is called in.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    pub(super) fn via(&self) -> Via<'_> {
        Via { socket: self.arrival.socket, secured_by: self.arrival.secured_by.as_ref() }
    }

    pub(super) fn client(&self) -> SocketAddr {
        self.arrival.client
    }

    pub(super) fn client_text(&self) -> &HeaderValue {
        &self.client
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
        self.arrival.head.arrived();
        self.active.store(true, Ordering::Relaxed);
        self.touch();
    }

    /// A part of the request or of its answer is on its way.
    pub(super) fn touch(&self) {
        self.touched.store(self.epoch.elapsed().as_micros() as u64, Ordering::Relaxed);
    }

    /// From here on, nobody knows what is said, nor when.
    pub(super) fn become_tunnel(&self) {
        self.idle.store(NEVER, Ordering::Relaxed);
    }

    /// Whether a request is under way; if not, its connection is idle.
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// How long to wait for the request, where an idle connection is kept for `limit`; none for ever.
    pub(super) fn idle_until(&self, limit: Duration) -> Option<Instant> {
        (!limit.is_zero()).then(|| self.epoch + limit)
    }

    /// An attempt at a backend begins, which is to be over by then.
    pub(super) fn begin_attempt(&self, deadline: Option<Instant>) {
        let micros = deadline.map_or(NEVER, |at| at.saturating_duration_since(self.epoch).as_micros() as u64);
        self.deadline.store(micros, Ordering::Relaxed);
        self.expired.store(false, Ordering::Relaxed);
        self.kept.store(false, Ordering::Relaxed);
        self.touch();
    }

    /// The attempt is to be made with TLS.
    pub(super) fn secure(&self, bond: Bond) {
        *lock(&self.bond) = Some(bond);
    }

    pub(super) fn bond(&self) -> Option<Bond> {
        lock(&self.bond).clone()
    }

    /// Something waits to be sent to the backend, until the task has nothing more to do at once.
    pub(super) fn send_later(&self, outlet: Outlet) {
        *lock(&self.outlet) = Some(outlet);
    }

    /// Sends it. Where the socket is full, the task is woken once it is not; where it is broken, the
    /// next read or write finds that out.
    pub(super) fn poll_send(&self, context: &mut Context<'_>) {
        let mut outlet = lock(&self.outlet);
        if outlet.as_ref().is_some_and(|outlet| outlet.poll_send(context).is_ready()) {
            *outlet = None;
        }
    }

    /// The attempt is made on a connection that was kept from another request.
    pub(super) fn connection_was_kept(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_on_kept_connection(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// The attempt has this connection to itself.
    pub(super) fn connected(&self, backend: RawFd) {
        self.backend.store(backend, Ordering::Relaxed);
    }

    /// The attempt is over, and its connection closed or given away. To be called before anything
    /// is waited for: the number may be that of another connection by then.
    pub(super) fn end_attempt(&self) {
        self.backend.store(NONE, Ordering::Relaxed);
        self.deadline.store(NEVER, Ordering::Relaxed);
    }

    /// When the attempt is over, or nothing has moved on for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let idle = self.touched.load(Ordering::Relaxed).saturating_add(self.idle.load(Ordering::Relaxed));
        match self.deadline.load(Ordering::Relaxed).min(idle) {
            NEVER => None,
            micros => Some(self.epoch + Duration::from_micros(micros)),
        }
    }

    /// Ends the attempt: whatever is waited for of the backend fails now. Pingora's own time-outs
    /// are each for one wait, and do not end a backend that sends its answer byte by byte.
    pub(super) fn expire(&self) {
        self.expired.store(true, Ordering::Relaxed);
        let backend = self.backend.swap(NONE, Ordering::Relaxed);
        if backend != NONE {
            // An error means that it is closed already.
            let _ = shutdown(backend, Shutdown::Both);
        }
    }

    /// Whether the last attempt ran out of time.
    pub(super) fn has_expired(&self) -> bool {
        self.expired.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

tokio::task_local! {
    pub(super) static CURRENT: Arc<Exchange>;
}
