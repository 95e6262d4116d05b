//! A client's connection as Pingora sees it, with what is written to it gathered.
//!
//! Pingora writes an answer's head, its body and the end of it one by one. Its own listeners have a
//! small buffer against that, which streams accepted elsewhere do not get, and which may hold back
//! the head of an answer whose body is slow. Here small writes are gathered until the task of the
//! connection has nothing more to do at once: [`gather`] then sends them in one call.
//!
//! It also reads a request's head into a small buffer, and passes on the piece of the body that
//! comes with it by itself, ahead of the rest. Here that piece is held back, and read with the rest.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::unread::Unread;
use super::{Head, Transport};
use crate::gathered::Gathered;

/// One end of a connection for Pingora to own.
pub(super) struct Wire {
    /// What was read already and is to be read again, before anything else.
    received: Bytes,
    /// Of the read behind `received`, which came first.
    failure: Option<io::Error>,
    line: Arc<Mutex<Line>>,
    head: Arc<Head>,
    id: RawFd,
    digest: Arc<SocketDigest>,
}

/// The same connection for the task that serves it.
pub(super) struct Outlet(Arc<Mutex<Line>>);

struct Line {
    written: Gathered<Transport>,
    /// It was told why its head is not read.
    refused: bool,
    /// The client closed its end, or the connection broke.
    ended: bool,
}

/// The room that Pingora has for a request's head at first, in bytes: by it, such a read is known.
const HEAD_ROOM: usize = 4 << 10;

/// Both ends of a connection from `peer`, of which `received` was read already.
pub(super) fn wire(transport: Transport, received: Bytes, peer: SocketAddr, head: Arc<Head>) -> (Wire, Outlet) {
    let id = transport.socket().as_raw_fd();
    let digest = SocketDigest::from_raw_fd(id);
    // Known already, which saves asking the system.
    let _ = digest.peer_addr.set(Some(peer.into()));
    let line = Arc::new(Mutex::new(Line { written: Gathered::new(transport), refused: false, ended: false }));
    let outlet = Outlet(line.clone());
    (Wire { received, failure: None, line, head, id, digest: Arc::new(digest) }, outlet)
}

/// Runs what serves a connection, and sends what it has written whenever it waits for something.
pub(super) async fn gather<T>(outlet: &Outlet, serve: impl Future<Output = T>) -> T {
    let mut serve = pin!(serve);
    poll_fn(|context| {
        let served = serve.as_mut().poll(context);
        if served.is_pending() {
            // Where the socket is full, the task is woken once it is not. Where it is broken,
            // the next read or write finds that out.
            let _ = lock(&outlet.0).written.poll_send(context);
        }
        served
    })
    .await
}

impl Outlet {
    /// Ends a connection that is no longer served, so that the client gets all of the last answer:
    /// closing a connection with unread bytes makes the system throw away what it has not sent.
    pub(super) async fn finish(self) {
        let sent = poll_fn(|context| lock(&self.0).written.poll_shutdown(context)).await;
        // A client that has closed its end sends nothing more that could stand in the way.
        if sent.is_err() || lock(&self.0).ended {
            return;
        }
        let Ok(Line { written, .. }) =
            Arc::try_unwrap(self.0).map(|line| line.into_inner().unwrap_or_else(PoisonError::into_inner))
        else {
            // Somebody else still has the connection, and will close it.
            return;
        };
        let socket = written.stream().socket();
        let mut discarded = [0; 4096];
        while socket.readable().await.is_ok() {
            match socket.try_read(&mut discarded) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

impl Line {
    fn refuse(&mut self, why: Unread) {
        if !std::mem::replace(&mut self.refused, true) {
            self.written.push(&why.answer());
        }
    }
}

/// Only the task of the connection ever takes it.
fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wire {
    fn poll_receive(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Err(error));
        }
        let (room, before) = (buffer.remaining(), buffer.filled().len());
        let mut line = lock(&self.line);
        if self.head.is_too_long() {
            // Pingora takes the client for one that is gone.
            line.refuse(Unread::TooLong);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the head of the request is too long")));
        }
        let read = ready!(line.written.poll_read(context, buffer));
        if read.is_err() || (room > 0 && buffer.filled().len() == before) {
            line.ended = true;
        }
        Poll::Ready(read)
    }

    /// Takes out of a buffer that is full what follows a request's head, if it can be its body: after
    /// a GET comes the next request, of which Pingora wants to know.
    fn hold_back_body(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let read = &buffer.filled()[before..];
        if read.starts_with(b"GET ") {
            return;
        }
        let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4) else { return };
        self.received = Bytes::copy_from_slice(&read[end..]);
        buffer.set_filled(before + end);
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (room, before) = (buffer.remaining(), buffer.filled().len());
        let kept = self.received.len().min(room);
        buffer.put_slice(&self.received.split_to(kept));
        if buffer.remaining() > 0 {
            match self.poll_receive(context, buffer) {
                Poll::Ready(Err(error)) if kept > 0 => self.failure = Some(error),
                Poll::Pending if kept > 0 => {}
                read => ready!(read)?,
            }
        }
        if room == HEAD_ROOM && buffer.remaining() == 0 && self.received.is_empty() {
            self.hold_back_body(buffer, before);
        }
        self.head.receive(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut line = lock(&self.line);
        if self.head.is_awaited() {
            // Only a head that Pingora cannot read is answered before it is here, and by Pingora, with
            // its name: that is not passed on.
            line.refuse(Unread::Malformed);
            return Poll::Ready(Ok(bytes.len()));
        }
        line.written.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.line).written.poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Everything is sent as soon as the task waits; see [`gather`].
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.line).written.poll_shutdown(context)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("id", &self.id).finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for Wire {
    async fn shutdown(&mut self) {
        // A connection that is broken is shut down already.
        let _ = poll_fn(|context| lock(&self.line).written.poll_shutdown(context)).await;
    }
}

impl UniqueID for Wire {
    fn id(&self) -> i32 {
        self.id
    }
}

/// Nothing is told of TLS: it would make Pingora look for the protocol in the handshake, and it is
/// known already.
impl Ssl for Wire {}

/// Not offered, so that Pingora does not look for the protocol itself.
impl Peek for Wire {}

impl GetTimingDigest for Wire {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Wire {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Wire {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.digest.clone())
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A connection: our end, for Pingora and for its task, and the client's.
    async fn connection(received: &'static [u8]) -> (Wire, Outlet, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (stream, peer) = accepted.unwrap();
        let (wire, outlet) =
            wire(Transport::Plain(stream), Bytes::from_static(received), peer, Arc::new(Head::new(None)));
        (wire, outlet, client.unwrap())
    }

