//! What a backend does with a request, as a list of steps.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::PATIENCE;

pub type Script = Vec<Step>;

#[derive(Clone, Debug)]
pub enum Step {
    /// So many bytes more of the body.
    Read(u64),
    ReadAll,
    /// All of the body, so many bytes at a time, with a pause after each.
    Sip(u64, Duration),
    Reply(Reply),
    /// The head of an answer that goes on. HTTP/2 only.
    Begin(Reply),
    /// Bytes as they are; over HTTP/2, of the answer that has begun.
    Write(Bytes),
    /// The end of the answer that has begun, with trailers. HTTP/2 only.
    Finish(Vec<(String, String)>),
    /// The same bytes again and again, until the connection is gone. HTTP/1.1 only.
    Flood(Bytes),
    /// One byte at a time, for ever. HTTP/1.1 only.
    Drip(Duration),
    Wait(Gate),
    /// Nothing, for ever; the connection stays open and unread.
    Stall,
    /// Every byte comes back until the other side ends. HTTP/1.1 only.
    Tunnel,
    /// The connection ends in order (FIN).
    Close,
    /// The connection (RST) or the stream (`CANCEL`) ends at once.
    Reset,
    /// The stream ends as one that was never looked at (`REFUSED_STREAM`). HTTP/2 only.
    Refuse,
    /// The connection takes no further streams (GOAWAY). HTTP/2 only.
    GoAway,
}

/// Scripts that many tests need.
impl Step {
    /// Reads everything and gives it back: the body if it is one that is kept, else its length.
    pub fn echo() -> Script {
        vec![Self::ReadAll, Self::Reply(Reply::echo())]
    }

    pub fn status(status: u16) -> Script {
        vec![Self::ReadAll, Self::Reply(Reply::status(status))]
    }

    /// Reads everything, answers nothing.
    pub fn never_answer() -> Script {
        vec![Self::ReadAll, Self::Stall]
    }

    /// Answers as [`Step::echo`] does once the gate is open.
    pub fn echo_after(gate: &Gate) -> Script {
        vec![Self::ReadAll, Self::Wait(gate.clone()), Self::Reply(Reply::echo())]
    }

    pub fn write(bytes: impl Into<Bytes>) -> Self {
        Self::Write(bytes.into())
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: ReplyBody,
    pub trailers: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub enum ReplyBody {
    /// What the request's body was.
    Echo,
    Length(Bytes),
    /// Each piece a chunk; of HTTP/2 a frame.
    Chunked(Vec<Bytes>),
    /// Neither body nor length, as answers to HEAD and those with status 204 or 304 are.
    None,
}

impl Reply {
    pub fn echo() -> Self {
        Self { body: ReplyBody::Echo, ..Self::status(200) }
    }

    pub fn status(status: u16) -> Self {
        let body = ReplyBody::Length(Bytes::new());
        Self { status, headers: Vec::new(), body, trailers: Vec::new() }
    }

    pub fn text(text: &str) -> Self {
        Self { body: ReplyBody::Length(Bytes::copy_from_slice(text.as_bytes())), ..Self::status(200) }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A point that scripts stop at until the test lets them on.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Gate {
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn wait(&self) {
        let mut open = self.0.subscribe();
        // A test that never opens its gate ends all the same.
        let _ = tokio::time::timeout(2 * PATIENCE, open.wait_for(|open| *open)).await;
    }
}
