//! What a look-up costs and what a changed document costs, among how many routes:
//! `cargo bench -p doppel-gateway --bench table`.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conf::{Document, Key, PathMatch, Route};
use gateway::metrics::Metrics;
use gateway::mirror::{Limits, Mirrors};
use gateway::table::{Compiler, Request, Table};
use http::{HeaderMap, Method};

const SIZES: [usize; 3] = [10, 5_000, 40_000];
const LOOKUPS: usize = 1_000_000;
const CHANGES: usize = 200;

fn main() {
    println!(
        "routes, look-up of the same ten, of all in turn; time to compile all, one changed route, one changed backend"
    );
    for size in SIZES {
        measure(size, "a host each", |i| (format!("h{i}.example.com"), "/".into()));
        measure(size, "one host, a prefix each", |i| ("shop.example.com".into(), format!("/p{i}/x")));
    }
}

/// `place` is the host and the path prefix of a route.
fn measure(size: usize, label: &str, place: impl Fn(usize) -> (String, String)) {
    let metrics = Metrics::default();
    let mut compiler = Compiler::new(Mirrors::new(Limits::default(), &metrics), metrics);
    let routes: Vec<Document> = (0..size).map(|i| route(i, &place(i))).collect();
    let listener = parse("listener: {name: web, address: '127.0.0.1:80'}");
    let backend = parse("backend: {name: b0, endpoints: ['127.0.0.1:1']}");
    let all = routes.iter().chain([&listener, &backend]).cloned().map(put).collect::<Vec<_>>();
    let (mut table, compiled) = timed(|| compiler.apply(all).0);

    let requests: Vec<_> = (0..size).map(&place).map(|(host, prefix)| (host, format!("{prefix}/item"))).collect();
    let (same, scattered) = (look_up(&table, &requests[..10]), look_up(&table, &requests));

    // The table before is still in use, as it is while requests are served from it.
    let mut change = |document: Document| {
        let total: Duration = (0..CHANGES)
            .map(|_| {
                let change = put(document.clone());
                let (next, time) = timed(|| compiler.apply([change]).0);
                table = next;
                time
            })
            .sum();
        total / CHANGES as u32
    };
    let (route, backend) = (change(routes[size / 2].clone()), change(backend));
    let (same, scattered) = (same.as_nanos(), scattered.as_nanos());
    println!("{size:>6} {label:<23} {same:>5} ns {scattered:>5} ns {compiled:>9.1?} {route:>8.1?} {backend:>8.1?}");
}

/// Visits the routes in a scattered order: where there are many, what is measured is memory.
fn look_up(table: &Arc<Table>, requests: &[(String, String)]) -> Duration {
    let socket: SocketAddr = ([127, 0, 0, 1], 80).into();
    let headers = HeaderMap::new();
    let ((), time) = timed(|| {
        for i in 0..LOOKUPS {
            let (host, path) = &requests[i * 7919 % requests.len()];
            let request = Request { host, method: &Method::GET, path, query: None, headers: &headers };
            black_box(table.find(socket, black_box(&request)).expect("each request has a route"));
        }
    });
    time / LOOKUPS as u32
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

fn route(index: usize, (host, prefix): &(String, String)) -> Document {
    let text =
        "route: {name: r, listeners: [web], rules: [{matches: [{path: {prefix: /}}], backends: [{backend: b0}]}]}";
    let Document::Route(mut route) = parse(text) else { unreachable!("it is written so") };
    let Route { name, hostnames, rules, .. } = &mut route;
    *name = format!("r{index}").parse().expect("a letter and digits");
    *hostnames = vec![host.parse().expect("labels of letters and digits")];
    Arc::make_mut(&mut rules[0].matches[0]).path = Some(PathMatch::Prefix(prefix.clone()));
    rules[0].backends[0].target = conf::Target::Backend(format!("b{}", index % 1000).parse().expect("as above"));
    Document::Route(route)
}

fn parse(text: &str) -> Document {
    conf::parse(text).documents.pop().expect("the text is valid").1
}

fn put(document: Document) -> (Key, Option<Document>) {
    (document.key(), Some(document))
}
