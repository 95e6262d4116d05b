//! What the comments of the configuration examples say about matching is what the table does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, slice};

use gateway::metrics::Metrics;
use gateway::mirror::{Limits, Mirrors};
use gateway::table::{Compiler, Request, Table};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/examples")
}

/// The table of an example, which must compile without problems.
fn table(name: &str) -> Arc<Table> {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    let documents = conf::parse(&text).documents.into_iter().map(|(_, document)| document);
    let metrics = Metrics::default();
    let mut compiler = Compiler::new(Mirrors::new(Limits::default(), &metrics), metrics);
    let (table, problems) = compiler.apply(documents.map(|document| (document.key(), Some(document))));
    assert_eq!(problems, [], "{name}");
    table
}

#[test]
fn each_compiles_and_listens() {
    let names: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.is_empty());
    for name in names {
        let name = name.to_str().unwrap();
        assert!(table(name).addresses().next().is_some(), "{name}");
    }
}

/// The rule that answers a request with these headers, as `route[index]`.
fn found(table: &Table, socket: &str, method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<String> {
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let socket: SocketAddr = socket.parse().unwrap();
    let found = table.find(socket, &Request::of(&parts)).ok()?;
    Some(format!("{}[{}]", found.rule.route, found.rule.index))
}

#[test]
fn the_quick_start_answers_everything() {
    let table = table("quick-start.yaml");
    for uri in ["/", "/a?b", "http://example.com/"] {
        assert_eq!(found(&table, "0.0.0.0:8000", "GET", uri, &[]).as_deref(), Some("everything[0]"), "{uri}");
    }
}

#[test]
fn matching_prefers_what_is_more_specific() {
    let table = table("matching.yaml");
    let json = ("content-type", "application/json");
    let tenant = ("x-tenant", "acme-7");
    for (method, uri, headers, expected) in [
        ("GET", "/api/status", &[][..], "api[0]"),
        ("GET", "/api/v2/items", &[], "api[0]"),
        ("PUT", "/api/v2/items", &[], "api[3]"),
        ("POST", "/api/v2?dry%20run=false&page=1", &[json, tenant], "api[1]"),
        ("POST", "/api?dry%20run=false&page=12", &[json, tenant], "api[1]"),
        ("POST", "/api?dry%20run=false&page=x", &[json, tenant], "api[3]"),
        ("POST", "/api?dry%20run=false&page=1", slice::from_ref(&json), "api[3]"),
        ("POST", "/api?dry%20run=false&page=1", &[json, ("x-tenant", "acme-7b")], "api[3]"),
        ("POST", "/apis?dry%20run=false&page=1", &[json, tenant], "api[3]"),
        ("GET", "/api/reports/2024-05", &[], "api[2]"),
        ("GET", "/api/reports/2024-05/a", &[], "api[3]"),
    ] {
        let found = found(&table, "0.0.0.0:8000", method, uri, headers);
        assert_eq!(found.as_deref(), Some(expected), "{method} {uri}");
    }
}

#[test]
fn listeners_and_routes_take_their_hosts() {
    let table = table("listeners-and-hostnames.yaml");
    for (socket, host, expected) in [
        ("[::]:8000", "shop.example.com", Some("shop[0]")),
        ("[::]:8000", "SHOP.example.com:8000", Some("shop[0]")),
        ("[::]:8000", "blog.example.com", Some("tenants[0]")),
        ("[::]:8000", "a.b.tenants.example.com", Some("tenants[0]")),
        ("[::]:8000", "other.example.com", None),
        ("[::]:8000", "example.com", None),
        ("127.0.0.1:8001", "anything", Some("shop[0]")),
        ("127.0.0.1:8001", "blog.example.com", Some("shop[0]")),
    ] {
        let found = found(&table, socket, "GET", "/", &[("host", host)]);
        assert_eq!(found.as_deref(), expected, "{socket} {host}");
    }
}
