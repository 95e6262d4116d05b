//! The conditions of GRPCRoutes on calls: a call is a POST of `/service/method`.
//!
//! Precedence comes out as the API has it, more of the service before more of the method before more
//! headers, except that where it leaves support to implementations, a method alone and regular
//! expressions, those go after exact methods and before whole services.

use std::sync::LazyLock;

use conf::{HeaderMatch, Match, MethodMatch, PathMatch, Pattern, StringMatch};
use http::Method;
use http::header::CONTENT_TYPE;

use super::http_match;
use crate::api::grpc_route as api;

pub(super) fn translate(condition: &api::Match) -> Result<Match, String> {
    let headers = http_match::headers(&condition.headers)?;
    let path = condition.method.as_ref().map(path).transpose().map_err(|error| format!("method: {error}"))?.flatten();
    let names_a_service = condition.method.as_ref().is_some_and(|method| !method.service.is_empty());
    let call = if names_a_service { of_calls() } else { every_call() };
    Ok(Match { path, headers: [headers, call.headers].concat(), ..call })
}

/// Where no service is named, other requests of the same host are told from calls by what they carry.
pub(super) fn every_call() -> Match {
    Match { headers: vec![IS_CALL.clone()], ..of_calls() }
}

fn of_calls() -> Match {
    Match { method: Some(MethodMatch(Method::POST)), ..Match::default() }
}

static IS_CALL: LazyLock<HeaderMatch> = LazyLock::new(|| {
    let pattern = "application/grpc.*".parse().expect("it is a regular expression");
    HeaderMatch { name: CONTENT_TYPE, value: StringMatch::Regex(pattern) }
});

/// None where every method of every service will do.
fn path(condition: &api::MethodMatch) -> Result<Option<PathMatch>, String> {
    let api::MethodMatch { kind, service, method } = condition;
    match kind.as_str() {
        "Exact" => {
            identifier("service", service.strip_prefix('.').unwrap_or(service).split('.'), service)?;
            identifier("method", std::iter::once(method.as_str()), method)?;
            Ok(match (service.as_str(), method.as_str()) {
                ("", "") => None,
                (service, "") => Some(PathMatch::Prefix(format!("/{service}/"))),
                ("", method) => Some(PathMatch::Regex(pattern(ANY, method)?)),
                (service, method) => Some(PathMatch::Exact(format!("/{service}/{method}"))),
            })
        }
        "RegularExpression" => match (service.as_str(), method.as_str()) {
            ("", "") => Ok(None),
            (service, method) => {
                // Each alone first: together they may make sense where neither does.
                let part = |field: &str, text: &str| match text.parse::<Pattern>() {
                    Ok(_) if text.is_empty() => Ok(ANY.to_owned()),
                    Ok(pattern) => Ok(format!("(?:{pattern})")),
                    Err(error) => Err(format!("{field}: {error}")),
                };
                pattern(&part("service", service)?, &part("method", method)?).map(PathMatch::Regex).map(Some)
            }
        },
        kind => Err(format!("type {kind} is not supported; use Exact or RegularExpression")),
    }
}

/// Any service, or any method.
const ANY: &str = "[^/]+";

fn pattern(service: &str, method: &str) -> Result<Pattern, String> {
    format!("/{service}/{method}").parse::<Pattern>().map_err(|error| error.to_string())
}

/// What is no name in any `.proto` is nothing that can be called.
fn identifier<'t>(field: &str, mut parts: impl Iterator<Item = &'t str>, whole: &str) -> Result<(), String> {
    let is_identifier = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    match whole.is_empty() || parts.all(is_identifier) {
        true => Ok(()),
        false => Err(format!("{field}: {whole:?} is no name of a {field}; use RegularExpression for patterns")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: &str, service: &str, method: &str, expected: Result<Option<&str>, &str>) {
        let condition = api::MethodMatch { kind: kind.into(), service: service.into(), method: method.into() };
        let path = path(&condition).map(|path| {
            path.map(|path| match path {
                PathMatch::Exact(path) => format!("exact {path}"),
                PathMatch::Prefix(path) => format!("prefix {path}"),
                PathMatch::Regex(pattern) => format!("regex {pattern}"),
            })
        });
        let path = path.as_ref().map(Option::as_deref).map_err(String::as_str);
        assert_eq!(path, expected, "{kind} {service:?} {method:?}");
    }

    #[test]
    fn a_method_is_a_path() {
        check("Exact", "shop.Cart", "Add", Ok(Some("exact /shop.Cart/Add")));
        check("Exact", "shop.Cart", "", Ok(Some("prefix /shop.Cart/")));
        check("Exact", "", "Add", Ok(Some("regex /[^/]+/Add")));
        check("Exact", "", "", Ok(None));
        check("RegularExpression", "shop\\..*", "Add|Put", Ok(Some("regex /(?:shop\\..*)/(?:Add|Put)")));
        check("RegularExpression", "shop\\..*", "", Ok(Some("regex /(?:shop\\..*)/[^/]+")));
        check("RegularExpression", "", "Add", Ok(Some("regex /[^/]+/(?:Add)")));
    }

    #[test]
    fn what_cannot_be_called_is_told() {
        let advice = "use RegularExpression for patterns";
        let no_service = format!("service: \"shop/Cart\" is no name of a service; {advice}");
        check("Exact", "shop/Cart", "Add", Err(&no_service));
        check("Exact", "", "Add.*", Err(&format!("method: \"Add.*\" is no name of a method; {advice}")));
        check("RegularExpression", "a)(b", "", Err("service: \"a)(b\" is not a regular expression: unopened group"));
        check("Prefix", "shop", "", Err("type Prefix is not supported; use Exact or RegularExpression"));
    }

    #[test]
    fn other_requests_are_no_calls() {
        let every = every_call();
        let StringMatch::Regex(pattern) = &every.headers[0].value else { panic!("{every:?}") };
        for (content_type, is_call) in
            [("application/grpc", true), ("application/grpc+proto", true), ("application/json", false)]
        {
            assert_eq!(pattern.matches(content_type), is_call, "{content_type}");
        }
    }
}
