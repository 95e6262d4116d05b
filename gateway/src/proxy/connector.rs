//! Connections to backends of HTTP/1.1 or with TLS, in the place that Pingora has for protocols of
//! others.

use std::any::Any;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::connectors::http::custom::{self, Connection};
use pingora_core::upstreams::peer::{HttpPeer, Peer};
use pingora_core::{Error, ErrorType, OkOrErr, OrErr, Result};
use tokio::time::timeout;

use super::exchange::Exchange;
use super::http2::Http2;
use super::line::Line;
use crate::pool::Http2Pool;
use crate::tls::{self, Bond, BondError};

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
        let peer = http_peer(peer)?;
        let connection = match bond() {
            Some(bond) => {
                let line = secure_line(&bond, peer).await?;
                match bond.protocol() {
                    conf::Protocol::Http => Connection::Stream(Box::new(Line::from(line))),
                    conf::Protocol::H2c => Connection::Session(Http2::new(self.http2.begin(line, peer).await?)),
                }
            }
            None => Connection::Stream(Box::new(plain_line(peer).await?)),
        };
        Ok((connection, false))
    }

    async fn reused_http_session<P: Peer + Send + Sync + 'static>(&self, peer: &P) -> Option<Http2> {
        if bond()?.protocol() != conf::Protocol::H2c {
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
pub(super) async fn secure_line(bond: &Bond, peer: &HttpPeer) -> Result<tls::Line> {
    let endpoint = endpoint(peer)?;
    in_time(peer, bond.connect(endpoint)).await?.map_err(|error| {
        let kind = match &error {
            BondError::Connect(_) => ErrorType::ConnectError,
            BondError::Handshake(_) | BondError::NoHttp2 => ErrorType::TLSHandshakeFailure,
        };
        Error::because(kind, format!("connecting to {endpoint}"), error)
    })
}

async fn plain_line(peer: &HttpPeer) -> Result<Line> {
    let endpoint = endpoint(peer)?;
    let connected = in_time(peer, Line::connect(endpoint)).await?;
    connected.or_err_with(ErrorType::ConnectError, || format!("connecting to {endpoint}"))
}

/// What comes of a connection if it is there in the time that the peer has for it.
async fn in_time<T>(peer: &HttpPeer, connecting: impl Future<Output = T>) -> Result<T> {
    match peer.options.total_connection_timeout {
        Some(limit) => timeout(limit, connecting).await.or_err(ErrorType::ConnectTimedout, "no connection in time"),
        None => Ok(connecting.await),
    }
}

fn endpoint(peer: &HttpPeer) -> Result<SocketAddr> {
    peer.address().as_inet().copied().or_err(ErrorType::InternalError, "backends have addresses")
}

/// What the connection of the request is to rest on; none without TLS.
fn bond() -> Option<Bond> {
    Exchange::current().and_then(|exchange| exchange.bond())
}

fn http_peer<P: Peer + 'static>(peer: &P) -> Result<&HttpPeer> {
    (peer as &dyn Any).downcast_ref().or_err(ErrorType::InternalError, "all peers are of HTTP")
}
