use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use conf::{Match, MethodMatch, PathMatch, Scheme, StringMatch};

use super::conditions::{header_holds, method_holds, query_holds};
use super::host::{HostMap, HostRank, LowerCase};
use super::path::{Candidate, path_holds};
use super::precedence::Precedence;
use super::{BackendId, ChoiceTarget, Entrance, Filters, MirrorDestination, Request, Rule, Table};

/// Which rule answers a request and why; who lost and why. Shown with `Display`, over several lines.
pub struct Explanation {
    /// Which listener is asked, or why none is, and which others are not.
    listener: Vec<String>,
    /// In order of precedence: those whose path matches, or else the first of all.
    considered: Vec<Considered>,
    /// How many are not shown, because the path does not match.
    omitted: usize,
    /// What the rule that answers does.
    answer: Vec<String>,
}

/// A rule by one of its matches.
struct Considered {
    rule: Arc<Rule>,
    hostname: String,
    conditions: Arc<Match>,
    /// Which of the conditions do not hold, with what was found instead.
    failures: Vec<String>,
}

/// How many rules are shown when the path matches none.
const MAX_SHOWN: usize = 10;

impl Explanation {
    pub(super) fn new(table: &Table, socket: SocketAddr, scheme: Scheme, request: &Request<'_>) -> Self {
        let host = LowerCase::of(request.host);
        let entrances = table.sockets.get(&socket).map(|socket| socket.of(scheme));
        let Some(entrance) = entrances.and_then(|entrances| entrances.covering(host.as_str()).next()) else {
            let listener = match entrances {
                Some(entrances) if !entrances.is_empty() => {
                    format!("no listener on {socket} covers host {:?}", request.host)
                }
                Some(_) => format!("no listener on {socket} speaks {}", scheme.as_str()),
                None => format!("there is no listener on {socket}"),
            };
            return Self { listener: vec![listener], considered: Vec::new(), omitted: 0, answer: Vec::new() };
        };
        let mut candidates: Vec<(&Precedence, &Candidate)> =
            entrance.hosts.covering(host.as_str()).flat_map(|paths| paths.iter()).collect();
        candidates.sort_by_key(|(precedence, _)| *precedence);
        let all = candidates.len();
        let path_matches = |candidate: &Candidate| path_holds(candidate.conditions.path.as_ref(), request.path);
        match candidates.iter().any(|(_, candidate)| path_matches(candidate)) {
            true => candidates.retain(|(_, candidate)| path_matches(candidate)),
            false => candidates.truncate(MAX_SHOWN),
        }
        let considered = candidates.iter().map(|(precedence, candidate)| Considered {
            rule: Arc::clone(&candidate.rule),
            hostname: hostname(precedence.host, host.as_str()),
            conditions: Arc::clone(&candidate.conditions),
            failures: failures(&candidate.conditions, request),
        });
        let considered: Vec<_> = considered.collect();
        let mut listener = listeners(socket, entrances, &host);
        if scheme == Scheme::Https && entrance.terms.is_none() {
            listener.push("it has none of its certificates, so that no client gets this far".to_owned());
        }
        if considered.is_empty() {
            listener.push(format!("none of its routes covers host {:?}", request.host));
        }
        let mut explanation = Self { listener, omitted: all - considered.len(), considered, answer: Vec::new() };
        explanation.answer = explanation.answering().map(|rule| effects(table, rule)).unwrap_or_default();
        explanation
    }

    fn answering(&self) -> Option<&Arc<Rule>> {
        self.considered.iter().find(|considered| considered.failures.is_empty()).map(|considered| &considered.rule)
    }

    /// The same as [`Table::find`] finds, by another way.
    #[cfg(test)]
    pub(super) fn rule(&self) -> Option<&Arc<Rule>> {
        self.answering()
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.listener {
            writeln!(f, "{line}")?;
        }
        let mut answered = false;
        for (number, considered) in (1..).zip(&self.considered) {
            let Considered { rule, hostname, conditions, failures } = considered;
            let conditions = describe(conditions);
            writeln!(f, "{number}. {} for {hostname}, {conditions}", rule_name(rule))?;
            match failures.as_slice() {
                [] if answered => writeln!(f, "   matches too, but comes later")?,
                [] => {
                    writeln!(f, "   answers")?;
                    for line in &self.answer {
                        writeln!(f, "   {line}")?;
                    }
                    answered = true;
                }
                failures => {
                    for failure in failures {
                        writeln!(f, "   no: {failure}")?;
                    }
                }
            }
        }
        match self.omitted {
            0 => {}
            1 => writeln!(f, "and 1 match whose path is another")?,
            omitted => writeln!(f, "and {omitted} matches whose path is another")?,
        }
        if answered { Ok(()) } else { writeln!(f, "no rule answers") }
    }
}

