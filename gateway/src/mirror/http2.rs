use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use pingora::http::RequestHeader;
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::upstreams::peer::{HttpPeer, Peer};

use super::Failure;
use super::budget::Chunk;
use super::connect::{Event, Sent};
use crate::pool::Http2Pool;
use crate::tls::Bond;

/// A stream of an HTTP/2 connection while it carries a copy.
pub(super) struct Connection {
    session: Http2Session,
    peer: Box<HttpPeer>,
    is_reused: bool,
    /// Until it is sent.
    head: Option<Box<http::request::Parts>>,
    sender: Option<SendStream<Bytes>>,
    /// What is to be sent next. The budget is held by the bytes themselves, because HTTP/2 keeps
    /// them until the mirror's windows are open.
    out: Bytes,
    last: bool,
    ended: bool,
    answered: bool,
}

impl Connection {
    pub(super) async fn open(pool: &Http2Pool, peer: Box<HttpPeer>, bond: Option<&Bond>) -> Result<Opened, Failure> {
        if let Some(session) = pool.known(&peer).await {
            return Ok(Opened { session, peer, is_reused: true });
        }
        // In a box, because it is large, rare, and would take up its room in every copy's task.
        let session = Box::pin(async {
            match bond {
                Some(bond) => {
                    let endpoint = *peer.address().as_inet().ok_or(Failure::Connect)?;
                    let line = bond.connect(endpoint).await.map_err(|error| Failure::of(&error))?;
                    pool.begin(line, &peer).await.map_err(|_| Failure::Connect)
                }
                None => pool.open(&peer).await.map_err(|_| Failure::Connect),
            }
        });
        let session = session.await?;
        Ok(Opened { session, peer, is_reused: false })
    }

    pub(super) fn is_reused(&self) -> bool {
        self.is_reused
    }

    pub(super) fn load(&mut self, chunk: Option<Chunk>, last: bool) {
        self.out = chunk.map(Bytes::from_owner).unwrap_or_default();
        self.last = last;
    }

    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<Sent, Failure>> {
        if let Some(parts) = self.head.take() {
            self.send_head(*parts)?;
        }
        if self.out.is_empty() {
            if self.last && !self.ended {
                self.send_data(Bytes::new(), true)?;
            }
            return Poll::Ready(Ok(Sent::All));
        }
        let sender = self.sender.as_mut().ok_or(Failure::Send)?;
        sender.reserve_capacity(self.out.len());
        let capacity = ready!(sender.poll_capacity(context)).and_then(Result::ok).ok_or(Failure::Send)?;
        let piece = self.out.split_to(capacity.min(self.out.len()));
        let (end, sent) = (self.last && self.out.is_empty(), if self.out.is_empty() { Sent::All } else { Sent::Part });
        self.send_data(piece, end)?;
        Poll::Ready(Ok(sent))
    }

    pub(super) fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Failure>> {
        if self.head.is_some() {
            return Poll::Pending;
        }
        if !self.answered {
            ready!(self.session.poll_read_response_header(context)).map_err(|_| Failure::NoAnswer)?;
            self.answered = true;
            let head = self.session.response_header().expect("it was just read");
            return Poll::Ready(Ok(Event::Head(head.status.as_u16())));
        }
        Poll::Ready(Ok(match ready!(self.session.poll_read_response_body(context)) {
            Some(Ok(data)) => Event::Data(data.len()),
            Some(Err(_)) | None => Event::End,
        }))
    }

    pub(super) fn release(self, pool: &Http2Pool, idle: Duration) {
        pool.release(self.session, &self.peer, Some(idle));
    }

    pub(super) fn abandon(mut self, pool: &Http2Pool, idle: Duration, stuck: bool) {
        if let Some(sender) = &mut self.sender {
            sender.send_reset(Reason::CANCEL);
        }
        if stuck {
            self.session.conn.mark_shutdown();
        }
        self.release(pool, idle);
    }

    fn send_head(&mut self, parts: http::request::Parts) -> Result<(), Failure> {
        self.ended = self.last && self.out.is_empty();
        let head = Box::new(RequestHeader::from(parts));
        self.session.write_request_header(head, self.ended).map_err(|_| Failure::Send)?;
        self.sender = self.session.take_request_body_writer();
        Ok(())
    }

    fn send_data(&mut self, data: Bytes, end: bool) -> Result<(), Failure> {
        let sender = self.sender.as_mut().ok_or(Failure::Send)?;
        sender.send_data(data, end).map_err(|_| Failure::Send)?;
        self.ended = end;
        Ok(())
    }
}

/// A stream before it is given a request.
pub(super) struct Opened {
    session: Http2Session,
    peer: Box<HttpPeer>,
    is_reused: bool,
}

impl Opened {
    pub(super) fn request(self, parts: Box<http::request::Parts>) -> Connection {
        let Self { session, peer, is_reused } = self;
        Connection {
            session,
            peer,
            is_reused,
            head: Some(parts),
            sender: None,
            out: Bytes::new(),
            last: false,
            ended: false,
            answered: false,
        }
    }
}
