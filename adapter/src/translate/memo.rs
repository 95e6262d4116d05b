//! What was translated before, so that a change costs what it changes and not the whole world.
//!
//! Nobody can tell whether there was something to remember: every result is kept with all that it
//! depends on, and made again as soon as anything of that is not what it was. What is few, Gateways
//! and their kin, is made every time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use conf::{Document, Kind, Name};

use super::any_route::AnyRoute;
use super::authorities::Bundles;
use super::backend::{Backends, Found, SERVICE_NAME};
use super::certificate::Certificates;
use super::gateway::{self, Gateway};
use super::offer::Offer;
use super::readings::Readings;
use super::route::{self, Translated};
use super::tls_policy::{Demand, Policies, Target};
use super::{Files, Options, Translation, class, name};
use crate::api::{ConfigMap, EndpointSlice, ObjectKey, ObjectRef, Secret};
use crate::differences::differences;
use crate::hash::fnv1a;
use crate::snapshot::{ByKey, Snapshot};

/// Makes one translation after the other.
#[derive(Debug, Default)]
pub struct Memo {
    seen: Seen,
    routes: BTreeMap<ObjectRef, Route>,
    /// Those that the routes' documents refer to.
    backends: BTreeMap<Name, Backend>,
    secrets: Readings<Secret>,
    config_maps: Readings<ConfigMap>,
}

#[derive(Debug)]
struct Route {
    dependencies: Vec<Dependency>,
    backends: Vec<Name>,
    /// The ports of Services, by name, that its references lead to.
    reached: Vec<(ObjectKey, String)>,
    /// None for a route that concerns no Gateway of ours.
    translated: Option<Translated>,
}

#[derive(Debug)]
struct Backend {
    found: Found,
    dependencies: [Dependency; 2],
    /// How many routes refer to it.
    users: usize,
    file: Arc<str>,
    document: Option<Arc<Document>>,
}

/// Something that a result depends on, by its hash: of two things with one hash, either makes the
/// other's results anew, which does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Dependency(u64);

impl Dependency {
    /// An object, or that there is none.
    pub(super) fn object(kind: &str, key: &ObjectKey) -> Self {
        Self::of([kind, &key.namespace, &key.name])
    }

    /// All objects of a kind in a namespace.
    pub(super) fn all(kind: &str, namespace: &str) -> Self {
        Self::of([kind, namespace, ""])
    }

    /// What the endpoints of a Service must prove.
    pub(super) fn demands(service: &ObjectKey) -> Self {
        Self::of(["demands", &service.namespace, &service.name])
    }

    /// The EndpointSlices of a Service.
    fn endpoints(service: &ObjectKey) -> Self {
        Self::of(["endpoints", &service.namespace, &service.name])
    }

    fn of(parts: [&str; 3]) -> Self {
        Self(fnv1a(parts.iter().flat_map(|part| part.as_bytes().iter().chain([&0]))))
    }
}

/// What is not as it was.
#[derive(Debug, Default)]
struct Changed {
    dependencies: BTreeSet<Dependency>,
    routes: BTreeSet<ObjectRef>,
}

impl Changed {
    fn route(&mut self, kind: &'static str, key: &ObjectKey) {
        self.routes.insert(ObjectRef::new(kind, key));
    }

    fn object(&mut self, kind: &str, key: &ObjectKey) {
        self.dependencies.extend([Dependency::object(kind, key), Dependency::all(kind, &key.namespace)]);
    }

    fn endpoints(&mut self, service: &ObjectKey) {
        self.dependencies.insert(Dependency::endpoints(service));
    }

    fn concerns(&self, dependencies: &[Dependency]) -> bool {
        dependencies.iter().any(|dependency| self.dependencies.contains(dependency))
    }
}

