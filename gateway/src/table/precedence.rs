use std::cmp::Reverse;
use std::sync::Arc;

use conf::{Hostname, Match, Name, PathMatch};

use super::host::HostRank;
use super::path::prefix_name;

/// Which of several matches that hold for a request answers it: the smallest. Its fields are in the
/// order in which the Gateway API compares ("HTTPRouteRule", "matches").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Precedence {
    pub(super) host: HostRank,
    pub(super) path: PathRank,
    /// One that asks for a method, `false`, goes first.
    pub(super) any_method: bool,
    pub(super) headers: Reverse<usize>,
    pub(super) query: Reverse<usize>,
    /// The route's own word on ties.
    pub(super) order: Arc<str>,
    /// So that routes of the same order are told apart.
    pub(super) route: Name,
    pub(super) rule: usize,
    pub(super) condition: usize,
}

/// Where regular expressions stand is left to implementations: after exact paths, before prefixes,
/// and among each other equal, since their length says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathRank {
    Exact,
    Regex,
    Prefix(Reverse<usize>),
}

impl PathRank {
    pub(super) fn of(path: Option<&PathMatch>) -> Self {
        match path {
            Some(PathMatch::Exact(_)) => Self::Exact,
            Some(PathMatch::Regex(_)) => Self::Regex,
            Some(PathMatch::Prefix(prefix)) => Self::Prefix(Reverse(prefix_name(prefix).len())),
            None => Self::Prefix(Reverse(0)),
        }
    }
}

/// The place of a match among all of its route.
pub(super) struct Place<'a> {
    pub(super) order: &'a Arc<str>,
    pub(super) route: &'a Name,
    pub(super) rule: usize,
    pub(super) condition: usize,
}

impl Precedence {
    pub(super) fn of(hostname: Option<&Hostname>, conditions: &Match, place: &Place<'_>) -> Self {
        let Match { path, method, headers, query } = conditions;
        Self {
            host: HostRank::of(hostname),
            path: PathRank::of(path.as_ref()),
            any_method: method.is_none(),
            headers: Reverse(headers.len()),
            query: Reverse(query.len()),
            order: Arc::clone(place.order),
            route: place.route.clone(),
            rule: place.rule,
            condition: place.condition,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the first to the last; each differs from the one before in the field that decides, and
    /// is the stronger in all fields after it.
    #[test]
    fn fields_decide_in_the_order_of_the_specification() {
        const EXACT: &str = "path: {exact: /a}";
        const REGEX: &str = "path: {regex: /.*}";
        const GET: &str = "method: GET";
        const HEADER: &str = "headers: [{name: a, exact: b}]";
        const HEADERS: &str = "headers: [{name: a, exact: b}, {name: c, exact: d}]";
        const QUERY: &str = "query: [{name: a, exact: b}]";
        const ALL: &str =
            "path: {exact: /a}, method: GET, headers: [{name: a, exact: b}], query: [{name: a, exact: b}]";
        type Case<'a> = (Option<&'a str>, &'a [&'a str], &'a str, &'a str, usize, usize);
        let cases: &[Case<'_>] = &[
            (Some("a.b.com"), &[], "9", "z", 9, 9),
            (Some("*.b.com"), &[ALL], "1", "a", 0, 0),
            (Some("*.com"), &[ALL], "1", "a", 0, 0),
            (None, &[EXACT], "9", "z", 9, 9),
            (None, &[REGEX, GET, HEADERS, QUERY], "1", "a", 0, 0),
            (None, &["path: {prefix: /aa/}"], "9", "z", 9, 9),
            (None, &["path: {prefix: /a}", GET], "9", "z", 9, 9),
            (None, &["path: {prefix: /b/}", HEADERS], "9", "z", 9, 9),
            (None, &["path: {prefix: /a}", HEADER, QUERY], "9", "z", 9, 9),
            (None, &["path: {prefix: /a}", HEADER], "1", "z", 9, 9),
            (None, &["path: {prefix: /a}", HEADER], "2", "a", 9, 9),
            (None, &["path: {prefix: /a}", HEADER], "2", "b", 1, 9),
            (None, &["path: {prefix: /a}", HEADER], "2", "b", 2, 0),
            (None, &["path: {prefix: /a}", HEADER], "2", "b", 2, 1),
            (None, &["path: {prefix: /}"], "2", "a", 0, 0),
            (None, &[], "2", "b", 0, 0),
        ];
        let precedences: Vec<_> = cases
            .iter()
            .map(|(hostname, conditions, order, route, rule, condition)| {
                let hostname = hostname.map(|text| text.parse().unwrap());
                let conditions = conditions_of(&conditions.join(", "));
                let (order, route) = (Arc::from(*order), route.parse().unwrap());
                let place = Place { order: &order, route: &route, rule: *rule, condition: *condition };
                Precedence::of(hostname.as_ref(), &conditions, &place)
            })
            .collect();
        for pair in precedences.windows(2) {
            assert!(pair[0] < pair[1], "{:#?} is not before {:#?}", pair[0], pair[1]);
        }
    }

    fn conditions_of(text: &str) -> Arc<Match> {
        let text = format!("route: {{name: r, listeners: [l], rules: [{{matches: [{{{text}}}]}}]}}");
        crate::table::testing::route(&text).rules[0].matches[0].clone()
    }
}
