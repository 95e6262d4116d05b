//! A connection of HTTP/1.1 to a backend as Pingora sees it, with what is written to it gathered.
//!
//! Pingora sends a request's head, and then each piece of its body by itself. Here they are gathered
//! until the task of the request has nothing more to do at once: its [`Exchange`] then sends them in
//! one call.
//!
//! It also has a pool for connections that wait for the next request, which starts a task for each. Here
//! they go back to [a pool without](crate::pool), before Pingora's gets them.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::exchange::Exchange;
use crate::gathered::Gathered;
use crate::pool::{Http1Pool, Key};
use crate::tls;
use crate::transport::Transport;

type Written = Mutex<Gathered<Transport<tls::Line>>>;

/// A connection for one request.
pub(super) struct Line {
    connection: Connection,
    home: Option<Home>,
    /// It has carried a whole request and its whole answer, and goes home.
    is_free: bool,
}

/// A connection, whichever request has it.
#[derive(Clone)]
pub(super) struct Connection {
    written: Arc<Written>,
    id: RawFd,
    digest: Arc<SocketDigest>,
}

/// Where a connection waits for the next request.
pub(super) struct Home {
    pub(super) pool: Arc<Http1Pool<Connection>>,
    pub(super) key: Key,
}

/// The same connection for whoever sends what was written to it.
pub(super) struct Outlet(Arc<Written>);

/// The room, in bytes, of the read by which Pingora asks whether a connection may be kept, once it has
/// read all of an answer. Whatever else it reads has more.
const QUESTION: usize = 1;

impl Line {
    /// One that other requests have used, if there is any.
    pub(super) fn kept(home: Home) -> Result<Self, Home> {
        match home.pool.take(&home.key) {
            Some(connection) => Ok(Self::new(connection, Some(home))),
            None => Err(home),
        }
    }

    /// Without a home the connection is closed after the request.
    pub(super) fn new(connection: Connection, home: Option<Home>) -> Self {
        Self { connection, home, is_free: false }
    }

    /// Has what waits sent by the request that it belongs to.
    fn gather(
        &self,
        write: impl FnOnce(&mut Gathered<Transport<tls::Line>>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let mut written = lock(&self.connection.written);
        let result = write(&mut written);
        if !written.unsent().is_empty() {
            let exchange = Exchange::current().expect("entrances scope every request");
            exchange.send_later(Outlet(self.connection.written.clone()));
        }
        result
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(Home { pool, key }) = self.home.take().filter(|_| self.is_free) {
            pool.put(key, self.connection.clone());
        }
    }
}

impl Connection {
    pub(super) async fn open(endpoint: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(endpoint).await?;
        // What there is to send is sent as one already.
        stream.set_nodelay(true)?;
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        // Known already, which saves asking the system.
        let _ = digest.peer_addr.set(Some(endpoint.into()));
        Ok(Self::new(stream.as_raw_fd(), Arc::new(digest), Transport::Plain(stream)))
    }

    fn new(id: RawFd, digest: Arc<SocketDigest>, transport: Transport<tls::Line>) -> Self {
        Self { written: Arc::new(Mutex::new(Gathered::new(transport))), id, digest }
    }
}

impl From<tls::Line> for Connection {
    fn from(line: tls::Line) -> Self {
        let digest = line.get_socket_digest().expect("every line has one");
        Self::new(line.id(), digest, Transport::Secure(Box::new(line)))
    }
}

/// For the pool, which looks whether the other end has closed it.
impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        lock(&self.written).poll_read(context, buffer)
    }
}

impl Outlet {
    pub(super) fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_send(context)
    }
}

