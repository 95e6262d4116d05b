use std::future::Future;
use std::mem::MaybeUninit;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;

use super::Failure;
use super::connect::Event;
use super::http1::Stream;

/// An HTTP/1.1 answer, of which only the status and the end are of interest. Whatever a mirror sends
/// takes up no more memory than the longest head that is accepted.
pub(super) struct Answer {
    /// What was read and not looked at yet.
    buffer: BytesMut,
    search: Search,
    part: Part,
    to_head: bool,
    informational: u32,
    /// Whether another answer may follow on the connection.
    persistent: bool,
}

enum Part {
    Head,
    /// Bytes left of the body.
    Length(u64),
    Chunk(Chunk),
    UntilClose,
    End,
}

/// Where in a chunked body.
enum Chunk {
    /// In the line that begins a chunk: its size so far, and whether only extensions follow.
    Size {
        size: u64,
        digits: u32,
        extension: bool,
    },
    Data(u64),
    /// Before the line end that ends a chunk.
    DataEnd,
    /// In the trailers: the length of the line so far, and of all.
    Trailer {
        line: usize,
        total: usize,
    },
}

impl Answer {
    pub(super) fn new(to_head: bool) -> Self {
        Self {
            buffer: BytesMut::new(),
            search: Search::default(),
            part: Part::Head,
            to_head,
            informational: 0,
            persistent: true,
        }
    }

    /// Reads on to the next event. Not to be called again after the end or an error.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, stream: &mut Stream) -> Poll<Result<Event, Failure>> {
        loop {
            if let Some(event) = self.next()? {
                return Poll::Ready(Ok(event));
            }
            if ready!(self.poll_read(context, stream)) == 0 {
                self.persistent = false;
                if matches!(self.part, Part::Head) {
                    return Poll::Ready(Err(Failure::NoAnswer));
                }
                // Perhaps the body is cut off, but the mirror's answer does not matter to the copy.
                self.part = Part::End;
                return Poll::Ready(Ok(Event::End));
            }
        }
    }

    /// Whether the connection can be used for another request, all of the answer having been read.
    pub(super) fn is_reusable(&self) -> bool {
        self.persistent && matches!(self.part, Part::End) && self.buffer.is_empty()
    }

    /// How many bytes were read; 0 at the end of the stream, and when it is broken.
    fn poll_read(&mut self, context: &mut Context<'_>, stream: &mut Stream) -> Poll<usize> {
        self.buffer.reserve(if matches!(self.part, Part::Head) { READ_HEAD } else { READ_BODY });
        let reading = pin!(stream.read_buf(&mut self.buffer));
        reading.poll(context).map(Result::unwrap_or_default)
    }

    fn next(&mut self) -> Result<Option<Event>, Failure> {
        match &mut self.part {
            Part::Head => self.head(),
            Part::End => Ok(Some(Event::End)),
            Part::Length(0) => {
                self.part = Part::End;
                Ok(Some(Event::End))
            }
            _ if self.buffer.is_empty() => Ok(None),
            Part::Length(left) => {
                let read = self.buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= read as u64;
                self.buffer.advance(read);
                Ok(Some(Event::Data(read)))
            }
            Part::UntilClose => {
                let read = self.buffer.len();
                self.buffer.clear();
                Ok(Some(Event::Data(read)))
            }
            Part::Chunk(chunk) => {
                let (read, ended) = chunk.read(&self.buffer);
                self.buffer.advance(read);
                match ended {
                    Some(End::Good) => self.part = Part::End,
                    Some(End::Bad) => {
                        self.part = Part::End;
                        self.persistent = false;
                    }
                    None => {}
                }
                Ok(Some(Event::Data(read)))
            }
        }
    }

    fn head(&mut self) -> Result<Option<Event>, Failure> {
        // Looked for first, so that a head that comes byte by byte is parsed once.
        while let Some(end) = self.search.end_of_head(&self.buffer) {
            self.search = Search::default();
            let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
            let mut response = httparse::Response::new(&mut []);
            let parser = httparse::ParserConfig::default();
            let parsed = parser.parse_response_with_uninit_headers(&mut response, &self.buffer[..end], &mut headers);
            let Ok(httparse::Status::Complete(length)) = parsed else { return Err(Failure::BadAnswer) };
            let status = response.code.expect("a complete head has a status");
            match status {
                100 | 102..200 => {
                    self.informational += 1;
                    if self.informational > MAX_INFORMATIONAL {
                        return Err(Failure::BadAnswer);
                    }
                    self.buffer.advance(length);
                    continue;
                }
                // Nobody asked for an upgrade.
                101 => return Err(Failure::BadAnswer),
                _ => {}
            }
            let (part, persistent) = framing(&response, status, self.to_head).ok_or(Failure::BadAnswer)?;
            self.part = part;
            self.persistent = persistent;
            self.buffer.advance(length);
            return Ok(Some(Event::Head(status)));
        }
        if self.buffer.len() > MAX_HEAD { Err(Failure::BadAnswer) } else { Ok(None) }
    }
}

