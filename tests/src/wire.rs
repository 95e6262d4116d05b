//! HTTP/1.1 as bytes: just enough of a parser to take messages off a connection without changing
//! or forgetting anything in them. It is not the gateway's parser, on purpose.

use std::fmt;
use std::io::{self, ErrorKind};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::stream::Stream;

/// The start line and the headers, to and including the empty line.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Head {
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().fmt(f)
    }
}

impl Head {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn start_line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    /// The given word of the start line; of a request these are method, target and version.
    pub fn word(&self, index: usize) -> String {
        self.start_line().split(' ').nth(index).unwrap_or_default().to_owned()
    }

    /// All headers in their order, names as they were written.
    pub fn headers(&self) -> Vec<(String, String)> {
        let text = self.text();
        let lines = text.split("\r\n").skip(1).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                (name.to_owned(), value.trim().to_owned())
            })
            .collect()
    }

    /// The values of all headers with this name, case ignored.
    pub fn values(&self, name: &str) -> Vec<String> {
        self.headers().into_iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// The value of the first header with this name.
    pub fn header(&self, name: &str) -> Option<String> {
        self.values(name).into_iter().next()
    }

    /// How the body of a request with this head is delimited.
    pub(crate) fn request_framing(&self) -> Framing {
        if self.header("transfer-encoding").is_some() {
            Framing::Chunked
        } else if let Some(length) = self.length() {
            Framing::Length(length)
        } else {
            Framing::None
        }
    }

    /// How the body of an answer with this head is delimited; a `bodiless` one answers HEAD.
    pub(crate) fn answer_framing(&self, bodiless: bool) -> Framing {
        let status = self.word(1);
        if bodiless || status.starts_with('1') || status == "204" || status == "304" {
            return Framing::None;
        }
        match self.request_framing() {
            Framing::None => Framing::UntilClose,
            framing => framing,
        }
    }

    fn length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
    /// A stream of HTTP/2, with the length that its head tells.
    Http2(Option<u64>),
}

/// A connection, and what was read from it ahead of need.
pub(crate) struct Wire {
    stream: Stream,
    buffer: BytesMut,
}

impl Wire {
    pub(crate) fn new(stream: impl Into<Stream>) -> Self {
        let stream = stream.into();
        stream.socket().set_nodelay(true).expect("a connected socket has this option");
        Self { stream, buffer: BytesMut::new() }
    }

    pub(crate) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Ends the connection with RST instead of FIN.
    pub(crate) fn reset(self) {
        self.stream.socket().set_zero_linger().expect("a connected socket has this option");
    }

    /// The next head; nothing if the peer ended the connection before its first byte.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].windows(4).position(|window| window == b"\r\n\r\n") {
                return Ok(Some(Head { bytes: self.buffer.split_to(searched + at + 4).to_vec() }));
            }
            searched = self.buffer.len().saturating_sub(3);
            match (self.fill().await, self.buffer.is_empty()) {
                (Ok(()), _) => {}
                (Err(error), true) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                (Err(error), _) => return Err(error),
            }
        }
    }

    /// The next piece of the body; nothing at its end.
    pub(crate) async fn chunk(&mut self, body: &mut BodyReader) -> io::Result<Option<Bytes>> {
        loop {
            match body.state {
                State::End => return Ok(None),
                State::Length(0) => body.state = State::End,
                State::Length(left) => {
                    let piece = self.piece(left).await?;
                    body.state = State::Length(left - piece.len() as u64);
                    return Ok(Some(piece));
                }
                State::ChunkSize => {
                    let line = self.line().await?;
                    let size = line.split(';').next().unwrap_or_default().trim();
                    let size = u64::from_str_radix(size, 16)
                        .map_err(|_| io::Error::new(ErrorKind::InvalidData, format!("chunk size {line:?}")))?;
                    body.state = if size == 0 { State::Trailers } else { State::Chunk(size) };
                }
                State::Chunk(0) => {
                    if !self.line().await?.is_empty() {
                        return Err(io::Error::new(ErrorKind::InvalidData, "bytes between chunks"));
                    }
                    body.state = State::ChunkSize;
                }
                State::Chunk(left) => {
                    let piece = self.piece(left).await?;
                    body.state = State::Chunk(left - piece.len() as u64);
                    return Ok(Some(piece));
                }
                State::Trailers => {
                    let line = self.line().await?;
                    match line.split_once(':') {
                        Some((name, value)) => body.trailers.push((name.to_owned(), value.trim().to_owned())),
                        None => body.state = State::End,
                    }
                }
                State::UntilClose => {
                    return match self.piece(u64::MAX).await {
                        Ok(piece) => Ok(Some(piece)),
                        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                            body.state = State::End;
                            Ok(None)
                        }
                        Err(error) => Err(error),
                    };
                }
            }
        }
    }

    /// Any bytes, at most so many, as soon as there are some.
    pub(crate) async fn piece(&mut self, at_most: u64) -> io::Result<Bytes> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        let length = self.buffer.len().min(usize::try_from(at_most).unwrap_or(usize::MAX));
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.advance(end + 2);
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    /// Reads at least a byte, or says that there will be none.
    async fn fill(&mut self) -> io::Result<()> {
        self.buffer.reserve(READ);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// How far into a body its reader is.
pub(crate) struct BodyReader {
    state: State,
    pub(crate) trailers: Vec<(String, String)>,
}

enum State {
    Length(u64),
    ChunkSize,
    /// The bytes left of this chunk.
    Chunk(u64),
    Trailers,
    UntilClose,
    End,
}

impl BodyReader {
    pub(crate) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Http2(_) => State::End,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, trailers: Vec::new() }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        matches!(self.state, State::End | State::Length(0))
    }
}

const READ: usize = 64 << 10;
