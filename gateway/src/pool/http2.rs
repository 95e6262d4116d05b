//! HTTP/2 connections that are shared, with a work-around for what Pingora's pool does with them.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::v2::{Connector, H2HandshakeSettings, handshake};
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::upstreams::peer::{HttpPeer, Peer};
use pingora_core::{ErrorType, OkOrErr, Result};

use crate::tls::Line;

/// Connections that carry requests or wait for some.
pub(crate) struct Http2Pool {
    connector: Connector,
    /// Held while a stream of a known connection begins or ends. Pingora takes the connection out of
    /// the pool to begin one, and puts it back; a stream that ends in between puts it back as well,
    /// and the entry too many keeps the connection open for ever.
    change: Mutex<()>,
}

impl Http2Pool {
    pub(crate) fn new(options: Option<ConnectorOptions>) -> Self {
        Self { connector: Connector::new(options), change: Mutex::default() }
    }

    /// A stream of a connection that is open already.
    pub(crate) async fn known(&self, peer: &HttpPeer) -> Option<Http2Session> {
        let mut reusing = pin!(self.connector.reused_http_session(peer));
        let session = poll_fn(|context| {
            let _held = self.lock();
            reusing.as_mut().poll(context)
        });
        // One that turns out to be broken is as good as none.
        session.await.ok().flatten()
    }

    /// The first stream of a new connection, without TLS.
    pub(crate) async fn open(&self, peer: &HttpPeer) -> Result<Http2Session> {
        match self.connector.new_http_session::<_, ()>(peer).await? {
            HttpSession::H2(session) => Some(session),
            _ => None,
        }
        .or_err(ErrorType::H2Error, "the peer is not for HTTP/2")
    }

    /// The first stream of a new connection, which HTTP/2 is spoken on.
    pub(crate) async fn begin(&self, line: Line, peer: &HttpPeer) -> Result<Http2Session> {
        let mut settings = H2HandshakeSettings::new();
        settings.max_streams = peer.options.max_h2_streams;
        settings.ping_interval = peer.options.h2_ping_interval;
        settings.stream_window_size = peer.options.h2_stream_window_size;
        settings.connection_window_size = peer.options.h2_connection_window_size;
        let connection = handshake(Box::new(line), settings).await?;
        let session = connection.spawn_stream().await?;
        let session = session.or_err(ErrorType::H2Error, "the connection takes no stream")?;
        if connection.more_streams_allowed() {
            self.connector.in_use_pool().insert(peer.reuse_hash(), connection);
        }
        Ok(session)
    }

    pub(crate) fn release(&self, session: Http2Session, peer: &HttpPeer, idle: Option<Duration>) {
        let _held = self.lock();
        self.connector.release_http_session(session, peer, idle);
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