/// How the body of an answer is framed, and whether the connection persists (RFC 9112, 6.3 and 9.3).
fn framing(response: &httparse::Response<'_, '_>, status: u16, to_head: bool) -> Option<(Part, bool)> {
    let values = |name: &'static str| {
        let named = response.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.flat_map(|header| header.value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    };
    let closes = values("connection").any(|value| value.eq_ignore_ascii_case(b"close"));
    let persistent = response.version == Some(1) && !closes;
    if to_head || matches!(status, 204 | 304) {
        return Some((Part::Length(0), persistent));
    }
    if let Some(coding) = values("transfer-encoding").next_back() {
        if coding.eq_ignore_ascii_case(b"chunked") {
            return Some((Part::Chunk(Chunk::START), persistent));
        }
        return Some((Part::UntilClose, false));
    }
    let mut lengths = values("content-length").map(|value| std::str::from_utf8(value).ok()?.parse::<u64>().ok());
    match lengths.next() {
        None => Some((Part::UntilClose, false)),
        Some(length) => {
            let length = length?;
            lengths.all(|other| other == Some(length)).then_some((Part::Length(length), persistent))
        }
    }
}

/// How far the end of a head was looked for: every byte is looked at once, in however many pieces it
/// comes.
#[derive(Default)]
struct Search {
    /// Where the last line begins, and how much of it was looked at.
    line: usize,
    looked: usize,
    /// A line came that is not empty: before the status line, one that is empty is no end.
    has_begun: bool,
}

impl Search {
    /// The length of a head with the empty line that ends it.
    fn end_of_head(&mut self, buffer: &[u8]) -> Option<usize> {
        while let Some(end) = memchr::memchr(b'\n', &buffer[self.looked..]) {
            let next = self.looked + end + 1;
            let line = &buffer[self.line..next];
            (self.line, self.looked) = (next, next);
            if self.has_begun && matches!(line, b"\n" | b"\r\n") {
                return Some(next);
            }
            self.has_begun |= !line.trim_ascii().is_empty();
        }
        self.looked = buffer.len();
        None
    }
}

enum End {
    Good,
    /// What came is no chunk. Where the answer ends is not known.
    Bad,
}

impl Chunk {
    const START: Self = Self::Size { size: 0, digits: 0, extension: false };

    /// Reads on in a body: how much was read, and whether that was its end.
    fn read(&mut self, bytes: &[u8]) -> (usize, Option<End>) {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            at += 1;
            *self = match *self {
                Self::Size { size, digits: 1.., .. } if *byte == b'\n' => match size {
                    0 => Self::Trailer { line: 0, total: 0 },
                    size => Self::Data(size),
                },
                Self::Size { size, digits, extension } if digits <= 16 + MAX_EXTENSION => match byte {
                    b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' if !extension && digits < 16 => {
                        let digit = (*byte as char).to_digit(16).expect("matched above");
                        Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1, extension }
                    }
                    b'\r' | b';' | b' ' | b'\t' if digits > 0 => Self::Size { size, digits, extension: true },
                    _ if extension => Self::Size { size, digits: digits + 1, extension },
                    _ => return (at, Some(End::Bad)),
                },
                Self::Size { .. } => return (at, Some(End::Bad)),
                Self::Data(left) => {
                    let skipped = (bytes.len() - at + 1).min(usize::try_from(left).unwrap_or(usize::MAX));
                    at += skipped - 1;
                    match left - skipped as u64 {
                        0 => Self::DataEnd,
                        left => Self::Data(left),
                    }
                }
                Self::DataEnd => match byte {
                    b'\r' => Self::DataEnd,
                    b'\n' => Self::START,
                    _ => return (at, Some(End::Bad)),
                },
                Self::Trailer { line: 0, .. } if *byte == b'\n' => return (at, Some(End::Good)),
                Self::Trailer { total, .. } if total > MAX_HEAD => return (at, Some(End::Bad)),
                Self::Trailer { line, total } => match byte {
                    b'\n' => Self::Trailer { line: 0, total: total + 1 },
                    b'\r' => Self::Trailer { line, total: total + 1 },
                    _ => Self::Trailer { line: line + 1, total: total + 1 },
                },
            };
        }
        (at, None)
    }
}

