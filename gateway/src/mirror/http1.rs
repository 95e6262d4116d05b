use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::Failure;
use super::answer::Answer;
use super::budget::Chunk;
use super::connect::{Event, Sent};
use super::head::Framing;
use crate::pool::{Http1Pool, Key};
use crate::tls::{Bond, Line};
use crate::transport::Transport;

pub(super) type Stream = Transport<Line>;

/// An HTTP/1.1 connection while it carries a copy. Dropping it closes it.
pub(super) struct Connection {
    stream: Stream,
    key: Key,
    is_reused: bool,
    chunked: bool,
    out: Out,
    answer: Answer,
    all_sent: bool,
}

/// What is to be written next, in the order of the fields.
#[derive(Default)]
struct Out {
    head: Bytes,
    /// The size of a chunk.
    size: Bytes,
    body: Bytes,
    /// What ends a chunk, and the last chunk.
    tail: Bytes,
    /// Holds the budget of `body`.
    chunk: Option<Chunk>,
    last: bool,
}

impl Connection {
    pub(super) async fn open(
        pool: &Http1Pool<Stream>,
        endpoint: SocketAddr,
        bond: Option<&Bond>,
    ) -> Result<Opened, Failure> {
        let key = Key { endpoint, bond: bond.map_or(0, Bond::number) };
        if let Some(stream) = pool.take(&key) {
            return Ok(Opened { stream, key, is_reused: true });
        }
        let stream = match bond {
            // In boxes, because they are large, rare, and would take up their room in every copy's task.
            Some(bond) => {
                let line = Box::pin(bond.connect(endpoint)).await.map_err(|error| Failure::of(&error))?;
                Stream::Secure(Box::new(line))
            }
            None => Stream::Plain(Box::pin(connect(endpoint)).await.map_err(|_| Failure::Connect)?),
        };
        Ok(Opened { stream, key, is_reused: false })
    }

    pub(super) fn is_reused(&self) -> bool {
        self.is_reused
    }

    pub(super) fn load(&mut self, chunk: Option<Chunk>, last: bool) {
        let body = chunk.as_ref().map(Chunk::bytes).unwrap_or_default();
        if self.chunked {
            self.out.tail = Bytes::from_static(match (body.is_empty(), last) {
                (true, false) => b"",
                (false, false) => b"\r\n",
                (true, true) => b"0\r\n\r\n",
                (false, true) => b"\r\n0\r\n\r\n",
            });
            if !body.is_empty() {
                self.out.size = Bytes::from(format!("{:x}\r\n", body.len()));
            }
        }
        self.out.body = body;
        self.out.chunk = chunk;
        self.out.last = last;
    }

    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<Sent, Failure>> {
        let Out { head, size, body, tail, .. } = &self.out;
        let parts = [head, size, body, tail];
        if parts.iter().any(|part| !part.is_empty()) {
            let slices = parts.map(|part| IoSlice::new(part));
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, &slices));
            let mut written = written.ok().filter(|written| *written > 0).ok_or(Failure::Send)?;
            let Out { head, size, body, tail, .. } = &mut self.out;
            for part in [head, size, body, tail] {
                let of_part = written.min(part.len());
                part.advance(of_part);
                written -= of_part;
            }
            return Poll::Ready(Ok(Sent::Part));
        }
        // TLS may hold back what the socket did not take.
        ready!(Pin::new(&mut self.stream).poll_flush(context)).map_err(|_| Failure::Send)?;
        self.out.chunk = None;
        self.all_sent = self.out.last;
        Poll::Ready(Ok(Sent::All))
    }

    pub(super) fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Failure>> {
        self.answer.poll(context, &mut self.stream)
    }

    pub(super) fn release(self, pool: &Http1Pool<Stream>) {
        if self.all_sent && self.answer.is_reusable() {
            pool.put(self.key, self.stream);
        }
    }
}

async fn connect(endpoint: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(endpoint).await?;
    // What there is to send is sent as one already.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection before it is given a request.
pub(super) struct Opened {
    stream: Stream,
    key: Key,
    is_reused: bool,
}

impl Opened {
    pub(super) fn request(self, head: Bytes, framing: Framing, to_head: bool) -> Connection {
        let Self { stream, key, is_reused } = self;
        Connection {
            stream,
            key,
            is_reused,
            chunked: framing == Framing::Open,
            out: Out { head, ..Out::default() },
            answer: Answer::new(to_head),
            all_sent: false,
        }
    }
}