/// Only the task that has the connection ever takes it.
fn lock(written: &Written) -> MutexGuard<'_, Gathered<Transport<tls::Line>>> {
    written.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for Line {
    /// The answer to [`QUESTION`] is the end of the stream: with it, Pingora lets go of the connection.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut written = lock(&self.connection.written);
        let read = written.poll_read(context, buffer);
        let is_free = read.is_pending() && buffer.remaining() == QUESTION && written.unsent().is_empty();
        drop(written);
        self.is_free = is_free && self.home.is_some();
        if self.is_free { Poll::Ready(Ok(())) } else { read }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.gather(|written| written.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.gather(|written| written.poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Everything is sent as soon as the task of the request waits.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.connection.written).poll_shutdown(context)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("id", &self.id()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for Line {
    async fn shutdown(&mut self) {
        self.is_free = false;
        // A connection that is broken is shut down already.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Line {
    fn id(&self) -> RawFd {
        self.connection.id
    }
}

/// What was agreed on in the handshake is known to who asked for the connection.
impl Ssl for Line {}

impl Peek for Line {}

impl GetTimingDigest for Line {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Line {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Line {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.connection.digest.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use futures::FutureExt;
    use http::HeaderValue;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::sync::watch;

    use super::super::exchange::CURRENT;
    use super::*;
    use crate::listen::{Arrival, Head, Protocol};

    /// A connection to a backend: our end, and the backend's.
    async fn connection() -> (Connection, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (ours, accepted) = tokio::join!(Connection::open(listener.local_addr().unwrap()), listener.accept());
        (ours.unwrap(), accepted.unwrap().0)
    }

    fn exchange() -> Arc<Exchange> {
        let address = (Ipv4Addr::LOCALHOST, 1).into();
        let head = Arc::new(Head::new(None));
        let arrival = Arrival { socket: address, client: address, protocol: Protocol::Http1, secured_by: None, head };
        Exchange::new(Arc::new(arrival), HeaderValue::from_static("client"), watch::channel(false).1, Duration::ZERO)
    }

    #[tokio::test]
    async fn head_and_body_are_sent_as_one_when_the_task_of_the_request_waits() {
        let (connection, mut backend) = connection().await;
        let (mut line, exchange) = (Line::new(connection, None), exchange());
        let request = async {
            line.write_all(b"head").await.unwrap();
            line.flush().await.unwrap();
            line.write_all(b"body").await.unwrap();
        };
        CURRENT.scope(exchange.clone(), request).await;
        assert_eq!(lock(&line.connection.written).unsent(), "headbody");

        let send = |context: &mut Context<'_>| {
            exchange.poll_send(context);
            Poll::Ready(())
        };
        poll_fn(send).await;
        let mut received = [0; 16];
        assert_eq!(backend.read(&mut received).await.unwrap(), 8);
        assert_eq!(&received[..8], b"headbody");
        assert_eq!(lock(&line.connection.written).unsent().capacity(), 0);
        assert_eq!(Arc::strong_count(&line.connection.written), 1);
    }

    /// A line, its backend, and where it is at home.
    async fn line_with_a_home() -> (Line, TcpStream, impl Fn() -> bool) {
        let (connection, backend) = connection().await;
        let pool = Arc::new(Http1Pool::new(1, Duration::from_secs(4)));
        let key = Key { endpoint: backend.local_addr().unwrap(), bond: 0 };
        let line = Line::new(connection, Some(Home { pool: pool.clone(), key }));
        (line, backend, move || pool.take(&key).is_some())
    }

    /// As Pingora asks whether the connection may be kept.
    fn ask(line: &mut Line) -> Option<usize> {
        line.read(&mut [0]).now_or_never().map(Result::unwrap)
    }

    #[tokio::test]
    async fn a_connection_goes_home_once_pingora_would_keep_it() {
        let (mut line, _backend, is_home) = line_with_a_home().await;
        assert_eq!(ask(&mut line), Some(0));
        drop(line);
        assert!(is_home());
    }

    #[tokio::test]
    async fn a_connection_is_closed_that_pingora_would_not_keep() {
        let (line, _backend, is_home) = line_with_a_home().await;
        drop(line);
        assert!(!is_home(), "nobody asked");

        let (mut line, _backend, is_home) = line_with_a_home().await;
        assert_eq!(line.read(&mut [0; 2]).now_or_never().map(Result::unwrap), None);
        drop(line);
        assert!(!is_home(), "amid an answer");

        let (mut line, mut backend, is_home) = line_with_a_home().await;
        backend.write_all(b"?").await.unwrap();
        let is_readable = |context: &mut Context<'_>| match lock(&line.connection.written).stream() {
            Transport::Plain(stream) => stream.poll_read_ready(context),
            Transport::Secure(_) => unreachable!("there is no TLS"),
        };
        poll_fn(is_readable).await.unwrap();
        assert_eq!(ask(&mut line), Some(1));
        drop(line);
        assert!(!is_home(), "it said what nobody asked for");

        let (mut line, _backend, is_home) = line_with_a_home().await;
        CURRENT.scope(exchange(), line.write_all(b"request")).await.unwrap();
        assert_eq!(ask(&mut line), None);
        drop(line);
        assert!(!is_home(), "the request was not sent");

        let (mut line, _backend, is_home) = line_with_a_home().await;
        assert_eq!(ask(&mut line), Some(0));
        Shutdown::shutdown(&mut line).await;
        drop(line);
        assert!(!is_home(), "it was shut down");
    }

    #[tokio::test]
    async fn a_connection_without_a_home_is_left_to_pingora() {
        let (connection, _backend) = connection().await;
        let mut line = Line::new(connection, None);
        assert_eq!(ask(&mut line), None);
    }
}
