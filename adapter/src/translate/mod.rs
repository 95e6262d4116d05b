//! Objects in, documents and statuses out: pure, total, and the same for every order of arrival.

mod address;
mod any_route;
mod attach;
mod authorities;
mod backend;
mod certificate;
mod class;
mod conflict;
mod filter;
mod frontend;
mod gateway;
mod grant;
mod grpc_match;
mod http_match;
mod https;
mod listener;
mod listener_set;
mod name;
mod namespace;
mod pods;
mod route;
mod rule;
mod service;
mod target;
mod tls_policy;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use conf::{Document, Kind, Name};

pub use self::address::{Addresses, ServiceType, UnknownServiceType};
use self::any_route::AnyRoute;
use self::authorities::Bundles;
use self::backend::Backends;
use self::certificate::Certificates;
use self::gateway::Gateway;
use self::tls_policy::Policies;
use crate::api::{GROUP, ObjectRef};
use crate::owned::Objects;
use crate::snapshot::Snapshot;
use crate::status::Status;

/// What a translation depends on beside objects.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address that listeners bind.
    pub bind: IpAddr,
    pub addresses: Addresses,
    /// The installed Gateway API, when there is a cluster that has one.
    pub bundle: Option<Bundle>,
    /// The gateway pods that serve although they are not ready, by their own word.
    pub serving: BTreeSet<IpAddr>,
    /// Of the objects that a translation asked for, those that could not be made so, and why.
    pub refused: BTreeMap<ObjectRef, String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::UNSPECIFIED.into(),
            addresses: Addresses::Host { addresses: Vec::new(), gateway_service: None },
            bundle: None,
            serving: BTreeSet::new(),
            refused: BTreeMap::new(),
        }
    }
}

/// A release of the Gateway API's definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    pub version: String,
    /// Whether they have the fields that the API is still trying out.
    pub is_experimental: bool,
}

impl Bundle {
    /// What the annotations of a definition tell of the bundle that it came with.
    pub fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let annotation = |name: &str| annotations.get(&format!("{GROUP}/{name}"));
        let is_experimental = annotation("channel").is_some_and(|channel| channel == "experimental");
        Some(Self { version: annotation("bundle-version")?.clone(), is_experimental })
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translation {
    /// The documents by the name of the file that holds them, a file for each source object.
    pub files: BTreeMap<String, Vec<Document>>,
    /// Of every object that is ours, by kind and name.
    pub statuses: Vec<Status>,
    /// What clients reach the Gateways by, where that is for the adapter to make.
    pub objects: Objects,
}

/// What the document of a listener is called, by the Gateway or ListenerSet that holds it.
pub fn listener_name(holder: &ObjectRef, listener: &str) -> Name {
    name::listener(holder.kind, &holder.key, listener)
}

/// Never fails: what is wrong with an object becomes its status, and spoils nothing beside it.
pub fn translate(snapshot: &Snapshot, options: &Options) -> Translation {
    let classes = class::ours(snapshot);
    let (mut certificates, mut bundles) = (Certificates::new(snapshot), Bundles::new(snapshot));
    let (mut gateways, objects) = gateway::ours(snapshot, &classes, &mut certificates, &mut bundles, options);
    let mut backends = Backends::new(snapshot, Policies::new(snapshot, &mut bundles));
    let mut translation = Translation { objects, ..Translation::default() };
    let mut route_statuses = Vec::new();
    let http_routes = snapshot.http_routes.iter().map(|(key, route)| (key, AnyRoute::Http(route)));
    let grpc_routes = snapshot.grpc_routes.iter().map(|(key, route)| (key, AnyRoute::Grpc(route)));
    for (key, route) in http_routes.chain(grpc_routes) {
        let Some(translated) = route::translate(key, route, &mut gateways, snapshot, &mut backends) else {
            continue;
        };
        route_statuses.push(translated.status);
        if let Some((file, document)) = translated.document {
            translation.add(file, Document::Route(document));
        }
    }
    for (file, document) in gateways.values().flat_map(|gateway| gateway.documents(options.bind)) {
        translation.add(file, document);
    }
    translation.add_backends(&backends);
    translation.add_certificates(&certificates);
    translation.add_authorities(&bundles);
    let class_statuses = classes.iter().map(|(name, class)| class.status(name, options));
    let gateway_statuses = gateways.values().map(Gateway::status);
    let sets = gateways.values().flat_map(|gateway| gateway.sets.values().map(move |set| (gateway, set)));
    let set_statuses: BTreeMap<_, _> = sets.map(|(gateway, set)| (set.key, set.status(gateway))).collect();
    translation.statuses = class_statuses
        .chain(gateway_statuses)
        .chain(set_statuses.into_values())
        .chain(route_statuses)
        .chain(backends.policies().statuses())
        .collect();
    translation
}

impl Translation {
    pub fn documents(&self) -> impl Iterator<Item = &Document> + Clone {
        self.files.values().flatten()
    }

    fn add(&mut self, file: String, document: Document) {
        self.files.entry(file).or_default().push(document);
    }

    /// Only those that a document refers to: routes that nobody serves have references too.
    fn add_backends(&mut self, backends: &Backends<'_>) {
        for (service, backend) in self.references(Kind::Backend).iter().filter_map(|name| backends.found(name)) {
            self.add(name::file("backend", service), Document::Backend(backend.clone()));
        }
    }

    /// Only those of listeners that are served: a private key goes where it is needed.
    fn add_certificates(&mut self, certificates: &Certificates<'_>) {
        let names = self.references(Kind::Certificate);
        for (secret, certificate) in names.iter().filter_map(|name| certificates.found(name)) {
            self.add(name::file("certificate", secret), Document::Certificate(certificate.clone()));
        }
    }

    fn add_authorities(&mut self, bundles: &Bundles<'_>) {
        let names = self.references(Kind::Authorities);
        for (config_map, authorities) in names.iter().filter_map(|name| bundles.found(name)) {
            self.add(name::file("authorities", config_map), Document::Authorities(authorities.clone()));
        }
    }

    /// The documents of a kind that others refer to.
    fn references(&self, kind: Kind) -> BTreeSet<Name> {
        let references = self.documents().flat_map(conf::references).map(|(_, reference)| reference);
        references.filter(|key| key.kind == kind).map(|key| key.name).collect()
    }
}
