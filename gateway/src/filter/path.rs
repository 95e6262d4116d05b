use std::fmt::Write;

use conf::PathModifier;

use crate::table::Request;

/// The path and query that the backend gets: the query byte for byte as sent, the path too where
/// `modifier` keeps it. `prefix` is what the rule's prefix match covered, see
/// [`Found`](crate::table::Found).
pub(crate) fn rewrite_path(modifier: &PathModifier, request: &Request<'_>, prefix: Option<usize>) -> String {
    let mut target = String::new();
    push_path(&mut target, Some(modifier), request.path, prefix);
    push_query(&mut target, request.query);
    target
}

pub(super) fn push_path(target: &mut String, modifier: Option<&PathModifier>, path: &str, prefix: Option<usize>) {
    match modifier {
        None => target.push_str(path),
        Some(PathModifier::ReplaceFullPath(replacement)) => push_escaped(target, replacement),
        Some(PathModifier::ReplacePrefixMatch(replacement)) => {
            // A rule with this modifier has no other matches than of prefixes. What the prefix
            // left is either nothing or begins with a slash.
            let rest = &path[prefix.unwrap_or_default()..];
            match (replacement.as_str(), rest) {
                ("", "") => target.push('/'),
                (whole, "") => push_escaped(target, whole),
                (front, rest) => {
                    push_escaped(target, front.strip_suffix('/').unwrap_or(front));
                    target.push_str(rest);
                }
            }
        }
    }
}

pub(super) fn push_query(target: &mut String, query: Option<&str>) {
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
}

/// Documents may hold any character; a path on the wire is ASCII.
fn push_escaped(target: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte.is_ascii() {
            true => target.push(byte.into()),
            false => write!(target, "%{byte:02X}").expect("writing to a string does not fail"),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    fn rewritten(modifier: &PathModifier, target: &str, prefix: Option<usize>) -> String {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let headers = HeaderMap::new();
        let request = Request { host: "a.com", method: &Method::GET, path, query, headers: &headers };
        rewrite_path(modifier, &request, prefix)
    }

    /// The table in the documentation of `HTTPPathModifier`, and what it leaves out.
    #[test]
    fn a_prefix_is_replaced_by_elements() {
        for (target, prefix, replacement, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/foo", "/foo", "/xyz/", "/xyz/"),
            ("/foo/", "/foo", "/xyz/", "/xyz/"),
            ("/foo//bar", "/foo", "/xyz", "/xyz//bar"),
            ("/", "", "/xyz", "/xyz/"),
            ("/bar", "", "/xyz", "/xyz/bar"),
            ("/bar", "", "/", "/bar"),
            ("/foo/bar/baz", "/foo/bar", "/a/b/c", "/a/b/c/baz"),
            ("/foo/%2Fb?a=%20&b", "/foo", "/xyz", "/xyz/%2Fb?a=%20&b"),
            ("/foo?", "/foo", "/xyz", "/xyz?"),
            ("/foo?a=/foo", "/foo", "", "/?a=/foo"),
            ("/foo/bar", "/foo", "/ä", "/%C3%A4/bar"),
        ] {
            let modifier = PathModifier::ReplacePrefixMatch(replacement.into());
            assert!(target.starts_with(prefix));
            assert_eq!(rewritten(&modifier, target, Some(prefix.len())), expected, "{target} {prefix} {replacement}");
        }
    }

    #[test]
    fn a_full_path_is_replaced_and_the_query_stays() {
        for (target, replacement, expected) in [
            ("/foo/bar", "/xyz", "/xyz"),
            ("/foo/bar", "/xyz/", "/xyz/"),
            ("/foo?a=%20b&c", "/", "/?a=%20b&c"),
            ("/?", "/xyz", "/xyz?"),
            ("/foo", "/ä/%2f", "/%C3%A4/%2f"),
        ] {
            let modifier = PathModifier::ReplaceFullPath(replacement.into());
            assert_eq!(rewritten(&modifier, target, None), expected, "{target} {replacement}");
            assert_eq!(rewritten(&modifier, target, Some(1)), expected, "{target} {replacement}");
        }
    }
}
