//! Gateways that serve although their pods are not ready.
//!
//! A pod is not ready while any of its containers starts again, and that may be the adapter alone.
//! Kubernetes does not tell which; the gateways do, when they are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use futures::future::join_all;
use http::Uri;
use tokio::time::{Instant, timeout};

use super::acknowledge::Http;
use super::until;
use crate::api::ObjectKey;
use crate::snapshot::Snapshot;

/// Of each pod, whether it serves.
type Heard = BTreeMap<IpAddr, bool>;

/// What the pods have said that are neither ready nor about to end.
pub(super) struct Doubts {
    http: Http,
    /// Where gateways answer `/readyz`.
    port: u16,
    heard: Heard,
    asking: Option<Pin<Box<dyn Future<Output = Heard> + Send>>>,
    ask_at: Option<Instant>,
}

impl Doubts {
    pub(super) fn new(http: Http, port: u16) -> Self {
        Self { http, port, heard: Heard::new(), asking: None, ask_at: None }
    }

    /// Whether all have been heard that are in doubt now. Those that have not are asked.
    pub(super) fn are_settled(&mut self, service: &ObjectKey, snapshot: &Snapshot) -> bool {
        let doubtful = doubtful(service, snapshot);
        self.heard.retain(|address, _| doubtful.contains(address));
        if doubtful.is_empty() {
            self.asking = None;
            self.ask_at = None;
            return true;
        }
        if doubtful.iter().all(|address| self.heard.contains_key(address)) {
            return true;
        }
        self.ask(doubtful);
        false
    }

    /// Those that serve.
    pub(super) fn serving(&self) -> BTreeSet<IpAddr> {
        self.heard.iter().filter(|(_, serves)| **serves).map(|(address, _)| *address).collect()
    }

    /// Returns whenever the pods in doubt have been heard, again and again while there are any.
    pub(super) async fn heard(&mut self) {
        loop {
            if let Some(asking) = &mut self.asking {
                self.heard = asking.as_mut().await;
                self.asking = None;
                self.ask_at = Some(Instant::now() + ASK_AGAIN);
                return;
            }
            until(self.ask_at).await;
            self.ask(self.heard.keys().copied().collect());
        }
    }

    fn ask(&mut self, doubtful: BTreeSet<IpAddr>) {
        let (http, port) = (self.http.clone(), self.port);
        self.ask_at = None;
        self.asking = Some(Box::pin(async move {
            let http = &http;
            let answers = doubtful.into_iter().map(async |address| {
                let serves = timeout(PATIENCE, serves(http, SocketAddr::new(address, port))).await;
                (address, serves.unwrap_or(false))
            });
            join_all(answers).await.into_iter().collect()
        }));
    }
}

/// The pods behind a Service that it calls not ready, without those that are about to end.
fn doubtful(service: &ObjectKey, snapshot: &Snapshot) -> BTreeSet<IpAddr> {
    let slices = snapshot.slices.iter().filter(|(key, slice)| {
        let labels = slice.metadata.labels.as_ref();
        key.namespace == service.namespace
            && labels.and_then(|labels| labels.get("kubernetes.io/service-name")) == Some(&service.name)
    });
    let endpoints = slices.flat_map(|(_, slice)| &slice.endpoints).filter(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.is_some_and(|conditions| conditions.ready == Some(false) && conditions.terminating != Some(true))
    });
    endpoints.filter_map(|endpoint| endpoint.addresses.first()?.parse().ok()).collect()
}

async fn serves(http: &Http, gateway: SocketAddr) -> bool {
    let uri: Uri = format!("http://{gateway}/readyz").parse().expect("an address makes a URI");
    http.get(uri).await.is_ok_and(|answer| answer.status().is_success())
}

/// How long they are waited for, and with them the translation that has to know.
const PATIENCE: Duration = Duration::from_millis(300);
const ASK_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::super::acknowledge::http;
    use super::*;

    /// Answers every question, which is whether it is ready, with this status.
    async fn answer(listener: TcpListener, status: u16) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
            }
            assert!(head.starts_with(b"GET /readyz HTTP/1.1\r\n"));
            let answer = format!("HTTP/1.1 {status} -\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    /// The pods behind a Service, by their addresses and conditions.
    fn pods(service: &str, pods: &[(&str, &str)]) -> Snapshot {
        let endpoints = pods
            .iter()
            .map(|(address, conditions)| format!("{{addresses: [{address}], conditions: {{{conditions}}}}}"));
        let text = format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, endpoints: [{}], \
             metadata: {{name: x, namespace: doppel, labels: {{kubernetes.io/service-name: {service}}}}}}}",
            endpoints.collect::<Vec<_>>().join(", ")
        );
        let (snapshot, warnings) = Snapshot::from_manifests(&text);
        assert_eq!(warnings, []);
        snapshot
    }

    #[tokio::test]
    async fn pods_that_are_not_ready_are_asked_whether_they_serve() {
        let service = ObjectKey::new("doppel", "gateways");
        let serving = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let port = serving.local_addr().unwrap().port();
        let starting = TcpListener::bind(("127.0.0.3", port)).await.unwrap();
        let mut gateways = JoinSet::new();
        gateways.spawn(answer(serving, 200));
        gateways.spawn(answer(starting, 503));
        let mut doubts = Doubts::new(http(), port);

        let not_ready = "ready: false";
        let all = [
            ("127.0.0.2", not_ready),
            ("127.0.0.3", not_ready),
            // Nobody is there.
            ("127.0.0.4", not_ready),
            ("127.0.0.5", "ready: false, terminating: true"),
            ("127.0.0.6", "ready: true"),
        ];
        assert!(!doubts.are_settled(&service, &pods("gateways", &all)));
        doubts.heard().await;
        assert!(doubts.are_settled(&service, &pods("gateways", &all)));
        assert_eq!(doubts.heard.len(), 3, "{:?}", doubts.heard);
        assert_eq!(doubts.serving(), BTreeSet::from(["127.0.0.2".parse().unwrap()]));

        // Of one that is ready again nobody need be told that it serves.
        assert!(doubts.are_settled(&service, &pods("gateways", &[("127.0.0.2", "ready: true"), all[1]])));
        assert_eq!(doubts.serving(), BTreeSet::new());
        assert!(doubts.are_settled(&service, &pods("others", &all)), "they are another Service's");
    }
}
