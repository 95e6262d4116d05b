//! What a document's fields must fulfil together, beyond what the type of each holds already.

use std::collections::HashSet;

use http::{HeaderName, StatusCode};

use crate::{
    Backend, Document, Filter, Key, Kind, Listener, Match, Name, PathMatch, PathModifier, Problem, Retry, Route, Rule,
    Target, WeightedBackend, nearest,
};

/// Everything that is wrong with a document, each with the field it concerns. Such a document is
/// refused when it is read, so whoever makes one asks first.
pub fn problems(document: &Document) -> Vec<String> {
    let mut found = Found::default();
    match document {
        Document::Route(route) => found.route(route),
        Document::Listener(listener) => found.listener(listener),
        Document::Backend(backend) => found.backend(backend),
        Document::Certificate(_) | Document::Authorities(_) | Document::Revision(_) => {}
    }
    found.0
}

/// How many references to nowhere are told with what may have been meant.
const MAX_HINTS: usize = 100;

/// References to documents that are not there. The documents that hold them are served all the
/// same: requests that follow such a reference get 500, such a mirror is skipped, a listener that has
/// none of its certificates, or none of its authorities, refuses its clients' handshakes, and a backend
/// that has none of its authorities is as good as none.
pub fn dangling<'a>(documents: impl IntoIterator<Item = &'a Document> + Clone) -> Vec<Problem> {
    let keys: Vec<Key> = documents.clone().into_iter().map(Document::key).collect();
    let known: HashSet<&Key> = keys.iter().collect();
    let mut problems = Vec::new();
    for (document, key) in documents.into_iter().zip(&keys) {
        for (field, reference) in references(document) {
            if known.contains(&reference) {
                continue;
            }
            let names = keys.iter().filter(|key| key.kind == reference.kind).map(|key| key.name.as_str());
            // Looks at every name: for a few that is help, for thousands it is a gateway that hangs.
            let near = (problems.len() < MAX_HINTS).then(|| nearest(reference.name.as_str(), names)).flatten();
            let hint = near.map(|near| format!("; is {near} meant?"));
            let message = format!("{field}: there is no {reference}{}", hint.unwrap_or_default());
            problems.push(Problem { location: None, document: Some(key.clone()), message });
        }
    }
    problems
}

/// Every reference of a document to another, with the field that holds it.
pub fn references(document: &Document) -> Vec<(String, Key)> {
    let mut found = Vec::new();
    let route = match document {
        Document::Route(route) => route,
        Document::Listener(listener) => return of_listener(listener),
        Document::Backend(Backend { tls: Some(tls), .. }) => {
            return numbered("tls.authorities", Kind::Authorities, tls.authorities.iter().flatten()).collect();
        }
        Document::Backend(_) | Document::Certificate(_) | Document::Authorities(_) | Document::Revision(_) => {
            return found;
        }
    };
    for (i, name) in route.listeners.iter().enumerate() {
        found.push((format!("listeners[{i}]"), Key { kind: Kind::Listener, name: name.clone() }));
    }
    let mut target = |field: String, target: &Target| {
        if let Target::Backend(name) = target {
            found.push((field, Key { kind: Kind::Backend, name: name.clone() }));
        }
    };
    let mirrors = |field: &str, filters: &[Filter], target: &mut dyn FnMut(String, &Target)| {
        for (i, filter) in filters.iter().enumerate() {
            if let Filter::RequestMirror(mirror) = filter {
                target(format!("{field}filters[{i}].requestMirror"), &mirror.target);
            }
        }
    };
    for (r, rule) in route.rules.iter().enumerate() {
        mirrors(&format!("rules[{r}]."), &rule.filters, &mut target);
        for (b, backend) in rule.backends.iter().enumerate() {
            let field = format!("rules[{r}].backends[{b}]");
            target(field.clone(), &backend.target);
            mirrors(&format!("{field}."), &backend.filters, &mut target);
        }
    }
    found
}

fn of_listener(listener: &Listener) -> Vec<(String, Key)> {
    let Listener { name: _, address: _, hostname: _, tls, backend_certificate, public_port: _ } = listener;
    let shown = tls.iter().flat_map(|tls| &tls.certificates);
    let clients = tls.iter().filter_map(|tls| tls.clients.as_ref()).flat_map(|clients| &clients.authorities);
    let to_backends = backend_certificate
        .iter()
        .map(|name| ("backendCertificate".to_owned(), Key { kind: Kind::Certificate, name: name.clone() }));
    numbered("tls.certificates", Kind::Certificate, shown)
        .chain(numbered("tls.clients.authorities", Kind::Authorities, clients))
        .chain(to_backends)
        .collect()
}

fn numbered<'n>(
    field: &'static str,
    kind: Kind,
    names: impl Iterator<Item = &'n Name>,
) -> impl Iterator<Item = (String, Key)> {
    names.enumerate().map(move |(i, name)| (format!("{field}[{i}]"), Key { kind, name: name.clone() }))
}

