//! Answers to what never became a request, in the form of the gateway's other answers.

use pingora_core::protocols::http::date::get_cached_date;

/// Why a head cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// Pingora finds that it is not HTTP.
    Malformed,
    TooLong,
}

impl Unread {
    /// The last that is sent on the connection.
    pub(super) fn answer(self) -> Vec<u8> {
        let (status, why) = match self {
            Self::Malformed => ("400 Bad Request", "the request is malformed\n"),
            Self::TooLong => ("431 Request Header Fields Too Large", "the head of the request is too long\n"),
        };
        let length = why.len();
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nDate: "
        )
        .into_bytes();
        answer.extend_from_slice(get_cached_date().as_bytes());
        answer.extend_from_slice(b"\r\nConnection: close\r\n\r\n");
        answer.extend_from_slice(why.as_bytes());
        answer
    }
}
