//! The head of a copy: what the primary gets, without what concerns a single connection only.

use bytes::{BufMut, Bytes, BytesMut};
use conf::Protocol;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Uri, Version};
use pingora::http::{HeaderNameVariant, RequestHeader};

use super::Failure;

/// How the end of a request's body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Bodiless,
    Length(u64),
    /// By the last chunk, or the end of the stream.
    Open,
}

impl Framing {
    pub(super) fn of(head: &RequestHeader, bodiless: bool) -> Self {
        if bodiless {
            return Self::Bodiless;
        }
        match content_length(&head.headers) {
            Some(length) if !head.headers.contains_key(TRANSFER_ENCODING) => Self::Length(length),
            _ => Self::Open,
        }
    }
}

/// The head of a copy, ready to be sent.
#[derive(Clone)]
pub(super) struct Head {
    pub(super) form: Form,
    pub(super) framing: Framing,
    /// An answer to HEAD has no body, whatever its headers say.
    pub(super) is_head: bool,
}

#[derive(Clone)]
pub(super) enum Form {
    /// The bytes as they are sent, the empty line included.
    Http1(Bytes),
    Http2(Box<http::request::Parts>),
}

/// The heads of all copies of one request: each form is made once.
pub(super) struct Heads<'a> {
    request: &'a RequestHeader,
    framing: Framing,
    http1: Option<Option<Form>>,
    http2: Option<Option<Form>>,
}

impl<'a> Heads<'a> {
    pub(super) fn new(request: &'a RequestHeader, bodiless: bool) -> Self {
        Self { request, framing: Framing::of(request, bodiless), http1: None, http2: None }
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    pub(super) fn speaking(&mut self, protocol: Protocol) -> Result<Head, Failure> {
        let (request, framing) = (self.request, self.framing);
        let form = match protocol {
            Protocol::Http => self.http1.get_or_insert_with(|| http1(request, framing).map(Form::Http1)),
            Protocol::H2c => self.http2.get_or_insert_with(|| http2(request, framing).map(Form::Http2)),
        };
        let form = form.clone().ok_or(Failure::Unsendable)?;
        Ok(Head { form, framing, is_head: request.method == Method::HEAD })
    }
}

/// In the case and order of the original. None if the target holds what would break the first line.
fn http1(request: &RequestHeader, framing: Framing) -> Option<Bytes> {
    let target = request.raw_path();
    if target.is_empty() || target.iter().any(|byte| matches!(byte, 0 | b' ' | b'\r' | b'\n')) {
        return None;
    }
    let mut out = BytesMut::with_capacity(512 + target.len());
    for part in [request.method.as_str().as_bytes(), b" ", target, b" HTTP/1.1\r\n"] {
        out.put_slice(part);
    }
    let mut line = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            out.put_slice(part);
        }
    };
    if !request.headers.contains_key(HOST) {
        line(b"Host", request.uri.authority()?.as_str().as_bytes());
    }
    let nominated = Nominated::by(&request.headers);
    let mut length = false;
    request
        .map(|name, value| {
            let name = match &name {
                HeaderNameVariant::Case(name) => name.as_slice(),
                HeaderNameVariant::Titled(name) => name.as_bytes(),
            };
            // One Content-Length, however often it was repeated.
            let is_length = name.eq_ignore_ascii_case(b"content-length");
            if is_end_to_end(name, framing, &nominated) && !(is_length && std::mem::replace(&mut length, true)) {
                line(name, value.as_bytes());
            }
            Ok(())
        })
        .expect("the closure returns no error");
    if framing == Framing::Open {
        line(b"Transfer-Encoding", b"chunked");
    }
    out.put_slice(b"\r\n");
    Some(out.freeze())
}

/// None if HTTP/2 cannot express the request: no authority, or a target that is not UTF-8.
fn http2(request: &RequestHeader, framing: Framing) -> Option<Box<http::request::Parts>> {
    if !request.raw_path_is_utf8() {
        return None;
    }
    let authority = match request.headers.get(HOST) {
        Some(host) => Authority::try_from(host.as_bytes()).ok()?,
        None => request.uri.authority()?.clone(),
    };
    let path = request.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build().ok()?;
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    let nominated = Nominated::by(&request.headers);
    for (name, value) in &request.headers {
        let known_length = *name == CONTENT_LENGTH && headers.contains_key(CONTENT_LENGTH);
        if *name != HOST && !known_length && is_end_to_end(name.as_str().as_bytes(), framing, &nominated) {
            headers.append(name, value.clone());
        }
    }
    if request.headers.get_all(TE).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = request.method.clone();
    parts.uri = uri;
    parts.version = Version::HTTP_2;
    parts.headers = headers;
    Some(Box::new(parts))
}

/// Whether a header is for the mirror as well, and not only between the client and the gateway.
fn is_end_to_end(name: &[u8], framing: Framing, nominated: &Nominated<'_>) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    if is("content-length") {
        // Kept only if the body that is sent fills it: a copy without a body keeps a 0 alone.
        return match framing {
            Framing::Length(_) => true,
            Framing::Bodiless => nominated.length_is_zero,
            Framing::Open => false,
        };
    }
    let of_connection = match name.len() {
        2 => is("te"),
        6 => is("expect"),
        7 => is("upgrade"),
        10 => is("connection") || is("keep-alive"),
        14 => is("http2-settings"),
        16 => is("proxy-connection"),
        17 => is("transfer-encoding"),
        19 => is("proxy-authorization"),
        _ => false,
    };
    !of_connection && (is("host") || !nominated.contains(name))
}

