//! No allocation between reading the table and choosing an endpoint. A file of its own, because it
//! replaces the allocator, which takes `unsafe`.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use conf::Key;
use gateway::metrics::Metrics;
use gateway::mirror::{Limits, Mirrors};
use gateway::table::{ChoiceTarget, Compiler, Request, Table};
use http::request::Parts;

/// Counts what the current thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is handed to the system's allocator unchanged. The counter needs neither
// memory nor a destructor, so that counting never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as for this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as for this function.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const DOCUMENTS: &str = "
listener: {name: web, address: '127.0.0.1:80', hostname: '*.example.com'}
---
backend: {name: b, endpoints: ['127.0.0.1:1', '127.0.0.1:2']}
---
route:
  name: r
  listeners: [web]
  hostnames: [a.example.com, '*.example.com']
  rules:
  - matches:
    - {path: {exact: /exact}}
    - {path: {prefix: /prefix}, method: POST}
    - {path: {regex: '/regex/[0-9]+'}}
    - {path: {prefix: /conditions}, headers: [{name: version, exact: two}], query: [{name: a, regex: '[0-9]+'}]}
    backends: [{backend: b, weight: 2}, {backend: b}]
";

#[test]
fn finding_a_rule_and_an_endpoint_allocates_nothing() {
    let table = table();
    for (method, uri, header, found) in [
        ("GET", "http://a.example.com/exact", None, true),
        ("GET", "http://A.B.EXAMPLE.com:8080/exact", None, true),
        ("POST", "http://a.example.com/prefix/x/y", None, true),
        ("GET", "http://a.example.com/regex/12", None, true),
        ("GET", "http://a.example.com/conditions?b=%20&a=12", Some("two"), true),
        ("GET", "http://a.example.com/conditions?b=%20&a=12", Some("one"), false),
        ("GET", "http://a.example.com/", None, false),
        ("GET", "http://example.com/exact", None, false),
    ] {
        let mut request = http::Request::builder().method(method).uri(uri);
        request = header.into_iter().fold(request, |request, value| request.header("version", value));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        // Regular expressions make their scratch space on first use.
        assert_eq!(endpoint(&table, &parts).is_some(), found, "{method} {uri}");
        let before = ALLOCATIONS.get();
        black_box(endpoint(&table, black_box(&parts)));
        assert_eq!(ALLOCATIONS.get() - before, 0, "{method} {uri}");
    }
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    black_box(Box::new(1));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

fn table() -> Arc<Table> {
    let metrics = Metrics::default();
    let mut compiler = Compiler::new(Mirrors::new(Limits::default(), &metrics), metrics);
    let parsed = conf::parse(DOCUMENTS);
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
    let changes = parsed.documents.into_iter().map(|(_, document)| (document.key(), Some(document)));
    compiler.apply(changes.collect::<Vec<(Key, _)>>()).0
}

/// All that the request path asks of the table.
fn endpoint(table: &Table, parts: &Parts) -> Option<SocketAddr> {
    let found = table.find(SocketAddr::from(([127, 0, 0, 1], 80)), &Request::of(parts)).ok()?;
    found.rule.draw();
    match &found.rule.backends.choose()?.target {
        ChoiceTarget::Backend(id) => table.backend(*id).next_endpoint(),
        ChoiceTarget::Invalid(reason) => panic!("{reason}: nothing is invalid here"),
    }
}
