use std::future::poll_fn;
use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{Entry, MakeScript, Memory};
use crate::script::ReplyBody;
use crate::stream::Stream;
use crate::{Framing, Head, Reply, Step};

/// What a backend tells in its settings, where it is not what most do.
#[derive(Clone, Copy, Debug, Default)]
pub struct H2Habits {
    /// How many streams it takes at once.
    pub streams: Option<u32>,
    /// How many bytes of a body it takes before it has read any.
    pub window: Option<u32>,
}

/// Serves the streams of one connection, all at once.
pub(super) async fn serve(stream: Stream, habits: H2Habits, connection: usize, memory: Memory, script: MakeScript) {
    stream.socket().set_nodelay(true).expect("a connected socket has this option");
    let mut builder = h2::server::Builder::new();
    if let Some(streams) = habits.streams {
        builder.max_concurrent_streams(streams);
    }
    if let Some(window) = habits.window {
        builder.initial_window_size(window);
    }
    let Ok(mut session) = builder.handshake(stream).await else { return };
    let mut streams = JoinSet::new();
    let leaving = Arc::new(Notify::new());
    loop {
        let accepted = tokio::select! {
            accepted = session.accept() => accepted,
            () = leaving.notified() => {
                session.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else { break };
        let (head, framing) = head(&request);
        let entry = memory.begin(connection, head.clone(), framing);
        let script = script(entry.number, &head);
        let exchange =
            Exchange { body: request.into_body(), respond, entry, unread: 0, answer: None, leaving: leaving.clone() };
        streams.spawn(exchange.play(script));
    }
    // The connection is gone; what its streams still read says how they ended.
    while streams.join_next().await.is_some() {}
}

/// The head in the form of HTTP/1.1.
fn head(request: &Request<RecvStream>) -> (Head, Framing) {
    let uri = request.uri();
    let target = uri.path_and_query().map_or("*", |target| target.as_str());
    let mut text = format!("{} {target} HTTP/2\r\n", request.method()).into_bytes();
    let mut line = |name: &str, value: &[u8]| text.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    if let Some(authority) = uri.authority() {
        line("host", authority.as_str().as_bytes());
    }
    for (name, value) in request.headers() {
        line(name.as_str(), value.as_bytes());
    }
    text.extend(b"\r\n");
    let length = request.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    (Head { bytes: text }, Framing::Http2(length))
}

struct Exchange {
    body: RecvStream,
    respond: SendResponse<Bytes>,
    entry: Entry,
    /// Bytes of the last frame that the script did not read yet: their window is still held.
    unread: u64,
    /// One that has begun and goes on.
    answer: Option<SendStream<Bytes>>,
    /// Of the connection.
    leaving: Arc<Notify>,
}

impl Exchange {
    async fn play(mut self, script: Vec<Step>) {
        if let Err(error) = self.steps(script).await {
            let kind = match error.reason() {
                Some(_) => ErrorKind::ConnectionReset,
                None => ErrorKind::UnexpectedEof,
            };
            self.entry.abort(kind);
        }
    }

    async fn steps(&mut self, script: Vec<Step>) -> Result<(), h2::Error> {
        for (number, step) in script.iter().enumerate() {
            self.entry.before(&script[number..]);
            match step.clone() {
                Step::Read(length) => self.read(length).await?,
                Step::ReadAll => self.read(u64::MAX).await?,
                Step::Sip(length, pause) => {
                    while !self.entry.is_complete() {
                        self.read(length).await?;
                        tokio::time::sleep(pause).await;
                    }
                }
                Step::Reply(reply) => self.reply(reply).await?,
                Step::Wait(gate) => gate.wait().await,
                Step::Stall => std::future::pending().await,
                Step::Reset => {
                    self.respond.send_reset(Reason::CANCEL);
                    return Ok(());
                }
                Step::Refuse => {
                    self.respond.send_reset(Reason::REFUSED_STREAM);
                    return Ok(());
                }
                Step::GoAway => self.leaving.notify_one(),
                Step::Begin(reply) => self.answer = Some(self.head(&reply, false)?),
                Step::Write(bytes) => send(self.answer()?, bytes).await?,
                Step::Finish(trailers) => finish(self.answer()?, &trailers)?,
                Step::Flood(_) | Step::Drip(_) | Step::Tunnel | Step::Close => {
                    unreachable!("{step:?} is a step for HTTP/1.1")
                }
            }
        }
        self.entry.before(&[]);
        Ok(())
    }

    async fn read(&mut self, length: u64) -> Result<(), h2::Error> {
        let mut left = length.saturating_sub(self.unread);
        self.unread = self.unread.saturating_sub(length);
        while left > 0 {
            let Some(chunk) = self.body.data().await.transpose()? else {
                let trailers = self.body.trailers().await?.unwrap_or_default();
                self.entry.complete(pairs(&trailers));
                break;
            };
            self.body.flow_control().release_capacity(chunk.len())?;
            let length = chunk.len() as u64;
            self.unread = length.saturating_sub(left);
            left = left.saturating_sub(length);
            self.entry.update(|receipt| receipt.body.push(&chunk));
        }
        Ok(())
    }

    async fn reply(&mut self, reply: Reply) -> Result<(), h2::Error> {
        let chunks = match &reply.body {
            ReplyBody::Echo => vec![Bytes::from(self.entry.echoed())],
            ReplyBody::Length(body) => vec![body.clone()],
            ReplyBody::Chunked(chunks) => chunks.clone(),
            ReplyBody::None => Vec::new(),
        };
        let is_end = chunks.is_empty() && reply.trailers.is_empty();
        let mut stream = self.head(&reply, is_end)?;
        if is_end {
            return Ok(());
        }
        for chunk in chunks {
            send(&mut stream, chunk).await?;
        }
        finish(&mut stream, &reply.trailers)
    }

    fn head(&mut self, reply: &Reply, is_end: bool) -> Result<SendStream<Bytes>, h2::Error> {
        let mut response = Response::builder().status(reply.status);
        for (name, value) in &reply.headers {
            response = response.header(name, value);
        }
        let response = response.body(()).expect("scripts answer with valid headers");
        self.respond.send_response(response, is_end)
    }

    fn answer(&mut self) -> Result<&mut SendStream<Bytes>, h2::Error> {
        self.answer.as_mut().ok_or_else(|| Reason::INTERNAL_ERROR.into())
    }
}

fn finish(stream: &mut SendStream<Bytes>, trailers: &[(String, String)]) -> Result<(), h2::Error> {
    if trailers.is_empty() {
        return stream.send_data(Bytes::new(), true);
    }
    let pair = |(name, value): &(String, String)| {
        (name.parse().expect("a header name"), value.parse().expect("a header value"))
    };
    stream.send_trailers(trailers.iter().map(pair).collect())
}

/// Sends the bytes as the window allows.
pub(crate) async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let capacity = match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(capacity) => capacity?,
            None => return Err(Reason::STREAM_CLOSED.into()),
        };
        stream.send_data(bytes.split_to(capacity.min(bytes.len())), false)?;
    }
    Ok(())
}

pub(crate) fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
