//! The rules of a route.

use std::str::FromStr;
use std::sync::Arc;

use conf::{Document, Match, Target, WeightedBackend};

use super::any_route::{AnyRoute, AnyRule, Dialect};
use super::backend::Backends;
use super::grant::Referrer;
use super::{filter, name};
use crate::api::http_route::{self as api, BackendRef, Filter};
use crate::api::{ObjectKey, ObjectRef};
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
    pub(super) fn of(key: &ObjectKey, route: AnyRoute<'_>, backends: &mut Backends<'_>) -> Self {
        let referrer = Referrer { kind: route.kind(), namespace: &key.namespace };
        let dialect = route.dialect();
        let rules = route.rules();
        let mut all = Self { count: rules.len(), ..Self::default() };
        for (i, mut rule) in rules.into_iter().enumerate() {
            let field = format!("rules[{i}]");
            let mut draft = Draft { referrer, dialect, backends: &mut *backends, field, unresolved: vec![] };
            let is_unconditional = rule.matches.is_empty();
            let (matches, bad_match) = draft.matches(std::mem::take(&mut rule.matches));
            let followed = draft.rule(&rule, &matches);
            all.unresolved.append(&mut draft.unresolved);
            // Without a match that can be understood, nothing is known about whom it concerns.
            let concerns_some = is_unconditional || !matches.is_empty();
            match bad_match.map_or(followed, Err) {
                Ok(rule) => all.rules.push(rule),
                Err(fault) => {
                    if concerns_some {
                        all.rules.push(refusal(&rule, matches, &fault));
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
    pub(super) fn partially_invalid(&self, route: &ObjectRef) -> Option<Fault> {
        if self.faults.is_empty() || self.faults.len() == self.count {
            return None;
        }
        let positions = self.faults.iter().map(|(i, _)| i.to_string()).collect::<Vec<_>>().join(", ");
        // The beginning is what the API demands.
        let message = format!("Dropped Rule {positions} of {route}, whose requests get 500: {}", self.messages());
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

fn refusal(rule: &AnyRule<'_>, matches: Vec<Match>, fault: &Fault) -> conf::Rule {
    let target = Target::Invalid(fault.message.clone());
    conf::Rule {
        name: rule.name.map(name::rule),
        matches: shared(matches),
        backends: vec![WeightedBackend { target, weight: 1, filters: Vec::new() }],
        ..conf::Rule::default()
    }
}

fn shared(matches: Vec<Match>) -> Vec<Arc<Match>> {
    matches.into_iter().map(Arc::new).collect()
}

/// One rule on its way. Its methods give the first fault they meet.
struct Draft<'d, 'a> {
    referrer: Referrer<'d>,
    dialect: Dialect,
    backends: &'d mut Backends<'a>,
    /// The rule's place in the route, with which all messages begin.
    field: String,
    unresolved: Vec<Fault>,
}

impl Draft<'_, '_> {
    fn rule(&mut self, rule: &AnyRule<'_>, matches: &[Match]) -> Result<conf::Rule, Fault> {
        // References first and all of them, whatever else is wrong: their condition is their own.
        let filters = self.filters("", rule.filters);
        let backends: Vec<_> =
            rule.backend_refs.iter().enumerate().map(|(i, backend)| self.backend(i, backend)).collect();
        if rule.has_session_persistence {
            return Err(self.unsupported("sessionPersistence: it is not supported by this controller; remove it"));
        }
        let limit = |limit: fn(&api::Timeouts) -> Option<&String>| rule.timeouts.and_then(limit).map(String::as_str);
        let timeouts = conf::Timeouts {
            request: self.parse("timeouts.request", limit(|timeouts| timeouts.request.as_ref()))?,
            backend_request: self
                .parse("timeouts.backendRequest", limit(|timeouts| timeouts.backend_request.as_ref()))?,
        };
        let rule = conf::Rule {
            name: rule.name.map(name::rule),
            matches: shared(matches.to_vec()),
            filters: filters?,
            backends: backends.into_iter().collect::<Result<_, _>>()?,
            timeouts,
            retry: rule.retry.map(|retry| self.retry(retry)).transpose()?.flatten(),
        };
        self.check_filters(&rule)?;
        match problems(&rule).first() {
            Some(problem) => Err(self.unsupported(problem)),
            None => Ok(rule),
        }
    }

    /// The matches that can be understood, and what is wrong with the first of the others.
    fn matches(&self, matches: Vec<Result<Match, String>>) -> (Vec<Match>, Option<Fault>) {
        let mut bad = None;
        let mut understood = Vec::new();
        for (i, condition) in matches.into_iter().enumerate() {
            match condition.and_then(checked) {
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
        let types = self.dialect.filters;
        let mut all = Vec::new();
        let mut first_fault = None;
        for (i, filter) in filters.iter().enumerate() {
            let field = format!("{owner}filters[{i}]");
            let target = |reference: &_| self.target(&format!("{field}.requestMirror"), reference);
            match filter::filter(filter, types, target) {
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
        match self.backends.resolve(self.referrer, reference, self.dialect.protocol) {
            Ok(target) => target,
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
        order: "".into(),
        rules: vec![rule.clone()],
    };
    let relative = |problem: String| problem.replacen("rules[0].", "", 1).replacen("backends[", "backendRefs[", 1);
    conf::problems(&Document::Route(route)).into_iter().map(relative).collect()
}

/// The condition, if the gateway would take it.
fn checked(condition: Match) -> Result<Match, String> {
    let probe = conf::Rule { matches: shared(vec![condition.clone()]), ..conf::Rule::default() };
    match problems(&probe).first() {
        Some(problem) => Err(problem.replacen("matches[0].", "", 1)),
        None => Ok(condition),
    }
}

const UNSUPPORTED_VALUE: &str = "UnsupportedValue";
