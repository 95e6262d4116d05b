use std::fmt;
use std::io::ErrorKind;

use crate::{Framing, Head};

/// A request as it reached a backend.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Which connection of the backend it came over, counted from 0.
    pub connection: usize,
    /// Exact bytes; of HTTP/2 the same in the form of HTTP/1.1, with `host` for `:authority`.
    pub head: Head,
    pub framing: Framing,
    pub body: Body,
    pub trailers: Vec<(String, String)>,
    pub end: End,
}

impl Receipt {
    pub fn method(&self) -> String {
        self.head.word(0)
    }

    /// Path and query, byte for byte.
    pub fn target(&self) -> String {
        self.head.word(1)
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.head.header(name)
    }

    pub fn is_complete(&self) -> bool {
        self.end == End::Complete
    }

    pub fn is_aborted(&self) -> bool {
        matches!(self.end, End::Aborted(_))
    }

    /// Its headers, names in lower case and sorted, but for those given: what two receipts that
    /// came by different framings must still share.
    pub fn headers_without(&self, names: &[&str]) -> Vec<(String, String)> {
        let lower = |(name, value): (String, String)| (name.to_ascii_lowercase(), value);
        let mut headers: Vec<_> = self.head.headers().into_iter().map(lower).collect();
        headers.retain(|(name, _)| !names.contains(&name.as_str()));
        headers.sort();
        headers
    }
}

/// How a request ended, as far as its backend saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Not yet.
    Open,
    /// Nobody knows: its script reads no further.
    Unread,
    /// The end of the body came.
    Complete,
    /// The connection or stream ended before the body did.
    Aborted(ErrorKind),
}

/// The body of a message: all of a small one, length and checksum of any.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Body {
    pub length: u64,
    pub checksum: u32,
    /// The first [`Body::KEPT`] bytes.
    pub bytes: Vec<u8>,
}

impl Body {
    pub const KEPT: usize = 1 << 20;

    pub fn push(&mut self, chunk: &[u8]) {
        let mut hasher = crc32fast::Hasher::new_with_initial_len(self.checksum, self.length);
        hasher.update(chunk);
        self.checksum = hasher.finalize();
        self.length += chunk.len() as u64;
        let room = Self::KEPT - self.bytes.len();
        self.bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.bytes.len().min(80);
        write!(f, "{} bytes: {:?}", self.length, String::from_utf8_lossy(&self.bytes[..shown]))
    }
}

impl<T: AsRef<[u8]>> From<T> for Body {
    fn from(bytes: T) -> Self {
        let mut body = Self::default();
        body.push(bytes.as_ref());
        body
    }
}
