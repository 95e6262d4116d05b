//! A gateway from Kubernetes manifests, by the adapter's own translation.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use adapter::status::{Condition, Content, Status};
use adapter::{Options, Snapshot};
use conf::Document;

use crate::setup::indented;
use crate::{Echo, Setup};

/// Manifests, the way one applies them, and what a cluster adds to them.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    text: String,
}

impl Manifests {
    /// A GatewayClass `doppel`, for Gateways to name.
    pub fn with_class() -> Self {
        Self::default().apply(
            "
            apiVersion: gateway.networking.k8s.io/v1
            kind: GatewayClass
            metadata: {name: doppel}
            spec: {controllerName: doppel.dev/gateway-controller}
            ",
        )
    }

    /// The files of this folder of `k8s`, in the order of their names, folders in it left out.
    pub fn folder(folder: &str) -> Self {
        let mut files: Vec<_> = std::fs::read_dir(path(folder))
            .expect("the folder is there")
            .map(|entry| entry.expect("the folder can be read").path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        files.iter().fold(Self::default(), |manifests, file| manifests.apply(&read(file)))
    }

    /// Further manifests; an object of the same name is replaced.
    pub fn apply(mut self, text: &str) -> Self {
        self.text += &format!("---\n{}", indented(text, 0));
        self
    }

    /// The manifests of this file of `k8s`.
    pub fn apply_file(self, file: &str) -> Self {
        self.apply(&read(&path(file)))
    }

    /// That the Service, `namespace/name`, has a ready pod: the echo, whatever the port's number.
    pub fn pod(self, service: &str, echo: &Echo) -> Self {
        self.pods(service, &[echo])
    }

    pub fn pods(self, service: &str, echoes: &[&Echo]) -> Self {
        // A slice has one port for all its addresses, so that every pod has a slice of its own.
        (0..).zip(echoes).fold(self.without_pods(service), |manifests, (number, echo)| {
            manifests.apply(&slice(service, number, Some(echo.address())))
        })
    }

    /// That the Service has no pods, whatever it had.
    pub fn without_pods(self, service: &str) -> Self {
        (0..MOST_PODS).fold(self, |manifests, number| manifests.apply(&slice(service, number, None)))
    }

    /// The documents that the adapter makes of them. Each port of theirs becomes a free one at a
    /// loopback address of its own; clients are still told the original one.
    pub fn setup(&self) -> Setup {
        let mut ports = Vec::new();
        let translation = self.translate();
        let documents = translation.documents().cloned().map(|mut document| {
            if let Document::Listener(listener) = &mut document {
                let port = listener.client_port();
                listener.public_port = Some(port);
                listener.address = loopback(&mut ports, port);
            }
            conf::render(&document)
        });
        Setup { documents: documents.collect() }
    }

    /// The condition of this type of the route's first parent: of `HTTPRoute namespace/name`.
    pub fn route_condition(&self, route: &str, kind: &str) -> Condition {
        let statuses = self.translate().statuses;
        let is_it = |status: &&Status| status.object.to_string() == route;
        let status = statuses.iter().find(is_it).unwrap_or_else(|| panic!("{route} has no status"));
        let Content::Route(content) = &*status.content else { unreachable!("the status of a route") };
        let condition = content.parents[0].conditions.iter().find(|condition| condition.kind == kind);
        condition.cloned().unwrap_or_else(|| panic!("{route} has no condition {kind}"))
    }

    fn translate(&self) -> adapter::Translation {
        let (snapshot, warnings) = Snapshot::from_manifests(&self.text);
        assert!(warnings.is_empty(), "{warnings:?}");
        adapter::translate(&snapshot, &Options::default())
    }
}

/// No Service of a test has more.
const MOST_PODS: usize = 3;

/// The EndpointSlice of this number of a Service, `namespace/name`, with a pod or without.
fn slice(service: &str, number: usize, pod: Option<SocketAddr>) -> String {
    let (namespace, name) = service.split_once('/').expect("a namespace and a name");
    let port = pod.map_or(1, |pod| pod.port());
    let endpoint = pod.map(|pod| format!("{{addresses: [{}], conditions: {{ready: true}}}}", pod.ip()));
    format!(
        "
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata:
          name: {name}-{number}
          namespace: {namespace}
          labels: {{kubernetes.io/service-name: {name}}}
        addressType: IPv4
        ports: [{{name: '', protocol: TCP, port: {port}}}]
        endpoints: [{}]
        ",
        endpoint.unwrap_or_default()
    )
}

fn path(below_k8s: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s").join(below_k8s)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The same address for the same port, another for another.
fn loopback(ports: &mut Vec<u16>, port: u16) -> SocketAddr {
    let index = ports.iter().position(|known| *known == port).unwrap_or_else(|| {
        ports.push(port);
        ports.len() - 1
    });
    let last = u8::try_from(index + 1).expect("a test has few ports");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0)
}
