use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, Method};

/// What of a request decides where it goes. Borrowed; making one allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// As the client sent it, without the port; empty where there is none. Case is ignored wherever
    /// it is compared.
    pub host: &'r str,
    pub method: &'r Method,
    /// As the client sent it, escapes included.
    pub path: &'r str,
    /// As the client sent it, without the question mark.
    pub query: Option<&'r str>,
    pub headers: &'r HeaderMap,
}

impl<'r> Request<'r> {
    /// The authority of the request (HTTP/2, absolute form) takes the place of a `Host` header, as
    /// RFC 9112, 3.2.2 has it.
    pub fn of(parts: &'r Parts) -> Self {
        let header = || parts.headers.get(HOST).and_then(|value| value.to_str().ok());
        let authority = parts.uri.authority().map(|authority| authority.as_str()).or_else(header);
        Self {
            host: without_port(authority.unwrap_or_default()),
            method: &parts.method,
            path: parts.uri.path(),
            query: parts.uri.query(),
            headers: &parts.headers,
        }
    }
}

/// The host of an authority: without user information, port and a last dot, with the brackets of an
/// IPv6 address.
fn without_port(authority: &str) -> &str {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    // That of the root, which fully qualified names may end with.
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(uri: &str, header: Option<&str>) -> String {
        let mut request = http::Request::builder().uri(uri);
        if let Some(value) = header {
            request = request.header(HOST, value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Request::of(&parts).host.to_owned()
    }

    #[test]
    fn the_host_is_the_authority_or_else_the_header_without_port() {
        for (uri, header, expected) in [
            ("/", Some("a.com"), "a.com"),
            ("/", Some("a.com:8080"), "a.com"),
            ("/", Some("a.com:"), "a.com"),
            ("/", Some("a.com."), "a.com"),
            ("/", Some("a.com.:80"), "a.com"),
            ("/", Some("A.com"), "A.com"),
            ("/", Some("[::1]:80"), "[::1]"),
            ("/", Some("[::1]"), "[::1]"),
            ("/", Some(""), ""),
            ("/", None, ""),
            ("http://a.com:8080/", Some("b.com"), "a.com"),
            ("http://user@a.com/", None, "a.com"),
        ] {
            assert_eq!(host(uri, header), expected, "{uri} {header:?}");
        }
    }

    #[test]
    fn path_and_query_stay_as_sent() {
        let (parts, ()) = http::Request::builder().uri("/a%2Fb//?x=%20&y").body(()).unwrap().into_parts();
        let request = Request::of(&parts);
        assert_eq!((request.path, request.query), ("/a%2Fb//", Some("x=%20&y")));
    }
}
