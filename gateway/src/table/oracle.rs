//! What the specification says, written down as directly as possible, and the test that the table
//! says the same of any configuration and request, however it came to it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use conf::{Document, Hostname, Key, Kind, Listener, Match, PathMatch, Route, StringMatch};
use proptest::prelude::*;

use super::testing::{SOCKET, Sent, compiler};
use super::{Compiler, Found, Table};

type Documents = BTreeMap<Key, Document>;

/// Listener, route, rule, and how much of the path a prefix covered.
type Answer = (String, String, usize, Option<usize>);

fn oracle(documents: &Documents, request: &Sent) -> Option<Answer> {
    let host = request.host.to_lowercase();
    let listeners = documents.values().filter_map(|document| match document {
        Document::Listener(listener) => Some(listener),
        _ => None,
    });
    // Of the most specific, the first by name.
    let listener = listeners
        .filter(|listener| listener.address == SOCKET && covers(listener.hostname.as_ref(), &host))
        .min_by_key(|listener| (Reverse(specificity(listener.hostname.as_ref())), listener.name.clone()))?;

    let mut matching = Vec::new();
    for document in documents.values() {
        let Document::Route(route) = document else { continue };
        if !route.listeners.contains(&listener.name) {
            continue;
        }
        for hostname in hostnames(route, listener) {
            if !covers(hostname.as_ref(), &host) {
                continue;
            }
            for (r, rule) in route.rules.iter().enumerate() {
                let all = [Arc::default()];
                let matches = if rule.matches.is_empty() { &all } else { rule.matches.as_slice() };
                for (m, conditions) in matches.iter().enumerate() {
                    if let Some(prefix) = covered(conditions, request) {
                        // The greatest goes first in the first part, the smallest in the second.
                        let specific = (
                            specificity(hostname.as_ref()),
                            path_specificity(conditions),
                            conditions.method.is_some(),
                            conditions.headers.len(),
                            conditions.query.len(),
                        );
                        let place = (route.order.clone(), route.name.clone(), r, m);
                        let answer = (listener.name.to_string(), route.name.to_string(), r, prefix);
                        matching.push((Reverse(specific), place, answer));
                    }
                }
            }
        }
    }
    matching.sort();
    matching.into_iter().next().map(|(_, _, answer)| answer)
}

fn hostnames(route: &Route, listener: &Listener) -> Vec<Option<Hostname>> {
    match (&listener.hostname, route.hostnames.as_slice()) {
        (limit, []) => vec![limit.clone()],
        (None, hostnames) => hostnames.iter().cloned().map(Some).collect(),
        (Some(limit), hostnames) => hostnames.iter().filter_map(|name| name.intersection(limit)).map(Some).collect(),
    }
}

fn covers(hostname: Option<&Hostname>, host: &str) -> bool {
    hostname.is_none_or(|hostname| hostname.matches(host))
}

/// Exact before wildcard before any, then the longer.
fn specificity(hostname: Option<&Hostname>) -> (u8, usize) {
    match hostname {
        Some(hostname) if hostname.wildcard_domain().is_none() => (2, hostname.as_str().len()),
        Some(hostname) => (1, hostname.as_str().len()),
        None => (0, 0),
    }
}

fn path_specificity(conditions: &Match) -> (u8, usize) {
    match &conditions.path {
        Some(PathMatch::Exact(_)) => (2, 0),
        Some(PathMatch::Regex(_)) => (1, 0),
        Some(PathMatch::Prefix(prefix)) => (0, prefix.trim_end_matches('/').len()),
        None => (0, 0),
    }
}

/// Whether all conditions hold, with what a prefix covers of the path.
fn covered(conditions: &Match, request: &Sent) -> Option<Option<usize>> {
    let prefix = match &conditions.path {
        Some(PathMatch::Exact(path)) => (request.path == *path).then_some(None)?,
        Some(PathMatch::Regex(pattern)) => pattern.matches(&request.path).then_some(None)?,
        Some(PathMatch::Prefix(prefix)) => {
            let prefix = prefix.trim_end_matches('/');
            let below = request.path.starts_with(&format!("{prefix}/"));
            (prefix.is_empty() || below || request.path == prefix).then_some(Some(prefix.len()))?
        }
        None => Some(0),
    };
    let method = conditions.method.as_ref().is_none_or(|method| method.0 == request.method);
    let headers = conditions.headers.iter().all(|header| {
        let values = request.headers.get_all(&header.name).iter();
        let mut values: Vec<String> = values.map(|value| value.to_str().unwrap().to_owned()).collect();
        if !values.is_empty() {
            values.push(values.join(","));
        }
        values.iter().any(|value| value_matches(&header.value, value))
    });
    let parameters = decode(request.query.as_deref().unwrap_or_default());
    let query = conditions.query.iter().all(|expected| {
        let first = parameters.iter().find(|(name, _)| *name == expected.name);
        first.is_some_and(|(_, value)| value_matches(&expected.value, value))
    });
    (method && headers && query).then_some(prefix)
}