impl Memo {
    /// What [`translate`](super::translate) makes of the same.
    pub fn translate(&mut self, snapshot: &Snapshot, options: &Options) -> Translation {
        let classes = class::ours(snapshot);
        let mut certificates = Certificates::new(snapshot, std::mem::take(&mut self.secrets).again());
        let mut bundles = Bundles::new(snapshot, std::mem::take(&mut self.config_maps).again());
        let (mut gateways, objects) = gateway::ours(snapshot, &classes, &mut certificates, &mut bundles, options);
        let mut policies = Policies::new(snapshot, &mut bundles);
        self.secrets = certificates.into_readings();
        self.config_maps = bundles.into_readings();
        let offers = gateways.iter().map(|(key, gateway)| ((*key).clone(), gateway.offer())).collect();
        let changed = self.seen.update(snapshot, offers, policies.demands().collect());
        self.update_routes(snapshot, &policies, &changed);
        self.update_backends(snapshot, &changed);
        self.tell_policies(&mut policies);
        for (gateway, i) in self.translated().flat_map(|route| &route.attached) {
            if let Some(gateway) = gateways.get_mut(gateway) {
                gateway.listeners[*i].attached += 1;
            }
        }
        let listeners: Vec<_> = gateways.values().flat_map(|gateway| gateway.documents(options.bind)).collect();
        let class_statuses = classes.iter().map(|(name, class)| class.status(name, options));
        let gateway_statuses = gateways.values().map(Gateway::status);
        let sets = gateways.values().flat_map(|gateway| gateway.sets.values().map(move |set| (gateway, set)));
        let set_statuses: BTreeMap<_, _> = sets.map(|(gateway, set)| (set.key, set.status(gateway))).collect();
        let route_statuses = self.translated().map(|route| route.status.clone());
        let statuses = class_statuses
            .chain(gateway_statuses)
            .chain(set_statuses.into_values())
            .chain(route_statuses)
            .chain(policies.statuses())
            .collect();
        Translation { files: files(self.documents(listeners)), statuses, objects }
    }

    /// Of all routes that concern us.
    fn translated(&self) -> impl Iterator<Item = &Translated> {
        let of_kind = |kind| self.routes.iter().filter(move |(object, _)| object.kind == kind);
        AnyRoute::KINDS.into_iter().flat_map(of_kind).filter_map(|(_, route)| route.translated.as_ref())
    }

    fn update_routes(&mut self, snapshot: &Snapshot, policies: &Policies<'_>, changed: &Changed) {
        let stale = self.routes.iter().filter(|(_, route)| changed.concerns(&route.dependencies));
        let stale: BTreeSet<_> = stale.map(|(object, _)| object).chain(&changed.routes).cloned().collect();
        let mut backends = Backends::new(snapshot, policies);
        for object in stale {
            let before = self.routes.remove(&object);
            for name in before.iter().flat_map(|route| &route.backends) {
                if let Some(backend) = self.backends.get_mut(name) {
                    backend.users -= 1;
                }
            }
            let Some(route) = AnyRoute::find(snapshot, &object) else { continue };
            let mut dependencies = route::dependencies(&object.key, route, snapshot);
            let translated = route::translate(&object.key, route, &self.seen.offers, snapshot, &mut backends);
            let mut asked = std::mem::take(&mut backends.asked);
            dependencies.append(&mut asked.dependencies);
            // Routes that nobody serves have references too, and so have rules that cannot be followed.
            let document = translated.as_ref().and_then(|route| route.document.as_ref());
            let references = document.iter().flat_map(|(_, document)| conf::references(document));
            let names: BTreeSet<_> =
                references.map(|(_, key)| key).filter(|key| key.kind == Kind::Backend).map(|key| key.name).collect();
            for found in names.iter().filter_map(|name| asked.found.remove(name)) {
                self.refer(found);
            }
            let backends = names.into_iter().collect();
            let dependencies = dependencies.into_iter().collect();
            let reached = asked.reached.into_iter().collect();
            self.routes.insert(object, Route { dependencies, backends, reached, translated });
        }
        self.backends.retain(|_, backend| backend.users > 0);
    }

    fn refer(&mut self, found: Found) {
        let backend = self.backends.entry(found.name.clone()).or_insert_with(|| Backend {
            dependencies: [Dependency::object("Service", &found.service), Dependency::endpoints(&found.service)],
            users: 0,
            file: name::file("backend", &found.service).into(),
            document: None,
            found: found.clone(),
        });
        backend.users += 1;
        if backend.found != found {
            backend.found = found;
            backend.document = None;
        }
    }

    fn update_backends(&mut self, snapshot: &Snapshot, changed: &Changed) {
        for backend in self.backends.values_mut() {
            if backend.document.is_some() && !changed.concerns(&backend.dependencies) {
                continue;
            }
            let service = &backend.found.service;
            let slices = self.seen.slices.get(service).into_iter().flat_map(BTreeMap::values);
            let service = snapshot.services.get(service);
            backend.document = service.map(|service| Arc::new(backend.found.document(service, slices.map(|s| &**s))));
        }
    }

    /// Which Gateways lead to what they are for.
    fn tell_policies(&self, policies: &mut Policies<'_>) {
        if policies.are_none() {
            return;
        }
        for route in self.routes.values() {
            let accepting = route.translated.iter().flat_map(|route| &route.attached).map(|(gateway, _)| gateway);
            for (service, port) in &route.reached {
                policies.reached(service, port, accepting.clone());
            }
        }
    }

