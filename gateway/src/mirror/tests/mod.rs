//! Copies over real sockets. A test plays both sides: the proxy, which feeds a [`Tee`], and the
//! mirror, which it scripts byte by byte.

mod aborts;
mod answers;
mod bounds;
mod http2;
mod replay;
mod requests;
mod trouble;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conf::Protocol;
use pingora::http::RequestHeader;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::metrics::Metrics;

/// The mirrors of one gateway.
struct World {
    metrics: Metrics,
    mirrors: Arc<Mirrors>,
    /// What a table would hold, so that the mirror `m` is not forgotten between two copies.
    _receiver: Arc<Receiver>,
}

impl World {
    fn new(limits: Limits) -> Self {
        let metrics = Metrics::default();
        let mirrors = Mirrors::new(limits, &metrics);
        Self { _receiver: mirrors.receiver(&"m".parse().unwrap()), mirrors, metrics }
    }

    fn planned(&self, mirror: &str, endpoint: SocketAddr, protocol: Protocol) -> Planned {
        let name = mirror.parse().unwrap();
        Planned {
            bond: None,
            protocol,
            endpoint,
            receiver: self.mirrors.receiver(&name),
            account: self.mirrors.account(&"route".parse().unwrap(), &name),
        }
    }

    /// A copy of this request to the mirror `m`, over HTTP/1.1.
    fn copy(&self, endpoint: SocketAddr, head: &RequestHeader) -> Tee {
        Tee::start([self.planned("m", endpoint, Protocol::Http)], head, head.method == "GET")
    }

    /// A sample of a metric, with the values of all its labels but the route and the mirror `m`.
    fn samples(&self, metric: &str) -> BTreeMap<String, f64> {
        let families = self.metrics.registry.gather();
        let Some(family) = families.iter().find(|family| family.name() == metric) else { return BTreeMap::new() };
        let mut samples = BTreeMap::new();
        for sample in family.get_metric() {
            let labels = sample.get_label().iter().filter(|label| label.name() != "route" && label.value() != "m");
            // Sorted by their names: the mirror, the outcome, the reason.
            let key = labels.map(|label| label.value()).filter(|value| !value.is_empty()).collect::<Vec<_>>().join(" ");
            let value = sample.get_counter().get_value() + sample.get_gauge().get_value();
            if value != 0.0 {
                samples.insert(key, value);
            }
        }
        samples
    }

    fn sample(&self, metric: &str) -> f64 {
        self.samples(metric).values().sum()
    }

    /// Waits until all copies have ended, checks that nothing is left of them and that the books
    /// balance, and then compares the books, without what is started.
    #[track_caller]
    fn books(&self, expected: &[(&str, u64)]) -> impl Future<Output = ()> {
        let expected: BTreeMap<String, f64> =
            expected.iter().map(|(outcome, count)| ((*outcome).into(), *count as f64)).collect();
        let caller = std::panic::Location::caller();
        async move {
            soon(self.mirrors.drained()).await;
            let mut books = self.samples("doppel_mirror_requests_total");
            let ended = books.iter().filter(|(outcome, _)| {
                ["completed", "failed", "aborted"].iter().any(|end| outcome.split(' ').any(|word| word == *end))
            });
            let ended: f64 = ended.map(|(_, count)| count).sum();
            let is_started = |outcome: &String| outcome.split(' ').any(|word| word == "started");
            let started: f64 = books.iter().filter(|(outcome, _)| is_started(outcome)).map(|(_, count)| count).sum();
            books.retain(|outcome, _| !is_started(outcome));
            assert_eq!(started, ended, "what was started has ended, at {caller}");
            assert_eq!(books, expected, "at {caller}");
            assert_eq!(self.mirrors.queued(), 0, "all budgets are given back, at {caller}");
            for gauge in ["doppel_mirror_in_flight", "doppel_mirror_queue_bytes"] {
                assert_eq!(self.samples(gauge), BTreeMap::new(), "{gauge}, at {caller}");
            }
        }
    }
}

/// A mirror whose every move is the test's.
struct Mirror {
    listener: TcpListener,
    endpoint: SocketAddr,
}

impl Mirror {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { endpoint: listener.local_addr().unwrap(), listener }
    }

    async fn accept(&self) -> Connection {
        Connection { stream: soon(self.listener.accept()).await.unwrap().0, read: Vec::new() }
    }
}

/// The mirror's end of a connection.
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    /// Reads until the text has come, and returns all up to its end.
    async fn read_until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end.as_bytes()) {
                let rest = self.read.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            assert!(self.read_some().await, "closed after {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    async fn head(&mut self) -> String {
        self.read_until("\r\n\r\n").await
    }

    async fn read_exact(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length {
            assert!(self.read_some().await, "closed after {} bytes", self.read.len());
        }
        let rest = self.read.split_off(length);
        std::mem::replace(&mut self.read, rest)
    }

    /// Everything until the connection is closed or reset.
    async fn rest(&mut self) -> Vec<u8> {
        while self.read_some().await {}
        std::mem::take(&mut self.read)
    }

    async fn read_some(&mut self) -> bool {
        self.read.reserve(64 << 10);
        soon(self.stream.read_buf(&mut self.read)).await.unwrap_or(0) > 0
    }

    async fn write(&mut self, text: impl AsRef<[u8]>) {
        soon(self.stream.write_all(text.as_ref())).await.unwrap();
    }

    async fn ok(&mut self) {
        self.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    }
}

/// Nothing a test waits for takes long.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it takes much too long")
}

fn request(method: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
    let mut request = RequestHeader::build(method, b"/p?q", None).unwrap();
    for (name, value) in [("Host", "h")].iter().chain(headers) {
        request.append_header(*name, *value).unwrap();
    }
    request
}

fn get() -> RequestHeader {
    request("GET", &[])
}

fn post(length: usize) -> RequestHeader {
    request("POST", &[("Content-Length", &length.to_string())])
}

fn chunked() -> RequestHeader {
    request("POST", &[("Transfer-Encoding", "chunked")])
}

/// Bytes that tell where they stand.
fn bytes(length: usize) -> Bytes {
    (0..length).map(|i| (i % 251) as u8).collect()
}
