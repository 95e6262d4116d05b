use std::cmp::Reverse;

use conf::Hostname;

use super::longest::Longest;
use super::shared::SharedMap;

/// Values by hostname, wildcard, or for any host.
#[derive(Clone)]
pub(super) struct HostMap<V> {
    exact: SharedMap<V>,
    /// By the domain below which they match.
    wildcards: Longest<V>,
    any: Option<V>,
}

/// How specific a hostname is; the smaller, the more. Of two exact names only one can match a
/// request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HostRank {
    Exact,
    Wildcard(Reverse<usize>),
    Any,
}

impl HostRank {
    pub(super) fn of(hostname: Option<&Hostname>) -> Self {
        match hostname.map(|hostname| hostname.wildcard_domain()) {
            Some(None) => Self::Exact,
            Some(Some(domain)) => Self::Wildcard(Reverse(domain.len())),
            None => Self::Any,
        }
    }
}

impl<V: Clone> HostMap<V> {
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcards.is_empty() && self.any.is_none()
    }

    /// All that cover `host`, which is in lower case and has no port: the exact name, then wildcards
    /// from the longest to the shortest, then what is for any host.
    pub(super) fn covering<'v>(&'v self, host: &str) -> impl Iterator<Item = &'v V> {
        let exact = self.exact.get(host).into_iter();
        let wildcards = self.wildcards.covering(|length| domain(host, length)).map(|(_, value)| value);
        exact.chain(wildcards).chain(&self.any)
    }

    pub(super) fn get_mut(&mut self, hostname: Option<&Hostname>) -> Option<&mut V> {
        match hostname.map(|hostname| (hostname, hostname.wildcard_domain())) {
            Some((hostname, None)) => self.exact.get_mut(hostname.as_str()),
            Some((_, Some(domain))) => self.wildcards.get_mut(domain),
            None => self.any.as_mut(),
        }
    }

    /// There is nothing for `hostname` yet.
    pub(super) fn insert_new(&mut self, hostname: Option<&Hostname>, value: V) {
        match hostname.map(|hostname| (hostname, hostname.wildcard_domain())) {
            Some((hostname, None)) => self.exact.insert_new(hostname.as_str(), value),
            Some((_, Some(domain))) => self.wildcards.insert_new(domain, value),
            None => self.any = Some(value),
        }
    }

    pub(super) fn remove(&mut self, hostname: Option<&Hostname>) {
        match hostname.map(|hostname| (hostname, hostname.wildcard_domain())) {
            Some((hostname, None)) => {
                self.exact.remove(hostname.as_str());
            }
            Some((_, Some(domain))) => self.wildcards.remove(domain),
            None => self.any = None,
        }
    }
}

impl<V> Default for HostMap<V> {
    fn default() -> Self {
        Self { exact: SharedMap::default(), wildcards: Longest::default(), any: None }
    }
}

/// The last `length` bytes of `host` where they follow a dot that follows something.
fn domain(host: &str, length: usize) -> Option<&str> {
    let dot = host.len().checked_sub(length + 1).filter(|dot| *dot > 0)?;
    host.get(dot..)?.strip_prefix('.')
}

/// A host in lower case, without an allocation.
pub(super) struct LowerCase {
    bytes: [u8; Self::MAX],
    length: usize,
}

impl LowerCase {
    /// No hostname is longer.
    const MAX: usize = 253;

    /// What is too long for a hostname is held as the empty text: neither matches any.
    pub(super) fn of(host: &str) -> Self {
        let mut bytes = [0; Self::MAX];
        let length = match bytes.get_mut(..host.len()) {
            Some(place) => {
                place.copy_from_slice(host.as_bytes());
                place.make_ascii_lowercase();
                host.len()
            }
            None => 0,
        };
        Self { bytes, length }
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).expect("text stays text in lower case")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostname(text: &str) -> Option<Hostname> {
        (text != "any").then(|| text.parse().unwrap())
    }

    #[test]
    fn exact_names_then_longer_wildcards_then_shorter_ones_then_any() {
        let mut map = HostMap::default();
        for text in ["any", "*.com", "*.b.com", "b.com", "a.b.com", "*.bb.com"] {
            map.insert_new(hostname(text).as_ref(), text);
        }
        for (host, expected) in [
            ("a.b.com", &["a.b.com", "*.b.com", "*.com", "any"][..]),
            ("x.y.b.com", &["*.b.com", "*.com", "any"]),
            ("b.com", &["b.com", "*.com", "any"]),
            ("bb.com", &["*.com", "any"]),
            (".com", &["any"]),
            ("com", &["any"]),
            ("", &["any"]),
            ("äb.com", &["*.com", "any"]),
        ] {
            assert_eq!(map.covering(host).copied().collect::<Vec<_>>(), expected, "{host}");
        }
        for text in ["any", "*.com", "*.b.com", "b.com", "a.b.com", "*.bb.com"] {
            let hostname = hostname(text);
            *map.get_mut(hostname.as_ref()).unwrap() = "changed";
            assert!(!map.is_empty());
            map.remove(hostname.as_ref());
            assert!(map.get_mut(hostname.as_ref()).is_none());
        }
        assert!(map.is_empty());
    }

    #[test]
    fn the_rank_is_the_order_of_covering() {
        let ranks = ["a.b.com", "*.b.com", "*.com", "any"].map(|text| HostRank::of(hostname(text).as_ref()));
        assert!(ranks.is_sorted(), "{ranks:?}");
    }

    #[test]
    fn hosts_are_compared_in_lower_case_and_bounded() {
        assert_eq!(LowerCase::of("A.b.COM").as_str(), "a.b.com");
        assert_eq!(LowerCase::of("").as_str(), "");
        assert_eq!(LowerCase::of(&"A".repeat(253)).as_str(), "a".repeat(253));
        assert_eq!(LowerCase::of(&"a".repeat(254)).as_str(), "");
    }
}