    #[tokio::test]
    async fn small_writes_are_sent_together_when_the_task_waits() {
        let (mut wire, outlet, mut client) = connection(b"").await;
        let gathered = outlet.0.clone();
        let serve = async move {
            wire.write_all(b"head").await.unwrap();
            wire.flush().await.unwrap();
            wire.write_all(b"body").await.unwrap();
            assert_eq!(lock(&gathered).written.unsent(), "headbody");
            // Waits for the client, which waits for the answer.
            assert_eq!(wire.read_u8().await.unwrap(), b'!');
            assert_eq!(lock(&gathered).written.unsent().capacity(), 0);
        };
        let read = async {
            let mut answer = [0; 8];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"headbody");
            client.write_all(b"!").await.unwrap();
        };
        tokio::join!(gather(&outlet, serve), read);
    }

    #[tokio::test]
    async fn writes_of_any_size_arrive_in_order_at_a_slow_client() {
        let (mut wire, outlet, mut client) = connection(b"").await;
        let sizes = || [1, 100, 8000, 200, 65536, 8192, 8193, 3, 1 << 20, 0, 8191, 2, 300_000, 7];
        let expected: Vec<u8> = sizes().into_iter().zip(b'a'..).flat_map(|(size, byte)| vec![byte; size]).collect();
        let serve = async move {
            for (size, byte) in sizes().into_iter().zip(b'a'..) {
                let bytes = vec![byte; size];
                if size % 2 == 0 {
                    wire.write_all(&bytes).await.unwrap();
                    continue;
                }
                let mut written = 0;
                while written < size {
                    let middle = written + (size - written) / 3;
                    let parts = [IoSlice::new(&bytes[written..middle]), IoSlice::new(&bytes[middle..])];
                    written += wire.write_vectored(&parts).await.unwrap();
                }
            }
        };
        let sent = async {
            gather(&outlet, serve).await;
            outlet.finish().await;
        };
        let read = async {
            let mut received = Vec::new();
            let mut part = [0; 1000];
            loop {
                tokio::task::yield_now().await;
                match client.read(&mut part).await.unwrap() {
                    0 => break,
                    length => received.extend_from_slice(&part[..length]),
                }
            }
            assert!(received == expected, "{} bytes of {}", received.len(), expected.len());
            drop(client);
        };
        tokio::join!(sent, read);
    }

    #[tokio::test]
    async fn what_was_read_already_is_read_again_first() {
        let (mut wire, _outlet, mut client) = connection(b"first").await;
        client.write_all(b" second").await.unwrap();
        client.shutdown().await.unwrap();
        let mut all = String::new();
        wire.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "first second");
    }

    #[tokio::test]
    async fn a_body_is_read_whole_although_it_began_behind_its_head() {
        let (mut wire, _outlet, mut client) = connection(b"PO").await;
        let body = vec![b'x'; 20_000];
        let head = b"POST / HTTP/1.1\r\nContent-Length: 20000\r\n\r\n";
        client.write_all(&[&head[2..], &body, b"next"].concat()).await.unwrap();
        client.shutdown().await.unwrap();
        poll_fn(|context| lock(&wire.line).written.stream().socket().poll_read_ready(context)).await.unwrap();
        let mut first = BytesMut::with_capacity(HEAD_ROOM);
        wire.read_buf(&mut first).await.unwrap();
        assert_eq!(first, &head[..]);
        let mut second = BytesMut::with_capacity(body.len());
        wire.read_buf(&mut second).await.unwrap();
        assert!(second == body, "{} bytes", second.len());
        let mut rest = Vec::new();
        wire.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"next");
    }

    #[tokio::test]
    async fn requests_that_came_together_are_read_together() {
        let (mut wire, _outlet, mut client) = connection(b"").await;
        let requests = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200);
        client.write_all(&requests).await.unwrap();
        let mut first = BytesMut::with_capacity(HEAD_ROOM);
        wire.read_buf(&mut first).await.unwrap();
        assert!(first == requests[..HEAD_ROOM]);
    }

    #[tokio::test]
    async fn a_client_that_has_closed_its_end_gets_what_is_left_and_is_not_waited_for() {
        let (mut wire, outlet, mut client) = connection(b"").await;
        client.shutdown().await.unwrap();
        assert_eq!(wire.read(&mut [0; 8]).await.unwrap(), 0);
        wire.write_all(b"the end").await.unwrap();
        drop(wire);
        outlet.finish().await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "the end");
    }
}