fn value_matches(expected: &StringMatch, value: &str) -> bool {
    match expected {
        StringMatch::Exact(text) => value == text,
        StringMatch::Regex(pattern) => pattern.matches(value),
    }
}

/// Of the few escapes that the test uses.
fn decode(query: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| text.replace("%61", "a").replace('+', " ").replace("%31", "1");
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decoded(k), decoded(v))).collect()
}

const HOSTNAMES: [&str; 7] = ["a.b.c", "x.a.b.c", "b.c", "*.b.c", "*.a.b.c", "*.c", "d"];
const HOSTS: [&str; 9] = ["a.b.c", "A.B.c", "x.a.b.c", "y.a.b.c", "b.c", "y.b.c", "c", "d", ""];
const PATHS: [&str; 9] = ["/", "/a", "/a/", "/a/b", "/a/b/", "/ab", "/a//b", "/%61", "/b"];
const REGEXES: [&str; 3] = ["/a.*", "/[ab]", ".*b"];
const VALUES: [&str; 3] = ["1", "2", "1,2"];
const QUERIES: [&str; 8] = ["a=1", "a=2&a=1", "%61=%31", "b=2", "a=1&b=2", "b=+", "a", ""];

/// A document of few names, so that changes meet what is there, as text: every combination of its
/// parts is valid.
fn document() -> impl Strategy<Value = Document> {
    let text = prop_oneof![1 => listener(), 3 => route()];
    text.prop_map(|text| {
        let parsed = conf::parse(&text);
        assert!(parsed.problems.is_empty(), "{text}: {:?}", parsed.problems);
        parsed.documents.into_iter().next().expect("one was written").1
    })
}

fn listener() -> impl Strategy<Value = String> {
    (0..3, prop::option::of(0..HOSTNAMES.len()), 0..6).prop_map(|(name, hostname, port)| {
        let hostname = hostname.map(|i| format!(", hostname: '{}'", HOSTNAMES[i])).unwrap_or_default();
        // Mostly the socket that is asked.
        let port = if port == 0 { 81 } else { 80 };
        format!("listener: {{name: l{name}, address: '127.0.0.1:{port}'{hostname}}}")
    })
}

fn route() -> impl Strategy<Value = String> {
    let listeners = prop::collection::vec(0..3, 1..3);
    let hostnames = prop::collection::vec(prop::sample::select(&HOSTNAMES[..]), 0..3);
    let rules = prop::collection::vec(prop::collection::vec(conditions(), 0..3), 1..3);
    (0..4, listeners, hostnames, 0..3, rules).prop_map(|(name, listeners, hostnames, order, rules)| {
        let listeners: Vec<_> = listeners.iter().map(|i| format!("l{i}")).collect();
        let hostnames: Vec<_> = hostnames.iter().map(|hostname| format!("'{hostname}'")).collect();
        let rules: Vec<_> = rules.iter().map(|matches| format!("{{matches: [{}]}}", matches.join(", "))).collect();
        let (listeners, hostnames, rules) = (listeners.join(", "), hostnames.join(", "), rules.join(", "));
        format!(
            "route: {{name: r{name}, listeners: [{listeners}], hostnames: [{hostnames}], order: '{order}', rules: [{rules}]}}"
        )
    })
}

