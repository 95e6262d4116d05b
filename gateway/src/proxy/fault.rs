//! Requests that are refused for what they are, beyond what Pingora refuses: what a backend might
//! take for another request than the one that a route was looked up for.

use std::net::Ipv6Addr;

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{Method, StatusCode, Version};
use pingora::http::RequestHeader;

use super::answer::Answer;

/// The answer to a request that must not go to any backend.
pub(super) fn find(head: &RequestHeader) -> Option<Answer> {
    if head.method == Method::CONNECT {
        return Some(Answer::new(StatusCode::METHOD_NOT_ALLOWED, "tunnels are not opened here"));
    }
    let malformed = of_target(head).or_else(|| of_host(head)).or_else(|| of_length(head));
    let malformed = malformed.map(|why| Answer::new(StatusCode::BAD_REQUEST, why));
    malformed.or_else(|| {
        let why = of_coding(head)?;
        Some(Answer::new(StatusCode::NOT_IMPLEMENTED, why))
    })
}

/// A path, which every URL has been turned into, or the server as a whole: RFC 9112, 3.2.
fn of_target(head: &RequestHeader) -> Option<&'static str> {
    let is_good = match head.raw_path() {
        [b'/', ..] => true,
        b"*" => head.method == Method::OPTIONS,
        _ => false,
    };
    (!is_good).then_some("the target is neither a path nor a URL")
}

/// RFC 9112, 3.2.
fn of_host(head: &RequestHeader) -> Option<&'static str> {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => None,
        (Some(_), None) => Some("the Host header is malformed"),
        (Some(_), Some(_)) => Some("there is more than one Host header"),
        (None, _) if head.version == Version::HTTP_11 => Some("there is no Host header"),
        (None, _) => None,
    }
}

/// `uri-host [ ":" port ]`, where either may be empty: RFC 9110, 7.2.
fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !value[colon..].contains(&b']') => (&value[..colon], &value[colon + 1..]),
        _ => (value, &[][..]),
    };
    let is_named = match host.strip_prefix(b"[") {
        Some(address) => {
            let address = address.strip_suffix(b"]").and_then(|address| str::from_utf8(address).ok());
            address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
        }
        None => host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte)),
    };
    is_named && port.iter().all(u8::is_ascii_digit)
}

/// The same length several times is one to Pingora, but perhaps not to a backend: RFC 9112, 6.3.
fn of_length(head: &RequestHeader) -> Option<&'static str> {
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
    let (first, second) = (lengths.next()?, lengths.next());
    (second.is_some() || first.as_bytes().contains(&b',')).then_some("there is more than one Content-Length")
}

/// The body is sent on without its transfer codings, of which only one is understood: RFC 9112, 6.1.
fn of_coding(head: &RequestHeader) -> Option<&'static str> {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let (first, second) = (codings.next()?, codings.next());
    let is_known = second.is_none() && first.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    (!is_known).then_some("no transfer coding but chunked is known")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, target: &str, headers: &[(&'static str, &str)], expected: Option<u16>) {
        let mut head = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        head.set_version(Version::HTTP_11);
        for (name, value) in headers {
            head.append_header(*name, *value).unwrap();
        }
        let found = find(&head).map(|answer| answer.status.as_u16());
        assert_eq!(found, expected, "{method} {target} {headers:?}");
    }

    #[test]
    fn a_target_is_a_path() {
        for target in ["/", "//a", "/a?b"] {
            check("GET", target, &[("host", "a")], None);
        }
        for target in ["a", "a/b", "a:80", "*", "%20/a", "ftp://a/"] {
            check("GET", target, &[("host", "a")], Some(400));
        }
        check("OPTIONS", "*", &[("host", "a")], None);
    }

    #[test]
    fn nobody_is_connected_through() {
        check("CONNECT", "a:80", &[("host", "a:80")], Some(405));
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for good in ["", "a", "A.b-c_d.", "a:80", "a:", ":80", "192.0.2.1:80", "[::1]", "[::1]:80", "a%20b", "a,b"] {
            check("GET", "/", &[("host", good)], None);
        }
        for bad in ["a b", "a/b", "a?b", "u@a", "a:b", "a:80:80", "[::1", "::1", "[::1]x", "[]", "a\\b"] {
            check("GET", "/", &[("host", bad)], Some(400));
        }
        check("GET", "/", &[], Some(400));
        check("GET", "/", &[("host", "a"), ("host", "a")], Some(400));
    }

    #[test]
    fn a_body_is_framed_in_one_way() {
        let host = ("host", "a");
        check("POST", "/", &[host, ("content-length", "2")], None);
        check("POST", "/", &[host, ("content-length", "2, 2")], Some(400));
        check("POST", "/", &[host, ("content-length", "2"), ("content-length", "2")], Some(400));
        check("POST", "/", &[host, ("transfer-encoding", "Chunked")], None);
        check("POST", "/", &[host, ("transfer-encoding", "gzip, chunked")], Some(501));
        check("POST", "/", &[host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], Some(501));
    }
}
