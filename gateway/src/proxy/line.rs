//! A connection of HTTP/1.1 to a backend as Pingora sees it, with what is written to it gathered.
//!
//! Pingora sends a request's head, and then each piece of its body by itself. Here they are gathered
//! until the task of the request has nothing more to do at once: its [`Exchange`] then sends them in
//! one call.

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
use crate::tls;
use crate::transport::Transport;

type Written = Mutex<Gathered<Transport<tls::Line>>>;

pub(super) struct Line {
    written: Arc<Written>,
    id: RawFd,
    digest: Arc<SocketDigest>,
}

/// The same connection for whoever sends what was written to it.
pub(super) struct Outlet(Arc<Written>);

impl Line {
    pub(super) async fn connect(endpoint: SocketAddr) -> io::Result<Self> {
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

    /// Has what waits sent by the request that it belongs to.
    fn gather(
        &self,
        write: impl FnOnce(&mut Gathered<Transport<tls::Line>>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let mut written = lock(&self.written);
        let result = write(&mut written);
        if !written.unsent().is_empty() {
            let exchange = Exchange::current().expect("entrances scope every request");
            exchange.send_later(Outlet(self.written.clone()));
        }
        result
    }
}

impl From<tls::Line> for Line {
    fn from(line: tls::Line) -> Self {
        let digest = line.get_socket_digest().expect("every line has one");
        Self::new(line.id(), digest, Transport::Secure(Box::new(line)))
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
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        lock(&self.written).poll_read(context, buffer)
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
        lock(&self.written).poll_shutdown(context)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("id", &self.id).finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for Line {
    async fn shutdown(&mut self) {
        // A connection that is broken is shut down already.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Line {
    fn id(&self) -> RawFd {
        self.id
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
        Some(self.digest.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::sync::watch;

    use super::super::exchange::CURRENT;
    use super::*;
    use crate::listen::{Arrival, Head, Protocol};

    #[tokio::test]
    async fn head_and_body_are_sent_as_one_when_the_task_of_the_request_waits() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint = listener.local_addr().unwrap();
        let (line, accepted) = tokio::join!(Line::connect(endpoint), listener.accept());
        let (mut line, (mut backend, _)) = (line.unwrap(), accepted.unwrap());
        let head = Arc::new(Head::new(None));
        let arrival = Arrival { socket: endpoint, protocol: Protocol::Http1, secured_by: None, head };
        let exchange = Exchange::new(arrival, watch::channel(false).1, Duration::ZERO);
        let request = async {
            line.write_all(b"head").await.unwrap();
            line.flush().await.unwrap();
            line.write_all(b"body").await.unwrap();
        };
        CURRENT.scope(exchange.clone(), request).await;
        assert_eq!(lock(&line.written).unsent(), "headbody");

        let send = |context: &mut Context<'_>| {
            exchange.poll_send(context);
            Poll::Ready(())
        };
        poll_fn(send).await;
        let mut received = [0; 16];
        assert_eq!(backend.read(&mut received).await.unwrap(), 8);
        assert_eq!(&received[..8], b"headbody");
        assert_eq!(lock(&line.written).unsent().capacity(), 0);
        assert_eq!(Arc::strong_count(&line.written), 1);
    }
}
