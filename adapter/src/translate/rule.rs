//! The rules of an HTTPRoute.

use std::collections::HashSet;
use std::str::FromStr;

use conf::{
    Document, HeaderMatch, Match, MethodMatch, PathMatch, QueryMatch, StringMatch, Target, WeightedBackend, nearest,
};

use super::backend::Backends;
use super::grant::Referrer;
use super::{filter, name};
use crate::api::ObjectKey;
use crate::api::http_route::{self as api, BackendRef, Filter};
use crate::status::Fault;

/// The rules of a route, as far as they can be followed.
///
/// A rule that cannot is not left out, or its requests would go to a rule that they are not meant
/// for, past a filter perhaps that should have kept them: it answers 500 to what it matches.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) rules: Vec<conf::Rule>,
    /// Those that cannot be followed, with their positions.
    faults: Vec<(usize, Fault)>,
    unresolved: Vec<Fault>,
    count: usize,
}

impl Rules {
    pub(super) fn of(referrer: Referrer<'_>, rules: &[api::Rule], backends: &mut Backends<'_>) -> Self {
        let mut all = Self { count: rules.len(), ..Self::default() };
        for (i, rule) in rules.iter().enumerate() {
            let mut draft =
                Draft { referrer, backends: &mut *backends, field: format!("rules[{i}]"), unresolved: vec![] };
            let (matches, bad_match) = draft.matches(&rule.matches);
            let followed = draft.rule(rule, &matches);
            all.unresolved.append(&mut draft.unresolved);
            // Without a match that can be understood, nothing is known about whom it concerns.
            let concerns_some = rule.matches.is_empty() || !matches.is_empty();
            match bad_match.map_or(followed, Err) {
                Ok(rule) => all.rules.push(rule),
                Err(fault) => {
                    if concerns_some {
                        all.rules.push(refusal(rule, matches, &fault));
                    }
                    all.faults.push((i, fault));
                }
            }
        }
        all
    }

    /// Whether a route with these rules is accepted: with at least one that can be followed it is.
    pub(super) fn accepted(&self) -> Result<(), Fault> {
        match self.faults.first() {
            Some((_, first)) if self.faults.len() == self.count => Err(Fault::new(first.reason, self.messages())),
            _ => Ok(()),
        }
    }

    /// What is wrong with some of the rules, where others can be followed.
    pub(super) fn partially_invalid(&self, route: &ObjectKey) -> Option<Fault> {
        if self.faults.is_empty() || self.faults.len() == self.count {
            return None;
        }
        let positions = self.faults.iter().map(|(i, _)| i.to_string()).collect::<Vec<_>>().join(", ");
        // The beginning is what the API demands.
        let message =
            format!("Dropped Rule {positions} of HTTPRoute {route}, whose requests get 500: {}", self.messages());
        Some(Fault::new(UNSUPPORTED_VALUE, message))
    }

    pub(super) fn unresolved(&self) -> Option<Fault> {
        let first = self.unresolved.first()?;
        let messages: Vec<_> = self.unresolved.iter().map(|fault| fault.message.as_str()).collect();
        Some(Fault::new(first.reason, messages.join("; ")))
    }

    fn messages(&self) -> String {
        self.faults.iter().map(|(_, fault)| fault.message.as_str()).collect::<Vec<_>>().join("; ")
    }
}

fn refusal(rule: &api::Rule, matches: Vec<Match>, fault: &Fault) -> conf::Rule {
    let target = Target::Invalid(fault.message.clone());
    conf::Rule {
        name: rule.name.as_deref().map(name::rule),
        matches,
        backends: vec![WeightedBackend { target, weight: 1, filters: Vec::new() }],
        ..conf::Rule::default()
    }
}

/// One rule on its way. Its methods give the first fault they meet.
struct Draft<'d, 'a> {
    referrer: Referrer<'d>,
    backends: &'d mut Backends<'a>,
    /// The rule's place in the route, with which all messages begin.
    field: String,
    unresolved: Vec<Fault>,
}

impl Draft<'_, '_> {
    fn rule(&mut self, rule: &api::Rule, matches: &[Match]) -> Result<conf::Rule, Fault> {
        // References first and all of them, whatever else is wrong: their condition is their own.
        let filters = self.filters("", &rule.filters);
        let backends: Vec<_> =
            rule.backend_refs.iter().enumerate().map(|(i, backend)| self.backend(i, backend)).collect();
        if rule.session_persistence.is_some() {
            return Err(self.unsupported("sessionPersistence: it is not supported by this controller; remove it"));
        }
        let timeouts = conf::Timeouts {
            request: self.parse("timeouts.request", rule.timeouts.request.as_deref())?,
            backend_request: self.parse("timeouts.backendRequest", rule.timeouts.backend_request.as_deref())?,
        };
        let rule = conf::Rule {
            name: rule.name.as_deref().map(name::rule),
            matches: matches.to_vec(),
            filters: filters?,
            backends: backends.into_iter().collect::<Result<_, _>>()?,
            timeouts,
            retry: rule.retry.as_ref().map(|retry| self.retry(retry)).transpose()?.flatten(),
        };
        self.check_filters(&rule)?;
        match problems(&rule).first() {
            Some(problem) => Err(self.unsupported(problem)),
            None => Ok(rule),
        }
    }

    /// The matches that can be understood, and what is wrong with the first of the others.
    fn matches(&self, matches: &[api::Match]) -> (Vec<Match>, Option<Fault>) {
        let mut bad = None;
        let mut understood = Vec::new();
        for (i, condition) in matches.iter().enumerate() {
            match match_(condition) {
                Ok(condition) => understood.push(condition),
                Err(message) => {
                    bad.get_or_insert_with(|| self.unsupported(format!("matches[{i}].{message}")));
                }
            }
        }
        (understood, bad)
    }

