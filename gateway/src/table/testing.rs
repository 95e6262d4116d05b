//! What the tests of the table share.

use std::net::SocketAddr;
use std::sync::Arc;

use conf::{Document, Key};
use http::{HeaderMap, HeaderName, Method};

use super::{Compiler, Request, Table};
use crate::metrics::Metrics;
use crate::mirror::{Limits, Mirrors};

pub(super) const SOCKET: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 80);

pub(super) fn documents(text: &str) -> Vec<Document> {
    let parsed = conf::parse(text);
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
    parsed.documents.into_iter().map(|(_, document)| document).collect()
}

pub(super) fn route(text: &str) -> conf::Route {
    match documents(text).pop() {
        Some(Document::Route(route)) => route,
        other => panic!("{other:?} is not a route"),
    }
}

pub(super) fn compiler() -> Compiler {
    let metrics = Metrics::default();
    Compiler::new(Mirrors::new(Limits::default(), &metrics), metrics)
}

pub(super) fn changes(text: &str) -> Vec<(Key, Option<Document>)> {
    documents(text).into_iter().map(|document| (document.key(), Some(document))).collect()
}

pub(super) fn compile(text: &str) -> Arc<Table> {
    compiler().apply(changes(text)).0
}

/// A request that owns what it is made of.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) host: String,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
}

impl Sent {
    pub(super) fn get(host: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Self {
            host: host.into(),
            method: Method::GET,
            path: path.into(),
            query: query.map(str::to_owned),
            headers: HeaderMap::new(),
        }
    }

    pub(super) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(HeaderName::from_static(name), value.parse().unwrap());
        self
    }

    pub(super) fn request(&self) -> Request<'_> {
        let Self { host, method, path, query, headers } = self;
        Request { host, method, path, query: query.as_deref(), headers }
    }
}
