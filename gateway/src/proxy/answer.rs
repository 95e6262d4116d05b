//! What the gateway answers itself.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::protocols::http::ServerSession as HttpSession;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;
use tokio::time::timeout;

use crate::filter::Sharing;
use crate::table::{Miss, Request};

/// An answer that no backend gave, with one line for people about why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) why: String,
    /// Beside those of its body; boxed, since answers are errors, which are to be small.
    headers: Box<HeaderMap>,
}

impl Answer {
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into(), headers: Box::default() }
    }

    pub(super) fn redirect(status: StatusCode, location: &str) -> Self {
        let Ok(value) = HeaderValue::try_from(location) else {
            return Self::new(StatusCode::BAD_REQUEST, "the path has control characters");
        };
        let mut answer = Self::new(status, format!("see {location}"));
        answer.headers.insert(LOCATION, value);
        answer
    }

    /// To a browser that asks whether a page may send a request.
    pub(super) fn preflight(sharing: &Sharing, request: &Request<'_>) -> Self {
        if !sharing.is_allowed() {
            return Self::new(StatusCode::FORBIDDEN, "the route is not for pages of this origin");
        }
        let mut answer = Self::new(StatusCode::NO_CONTENT, "told the browser what the page may send");
        sharing.permit(request, &mut answer.headers);
        answer
    }

    /// The same, as a browser needs it to show it to a page.
    pub(super) fn shared(mut self, sharing: Option<&Sharing>) -> Self {
        if let Some(sharing) = sharing {
            sharing.tell(&mut *self.headers);
        }
        self
    }

    /// What a request gets that no rule answers.
    pub(super) fn of(miss: Miss) -> Self {
        match miss {
            Miss::NoRoute => Self::new(StatusCode::NOT_FOUND, "no route matches this request"),
            Miss::Misdirected => {
                Self::new(StatusCode::MISDIRECTED_REQUEST, "this connection is not for this host; open another")
            }
            Miss::Plain => Self::new(StatusCode::BAD_REQUEST, "this port speaks TLS; use https"),
        }
    }

    /// What a request gets that failed in the last of these attempts, if its client is still there to
    /// get it.
    pub(super) fn to(error: &Error, attempts: u32) -> Option<Self> {
        use ErrorType::{
            ConnectTimedout, ConnectionClosed, H2Error, HTTPStatus, ReadError, ReadTimedout, WriteError, WriteTimedout,
        };
        let (status, why) = match (error.etype(), error.esource()) {
            (HTTPStatus(code), _) => {
                let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::BAD_GATEWAY);
                (status, status.canonical_reason().unwrap_or("the backend failed"))
            }
            (ReadTimedout, ErrorSource::Downstream) => {
                (StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time")
            }
            // A stream that the client resets is an error of HTTP/2.
            (ReadError | WriteError | WriteTimedout | ConnectionClosed | H2Error, ErrorSource::Downstream) => {
                return None;
            }
            (_, ErrorSource::Downstream) => (StatusCode::BAD_REQUEST, "the request is malformed"),
            (ConnectTimedout | ReadTimedout | WriteTimedout, _) => {
                (StatusCode::GATEWAY_TIMEOUT, "the backend did not answer in time")
            }
            (_, ErrorSource::Upstream) if attempts > 1 => {
                (StatusCode::SERVICE_UNAVAILABLE, "the backend could not be reached or did not answer, and not again")
            }
            (_, ErrorSource::Upstream) => {
                (StatusCode::BAD_GATEWAY, "the backend could not be reached or did not answer")
            }
            (_, ErrorSource::Internal | ErrorSource::Unset) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "the gateway could not forward the request")
            }
        };
        Some(Self::new(status, why))
    }

    /// Answers a request that goes to no backend. What is left of its body is read where that is
    /// cheap, so that its connection can go on.
    pub(super) async fn send_instead(&self, session: &mut Session) -> Result<()> {
        if !is_cheap_to_read(session) {
            session.set_keepalive(None);
        }
        self.send(session).await?;
        if session.get_keepalive().is_some() {
            // Whatever comes of it shows in whether the body is done.
            let _ = timeout(PATIENCE, discard_body(session)).await;
            if !session.as_mut().is_body_done() {
                session.set_keepalive(None);
            }
        }
        Ok(())
    }

    /// Writes the answer, in the shape that the client expects.
    pub(super) async fn send(&self, session: &mut Session) -> Result<()> {
        let request = session.req_header();
        let (head, body) = if is_grpc(request) { self.for_grpc()? } else { self.for_http(&request.method)? };
        if body.is_empty() {
            return end_with(head, session).await;
        }
        session.write_response_header(Box::new(head), false).await?;
        session.write_response_body(Some(body), true).await
    }

    fn for_http(&self, method: &Method) -> Result<(ResponseHeader, Bytes)> {
        let mut head = ResponseHeader::build(self.status, Some(2 + self.headers.len()))?;
        for (name, value) in &*self.headers {
            head.append_header(name, value)?;
        }
        if self.status == StatusCode::NO_CONTENT {
            return Ok((head, Bytes::new()));
        }
        let body = Bytes::from(format!("{}\n", self.why));
        head.insert_header(CONTENT_TYPE, "text/plain; charset=utf-8")?;
        head.insert_header(CONTENT_LENGTH, body.len())?;
        Ok((head, if method == Method::HEAD { Bytes::new() } else { body }))
    }

    /// A call's failure is told in trailers; an answer that is nothing but trailers has them in
    /// its head.
    fn for_grpc(&self) -> Result<(ResponseHeader, Bytes)> {
        let mut head = ResponseHeader::build(StatusCode::OK, Some(3))?;
        head.insert_header(CONTENT_TYPE, "application/grpc")?;
        head.insert_header("grpc-status", grpc_status(self.status))?;
        head.insert_header("grpc-message", percent_encoded(&self.why))?;
        head.insert_header(CONTENT_LENGTH, 0)?;
        Ok((head, Bytes::new()))
    }
}