    /// `owner` is whose filters they are, within the rule.
    fn filters(&mut self, owner: &str, filters: &[Filter]) -> Result<Vec<conf::Filter>, Fault> {
        let mut all = Vec::new();
        let mut first_fault = None;
        for (i, filter) in filters.iter().enumerate() {
            let field = format!("{owner}filters[{i}]");
            match filter::filter(filter, |reference| self.target(&format!("{field}.requestMirror"), reference)) {
                Ok(filter) => all.push(filter),
                Err(message) => {
                    first_fault.get_or_insert_with(|| self.unsupported(format!("{field}: {message}")));
                }
            }
        }
        first_fault.map_or(Ok(all), Err)
    }

    fn backend(&mut self, i: usize, reference: &BackendRef) -> Result<WeightedBackend, Fault> {
        let field = format!("backendRefs[{i}]");
        let target = self.target(&field, reference);
        let weight = reference.weight;
        let filters = self.filters(&format!("{field}."), &reference.filters)?;
        let weight = u32::try_from(weight)
            .map_err(|_| self.unsupported(format!("{field}.weight: {weight} is not between 0 and 1000000")))?;
        Ok(WeightedBackend { target, weight, filters })
    }

    fn target(&mut self, field: &str, reference: &BackendRef) -> Target {
        match self.backends.resolve(self.referrer, reference) {
            Ok(name) => Target::Backend(name),
            Err(Fault { reason, message }) => {
                self.unresolved.push(Fault::new(reason, format!("{}.{field}: {message}", self.field)));
                Target::Invalid(message)
            }
        }
    }

    /// No attempts are no retry. How many there are without a number is for us to say: one.
    fn retry(&self, retry: &api::Retry) -> Result<Option<conf::Retry>, Fault> {
        let attempts = retry.attempts.unwrap_or(1);
        if attempts == 0 {
            return Ok(None);
        }
        let code = |code: &u16| match http::StatusCode::from_u16(*code) {
            Ok(status) if status.is_client_error() || status.is_server_error() => Ok(status),
            _ => Err(self.unsupported(format!("retry.codes: {code} is not an error code, between 400 and 599"))),
        };
        Ok(Some(conf::Retry {
            attempts: u8::try_from(attempts).map_err(|_| {
                self.unsupported(format!(
                    "retry.attempts: {attempts} is not between 0 and {}",
                    conf::Retry::MAX_ATTEMPTS
                ))
            })?,
            codes: retry.codes.iter().map(code).collect::<Result<_, _>>()?,
            backoff: self.parse("retry.backoff", retry.backoff.as_deref())?,
        }))
    }

    /// What filters and backends may not stand together.
    fn check_filters(&self, rule: &conf::Rule) -> Result<(), Fault> {
        let lists = std::iter::once(&rule.filters).chain(rule.backends.iter().map(|backend| &backend.filters));
        for filters in lists {
            let redirects = filters.iter().any(|filter| matches!(filter, conf::Filter::RequestRedirect(_)));
            let rewrites = filters.iter().any(|filter| matches!(filter, conf::Filter::UrlRewrite(_)));
            if redirects && rewrites {
                return Err(self.incompatible("RequestRedirect and URLRewrite exclude each other; keep one"));
            }
        }
        let redirects = rule.filters.iter().any(|filter| matches!(filter, conf::Filter::RequestRedirect(_)));
        if redirects && !rule.backends.is_empty() {
            return Err(self.incompatible("RequestRedirect leaves nothing for backendRefs; remove one of them"));
        }
        Ok(())
    }

    fn parse<T: FromStr<Err: std::fmt::Display>>(&self, field: &str, text: Option<&str>) -> Result<Option<T>, Fault> {
        text.map(|text| text.parse().map_err(|error| self.unsupported(format!("{field}: {error}")))).transpose()
    }

    fn unsupported(&self, message: impl AsRef<str>) -> Fault {
        Fault::new(UNSUPPORTED_VALUE, format!("{}.{}", self.field, message.as_ref()))
    }

    fn incompatible(&self, message: &str) -> Fault {
        Fault::new("IncompatibleFilters", format!("{}.filters: {message}", self.field))
    }
}

/// Why the gateway would refuse a rule, in the words of the configuration, whose names for fields
/// are those of the API but for `backends`.
fn problems(rule: &conf::Rule) -> Vec<String> {
    let route = conf::Route {
        name: name::rule("route"),
        listeners: vec![name::rule("listener")],
        hostnames: Vec::new(),
        order: String::new(),
        rules: vec![rule.clone()],
    };
    let relative = |problem: String| problem.replacen("rules[0].", "", 1).replacen("backends[", "backendRefs[", 1);
    conf::problems(&Document::Route(route)).into_iter().map(relative).collect()
}

fn match_(condition: &api::Match) -> Result<Match, String> {
    let translated = Match {
        path: condition.path.as_ref().map(path).transpose()?,
        method: condition.method.as_deref().map(method).transpose()?,
        headers: headers(&condition.headers)?,
        query: query(&condition.query_params)?,
    };
    let probe = conf::Rule { matches: vec![translated.clone()], ..conf::Rule::default() };
    match problems(&probe).first() {
        Some(problem) => Err(problem.replacen("matches[0].", "", 1)),
        None => Ok(translated),
    }
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
fn headers(conditions: &[api::ValueMatch]) -> Result<Vec<HeaderMatch>, String> {
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

const UNSUPPORTED_VALUE: &str = "UnsupportedValue";