/// Bytes asked for at a time.
const READ_HEAD: usize = 2 << 10;
const READ_BODY: usize = 64 << 10;

/// The longest head, in bytes, and the most headers that are accepted.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 128;

/// How many 1xx answers may come before the final one.
const MAX_INFORMATIONAL: u32 = 16;

/// The longest chunk extension, in bytes.
const MAX_EXTENSION: u32 = 1 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is made of these bytes, coming in pieces of this size: the status or failure, the bytes
    /// of the body with its framing, and whether the connection could be used again.
    fn decode(bytes: &[u8], piece: usize, to_head: bool) -> Result<(u16, usize, bool), Failure> {
        let mut answer = Answer::new(to_head);
        let (mut status, mut data) = (None, 0);
        for piece in bytes.chunks(piece) {
            answer.buffer.extend_from_slice(piece);
            while let Some(event) = answer.next()? {
                match event {
                    Event::Head(head) => assert_eq!(status.replace(head), None),
                    Event::Data(read) => data += read,
                    Event::End => break,
                }
            }
        }
        Ok((status.ok_or(Failure::NoAnswer)?, data, answer.is_reusable()))
    }

    #[track_caller]
    fn check(bytes: &str, expected: Result<(u16, usize, bool), Failure>) {
        for piece in [1, 2, 3, 7, bytes.len()] {
            assert_eq!(decode(bytes.as_bytes(), piece, false), expected, "{bytes:?} in pieces of {piece}");
        }
    }

    #[test]
    fn the_end_of_an_answer_is_known_by_its_framing() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Ok((200, 2, true)));
        check("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", Ok((200, 2, true)));
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", Ok((200, 2, false)));
        check("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nok", Ok((200, 1, false)));
        check("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", Ok((200, 0, false)));
        check("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", Ok((200, 0, false)));
        check("HTTP/1.1 204 No Content\r\n\r\n", Ok((204, 0, true)));
        check("HTTP/1.1 304 \r\nContent-Length: 9\r\n\r\n", Ok((304, 0, true)));
        check("HTTP/1.1 200 OK\r\n\r\nany", Ok((200, 3, false)));
        check("HTTP/1.1 500\n\nany", Ok((500, 3, false)));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Ok((200, 13, true)));
        check(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nA;x=y\r\n0123456789\r\n0\r\nx: y\r\n\r\n",
            Ok((200, 30, true)),
        );
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n3", Ok((200, 1, false)));
    }

    #[test]
    fn the_answer_to_head_has_no_body() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n";
        assert_eq!(decode(bytes, bytes.len(), true), Ok((200, 0, true)));
    }

    #[test]
    fn informational_answers_are_passed_over_but_not_without_end() {
        let informational = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        check(&format!("{}{answer}", informational.repeat(16)), Ok((200, 0, true)));
        check(&format!("{}{answer}", informational.repeat(17)), Err(Failure::BadAnswer));
    }

    #[test]
    fn what_is_not_http_is_a_bad_answer() {
        check("SSH-2.0-OpenSSH\r\n\r\n", Err(Failure::BadAnswer));
        check("HTTP/1.1 101 Switching Protocols\r\n\r\n", Err(Failure::BadAnswer));
        check("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", Err(Failure::BadAnswer));
        check("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Err(Failure::BadAnswer));
        check("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Err(Failure::BadAnswer));
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD));
        assert_eq!(decode(long.as_bytes(), 4096, false), Err(Failure::BadAnswer));
    }

    #[test]
    fn a_bad_chunk_ends_the_connection_but_the_status_counts() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        for body in ["ZZ\r\n", "\r\n", "-1\r\n", "11111111111111111\r\n", "1\r\nabc"] {
            let (status, _, reusable) = decode(format!("{head}{body}").as_bytes(), 4096, false).unwrap();
            assert_eq!((status, reusable), (200, false), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_are_read_twice(
            bytes in prop::collection::vec(prop::sample::select(b"0123aAfF;x \t\r\n".to_vec()), 0..64),
            piece in 1usize..9,
        ) {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let all = [&head[..], &bytes].concat();
            let whole = decode(&all, all.len(), false).unwrap();
            prop_assert!(whole.1 <= bytes.len());
            prop_assert_eq!(decode(&all, piece, false).unwrap().0, whole.0);
            prop_assert_eq!(decode(&all, piece, false).unwrap().1, whole.1);
        }
    }
}
