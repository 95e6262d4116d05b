use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A hostname, or a wildcard over one or more leading labels: `shop.example.com`, `*.example.com`.
///
/// Held in lower case. A wildcard matches any number of labels to the left, but not the bare
/// domain: `*.example.com` matches `a.b.example.com` and not `example.com`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(Arc<str>);

const MAX_LENGTH: usize = 253;
const MAX_LABEL_LENGTH: usize = 63;
const WILDCARD: &str = "*.";

impl Hostname {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For a wildcard the domain below which it matches, without a dot in front.
    pub fn wildcard_domain(&self) -> Option<&str> {
        self.0.strip_prefix(WILDCARD)
    }

    /// Whether `host`, in lower case and without a port, is covered.
    pub fn matches(&self, host: &str) -> bool {
        match self.wildcard_domain() {
            Some(domain) => is_below(host, domain),
            None => host == &*self.0,
        }
    }

    /// The hostnames that both cover, which is the more specific of the two, if there are any.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let narrower = match (self.wildcard_domain(), other.wildcard_domain()) {
            (None, None) => (self == other).then_some(self),
            (None, Some(_)) => other.matches(&self.0).then_some(self),
            (Some(_), None) => self.matches(&other.0).then_some(other),
            (Some(mine), Some(theirs)) if mine == theirs || is_below(mine, theirs) => Some(self),
            (Some(mine), Some(theirs)) => is_below(theirs, mine).then_some(other),
        };
        narrower.cloned()
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).and_then(|labels| labels.strip_suffix('.')).is_some_and(|labels| !labels.is_empty())
}

impl FromStr for Hostname {
    type Err = HostnameError;

    fn from_str(text: &str) -> Result<Self, HostnameError> {
        let name = text.to_ascii_lowercase();
        let labels = name.strip_prefix(WILDCARD).unwrap_or(&name);
        let valid = name.len() <= MAX_LENGTH && labels.split('.').all(is_label);
        if valid { Ok(Self(name.into())) } else { Err(HostnameError(text.into())) }
    }
}

fn is_label(label: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_alphanumeric();
    let bytes = label.as_bytes();
    (1..=MAX_LABEL_LENGTH).contains(&bytes.len())
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

crate::as_text!(Hostname);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a hostname such as shop.example.com or *.example.com")]
pub struct HostnameError(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn hostname(text: &str) -> Hostname {
        text.parse().unwrap()
    }

    #[test]
    fn case_is_ignored_and_bad_names_are_refused() {
        assert_eq!(hostname("Shop.Example.COM").as_str(), "shop.example.com");
        for text in ["", "*", "*.", "a..b", "-a.b", "a-.b", "a.*.b", "**.a", "a b", "a.b.", "a:80"] {
            assert_eq!(text.parse::<Hostname>(), Err(HostnameError(text.into())), "{text}");
        }
    }

    #[test]
    fn a_wildcard_covers_several_labels_but_not_the_domain() {
        let wildcard = hostname("*.example.com");
        for (host, covered) in [
            ("a.example.com", true),
            ("a.b.example.com", true),
            ("example.com", false),
            ("aexample.com", false),
            (".example.com", false),
        ] {
            assert_eq!(wildcard.matches(host), covered, "{host}");
        }
    }

    #[test]
    fn the_intersection_is_the_narrower_name() {
        for (a, b, expected) in [
            ("a.com", "a.com", Some("a.com")),
            ("a.com", "b.com", None),
            ("*.a.com", "x.a.com", Some("x.a.com")),
            ("*.a.com", "a.com", None),
            ("*.a.com", "*.b.a.com", Some("*.b.a.com")),
            ("*.a.com", "*.a.com", Some("*.a.com")),
            ("*.a.com", "*.b.com", None),
            ("*.a.com", "*.ba.com", None),
        ] {
            let expected = expected.map(hostname);
            assert_eq!(hostname(a).intersection(&hostname(b)), expected, "{a} {b}");
            assert_eq!(hostname(b).intersection(&hostname(a)), expected, "{b} {a}");
        }
    }
}