fn listeners(socket: SocketAddr, entrances: Option<&HostMap<Entrance>>, host: &LowerCase) -> Vec<String> {
    let covering = entrances.into_iter().flat_map(|entrances| entrances.covering(host.as_str()));
    let lines = covering.enumerate().map(|(i, entrance)| {
        let listener = &entrance.listener;
        let host = listener.hostname.as_ref().map_or("any host".into(), |hostname| format!("hostname {hostname}"));
        match i {
            0 => format!("listener {} ({host}) has the most specific hostname on {socket}", listener.name),
            _ => format!("not asked: listener {} ({host}), which is less specific", listener.name),
        }
    });
    lines.collect()
}

fn hostname(rank: HostRank, host: &str) -> String {
    match rank {
        HostRank::Exact => host.to_owned(),
        HostRank::Wildcard(length) => format!("*.{}", &host[host.len() - length.0..]),
        HostRank::Any => "any host".to_owned(),
    }
}

fn rule_name(rule: &Rule) -> String {
    let name = rule.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("route {}, rule {}{name}", rule.route, rule.index)
}

fn failures(conditions: &Match, request: &Request<'_>) -> Vec<String> {
    let Match { path, method, headers, query } = conditions;
    let mut failures = Vec::new();
    if !path_holds(path.as_ref(), request.path) {
        failures.push(format!("path {}, wanted {}", request.path, describe_path(path.as_ref())));
    }
    if let Some(MethodMatch(expected)) = method
        && !method_holds(method.as_ref(), request.method)
    {
        failures.push(format!("method {}, wanted {expected}", request.method));
    }
    for expected in headers.iter().filter(|header| !header_holds(header, request.headers)) {
        let values = request.headers.get_all(&expected.name).iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let wanted = describe_value(&expected.value);
        failures.push(match values.as_slice() {
            [] => format!("header {} is missing, wanted {wanted}", expected.name),
            values => format!("header {}: {}, wanted {wanted}", expected.name, values.join(", ")),
        });
    }
    for expected in query.iter().filter(|parameter| !query_holds(parameter, request.query)) {
        let wanted = describe_value(&expected.value);
        failures.push(match super::query::parameter(request.query.unwrap_or_default(), &expected.name) {
            None => format!("query parameter {} is missing, wanted {wanted}", expected.name),
            Some(value) => {
                format!("query parameter {}: {}, wanted {wanted}", expected.name, String::from_utf8_lossy(&value))
            }
        });
    }
    failures
}

fn describe(conditions: &Match) -> String {
    let Match { path, method, headers, query } = conditions;
    let mut parts = vec![format!("path {}", describe_path(path.as_ref()))];
    parts.extend(method.iter().map(|method| format!("method {method}")));
    parts.extend(headers.iter().map(|header| format!("header {}: {}", header.name, describe_value(&header.value))));
    parts.extend(query.iter().map(|query| format!("query parameter {}: {}", query.name, describe_value(&query.value))));
    parts.join(", ")
}

fn describe_path(path: Option<&PathMatch>) -> String {
    match path {
        Some(PathMatch::Exact(path)) => format!("exactly {path}"),
        Some(PathMatch::Prefix(path)) => format!("below {path}"),
        Some(PathMatch::Regex(pattern)) => format!("like {pattern}"),
        None => "below /".to_owned(),
    }
}

fn describe_value(value: &StringMatch) -> String {
    match value {
        StringMatch::Exact(text) => text.clone(),
        StringMatch::Regex(pattern) => format!("like {pattern}"),
    }
}

/// What a rule does, a line for each of its backends and mirrors.
fn effects(table: &Table, rule: &Rule) -> Vec<String> {
    let mut lines = filter_effects(table, rule.filters());
    for (weight, choice) in rule.backends.iter() {
        lines.push(match &choice.target {
            ChoiceTarget::Backend(id) => format!("backend {}, weight {weight}", describe_backend(table, *id)),
            ChoiceTarget::Invalid(reason) => format!("500, weight {weight}: {reason}"),
        });
        lines.extend(filter_effects(table, choice.filters()).into_iter().map(|line| format!("  {line}")));
    }
    if rule.backends.iter().next().is_none() && rule.filters().redirect.is_none() {
        lines.push("500: it has no backend of any weight".to_owned());
    }
    lines
}

