//! One address that connections are accepted on, and the connections that came in on it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use conf::Name;
use log::{debug, error, warn};
use pingora_core::apps::{HttpServerApp, ServerApp};
use pingora_core::protocols::TcpKeepalive;
use pingora_core::protocols::l4::ext::set_tcp_keepalive;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use super::limit::{Connections, Slot};
use super::wire::{gather, wire};
use super::{Arrival, Head, Protocol, Transport, opening};
use crate::tls::{Acceptor, Secured};

/// What all sockets share.
pub(super) struct House<A> {
    pub(super) limit: Arc<Connections>,
    /// Who shakes hands with clients, where any socket may speak TLS.
    pub(super) tls: Option<Arc<Acceptor>>,
    pub(super) entrance: Arc<dyn Fn(Arrival) -> Arc<A> + Send + Sync>,
}

impl<A> Clone for House<A> {
    fn clone(&self) -> Self {
        let Self { limit, tls, entrance } = self;
        Self { limit: limit.clone(), tls: tls.clone(), entrance: entrance.clone() }
    }
}

/// How many connections the system may accept before we take them.
const BACKLOG: u32 = 4096;

/// How long a client may take for its first bytes: one for HTTP/1, the whole preface for HTTP/2.
pub(super) const OPENING_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client that has connected just before its socket closes may take to speak.
const LAST_CALL: Duration = Duration::from_millis(100);

/// How long a client may take to close its end after we have closed ours.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(2);

/// When a client that is not heard of is asked whether it is still there, and how long it may take.
const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(10),
    count: 6,
    #[cfg(target_os = "linux")]
    user_timeout: Duration::ZERO,
};

/// How long to wait when the system has no room for another connection.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(100);

/// How often one socket may warn about clients it cannot take.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Binds an address; connections are taken by the system, and wait until they are accepted.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections that were closed a moment ago do not keep the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections of the listeners that are configured with an address until `stop`, tells
/// `closed` when the port is free, and ends when the last connection has.
pub(super) async fn serve<A>(
    listener: TcpListener,
    configured: SocketAddr,
    house: House<A>,
    stop: watch::Receiver<bool>,
    closed: oneshot::Sender<()>,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let address = listener.local_addr();
    let mut socket = Socket { configured, house, stop, open: JoinSet::new(), warned: None };
    let mut stopped = socket.stop.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => socket.connect(stream, peer),
                Err(error) => socket.refuse(&error).await,
            },
            Some(ended) = socket.open.join_next() => reap(ended),
            () = told_to_stop(&mut stopped) => break,
        }
    }
    // Closing the listener would reset what the system has accepted in our name.
    for (stream, peer) in waiting(listener) {
        socket.connect(stream, peer);
    }
    debug!("no longer listening on {address:?}");
    let _ = closed.send(());
    while let Some(ended) = socket.open.join_next().await {
        reap(ended);
    }
}

struct Socket<A> {
    configured: SocketAddr,
    house: House<A>,
    stop: watch::Receiver<bool>,
    open: JoinSet<()>,
    warned: Option<Instant>,
}

impl<A: HttpServerApp + Send + Sync + 'static> Socket<A> {
    fn connect(&mut self, stream: TcpStream, peer: SocketAddr) {
        match self.house.limit.take() {
            Some(slot) => {
                let caller = Caller { socket: self.configured, peer, stop: self.stop.clone() };
                let seat = slot.seat();
                let task = self.open.spawn(connection(stream, caller, self.house.clone(), slot));
                if let Some(seat) = seat {
                    seat.is_served_by(task);
                }
            }
            None => self.warn(format_args!("closed the connection from {peer}: --max-connections are open already")),
        }
    }

    async fn refuse(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        // The client is gone already.
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
            return;
        }
        self.warn(format_args!("cannot accept connections: {error}"));
        sleep(NO_ROOM_PAUSE).await;
    }

    fn warn(&mut self, message: std::fmt::Arguments<'_>) {
        if self.warned.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            warn!("{message}");
            self.warned = Some(Instant::now());
        }
    }
}

/// The connections that nobody has accepted yet. The listener is closed at the end.
fn waiting(listener: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    let listener = listener.into_std().ok();
    std::iter::from_fn(move || {
        let (stream, peer) = listener.as_ref()?.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer))
    })
}

fn reap(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!("serving a connection ended in a panic: {error}");
    }
}

/// What is known of a connection before it has said anything.
struct Caller {
    socket: SocketAddr,
    peer: SocketAddr,
    stop: watch::Receiver<bool>,
}

/// A connection that can be spoken on.
struct Line {
    transport: Transport,
    /// The protocol that the handshake settled.
    agreed: Option<Protocol>,
    secured_by: Option<Name>,
}

/// Serves one connection until it ends.
async fn connection<A: HttpServerApp + Send + Sync + 'static>(
    stream: TcpStream,
    caller: Caller,
    house: House<A>,
    slot: Slot,
) {
    // What is written is gathered already; a delay on top helps nobody.
    if stream.set_nodelay(true).is_err() || set_tcp_keepalive(&stream, &KEEPALIVE).is_err() {
        return;
    }
    let Some(Line { mut transport, agreed, secured_by }) = caller.secure(stream, house.tls.as_deref()).await else {
        return;
    };
    let mut received = BytesMut::new();
    let opening = opening::read(&mut transport, agreed, &mut received);
    let Some(protocol) = caller.opened(opening).await else { return };
    let head = Arc::new(Head::new(slot.seat()));
    let Caller { socket, peer: client, .. } = caller;
    let entrance = (house.entrance)(Arrival { socket, client, protocol, secured_by, head: head.clone() });
    let (wire, outlet) = wire(transport, received.freeze(), client, head);
    gather(&outlet, entrance.process_new(Box::new(wire), &caller.stop)).await;
    let _ = timeout(CLOSING_TIMEOUT, outlet.finish()).await;
}

impl Caller {
    /// Shakes hands where TLS is spoken and the client begins with it. None if nothing came of it.
    async fn secure(&self, stream: TcpStream, tls: Option<&Acceptor>) -> Option<Line> {
        let plain = |stream| Some(Line { transport: Transport::Plain(stream), agreed: None, secured_by: None });
        let Some(tls) = tls.filter(|tls| tls.is_wanted(self.socket)) else { return plain(stream) };
        if !self.opened(opening::is_handshake(&stream)).await? {
            return plain(stream);
        }
        // Not cut short by a socket that closes: it takes no longer than most requests.
        let Secured { stream, listener, agreed } = tls.accept(self.socket, stream, self.peer).await?;
        Some(Line { transport: Transport::Secure(Box::new(stream)), agreed, secured_by: Some(listener) })
    }

    /// What the client's first bytes told, if they came in time.
    async fn opened<T>(&self, opening: impl Future<Output = io::Result<Option<T>>>) -> Option<T> {
        tokio::select! {
            biased;
            opened = timeout(OPENING_TIMEOUT, opening) => match opened {
                Ok(opened) => opened.ok().flatten(),
                Err(_) => {
                    debug!("closed the silent connection from {}", self.peer);
                    None
                }
            },
            () = last_call(self.stop.clone()) => None,
        }
    }
}

async fn last_call(mut stop: watch::Receiver<bool>) {
    told_to_stop(&mut stop).await;
    sleep(LAST_CALL).await;
}

async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody can tell it any more, which is a stop too.
    let _ = stop.wait_for(|stopping| *stopping).await;
}
