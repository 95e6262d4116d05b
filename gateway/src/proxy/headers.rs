//! The headers of requests and answers that are the gateway's own business.

use std::net::{IpAddr, SocketAddr};

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Uri, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::protocols::http::authority::{RawTargetAuthority, is_http_family_scheme, raw_target_authority};
use pingora_core::{Error, ErrorType, Result};

use crate::filter::HeaderEdit;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Headers that say how a message is framed or concern one connection. A filter that named one
/// would make a request mean something else to the backend than to the gateway, so it is ignored.
const OWN: [HeaderName; 8] =
    [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, TE, TRAILER, UPGRADE, KEEP_ALIVE, PROXY_CONNECTION];

/// Turns a URL as the target, which is the form for proxies, into a path, which is the one for
/// servers and what routes are looked up by. That `Host` says the same as the URL has been checked.
pub(super) fn use_origin_form(head: &mut RequestHeader) -> Result<()> {
    let RawTargetAuthority::Absolute { scheme, authority, path_and_query } = raw_target_authority(head.raw_path())
    else {
        return Ok(());
    };
    if !is_http_family_scheme(scheme) {
        return Ok(());
    }
    let target =
        if path_and_query.starts_with(b"/") { path_and_query.to_vec() } else { [b"/", path_and_query].concat() };
    if head.version == Version::HTTP_10 && !head.headers.contains_key(HOST) {
        let host = authority.to_vec();
        head.insert_header(HOST, host)?;
    }
    head.set_raw_path(&target)
}

/// Names the gateway itself to the backend where the client named nobody, as HTTP/1.0 allows: what
/// is sent on is HTTP/1.1 or 2, which do not.
pub(super) fn complete_host(head: &mut RequestHeader, local: SocketAddr) -> Result<()> {
    if head.headers.contains_key(HOST) || head.uri.authority().is_some() {
        return Ok(());
    }
    head.insert_header(HOST, local.to_string())
}

/// Tells the backend who asked and how: the client's address is appended, the scheme is set.
pub(super) fn forward(head: &mut RequestHeader, client: &HeaderValue, scheme: conf::Scheme) -> Result<()> {
    let mut chain = Vec::new();
    for earlier in head.headers.get_all(&X_FORWARDED_FOR) {
        // What is no text cannot be a list of addresses.
        if earlier.to_str().is_ok() {
            chain.extend_from_slice(earlier.as_bytes());
            chain.extend_from_slice(b", ");
        }
    }
    if chain.is_empty() {
        head.insert_header(X_FORWARDED_FOR, client.clone())?;
    } else {
        chain.extend_from_slice(client.as_bytes());
        head.insert_header(X_FORWARDED_FOR, chain)?;
    }
    head.insert_header(X_FORWARDED_PROTO, HeaderValue::from_static(scheme.as_str()))
}

/// A client as [`forward`] wants it.
pub(super) fn client(address: IpAddr) -> HeaderValue {
    HeaderValue::from_str(&address.to_canonical().to_string()).expect("addresses are plain text")
}

/// Removes what the client said of its own connection, but for framing and upgrades, which are
/// Pingora's. Who asked and for what stays, whatever `Connection` names.
pub(super) fn remove_nominated(head: &mut RequestHeader) {
    if !head.headers.contains_key(CONNECTION) {
        return;
    }
    for name in nominated(&head.headers) {
        if ![HOST, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO].contains(&name) {
            head.remove_header(&name);
        }
    }
    head.remove_header(&CONNECTION);
}

/// The request as HTTP/2 with TLS says it: whom it is for stands in the target alone, and nothing is
/// said of a single connection.
pub(super) fn use_http2_form(head: &mut RequestHeader) -> Result<()> {
    let invalid = || Error::explain(ErrorType::InvalidHTTPHeader, "HTTP/2 cannot say whom or what the request is for");
    if !head.raw_path_is_utf8() {
        return Err(invalid());
    }
    let host = head.remove_header(&HOST);
    let authority = match &host {
        Some(host) => Authority::try_from(host.as_bytes()).ok(),
        None => head.uri.authority().cloned(),
    };
    let path = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(Scheme::HTTPS).authority(authority.ok_or_else(invalid)?).path_and_query(path);
    head.set_uri(uri.build().map_err(|_| invalid())?);
    let takes_trailers =
        head.headers.get_all(TE).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in [TE, CONNECTION, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE, PROXY_CONNECTION, HTTP2_SETTINGS] {
        head.remove_header(&name);
    }
    head.remove_header(&PROXY_AUTHORIZATION);
    if takes_trailers {
        head.insert_header(TE, "trailers")?;
    }
    Ok(())
}

/// Removes what the backend said of its own connection; Pingora says what there is to say of the
/// client's. Framing stays, whatever `Connection` names.
pub(super) fn remove_hop_by_hop(answer: &mut ResponseHeader) {
    for name in nominated(&answer.headers) {
        answer.remove_header(&name);
    }
    let is_of_the_connection = |name: &HeaderName| *name == KEEP_ALIVE || *name == PROXY_CONNECTION || *name == UPGRADE;
    if answer.headers.keys().any(is_of_the_connection) {
        for name in [KEEP_ALIVE, PROXY_CONNECTION, UPGRADE] {
            answer.remove_header(&name);
        }
    }
}

