//! The connections to mirrors. Their pools are apart from the primaries', so that no primary's
//! connection is ever taken, evicted or waited for on account of a mirror.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use pingora_core::connectors::ConnectorOptions;
use pingora_core::upstreams::peer::HttpPeer;

use super::budget::Chunk;
use super::head::{Form, Head};
use super::{Failure, Limits, http1, http2};
use crate::pool::{Http1Pool, Http2Pool};
use crate::tls::Bond;

/// The pools of both protocols. HTTP/1.1 is spoken here rather than by Pingora's session, which sends a head and its
/// body one after the other, knows no progress within a write, and cannot read while it writes: a
/// mirror that answers while the body is still on its way would come to a standstill.
pub(super) struct Connectors {
    pub(super) http1: Http1Pool<http1::Stream>,
    pub(super) http2: Http2Pool,
}

impl Connectors {
    pub(super) fn new(limits: &Limits) -> Self {
        let options = ConnectorOptions::new(limits.idle_connections);
        Self { http1: Http1Pool::new(limits.idle_connections, limits.idle), http2: Http2Pool::new(Some(options)) }
    }

    /// A connection to this endpoint on which the request with this head can be sent, with TLS if
    /// there is a bond. Must be given up after [`Limits::connect`] by the caller.
    pub(super) async fn connect(
        &self,
        limits: &Limits,
        endpoint: SocketAddr,
        bond: Option<&Bond>,
        head: Head,
    ) -> Result<Connection, Failure> {
        Ok(match head.form {
            Form::Http1(bytes) => {
                let connection = http1::Connection::open(&self.http1, endpoint, bond).await?;
                Connection::Http1(connection.request(bytes, head.framing, head.is_head))
            }
            Form::Http2(parts) => {
                // In a box, because it is large and would take up its room in every copy's task.
                let opening = http2::Connection::open(&self.http2, peer(limits, endpoint, bond), bond);
                let connection = Box::pin(opening).await?;
                Connection::Http2(connection.request(parts))
            }
        })
    }
}

fn peer(limits: &Limits, endpoint: SocketAddr, bond: Option<&Bond>) -> Box<HttpPeer> {
    let mut peer = Box::new(HttpPeer::new(endpoint, false, String::new()));
    peer.group_key = bond.map_or(0, Bond::number);
    peer.options.idle_timeout = Some(limits.idle);
    peer.options.set_http_version(2, 2);
    peer.options.max_h2_streams = STREAMS;
    // A connection whose other end fell silent would else be kept, with all its streams.
    peer.options.h2_ping_interval = Some(limits.response_head);
    // Answers are only read to be thrown away, so little of them need be on its way.
    peer.options.h2_stream_window_size = Some(64 << 10);
    peer.options.h2_connection_window_size = Some(1 << 20);
    peer
}

/// A connection while it carries a copy.
pub(super) enum Connection {
    Http1(http1::Connection),
    Http2(http2::Connection),
}

/// What is noticed of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The final status.
    Head(u16),
    /// So many bytes, of the body or its framing.
    Data(usize),
    End,
}

/// How far the last piece given to a connection is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Some of it.
    Part,
    All,
}

impl Connection {
    /// Whether it had carried other requests before.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_reused(),
            Self::Http2(connection) => connection.is_reused(),
        }
    }

    /// Takes the next piece of the body, after the one before is sent. The head goes with the first.
    pub(super) fn load(&mut self, chunk: Option<Chunk>, last: bool) {
        match self {
            Self::Http1(connection) => connection.load(chunk, last),
            Self::Http2(connection) => connection.load(chunk, last),
        }
    }

    /// Sends on what was loaded. Ready at each progress.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<Sent, Failure>> {
        match self {
            Self::Http1(connection) => connection.poll_send(context),
            Self::Http2(connection) => connection.poll_send(context),
        }
    }

    /// The next of the answer, which may come before all is sent. Not to be called after the end.
    pub(super) fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Failure>> {
        match self {
            Self::Http1(connection) => connection.poll_answer(context),
            Self::Http2(connection) => connection.poll_answer(context),
        }
    }

    /// After all was sent and the answer's end was read: keeps the connection for another copy.
    pub(super) fn release(self, connectors: &Connectors, limits: &Limits) {
        match self {
            Self::Http1(connection) => connection.release(&connectors.http1),
            Self::Http2(connection) => connection.release(&connectors.http2, limits.idle),
        }
    }

    /// Otherwise: the mirror sees that the request is broken off, if it was not sent whole. A
    /// connection that carries nothing else is closed; one that seems to be `stuck` gets no further
    /// copies.
    pub(super) fn abandon(self, connectors: &Connectors, limits: &Limits, stuck: bool) {
        match self {
            Self::Http1(connection) => drop(connection),
            Self::Http2(connection) => connection.abandon(&connectors.http2, limits.idle, stuck),
        }
    }
}

/// Copies at a time on one HTTP/2 connection, unless the mirror wants fewer.
const STREAMS: usize = 100;