/// Writes a head that is all of the answer. Over HTTP/2 it has to end the stream itself: Pingora would
/// send a piece of body to that end, which is empty, and no client of gRPC takes trailers before one.
async fn end_with(head: ResponseHeader, session: &mut Session) -> Result<()> {
    match session.as_mut() {
        HttpSession::H2(stream) => stream.write_response_header(Box::new(head), true),
        _ => session.write_response_header(Box::new(head), true).await,
    }
}

/// Whether the client has got the head of an answer that is more than an interim one.
pub(super) fn is_begun(session: &Session) -> bool {
    session.response_written().is_some_and(|head| !head.status.is_informational())
}

/// Whether the rest of a body may be short. A client that waits for a 100 does not get one, and may
/// go on with the body or with another request, which cannot be told apart.
fn is_cheap_to_read(session: &mut Session) -> bool {
    if session.req_header().method == Method::CONNECT {
        // What follows is for somebody else.
        return false;
    }
    if session.as_mut().is_body_done() {
        return true;
    }
    let headers = &session.req_header().headers;
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    !headers.contains_key(EXPECT) && length.is_none_or(|length| length <= DISCARDED)
}

/// Reads the body to its end, or until that is not cheap any more.
async fn discard_body(session: &mut Session) -> Result<()> {
    let mut read = 0;
    while read <= DISCARDED
        && let Some(chunk) = session.as_mut().read_request_body().await?
    {
        read += chunk.len();
    }
    Ok(())
}

/// So much of a body, in bytes, is read and dropped to keep a connection, and for so long.
const DISCARDED: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(2);

fn is_grpc(request: &RequestHeader) -> bool {
    let content_type = request.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    content_type
        .and_then(|value| value.strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// As the gRPC protocol maps the status codes of HTTP, but for two of which the gateway knows more:
/// 500 is what it answers for a backend that is invalid, of which the Gateway API says "`UNAVAILABLE`
/// statuses MUST be returned", and after 504 the time is over.
fn grpc_status(status: StatusCode) -> u16 {
    const UNKNOWN: u16 = 2;
    const DEADLINE_EXCEEDED: u16 = 4;
    const PERMISSION_DENIED: u16 = 7;
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    const UNAUTHENTICATED: u16 = 16;
    match status.as_u16() {
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        429 | 500 | 502 | 503 => UNAVAILABLE,
        408 | 504 => DEADLINE_EXCEEDED,
        _ => UNKNOWN,
    }
}

/// The text as `grpc-message` wants it: printable ASCII but for `%`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_map_to_what_the_client_should_know() {
        use ErrorType::{ConnectRefused, ConnectTimedout, ConnectionClosed, InvalidHTTPHeader, ReadTimedout};
        for (error, expected) in [
            (Error::new_up(ConnectRefused), Some(502)),
            (Error::new_up(ConnectTimedout), Some(504)),
            (Error::new_up(ReadTimedout), Some(504)),
            (Error::new_up(ConnectionClosed), Some(502)),
            (Error::new_up(ErrorType::HTTPStatus(503)), Some(503)),
            (Error::new_down(ReadTimedout), Some(408)),
            (Error::new_down(ConnectionClosed), None),
            (Error::new_down(ErrorType::H2Error), None),
            (Error::new_down(InvalidHTTPHeader), Some(400)),
            (Error::new_in(ErrorType::InternalError), Some(500)),
        ] {
            let status = Answer::to(&error, 1).map(|answer| answer.status.as_u16());
            assert_eq!(status, expected, "{error}");
        }
    }

    #[test]
    fn a_backend_that_failed_again_and_again_is_unavailable() {
        let status = |error: ErrorType, attempts| Answer::to(&Error::new_up(error), attempts).unwrap().status.as_u16();
        assert_eq!([1, 2].map(|attempts| status(ErrorType::ConnectRefused, attempts)), [502, 503]);
        assert_eq!([1, 2].map(|attempts| status(ErrorType::ReadTimedout, attempts)), [504, 504]);
    }

    #[test]
    fn a_call_gets_its_failure_as_grpc_does_it() {
        let mut request = RequestHeader::build("POST", b"/shop.Cart/Add", None).unwrap();
        for (content_type, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("text/plain", false),
        ] {
            request.insert_header("content-type", content_type).unwrap();
            assert_eq!(is_grpc(&request), grpc, "{content_type}");
        }
        let (head, body) = Answer::new(StatusCode::NOT_FOUND, "no route: 100 %").for_grpc().unwrap();
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.headers["grpc-status"], "12");
        assert_eq!(head.headers["grpc-message"], "no route: 100 %25");
        assert!(body.is_empty());
    }

    #[test]
    fn a_head_request_gets_the_head_alone() {
        let answer = Answer::new(StatusCode::NOT_FOUND, "no route");
        let (head, body) = answer.for_http(&Method::HEAD).unwrap();
        assert_eq!((head.headers["content-length"].to_str().unwrap(), body.len()), ("9", 0));
        assert_eq!(answer.for_http(&Method::GET).unwrap().1, "no route\n");
    }
}
