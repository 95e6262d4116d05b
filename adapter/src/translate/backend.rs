//! References to Services: whether they may be followed, and which endpoints they lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use conf::{Backend, BackendTls, Document, Name, Protocol, Target};
use k8s_openapi::api::core::v1::ServicePort;

use super::grant::{self, Referrer};
use super::memo::Dependency;
use super::name;
use super::pods::is_ready;
use super::reference;
use super::tls_policy::Policies;
use crate::api::http_route::BackendRef;
use crate::api::{EndpointSlice, ObjectKey, ObjectRef, Service};
use crate::snapshot::Snapshot;
use crate::status::Fault;

/// Follows references, and keeps account of what the answers depend on.
pub(super) struct Backends<'a> {
    snapshot: &'a Snapshot,
    policies: &'a Policies<'a>,
    /// What it was asked since this was taken away the last time.
    pub(super) asked: Asked,
}

#[derive(Default)]
pub(super) struct Asked {
    pub(super) dependencies: BTreeSet<Dependency>,
    /// The ports, by name, that references lead to.
    pub(super) reached: BTreeSet<(ObjectKey, String)>,
    /// Where they lead to, by the names of the documents.
    pub(super) found: BTreeMap<Name, Found>,
}

/// What a reference leads to: all that its document is made of beside the endpoints.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) name: Name,
    pub(super) service: ObjectKey,
    port: i32,
    protocol: Protocol,
    tls: Option<BackendTls>,
}

impl<'a> Backends<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, policies: &'a Policies<'a>) -> Self {
        Self { snapshot, policies, asked: Asked::default() }
    }

    /// Where a reference leads. Whether a thing exists is told only to those who may
    /// refer to it. `assumed` is what the backend speaks if its port does not say.
    pub(super) fn resolve(
        &mut self,
        referrer: Referrer<'_>,
        reference: &BackendRef,
        assumed: Protocol,
    ) -> Result<Target, Fault> {
        let (kind, group) = (&reference.kind, &reference.group);
        if kind != "Service" || !group.is_empty() {
            let group = if group.is_empty() { "core" } else { group };
            let message = format!("{kind} {} of group {group} is no Service; refer to a Service", reference.name);
            return Err(Fault::new("InvalidKind", message));
        }
        let namespace = reference.namespace.as_deref().unwrap_or(referrer.namespace);
        let key = ObjectKey::new(namespace, &reference.name);
        if namespace != referrer.namespace {
            self.asked.dependencies.insert(Dependency::all("ReferenceGrant", namespace));
        }
        grant::permit(self.snapshot, referrer, &ObjectRef::new("Service", &key))?;
        self.asked.dependencies.insert(Dependency::object("Service", &key));
        let service = self.service(&key)?;
        let (number, port) = port(&key, service, reference.port)?;
        let declared = declared_protocol(&key, port)?;
        let (protocol, name) = match (declared, assumed) {
            (None, Protocol::H2c) => (assumed, name::h2c_backend(&key, number)),
            (None, Protocol::Http) => (assumed, name::backend(&key, number)),
            (Some(Protocol::Http), Protocol::H2c) => return Err(carries_no_calls(&key, port)),
            (Some(declared), _) => (declared, name::backend(&key, number)),
        };
        let port_name = port.name.as_deref().unwrap_or_default();
        self.asked.reached.insert((key.clone(), port_name.to_owned()));
        self.asked.dependencies.insert(Dependency::demands(&key));
        let tls = match self.policies.demanded(&key, port_name) {
            Ok(None) if is_for_tls(port) => return Err(lacks_policy(&key, port)),
            Ok(tls) => tls.cloned(),
            // The reference itself is good.
            Err(fault) => return Ok(Target::Invalid(fault.message)),
        };
        let found = Found { name: name.clone(), service: key, port: number, protocol, tls };
        self.asked.found.insert(name.clone(), found);
        Ok(Target::Backend(name))
    }

    fn service(&mut self, key: &ObjectKey) -> Result<&'a Service, Fault> {
        if let Some(service) = self.snapshot.services.get(key) {
            return match service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) {
                Some("ExternalName") => Err(not_found(format!(
                    "Service {key} is of type ExternalName, which has no endpoints; refer to one that selects pods or has EndpointSlices"
                ))),
                _ => Ok(service),
            };
        }
        self.asked.dependencies.insert(Dependency::all("Service", &key.namespace));
        let remedy = reference::remedy(key, self.snapshot.services.keys(), "create it or correct the reference");
        Err(not_found(format!("Service {key} does not exist; {remedy}")))
    }
}

