use std::fmt::Write;

use conf::{Redirect, Scheme};

use super::path::{push_path, push_query};
use crate::table::Request;

/// Where a redirect sends the client. What the redirect does not say is as in the request: `scheme`
/// is the one the client used, `client_port` the one it connected to, `prefix` what the rule's
/// prefix match covered, see [`Found`](crate::table::Found).
///
/// A request without a host, which HTTP/1.0 allows, is sent to a path of the same host.
pub(crate) fn location(
    redirect: &Redirect,
    request: &Request<'_>,
    prefix: Option<usize>,
    scheme: Scheme,
    client_port: u16,
) -> String {
    let Redirect { scheme: other_scheme, hostname, path, port, status_code: _ } = redirect;
    let host = hostname.as_ref().map_or(request.host, |hostname| hostname.as_str());
    let mut location = String::new();
    if !host.is_empty() {
        // "If redirect scheme is not-empty, the redirect port MUST be the well-known port associated
        // with the redirect scheme. If redirect scheme is empty, the redirect port MUST be the
        // Gateway Listener port."
        let port = port.or(other_scheme.map(Scheme::well_known_port)).unwrap_or(client_port);
        let scheme = other_scheme.unwrap_or(scheme);
        location.push_str(scheme.as_str());
        location.push_str("://");
        location.push_str(host);
        if port != scheme.well_known_port() {
            write!(location, ":{port}").expect("writing to a string does not fail");
        }
    }
    push_path(&mut location, path.as_ref(), request.path, prefix);
    push_query(&mut location, request.query);
    location
}

#[cfg(test)]
mod tests {
    use conf::PathModifier;
    use http::{HeaderMap, Method};

    use super::*;

    const HTTP: Option<Scheme> = Some(Scheme::Http);
    const HTTPS: Option<Scheme> = Some(Scheme::Https);

    fn redirected(redirect: &Redirect, host: &str, scheme: Scheme, client_port: u16) -> String {
        let headers = HeaderMap::new();
        let request =
            Request { host, method: &Method::GET, path: "/foo/bar", query: Some("a=%20&b"), headers: &headers };
        location(redirect, &request, Some("/foo".len()), scheme, client_port)
    }

    #[test]
    fn the_port_is_the_redirects_or_its_schemes_or_the_listeners() {
        use Scheme::{Http, Https};
        for (scheme, client_port, to_scheme, to_port, expected) in [
            (Http, 80, None, None, "http://a.com"),
            (Http, 8080, None, None, "http://a.com:8080"),
            (Http, 443, None, None, "http://a.com:443"),
            (Https, 443, None, None, "https://a.com"),
            (Https, 8443, None, None, "https://a.com:8443"),
            (Http, 8080, HTTP, None, "http://a.com"),
            (Http, 8080, HTTPS, None, "https://a.com"),
            (Https, 8443, HTTP, None, "http://a.com"),
            (Https, 8443, HTTPS, None, "https://a.com"),
            (Http, 8080, None, Some(80), "http://a.com"),
            (Http, 8080, None, Some(443), "http://a.com:443"),
            (Http, 80, None, Some(8080), "http://a.com:8080"),
            (Https, 443, None, Some(80), "https://a.com:80"),
            (Https, 8443, None, Some(443), "https://a.com"),
            (Http, 80, HTTPS, Some(443), "https://a.com"),
            (Http, 80, HTTPS, Some(8443), "https://a.com:8443"),
            (Http, 80, HTTPS, Some(80), "https://a.com:80"),
            (Https, 443, HTTP, Some(80), "http://a.com"),
            (Https, 443, HTTP, Some(8080), "http://a.com:8080"),
        ] {
            let redirect = Redirect { scheme: to_scheme, port: to_port, ..Redirect::default() };
            let expected = format!("{expected}/foo/bar?a=%20&b");
            let found = redirected(&redirect, "a.com", scheme, client_port);
            assert_eq!(found, expected, "{scheme:?} {client_port} {to_scheme:?} {to_port:?}");
        }
    }

    #[test]
    fn host_and_path_are_the_redirects_or_the_requests() {
        let full = |path: &str| Some(PathModifier::ReplaceFullPath(path.into()));
        let prefix = |path: &str| Some(PathModifier::ReplacePrefixMatch(path.into()));
        for (host, hostname, path, expected) in [
            ("a.com", None, None, "http://a.com/foo/bar?a=%20&b"),
            ("a.com", Some("b.com"), None, "http://b.com/foo/bar?a=%20&b"),
            ("A.com", None, full("/xyz"), "http://A.com/xyz?a=%20&b"),
            ("a.com", None, prefix("/xyz"), "http://a.com/xyz/bar?a=%20&b"),
            ("a.com", Some("b.com"), prefix("/"), "http://b.com/bar?a=%20&b"),
            ("a.com", None, prefix(""), "http://a.com/bar?a=%20&b"),
            ("[::1]", None, full("/"), "http://[::1]/?a=%20&b"),
            ("", None, full("/xyz"), "/xyz?a=%20&b"),
            ("", Some("b.com"), full("/xyz"), "http://b.com/xyz?a=%20&b"),
        ] {
            let hostname = hostname.map(|text| text.parse().unwrap());
            let redirect = Redirect { hostname, path: path.clone(), ..Redirect::default() };
            assert_eq!(redirected(&redirect, host, Scheme::Http, 80), expected, "{host:?} {path:?}");
        }
    }
}