/// The problems found so far. Methods take the field they look at as a path from the document.
#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn add(&mut self, field: &str, message: impl std::fmt::Display) {
        self.0.push(format!("{field}: {message}"));
    }

    fn listener(&mut self, listener: &Listener) {
        if listener.tls.as_ref().is_some_and(|tls| tls.certificates.is_empty()) {
            self.add("tls.certificates", "a listener with TLS needs a certificate; name at least one");
        }
        let clients = listener.tls.as_ref().and_then(|tls| tls.clients.as_ref());
        if clients.is_some_and(|clients| clients.authorities.is_empty()) {
            self.add("tls.clients.authorities", "without authorities no client is believed; name at least one");
        }
    }

    fn backend(&mut self, backend: &Backend) {
        let Some(tls) = &backend.tls else { return };
        if tls.server_name.wildcard_domain().is_some() {
            self.add("tls.serverName", format_args!("{} is a wildcard; ask for one name", tls.server_name));
        }
        if tls.authorities.as_ref().is_some_and(Vec::is_empty) {
            self.add(
                "tls.authorities",
                "without authorities no endpoint is believed; name one, or leave the field out",
            );
        }
    }

    fn route(&mut self, route: &Route) {
        if route.listeners.is_empty() {
            self.add("listeners", "a route without listeners serves nothing; name at least one");
        }
        for (i, rule) in route.rules.iter().enumerate() {
            self.rule(&format!("rules[{i}]"), rule);
        }
    }

    fn rule(&mut self, field: &str, rule: &Rule) {
        for (i, condition) in rule.matches.iter().enumerate() {
            self.path_match(&format!("{field}.matches[{i}]"), condition);
        }
        let all_prefixes = rule.matches.iter().all(|m| matches!(m.path, None | Some(PathMatch::Prefix(_))));
        self.filters(field, &rule.filters, all_prefixes);
        for (i, backend) in rule.backends.iter().enumerate() {
            let field = format!("{field}.backends[{i}]");
            if backend.weight > WeightedBackend::MAX_WEIGHT {
                let (weight, max) = (backend.weight, WeightedBackend::MAX_WEIGHT);
                self.add(&format!("{field}.weight"), format_args!("{weight} is not between 0 and {max}"));
            }
            self.filters(&field, &backend.filters, all_prefixes);
        }
        let limit = |name: &str| format!("{field}.timeouts.{name}");
        if let (Some(request), Some(attempt)) = (rule.timeouts.request, rule.timeouts.backend_request)
            && !request.is_zero()
            && attempt > request
        {
            self.add(&limit("backendRequest"), format_args!("{attempt} is longer than the whole request's {request}"));
        }
        if let Some(retry) = &rule.retry
            && !(1..=Retry::MAX_ATTEMPTS).contains(&retry.attempts)
        {
            let (attempts, max) = (retry.attempts, Retry::MAX_ATTEMPTS);
            self.add(&format!("{field}.retry.attempts"), format_args!("{attempts} is not between 1 and {max}"));
        }
    }

    fn path_match(&mut self, field: &str, condition: &Match) {
        if let Some(PathMatch::Exact(path) | PathMatch::Prefix(path)) = &condition.path {
            self.path(&format!("{field}.path"), path);
        }
    }

    fn path(&mut self, field: &str, path: &str) {
        if !path.starts_with('/') {
            self.add(field, format_args!("{path:?} does not begin with a slash"));
        }
        if let Some(c) = path.chars().find(|c| matches!(c, '?' | '#') || c.is_ascii_control() || *c == ' ') {
            self.add(field, format_args!("{path:?} contains {c:?}, which no path does"));
        }
    }

    fn filters(&mut self, field: &str, filters: &[Filter], all_prefixes: bool) {
        let mut seen = HashSet::new();
        for (i, filter) in filters.iter().enumerate() {
            let (name, path) = match filter {
                Filter::RequestHeaderModifier(_) => ("requestHeaderModifier", None),
                Filter::ResponseHeaderModifier(_) => ("responseHeaderModifier", None),
                Filter::RequestRedirect(redirect) => ("requestRedirect", redirect.path.as_ref()),
                Filter::Cors(_) => ("cors", None),
                Filter::UrlRewrite(rewrite) => ("urlRewrite", rewrite.path.as_ref()),
                // The only one that may stand more than once.
                Filter::RequestMirror(_) => continue,
            };
            let field = format!("{field}.filters[{i}].{name}");
            if !seen.insert(name) {
                self.add(&field, "stands more than once in one list");
            }
            match path {
                Some(PathModifier::ReplaceFullPath(path)) => self.path(&format!("{field}.path"), path),
                Some(PathModifier::ReplacePrefixMatch(_)) if !all_prefixes => {
                    self.add(
                        &format!("{field}.path"),
                        "replacePrefixMatch needs a rule whose matches all have a path prefix",
                    );
                }
                Some(PathModifier::ReplacePrefixMatch(_)) | None => {}
            }
        }
        if seen.contains("requestRedirect") && seen.contains("urlRewrite") {
            self.add(&format!("{field}.filters"), "requestRedirect and urlRewrite exclude each other");
        }
    }
}

pub(crate) fn exactly_one<T>(fields: [(&str, Option<T>); 2]) -> Result<T, String> {
    match fields {
        [(_, Some(value)), (_, None)] | [(_, None), (_, Some(value))] => Ok(value),
        [(first, Some(_)), (second, Some(_))] => Err(format!("{first} and {second} exclude each other")),
        [(first, None), (second, None)] => Err(format!("one of {first} and {second} is missing")),
    }
}

pub(crate) fn header_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} is not a header name"))
}

pub(crate) fn error_code(code: u16) -> Result<StatusCode, String> {
    match StatusCode::from_u16(code) {
        Ok(status) if status.is_client_error() || status.is_server_error() => Ok(status),
        _ => Err(format!("{code} is not an error code, between 400 and 599")),
    }
}