/// The headers that `Connection` declares to be of the connection.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let tokens = values.flat_map(|value| value.split(',')).map(str::trim);
    // What it says nearly always nominates nothing.
    let names = tokens.filter(|token| !["keep-alive", "close"].iter().any(|said| token.eq_ignore_ascii_case(said)));
    names.filter_map(|name| name.parse().ok()).filter(|name| !OWN.contains(name)).collect()
}

/// Sends the request to another host, as HTTP/1.1 says it and, where it came by HTTP/2, in the
/// target as well.
pub(super) fn set_host(head: &mut RequestHeader, host: &str) -> Result<()> {
    if head.uri.authority().is_some() {
        let mut parts = head.uri.clone().into_parts();
        parts.authority = Authority::try_from(host).ok();
        if let Ok(uri) = http::Uri::from_parts(parts) {
            head.set_uri(uri);
        }
    }
    head.insert_header(HOST, host)
}

/// Replaces path and query, and leaves the authority of HTTP/2 alone.
pub(super) fn set_path(head: &mut RequestHeader, path_and_query: &str) -> Result<()> {
    if head.uri.authority().is_none() {
        return head.set_raw_path(path_and_query.as_bytes());
    }
    let mut parts = head.uri.clone().into_parts();
    parts.path_and_query = path_and_query.parse().ok();
    if let Ok(uri) = http::Uri::from_parts(parts) {
        head.set_uri(uri);
    }
    Ok(())
}

macro_rules! edits_all_but_its_own {
    ($($head:ty),+) => {$(
        impl HeaderEdit for $head {
            fn set(&mut self, name: &HeaderName, value: &HeaderValue) {
                if !OWN.contains(name) {
                    let _ = self.insert_header(name, value);
                }
            }

            fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
                if !OWN.contains(name) {
                    let _ = self.append_header(name, value);
                }
            }

            fn remove(&mut self, name: &HeaderName) {
                if !OWN.contains(name) {
                    self.remove_header(name);
                }
            }
        }
    )+};
}
edits_all_but_its_own!(RequestHeader, ResponseHeader);

#[cfg(test)]
mod tests {
    use super::*;

    fn head(target: &str) -> RequestHeader {
        RequestHeader::build("GET", target.as_bytes(), None).unwrap()
    }

    #[test]
    fn the_client_is_appended_and_the_scheme_replaced() {
        let mut head = head("/");
        head.append_header("x-forwarded-for", "192.0.2.1").unwrap();
        head.append_header("x-forwarded-for", "192.0.2.2").unwrap();
        head.append_header("x-forwarded-proto", "https").unwrap();
        forward(&mut head, &client("::ffff:192.0.2.3".parse().unwrap()), conf::Scheme::Http).unwrap();
        assert_eq!(head.headers["x-forwarded-for"], "192.0.2.1, 192.0.2.2, 192.0.2.3");
        assert_eq!(head.headers.get_all("x-forwarded-for").iter().count(), 1);
        assert_eq!(head.headers["x-forwarded-proto"], "http");
    }

    #[test]
    fn filters_leave_framing_alone() {
        let mut head = head("/");
        head.insert_header("content-length", "3").unwrap();
        HeaderEdit::remove(&mut head, &CONTENT_LENGTH);
        HeaderEdit::set(&mut head, &TRANSFER_ENCODING, &HeaderValue::from_static("chunked"));
        HeaderEdit::add(&mut head, &HeaderName::from_static("x-a"), &HeaderValue::from_static("b"));
        assert_eq!(head.headers["content-length"], "3");
        assert!(!head.headers.contains_key("transfer-encoding"));
        assert_eq!(head.headers["x-a"], "b");
    }

    #[test]
    fn servers_get_the_form_for_servers() {
        for (absolute, origin) in [
            ("http://a.test/b//%2e?", "/b//%2e?"),
            ("http://a.test", "/"),
            ("http://a.test?q", "/?q"),
            ("/b", "/b"),
            ("*", "*"),
        ] {
            let mut head = head(absolute);
            use_origin_form(&mut head).unwrap();
            assert_eq!(head.raw_path(), origin.as_bytes(), "{absolute}");
        }
    }

    #[test]
    fn host_and_path_change_in_every_form_of_target() {
        let mut origin = head("/a?q=1");
        set_host(&mut origin, "new.test").unwrap();
        set_path(&mut origin, "/b?q=1").unwrap();
        assert_eq!(
            (origin.raw_path(), &origin.headers["host"]),
            (&b"/b?q=1"[..], &HeaderValue::from_static("new.test"))
        );

        let mut absolute = head("/");
        absolute.set_uri("http://old.test:81/a?q=1".parse().unwrap());
        set_host(&mut absolute, "new.test").unwrap();
        set_path(&mut absolute, "/b?q=1").unwrap();
        assert_eq!(absolute.uri, "http://new.test/b?q=1");
    }
}