    /// All documents with their files, those of the listeners among them. Certificates and authorities
    /// only where listeners and backends refer to them: a private key goes where it is needed.
    fn documents(&self, listeners: Vec<(String, Document)>) -> Vec<(Arc<str>, Arc<Document>)> {
        let backends = self.backends.values().filter_map(|b| Some((&b.file, b.document.as_ref()?)));
        let referring = listeners.iter().map(|(_, listener)| listener).chain(backends.clone().map(|(_, b)| &**b));
        let needed: BTreeSet<_> = referring.flat_map(conf::references).map(|(_, key)| key).collect();
        let certificates = self.secrets.documents().map(|(key, document)| ("certificate", key, document));
        let authorities = self.config_maps.documents().map(|(key, document)| ("authorities", key, document));
        let read = certificates.chain(authorities).filter(|(_, _, document)| needed.contains(&document.key()));
        let read: Vec<_> = read.map(|(kind, key, document)| (name::file(kind, key).into(), document.clone())).collect();
        let backends: Vec<_> = backends.map(|(file, document)| (file.clone(), document.clone())).collect();
        let routes = self.translated().filter_map(|route| route.document.clone());
        let listeners = listeners.into_iter().map(|(file, document)| (file.into(), Arc::new(document)));
        listeners.chain(read).chain(backends).chain(routes).collect()
    }
}

fn files(mut documents: Vec<(Arc<str>, Arc<Document>)>) -> Files {
    documents.sort_by(|(one, _), (other, _)| one.cmp(other));
    let files = documents.chunk_by(|(one, _), (other, _)| one == other);
    files.map(|file| (file[0].0.clone(), file.iter().map(|(_, document)| document.clone()).collect())).collect()
}

/// What the last translation was made from, as far as results depend on it.
#[derive(Debug, Default)]
struct Seen {
    snapshot: Snapshot,
    /// By the Service that they belong to.
    slices: BTreeMap<ObjectKey, ByKey<EndpointSlice>>,
    offers: BTreeMap<ObjectKey, Offer>,
    demands: BTreeMap<Target, Demand>,
}

impl Seen {
    fn update(
        &mut self,
        now: &Snapshot,
        offers: BTreeMap<ObjectKey, Offer>,
        demands: BTreeMap<Target, Demand>,
    ) -> Changed {
        let mut changed = Changed::default();
        for gateway in differences(&self.offers, &offers, |before, now| before == now) {
            changed.object("Gateway", gateway);
        }
        self.offers = offers;
        for (service, _) in differences(&self.demands, &demands, |before, now| before == now) {
            changed.dependencies.insert(Dependency::demands(service));
        }
        self.demands = demands;
        let before = &mut self.snapshot;
        follow(&mut before.http_routes, &now.http_routes, |key, _| changed.route("HTTPRoute", key));
        follow(&mut before.grpc_routes, &now.grpc_routes, |key, _| changed.route("GRPCRoute", key));
        follow(&mut before.listener_sets, &now.listener_sets, |key, _| changed.object("ListenerSet", key));
        follow(&mut before.grants, &now.grants, |key, _| changed.object("ReferenceGrant", key));
        follow(&mut before.namespaces, &now.namespaces, |key, _| changed.object("Namespace", key));
        follow(&mut before.services, &now.services, |key, _| changed.object("Service", key));
        let by_service = &mut self.slices;
        follow(&mut before.slices, &now.slices, |key, old| {
            if let Some(service) = old.and_then(|slice| service_of(key, slice)) {
                by_service.get_mut(&service).and_then(|slices| slices.remove(key));
                changed.endpoints(&service);
            }
            if let Some((service, slice)) = now.slices.get(key).and_then(|slice| Some((service_of(key, slice)?, slice)))
            {
                changed.endpoints(&service);
                by_service.entry(service).or_default().insert(key.clone(), slice.clone());
            }
        });
        by_service.retain(|_, slices| !slices.is_empty());
        changed
    }
}

/// Makes one the same as the other. Tells of each key that differs, and of what was there before.
fn follow<T: PartialEq>(before: &mut ByKey<T>, now: &ByKey<T>, mut tell: impl FnMut(&ObjectKey, Option<&T>)) {
    let is_same = |before: &Arc<T>, now: &Arc<T>| Arc::ptr_eq(before, now) || before == now;
    let keys: Vec<_> = differences(before, now, is_same).into_iter().cloned().collect();
    for key in keys {
        tell(&key, before.get(&key).map(|object| &**object));
        match now.get(&key) {
            Some(object) => drop(before.insert(key, object.clone())),
            None => drop(before.remove(&key)),
        }
    }
}

fn service_of(key: &ObjectKey, slice: &EndpointSlice) -> Option<ObjectKey> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(ObjectKey::new(&key.namespace, service))
}