/// The headers that the Connection header declares to be of the connection.
struct Nominated<'a> {
    values: Option<&'a HeaderMap>,
    length_is_zero: bool,
}

impl<'a> Nominated<'a> {
    fn by(headers: &'a HeaderMap) -> Self {
        let values = headers.contains_key(CONNECTION).then_some(headers);
        Self { values, length_is_zero: content_length(headers) == Some(0) }
    }

    fn contains(&self, name: &[u8]) -> bool {
        let Some(headers) = self.values else { return false };
        let mut tokens = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(name))
    }
}

/// None without one, and with several that differ.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter().map(|value| value.to_str().ok()?.trim().parse().ok());
    let first = values.next()??;
    values.all(|value| value == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    fn check(method: &str, headers: &[(&'static str, &str)], bodiless: bool, expected: &str) {
        let request = request(method, "/p%2e%2e//?", headers);
        let Form::Http1(bytes) = Heads::new(&request, bodiless).speaking(Protocol::Http).unwrap().form else {
            panic!("not the form asked for");
        };
        let text = std::str::from_utf8(&bytes).unwrap().replace("\r\n", "|");
        assert_eq!(text, expected);
    }

    #[test]
    fn target_case_order_and_repetition_are_kept() {
        check(
            "GET",
            &[("hOsT", "a"), ("X-B", "1"), ("x-a", "2"), ("X-b", "3")],
            true,
            "GET /p%2e%2e//? HTTP/1.1|hOsT: a|X-B: 1|X-b: 3|x-a: 2||",
        );
    }

    #[test]
    fn what_concerns_the_connection_is_left_out() {
        check(
            "GET",
            &[
                ("Host", "a"),
                ("Connection", "keep-alive, X-Private , host"),
                ("X-Private", "1"),
                ("Keep-Alive", "timeout=5"),
                ("Proxy-Connection", "x"),
                ("Proxy-Authorization", "Basic x"),
                ("Authorization", "Bearer y"),
                ("Expect", "100-continue"),
                ("Upgrade", "h2c"),
                ("HTTP2-Settings", "x"),
                ("TE", "trailers"),
                ("Trailer", "x-t"),
            ],
            true,
            "GET /p%2e%2e//? HTTP/1.1|Host: a|Authorization: Bearer y|Trailer: x-t||",
        );
    }

    #[test]
    fn framing_is_what_the_body_fills() {
        let line = "POST /p%2e%2e//? HTTP/1.1|Host: a|";
        let chunked = ("Transfer-Encoding", "chunked");
        let length = |value| ("Content-Length", value);
        for (headers, bodiless, expected) in [
            (vec![length("5")], false, "Content-Length: 5|"),
            (vec![length("5"), length("5")], false, "Content-Length: 5|"),
            (vec![chunked], false, "Transfer-Encoding: chunked|"),
            (vec![chunked, length("5")], false, "Transfer-Encoding: chunked|"),
            (vec![], false, "Transfer-Encoding: chunked|"),
            (vec![length("0")], true, "Content-Length: 0|"),
            (vec![length("5")], true, ""),
            (vec![chunked], true, ""),
            (vec![], true, ""),
        ] {
            let headers: Vec<_> = [("Host", "a")].into_iter().chain(headers).collect();
            check("POST", &headers, bodiless, &format!("{line}{expected}|"));
        }
    }

    #[test]
    fn http2_has_the_host_as_authority_and_te_trailers() {
        let request = request(
            "POST",
            "/a?b",
            &[("Host", "h:1"), ("TE", "trailers"), ("Connection", "x-p"), ("X-P", "1"), ("X-Q", "2")],
        );
        let Form::Http2(parts) = Heads::new(&request, false).speaking(Protocol::H2c).unwrap().form else {
            panic!("not the form asked for");
        };
        assert_eq!(parts.uri, "http://h:1/a?b");
        let headers: Vec<_> = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(headers, [("x-q", &b"2"[..]), ("te", b"trailers")]);
    }

    #[test]
    fn the_authority_of_an_http2_request_becomes_the_host() {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.uri = "http://h/x?y".parse().unwrap();
        let request = RequestHeader::from(parts);
        let Form::Http1(bytes) = Heads::new(&request, true).speaking(Protocol::Http).unwrap().form else {
            panic!("not the form asked for");
        };
        assert_eq!(bytes, "GET /x?y HTTP/1.1\r\nHost: h\r\n\r\n");
    }

    #[test]
    fn what_a_protocol_cannot_say_is_not_sent() {
        let request = request("GET", "/x", &[]);
        let mut heads = Heads::new(&request, true);
        assert_eq!(heads.speaking(Protocol::Http).err(), Some(Failure::Unsendable));
        assert_eq!(heads.speaking(Protocol::H2c).err(), Some(Failure::Unsendable));
    }
}