fn filter_effects(table: &Table, filters: &Filters) -> Vec<String> {
    let Filters { request_headers, response_headers, redirect, rewrite, cors, mirrors } = filters;
    let mut lines = Vec::new();
    lines.extend(cors.iter().map(|_| "tells browsers which pages of other origins may ask".to_owned()));
    lines.extend(request_headers.iter().map(|_| "changes headers of the request".to_owned()));
    lines.extend(response_headers.iter().map(|_| "changes headers of the answer".to_owned()));
    lines.extend(redirect.iter().map(|redirect| format!("redirects with {}", redirect.status_code.code().as_u16())));
    lines.extend(rewrite.iter().map(|_| "rewrites host or path".to_owned()));
    lines.extend(mirrors.iter().map(|mirror| match &mirror.destination {
        MirrorDestination::Backend(id, _) => format!("mirror {}, {}", describe_backend(table, *id), mirror.fraction),
        MirrorDestination::Invalid(reason) => format!("no mirror: {reason}"),
    }));
    lines
}

fn describe_backend(table: &Table, id: BackendId) -> String {
    let backend = table.backend(id);
    let state = match (backend.is_missing(), backend.endpoints().len()) {
        (true, _) => "no such document".to_owned(),
        (false, 0) => "no endpoint".to_owned(),
        (false, 1) => "1 endpoint".to_owned(),
        (false, several) => format!("{several} endpoints"),
    };
    format!("{} ({state})", backend.name)
}

#[cfg(test)]
mod tests {
    use conf::Scheme;

    use crate::table::testing::{Sent, compile};

    const DOCUMENTS: &str = "
listener: {name: web, address: '127.0.0.1:80', hostname: '*.example.com'}
---
listener: {name: all, address: '127.0.0.1:80'}
---
backend: {name: 'shop/v1:80', endpoints: ['127.0.0.1:1', '127.0.0.1:2']}
---
route:
  name: shop/cart
  listeners: [web]
  hostnames: [shop.example.com]
  rules:
  - matches:
    - {path: {prefix: /cart}, method: POST, headers: [{name: version, exact: two}], query: [{name: a, regex: '[0-9]+'}]}
    - {path: {exact: /other}}
    backends: [{backend: 'shop/v2:80'}]
  - name: rest
    filters:
    - requestMirror: {backend: 'shop/v2:80', fraction: 10%}
    backends: [{backend: 'shop/v1:80', weight: 90}, {invalid: no such Service, weight: 10}, {backend: 'shop/v3:80', weight: 0}]
---
route: {name: shop/default, listeners: [web], rules: [{}]}
";

    fn explain(socket: &str, request: &Sent) -> String {
        let table = compile(DOCUMENTS);
        table.explain(socket.parse().unwrap(), Scheme::Http, &request.request()).to_string()
    }

    #[test]
    fn it_tells_who_answers_and_why_the_others_do_not() {
        let request = Sent::get("Shop.example.com", "/cart/1?a=b").with_header("version", "one");
        assert_eq!(
            explain("127.0.0.1:80", &request),
            "\
listener web (hostname *.example.com) has the most specific hostname on 127.0.0.1:80
not asked: listener all (any host), which is less specific
1. route shop/cart, rule 0 for shop.example.com, path below /cart, method POST, header version: two, query parameter a: like [0-9]+
   no: method GET, wanted POST
   no: header version: one, wanted two
   no: query parameter a: b, wanted like [0-9]+
2. route shop/cart, rule 1 (rest) for shop.example.com, path below /
   answers
   mirror shop/v2:80 (no such document), 10%
   backend shop/v1:80 (2 endpoints), weight 90
   500, weight 10: no such Service
3. route shop/default, rule 0 for *.example.com, path below /
   matches too, but comes later
and 1 match whose path is another
"
        );
    }

    #[test]
    fn it_tells_why_nobody_answers() {
        for (socket, host, expected) in [
            ("127.0.0.1:81", "a.com", "there is no listener on 127.0.0.1:81\nno rule answers\n"),
            (
                "127.0.0.1:80",
                "a.com",
                "\
listener all (any host) has the most specific hostname on 127.0.0.1:80
none of its routes covers host \"a.com\"
no rule answers
",
            ),
        ] {
            assert_eq!(explain(socket, &Sent::get(host, "/")), expected, "{socket} {host}");
        }
    }
}