fn conditions() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        prop::sample::select(&PATHS[..]).prop_map(|path| format!("path: {{exact: '{path}'}}")),
        prop::sample::select(&PATHS[..]).prop_map(|path| format!("path: {{prefix: '{path}'}}")),
        prop::sample::select(&REGEXES[..]).prop_map(|regex| format!("path: {{regex: '{regex}'}}")),
    ];
    let value = || {
        prop_oneof![
            prop::sample::select(&VALUES[..]).prop_map(|value| format!("exact: '{value}'")),
            Just("regex: '[12]'".to_owned())
        ]
    };
    let pairs = move || prop::collection::vec((prop::sample::select(&["a", "b"][..]), value()), 0..2);
    let method = prop::option::weighted(0.3, Just("method: POST".to_owned()));
    (prop::option::of(path), method, pairs(), pairs()).prop_map(|(path, method, headers, query)| {
        let list = |name: &str, pairs: Vec<(&str, String)>| {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{{name: {name}, {value}}}")).collect();
            format!("{name}: [{}]", pairs.join(", "))
        };
        let parts = [path, method, Some(list("headers", headers)), Some(list("query", query))];
        format!("{{{}}}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    })
}

fn request() -> impl Strategy<Value = Sent> {
    let headers =
        prop::collection::vec((prop::sample::select(&["a", "b"][..]), prop::sample::select(&VALUES[..])), 0..4);
    let target = (prop::sample::select(&PATHS[..]), prop::option::of(prop::sample::select(&QUERIES[..])));
    (prop::sample::select(&HOSTS[..]), any::<bool>(), target, headers).prop_map(
        |(host, post, (path, query), headers)| {
            let mut request = Sent::get(host, path);
            request.query = query.map(str::to_owned);
            if post {
                request.method = http::Method::POST;
            }
            headers.into_iter().fold(request, |request, (name, value)| request.with_header(name, value))
        },
    )
}

#[derive(Clone, Debug)]
enum Change {
    Put(Document),
    Remove(Kind, u8),
}

fn change() -> impl Strategy<Value = Change> {
    let removal = (prop::sample::select(&[Kind::Listener, Kind::Route][..]), 0..4_u8);
    prop_oneof![4 => document().prop_map(Change::Put), 1 => removal.prop_map(|(kind, i)| Change::Remove(kind, i))]
}

impl Change {
    fn keyed(self) -> (Key, Option<Document>) {
        match self {
            Self::Put(document) => (document.key(), Some(document)),
            Self::Remove(kind, i) => {
                let letter = &kind.as_str()[..1];
                (Key { kind, name: format!("{letter}{i}").parse().expect("a letter and a digit") }, None)
            }
        }
    }
}

fn found(table: &Table, request: &Sent) -> Option<Answer> {
    let Found { listener, identity: _, rule, prefix } = table.find(SOCKET, &request.request()).ok()?;
    Some((listener.name.to_string(), rule.route.to_string(), rule.index, prefix))
}

fn check(
    compiler: &mut Compiler,
    documents: &Documents,
    batch: Vec<Change>,
    requests: &[Sent],
) -> Result<(), TestCaseError> {
    let (table, _) = compiler.apply(batch.into_iter().map(Change::keyed));
    let (fresh, _) = super::testing::compiler().apply(documents.clone().into_iter().map(|(k, d)| (k, Some(d))));
    for request in requests {
        let expected = oracle(documents, request);
        prop_assert_eq!(found(&table, request), expected.clone(), "changed table, {:?}", request);
        prop_assert_eq!(found(&fresh, request), expected.clone(), "fresh table, {:?}", request);
        let explained = table.explain(SOCKET, conf::Scheme::Http, &request.request());
        let explained = explained.rule().map(|rule| (rule.route.to_string(), rule.index));
        prop_assert_eq!(explained, expected.map(|(_, route, rule, _)| (route, rule)), "explanation, {:?}", request);
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_table_agrees_with_the_oracle_after_any_changes(
        batches in prop::collection::vec(prop::collection::vec(change(), 1..8), 1..6),
        requests in prop::collection::vec(request(), 1..20),
    ) {
        let (mut compiler, mut documents) = (compiler(), Documents::new());
        for batch in batches {
            for (key, document) in batch.iter().cloned().map(Change::keyed) {
                match document {
                    Some(document) => { documents.insert(key, document); }
                    None => { documents.remove(&key); }
                }
            }
            check(&mut compiler, &documents, batch, &requests)?;
        }
        let removals = documents.into_keys().map(|key| (key, None));
        let (table, problems) = compiler.apply(removals);
        prop_assert_eq!(table.addresses().count(), 0);
        prop_assert!(problems.is_empty() && compiler.is_empty());
    }
}

/// A test of the test: requests must reach routes, and changes must matter, often enough.
#[test]
fn the_oracle_is_asked_what_has_answers() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut answers = std::collections::BTreeSet::new();
    let mut answered = 0;
    for _ in 0..200 {
        let documents = prop::collection::vec(document(), 10).new_tree(&mut runner).unwrap().current();
        let request = request().new_tree(&mut runner).unwrap().current();
        let documents = documents.into_iter().map(|document| (document.key(), document)).collect();
        if let Some(answer) = oracle(&documents, &request) {
            answered += 1;
            answers.insert(answer);
        }
    }
    assert!(answered > 60 && answers.len() > 20, "{answered} answers, {} of them different", answers.len());
}
