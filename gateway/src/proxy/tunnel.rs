//! WebSocket connections: once both sides agree, bytes pass through in both directions.
//!
//! Pingora can do it within its phases, but loses the race between the end of the request and a
//! fast 101: about one handshake in thirty on loopback was closed at once. So the handshake is made
//! on a connection of its own, and then the two connections are joined.

use std::future::Future;
use std::io::Cursor;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};

use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::client::HttpSession as BackendSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::time::timeout;

use super::context::Context;
use super::{Settings, connector, headers, upstream};
use crate::tls::Bond;

/// Opens tunnels, each over a connection of its own.
pub(super) struct Tunnels {
    connector: TransportConnector,
}

/// Whether the request asks for another protocol on its connection.
pub(super) fn is_upgrade(head: &RequestHeader) -> bool {
    head.version == Version::HTTP_11 && head.headers.contains_key(UPGRADE) && names(head, CONNECTION, "upgrade")
}

/// Whether this upgrade is passed on: the handshake of a WebSocket, whether good or bad, which is its
/// backend's to say. Others are not: a backend that switched to HTTP/2, say, would take requests
/// that no route has seen. They go on as what they are without, as RFC 9110, 7.8 permits.
pub(super) fn is_wanted(head: &RequestHeader, bodiless: bool) -> bool {
    bodiless && head.method == Method::GET && names(head, UPGRADE, "websocket")
}

/// Whether one of the tokens of a header is this one.
fn names(head: &RequestHeader, header: HeaderName, token: &str) -> bool {
    let values = head.headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(token))
}

impl Tunnels {
    pub(super) fn new() -> Self {
        Self { connector: TransportConnector::new(None) }
    }

    /// Makes the handshake with the backend. If it agrees, this returns when either connection has
    /// ended, else when its answer has been passed on.
    pub(super) async fn serve(&self, session: &mut Session, context: &mut Context, settings: &Settings) -> Result<()> {
        let left = context.begin_attempt();
        let course = context.course.as_ref().expect("tunnels follow a course");
        let endpoint = course.backend.next_endpoint().expect("a course leads to a backend with endpoints");
        context.endpoint = Some(endpoint);
        let bond = course.bond(conf::Protocol::Http);
        let peer = upstream::peer(endpoint, conf::Protocol::Http, bond.as_ref(), settings, left);
        let handshake = self.shake_hands(session.req_header(), &peer, bond.as_ref());
        let shaken = match left {
            Some(left) => timeout(left, handshake)
                .await
                .unwrap_or_else(|_| Error::e_explain(ErrorType::ReadTimedout, "the time for this attempt is over")),
            None => handshake.await,
        };
        let (upstream, answer) = shaken.map_err(Error::into_up)?;
        if answer.status == StatusCode::SWITCHING_PROTOCOLS {
            join(session, upstream, answer, context).await
        } else {
            pass_on(session, upstream, answer, context).await
        }
    }

    /// The backend's final answer; others before it are dropped.
    async fn shake_hands(
        &self,
        head: &RequestHeader,
        peer: &HttpPeer,
        bond: Option<&Bond>,
    ) -> Result<(BackendSession, ResponseHeader)> {
        let stream: Stream = match bond {
            Some(bond) => Box::new(connector::secure_line(bond, peer).await?),
            None => self.connector.new_stream(peer).await?,
        };
        let mut upstream = BackendSession::new_with_options(stream, peer);
        upstream.write_request_header(Box::new(handshake(head))).await?;
        loop {
            upstream.read_response().await?;
            let head = upstream.resp_header().expect("an answer was just read");
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                let head = head.clone();
                return Ok((upstream, head));
            }
        }
    }
}

/// The request as the backend gets it: hop-by-hop headers removed, but for the upgrade.
fn handshake(head: &RequestHeader) -> RequestHeader {
    let mut head = head.clone();
    for name in [TE, TRAILER, TRANSFER_ENCODING, CONNECTION, UPGRADE] {
        head.remove_header(&name);
    }
    for name in ["keep-alive", "proxy-connection", "http2-settings", "proxy-authorization"] {
        head.remove_header(name);
    }
    head.insert_header(CONNECTION, "Upgrade").expect("the value is a constant");
    head.insert_header(UPGRADE, "websocket").expect("the value is a constant");
    head
}

/// The backend agrees: from here on nothing is HTTP, and no time-out applies.
async fn join(
    session: &mut Session,
    mut upstream: BackendSession,
    mut answer: ResponseHeader,
    context: &mut Context,
) -> Result<()> {
    if let Some(course) = &context.course {
        course.apply_to_answer(&mut answer);
    }
    context.status = Some(answer.status);
    context.exchange.end_attempt();
    session.as_mut().write_response_header(Box::new(answer)).await?;

    // What either side sent right behind its head has been read already.
    let to_client = at_hand(upstream.read_body_bytes()).unwrap_or_default();
    let to_backend = at_hand(session.as_mut().read_request_body()).unwrap_or_default();
    let mut backend = upstream.into_inner();
    context.exchange.become_tunnel();
    let mut client = take_stream(session)?;
    let streams = async {
        client.write_all(&to_client).await?;
        backend.write_all(&to_backend).await?;
        client.flush().await?;
        backend.flush().await?;
        copy_bidirectional(&mut client, &mut backend).await
    };
    match streams.await {
        Ok((sent, received)) => {
            context.request_bytes = sent + to_backend.len() as u64;
            context.response_bytes = received + to_client.len() as u64;
        }
        // Tunnels end as they like; the access log says how.
        Err(error) => context.note_error(format!("the tunnel broke: {error}")),
    }
    Ok(())
}

/// The backend refuses: its answer goes to the client like any other.
async fn pass_on(
    session: &mut Session,
    mut upstream: BackendSession,
    mut answer: ResponseHeader,
    context: &mut Context,
) -> Result<()> {
    if let Some(course) = &context.course {
        course.apply_to_answer(&mut answer);
    }
    context.status = Some(answer.status);
    headers::remove_hop_by_hop(&mut answer);
    answer.remove_header(&CONNECTION);
    session.set_keepalive(None);
    session.as_mut().write_response_header(Box::new(answer)).await?;
    while let Some(chunk) = upstream.read_body_bytes().await.map_err(Error::into_up)? {
        context.response_bytes += chunk.len() as u64;
        session.as_mut().write_response_body(chunk, false).await?;
    }
    session.as_mut().finish_body().await
}

/// What a read has without waiting. It is dropped where it would wait, which loses nothing.
fn at_hand(read: impl Future<Output = Result<Option<Bytes>>>) -> Option<Bytes> {
    match pin!(read).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(Ok(bytes)) => bytes,
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}

/// Takes the connection from under the session, which is left with an empty one.
fn take_stream(session: &mut Session) -> Result<Stream> {
    let empty = ServerSession::new_http1(Box::new(Cursor::new(Vec::<u8>::new())));
    match std::mem::replace(&mut *session.downstream_session, empty) {
        ServerSession::H1(session) => Ok(session.into_inner()),
        _ => Error::e_explain(ErrorType::InternalError, "only HTTP/1.1 connections become tunnels"),
    }
}
