//! Connections to backends of HTTP/1.1 or with TLS, in the place that Pingora has for protocols of
//! others.

use std::any::Any;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::connectors::http::custom::{self, Connection};
use pingora_core::upstreams::peer::{HttpPeer, Peer};
use pingora_core::{Error, ErrorType, OkOrErr, OrErr, Result};
use tokio::time::timeout;

use super::exchange::Exchange;
use super::http2::Http2;
use super::line::{self, Home, Line};
use super::upstream;
use crate::pool::{Http1Pool, Http2Pool, Key};
use crate::tls::{self, Bond, BondError};

/// Opens a connection for what the request's bond says, and keeps it for the next.
pub(super) struct Connector {
    http1: Arc<Http1Pool<line::Connection>>,
    http2: Http2Pool,
}

/// Idle connections of HTTP/1.1 that are kept, to all backends together.
const IDLE_CONNECTIONS: usize = 4096;

impl Connector {
    /// `idle` is how long an idle connection of HTTP/1.1 is kept.
    pub(super) fn new(idle: Duration) -> Self {
        Self { http1: Arc::new(Http1Pool::new(IDLE_CONNECTIONS, idle)), http2: Http2Pool::new(None) }
    }

    /// A line of HTTP/1.1, which another request may have used.
    async fn line(&self, bond: Option<&Bond>, peer: &HttpPeer) -> Result<Line> {
        let home = if upstream::is_kept_apart(peer) {
            None
        } else {
            let key = Key { endpoint: endpoint(peer)?, bond: peer.group_key };
            match Line::kept(Home { pool: self.http1.clone(), key }) {
                Ok(line) => {
                    exchange().connection_was_kept();
                    return Ok(line);
                }
                Err(home) => Some(home),
            }
        };
        let connection = match bond {
            Some(bond) => secure_line(bond, peer).await?.into(),
            None => plain_connection(peer).await?,
        };
        Ok(Line::new(connection, home))
    }
}

#[async_trait]
impl custom::Connector for Connector {
    type Session = Http2;

    async fn get_http_session<P: Peer + Send + Sync + 'static>(&self, peer: &P) -> Result<(Connection<Http2>, bool)> {
        let (peer, bond) = (http_peer(peer)?, exchange().bond());
        let connection = match &bond {
            Some(bond) if bond.protocol() == conf::Protocol::H2c => {
                let line = secure_line(bond, peer).await?;
                Connection::Session(Http2::new(self.http2.begin(line, peer).await?))
            }
            bond => Connection::Stream(Box::new(self.line(bond.as_ref(), peer).await?)),
        };
        Ok((connection, false))
    }

    async fn reused_http_session<P: Peer + Send + Sync + 'static>(&self, peer: &P) -> Option<Http2> {
        if exchange().bond()?.protocol() != conf::Protocol::H2c {
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

async fn plain_connection(peer: &HttpPeer) -> Result<line::Connection> {
    let endpoint = endpoint(peer)?;
    let connected = in_time(peer, line::Connection::open(endpoint)).await?;
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

fn exchange() -> Arc<Exchange> {
    Exchange::current().expect("entrances scope every request")
}

fn http_peer<P: Peer + 'static>(peer: &P) -> Result<&HttpPeer> {
    (peer as &dyn Any).downcast_ref().or_err(ErrorType::InternalError, "all peers are of HTTP")
}
