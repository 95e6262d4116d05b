use conf::{HeaderMatch, Match, MethodMatch, PathMatch, QueryMatch, StringMatch};
use http::{HeaderMap, Method};

use super::Request;
use super::query::parameter;

/// Whether all conditions hold but those on exact paths and prefixes, by which the table is ordered.
pub(super) fn holds(conditions: &Match, request: &Request<'_>) -> bool {
    let Match { path, method, headers, query } = conditions;
    method_holds(method.as_ref(), request.method)
        && headers.iter().all(|header| header_holds(header, request.headers))
        && query.iter().all(|parameter| query_holds(parameter, request.query))
        && match path {
            Some(PathMatch::Regex(pattern)) => pattern.matches(request.path),
            Some(PathMatch::Exact(_) | PathMatch::Prefix(_)) | None => true,
        }
}

pub(super) fn method_holds(expected: Option<&MethodMatch>, method: &Method) -> bool {
    expected.is_none_or(|MethodMatch(expected)| expected == method)
}

/// Of several values of the name any may match, or all of them as one list, joined with a comma as
/// RFC 9110, 5.3 allows any recipient to. Values that are not UTF-8 match nothing.
pub(super) fn header_holds(expected: &HeaderMatch, headers: &HeaderMap) -> bool {
    let HeaderMatch { name, value: expected } = expected;
    let values = || headers.get_all(name).iter().map(|value| value.as_bytes());
    values().any(|value| value_holds(expected, value))
        || values().nth(1).is_some() && value_holds(expected, &values().collect::<Vec<_>>().join(&b','))
}

/// Of several parameters with the name the first counts.
pub(super) fn query_holds(expected: &QueryMatch, query: Option<&str>) -> bool {
    let QueryMatch { name, value: expected } = expected;
    parameter(query.unwrap_or_default(), name).is_some_and(|value| value_holds(expected, &value))
}

fn value_holds(expected: &StringMatch, value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok_and(|value| expected.matches(value))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn methods_are_compared_with_their_case() {
        let get = MethodMatch(Method::GET);
        assert!(method_holds(Some(&get), &Method::GET) && method_holds(None, &Method::POST));
        assert!(!method_holds(Some(&get), &Method::POST));
        assert!(!method_holds(Some(&get), &Method::from_bytes(b"get").unwrap()));
    }

    #[test]
    fn any_value_of_a_header_may_match_or_their_list() {
        let exact = |text: &str| StringMatch::Exact(text.into());
        let regex = |text: &str| StringMatch::Regex(text.parse().unwrap());
        for (values, expected, holding) in [
            (&["two"][..], exact("two"), true),
            (&["two"], exact("Two"), false),
            (&["two"], exact("tw"), false),
            (&[], exact(""), false),
            (&[""], exact(""), true),
            (&["one", "two"], exact("two"), true),
            (&["one", "two"], exact("one,two"), true),
            (&["one", "two"], exact("two,one"), false),
            (&["one,two"], exact("two"), false),
            (&["v10"], regex("v[0-9]+"), true),
            (&["v10x"], regex("v[0-9]+"), false),
            (&["x", "v1"], regex("v[0-9]+"), true),
            (&["a", "b", "c"], regex("a,.,c"), true),
            (&["\u{e4}"], exact("\u{e4}"), true),
        ] {
            let name = HeaderName::from_static("version");
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            headers.append("other", HeaderValue::from_static("two"));
            let expected = HeaderMatch { name, value: expected };
            assert_eq!(header_holds(&expected, &headers), holding, "{values:?} {expected:?}");
        }
    }

    #[test]
    fn header_values_that_are_not_text_match_nothing() {
        let (name, mut headers) = (HeaderName::from_static("a"), HeaderMap::new());
        headers.append(&name, HeaderValue::from_bytes(b"\xff").unwrap());
        let all = HeaderMatch { name, value: StringMatch::Regex("(?s).*".parse().unwrap()) };
        assert!(!header_holds(&all, &headers));
    }

    #[test]
    fn the_first_parameter_of_a_name_counts() {
        let exact = |text: &str| StringMatch::Exact(text.into());
        let regex = |text: &str| StringMatch::Regex(text.parse().unwrap());
        for (query, expected, holding) in [
            (Some("a=1"), exact("1"), true),
            (Some("a=1&a=2"), exact("2"), false),
            (Some("b=2&a=1"), exact("1"), true),
            (Some("A=1"), exact("1"), false),
            (Some("a=%31"), exact("1"), true),
            (Some("%61=x%20y"), exact("x y"), true),
            (Some("a=x+y"), exact("x y"), true),
            (Some("a=12"), regex("[0-9]+"), true),
            (Some("a=%312"), regex("[0-9]+"), true),
            (Some("a=12x"), regex("[0-9]+"), false),
            (Some("a=%FF"), regex("(?s).*"), false),
            (Some(""), exact(""), false),
            (None, exact(""), false),
        ] {
            let expected = QueryMatch { name: "a".into(), value: expected };
            assert_eq!(query_holds(&expected, query), holding, "{query:?} {expected:?}");
        }
    }
}
