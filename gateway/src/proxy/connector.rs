//! Connections to backends with TLS, in the place that Pingora has for protocols of others.

use std::any::Any;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::connectors::http::custom::{self, Connection};
use pingora_core::upstreams::peer::{HttpPeer, Peer};
use pingora_core::{Error, ErrorType, OkOrErr, OrErr, Result};
use tokio::time::timeout;

use super::exchange::Exchange;
use super::http2::Http2;
use crate::pool::Http2Pool;
use crate::tls::{Bond, BondError, Line};

/// Opens a connection for what the request's bond says, and keeps those of HTTP/2; the others are in
/// Pingora's own pool.
pub(super) struct Connector {
    http2: Http2Pool,
}

impl Connector {
    pub(super) fn new() -> Self {
        Self { http2: Http2Pool::new(None) }
    }
}

#[async_trait]
impl custom::Connector for Connector {
    type Session = Http2;

    async fn get_http_session<P: Peer + Send + Sync + 'static>(&self, peer: &P) -> Result<(Connection<Http2>, bool)> {
        let (peer, bond) = (http_peer(peer)?, bond()?);
        let line = secure_line(&bond, peer).await?;
        let connection = match bond.protocol() {
            conf::Protocol::Http => Connection::Stream(Box::new(line)),
            conf::Protocol::H2c => Connection::Session(Http2::new(self.http2.begin(line, peer).await?)),
        };
        Ok((connection, false))
    }

    async fn reused_http_session<P: Peer + Send + Sync + 'static>(&self, peer: &P) -> Option<Http2> {
        if bond().ok()?.protocol() != conf::Protocol::H2c {
            return None;
        }
        self.http2.known(http_peer(peer).ok()?).await.map(Http2::new)
    }

    async fn release_http_session<P: Peer + Send + Sync + 'static>(
        &self,
        session: Http2,
        peer: &P,
        idle_timeout: Option<Duration>,
    ) {
        if let Ok(peer) = http_peer(peer) {
            self.http2.release(session.into_inner(), peer, idle_timeout);
        }
    }
}

/// A connection whose other end has proved who it is, in the time that the peer has for it.
pub(super) async fn secure_line(bond: &Bond, peer: &HttpPeer) -> Result<Line> {
    let endpoint = peer.address().as_inet().or_err(ErrorType::InternalError, "backends have addresses")?;
    let connecting = bond.connect(*endpoint);
    let connected = match peer.options.total_connection_timeout {
        Some(limit) => timeout(limit, connecting).await.or_err(ErrorType::ConnectTimedout, "no connection in time")?,
        None => connecting.await,
    };
    connected.map_err(|error| {
        let kind = match &error {
            BondError::Connect(_) => ErrorType::ConnectError,
            BondError::Handshake(_) | BondError::NoHttp2 => ErrorType::TLSHandshakeFailure,
        };
        Error::because(kind, format!("connecting to {endpoint}"), error)
    })
}

fn bond() -> Result<Bond> {
    Exchange::current()
        .and_then(|exchange| exchange.bond())
        .or_err(ErrorType::InternalError, "only requests with a bond come here")
}

fn http_peer<P: Peer + 'static>(peer: &P) -> Result<&HttpPeer> {
    (peer as &dyn Any).downcast_ref().or_err(ErrorType::InternalError, "all peers are of HTTP")
}