impl Found {
    /// With the endpoints that these slices of its Service have.
    pub(super) fn document<'s>(&self, service: &Service, slices: impl Iterator<Item = &'s EndpointSlice>) -> Document {
        let endpoints: BTreeSet<_> = match port(&self.service, service, Some(self.port)) {
            Ok((_, port)) => slices.flat_map(|slice| endpoints(slice, port)).collect(),
            Err(_) => BTreeSet::new(),
        };
        Document::Backend(Backend {
            name: self.name.clone(),
            protocol: self.protocol,
            endpoints: endpoints.into_iter().collect(),
            tls: self.tls.clone(),
        })
    }
}

fn not_found(message: String) -> Fault {
    Fault::new("BackendNotFound", message)
}

fn port<'s>(key: &ObjectKey, service: &'s Service, number: Option<i32>) -> Result<(i32, &'s ServicePort), Fault> {
    let ports = || service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let known = match ports().map(|port| port.port.to_string()).collect::<Vec<_>>() {
        numbers if numbers.is_empty() => "it has none".to_owned(),
        numbers => format!("it has {}", numbers.join(", ")),
    };
    let Some(number) = number else {
        return Err(not_found(format!("the reference to Service {key} names no port; {known}")));
    };
    // A Service may have the same number once for TCP and once for UDP.
    let of_number = || ports().filter(|port| port.port == number);
    match of_number().find(|port| is_tcp(port.protocol.as_deref())) {
        Some(port) => Ok((number, port)),
        None => Err(match of_number().next().and_then(|port| port.protocol.as_deref()) {
            Some(protocol) => Fault::new(
                UNSUPPORTED_PROTOCOL,
                format!("port {number} of Service {key} is for {protocol}, which carries no HTTP; refer to a TCP port"),
            ),
            None => not_found(format!("Service {key} has no port {number}; {known}")),
        }),
    }
}

fn is_tcp(protocol: Option<&str>) -> bool {
    matches!(protocol, None | Some("" | "TCP"))
}

/// What a port says that it speaks, if it does.
fn declared_protocol(key: &ObjectKey, port: &ServicePort) -> Result<Option<Protocol>, Fault> {
    match port.app_protocol.as_deref() {
        None | Some("") => Ok(None),
        Some("http" | "kubernetes.io/ws" | "kubernetes.io/wss") => Ok(Some(Protocol::Http)),
        // The second is no name of Kubernetes, but what most give to ports for gRPC.
        Some("kubernetes.io/h2c" | "grpc") => Ok(Some(Protocol::H2c)),
        // What is spoken within TLS is left open.
        Some(_) if is_for_tls(port) => Ok(None),
        Some(_) => Err(unsupported(
            key,
            port,
            "which this controller does not speak; use http, https, kubernetes.io/h2c, kubernetes.io/ws or kubernetes.io/wss",
        )),
    }
}

fn is_for_tls(port: &ServicePort) -> bool {
    port.app_protocol.as_deref().is_some_and(|text| text.eq_ignore_ascii_case("https") || text == "kubernetes.io/wss")
}

fn lacks_policy(key: &ObjectKey, port: &ServicePort) -> Fault {
    unsupported(key, port, "and nothing says what its endpoints must prove; a BackendTLSPolicy would")
}

fn carries_no_calls(key: &ObjectKey, port: &ServicePort) -> Fault {
    unsupported(key, port, "which carries no gRPC; use kubernetes.io/h2c, or none")
}

fn unsupported(key: &ObjectKey, port: &ServicePort, why: &str) -> Fault {
    let protocol = port.app_protocol.as_deref().unwrap_or_default();
    let message = format!("port {} of Service {key} has appProtocol {protocol}, {why}", port.port);
    Fault::new(UNSUPPORTED_PROTOCOL, message)
}

/// The ready endpoints of a slice for a port of its Service: those are joined by the port's name,
/// and the slice knows the number that the pods listen on.
fn endpoints<'s>(slice: &'s EndpointSlice, port: &ServicePort) -> impl Iterator<Item = SocketAddr> + 's {
    let named = |name: Option<&str>| name.unwrap_or_default() == port.name.as_deref().unwrap_or_default();
    let number = slice
        .ports
        .iter()
        .flatten()
        .filter(|candidate| named(candidate.name.as_deref()) && is_tcp(candidate.protocol.as_deref()))
        .find_map(|candidate| u16::try_from(candidate.port?).ok().filter(|number| *number != 0));
    let ready = slice.endpoints.iter().filter(|endpoint| is_ready(endpoint));
    number.into_iter().flat_map(move |number| {
        let addresses = ready.clone().flat_map(|endpoint| &endpoint.addresses);
        addresses.filter_map(move |address| Some(SocketAddr::new(address.parse().ok()?, number)))
    })
}

/// The label of an EndpointSlice that names its Service.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
const UNSUPPORTED_PROTOCOL: &str = "UnsupportedProtocol";
