//! The conditions of HTTPRoutes on requests.

use std::collections::HashSet;

use conf::{HeaderMatch, Match, MethodMatch, PathMatch, QueryMatch, StringMatch, nearest};

use super::filter;
use crate::api::http_route as api;

pub(super) fn translate(condition: &api::Match) -> Result<Match, String> {
    Ok(Match {
        path: condition.path.as_ref().map(path).transpose()?,
        method: condition.method.as_deref().map(method).transpose()?,
        headers: headers(&condition.headers)?,
        query: query(&condition.query_params)?,
    })
}

fn path(path: &api::PathMatch) -> Result<PathMatch, String> {
    match path.kind.as_str() {
        "Exact" => Ok(PathMatch::Exact(path.value.clone())),
        "PathPrefix" => Ok(PathMatch::Prefix(path.value.clone())),
        "RegularExpression" => path.value.parse().map(PathMatch::Regex).map_err(|error| format!("path: {error}")),
        kind => Err(format!("path: type {kind} is not supported; use Exact, PathPrefix or RegularExpression")),
    }
}

fn method(method: &str) -> Result<MethodMatch, String> {
    if METHODS.contains(&method) {
        return method.parse();
    }
    Err(match nearest(method, METHODS) {
        Some(near) => format!("method: {method} is not supported; is {near} meant?"),
        None => format!("method: {method} is not supported; it should be one of {}", METHODS.join(", ")),
    })
}

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Of several conditions on one header only the first counts, says the API.
pub(super) fn headers(conditions: &[api::ValueMatch]) -> Result<Vec<HeaderMatch>, String> {
    let mut seen = HashSet::new();
    let firsts = conditions.iter().filter(|condition| seen.insert(condition.name.to_ascii_lowercase()));
    firsts
        .map(|condition| {
            let name = filter::header_name(&condition.name).map_err(|error| format!("headers: {error}"))?;
            Ok(HeaderMatch { name, value: value("headers", condition)? })
        })
        .collect()
}

/// As for headers, but with case.
fn query(conditions: &[api::ValueMatch]) -> Result<Vec<QueryMatch>, String> {
    let mut seen = HashSet::new();
    let firsts = conditions.iter().filter(|condition| seen.insert(condition.name.as_str()));
    firsts
        .map(|condition| Ok(QueryMatch { name: condition.name.clone(), value: value("queryParams", condition)? }))
        .collect()
}

fn value(field: &str, condition: &api::ValueMatch) -> Result<StringMatch, String> {
    let name = &condition.name;
    match condition.kind.as_str() {
        "Exact" => Ok(StringMatch::Exact(condition.value.clone())),
        "RegularExpression" => {
            condition.value.parse().map(StringMatch::Regex).map_err(|error| format!("{field} {name}: {error}"))
        }
        kind => Err(format!("{field} {name}: type {kind} is not supported; use Exact or RegularExpression")),
    }
}
