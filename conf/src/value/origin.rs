use std::fmt;
use std::str::FromStr;

use crate::Scheme;

/// Where pages come from, as browsers tell it: a scheme, a host and a port, which is the scheme's
/// own unless said otherwise. Beginning with `*.`, the host covers what is below a domain, any
/// number of labels deep; `*` alone covers every host.
///
/// Case does not matter; the value is in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    /// With the dot that it begins with.
    Below(Box<str>),
    Exactly(Box<str>),
}

impl Origin {
    /// Whether the value of an `Origin` header is covered.
    pub fn covers(&self, header: &str) -> bool {
        let header = header.to_ascii_lowercase();
        let Some((scheme, host, port)) = split(&header) else { return false };
        let is_host = match &self.host {
            Host::Any => true,
            Host::Below(domain) => host.strip_suffix(&**domain).is_some_and(|labels| !labels.is_empty()),
            Host::Exactly(name) => host == &**name,
        };
        is_host && (scheme, port) == (self.scheme, self.port)
    }
}

/// None for what is no origin of the web, as `null` is.
fn split(origin: &str) -> Option<(Scheme, &str, u16)> {
    let (scheme, authority) = origin.split_once("://")?;
    let scheme = [Scheme::Http, Scheme::Https].into_iter().find(|known| known.as_str() == scheme)?;
    match authority.rsplit_once(':') {
        // The colons within brackets are those of an IPv6 address.
        Some((host, port)) if !port.ends_with(']') => Some((scheme, host, port.parse().ok()?)),
        _ => Some((scheme, authority, scheme.well_known_port())),
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let error = || OriginError(text.into());
        let lower = text.to_ascii_lowercase();
        let (scheme, host, port) = split(&lower).ok_or_else(error)?;
        let (is_below, name) = match host.strip_prefix('*') {
            Some(domain) => (true, domain),
            None => (false, host),
        };
        let host = match (is_below, name) {
            (true, "") => Host::Any,
            (true, domain) if domain.strip_prefix('.').is_some_and(is_name) => Host::Below(domain.into()),
            (false, name) if is_name(name) => Host::Exactly(name.into()),
            _ => return Err(error()),
        };
        if port == 0 { Err(error()) } else { Ok(Self { scheme, host, port }) }
    }
}

/// A name or an address, of which browsers have only those that they could reach.
fn is_name(name: &str) -> bool {
    let is_usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    address.map_or(!name.is_empty() && name.chars().all(is_usual), |it| it.parse::<std::net::Ipv6Addr>().is_ok())
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme.as_str())?;
        match &self.host {
            Host::Any => f.write_str("*")?,
            Host::Below(domain) => write!(f, "*{domain}")?,
            Host::Exactly(name) => f.write_str(name)?,
        }
        if self.port == self.scheme.well_known_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an origin such as https://www.example.com, https://*.example.com:8443 or *")]
pub struct OriginError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scheme_host_and_port_must_agree() {
        for (origin, header, covered) in [
            ("https://www.foo.com", "https://www.foo.com", true),
            ("https://www.Foo.com:443", "HTTPS://WWW.foo.com", true),
            ("https://www.foo.com", "https://www.foo.com:443", true),
            ("https://www.foo.com", "http://www.foo.com", false),
            ("https://www.foo.com", "https://www.foo.com:8443", false),
            ("http://localhost:3000", "http://localhost:3000", true),
            ("https://*.bar.com", "https://www.bar.com", true),
            ("https://*.bar.com", "https://xpto.www.bar.com", true),
            ("https://*.bar.com", "https://bar.com", false),
            ("https://*.bar.com", "https://.bar.com", false),
            ("https://*.bar.com", "https://foobar.com", false),
            ("https://*.bar.com", "https://www.bar.com.evil.com", false),
            ("https://*.bar.com:8443", "https://www.bar.com:8443", true),
            ("https://*", "https://any.example", true),
            ("https://*", "http://any.example", false),
            ("https://*", "https://any.example:8443", false),
            ("https://*", "null", false),
            ("http://[::1]:80", "http://[::1]", true),
            ("http://[::1]", "http://[::1]:8080", false),
        ] {
            assert_eq!(origin.parse::<Origin>().unwrap().covers(header), covered, "{origin} {header}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for (text, written) in [
            ("https://Example.com:443", "https://example.com"),
            ("http://*.example.com:8080", "http://*.example.com:8080"),
            ("http://*", "http://*"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_no_browser_says_is_refused() {
        for text in [
            "",
            "*",
            "null",
            "example.com",
            "ftp://a.com",
            "https://",
            "https://a.*.com",
            "https://*a.com",
            "http://a b",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(OriginError(text.into())), "{text}");
        }
        for text in
            ["https://a.com/", "https://a.com:0", "https://a.com:65536", "https://a:b", "https://*.", "http://[x]"]
        {
            assert_eq!(text.parse::<Origin>(), Err(OriginError(text.into())), "{text}");
        }
    }
}
