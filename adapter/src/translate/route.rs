use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use conf::{Document, Hostname, Name};

use super::any_route::AnyRoute;
use super::attach::{self, Candidate};
use super::backend::Backends;
use super::memo::Dependency;
use super::offer::Offer;
use super::rule::Rules;
use super::{listener_set, name};
use crate::api::http_route::ParentRef;
use crate::api::{CONTROLLER_NAME, GROUP, ObjectKey, ObjectRef};
use crate::snapshot::Snapshot;
use crate::status::{Condition, Content, Fault, ParentStatus, RouteStatus, Status, Truth};

/// What becomes of one route that refers to Gateways of ours.
#[derive(Debug)]
pub(super) struct Translated {
    /// With the name of its file; none where no listener serves it.
    pub(super) document: Option<(Arc<str>, Arc<Document>)>,
    /// The listeners that accept it, by their positions among the Gateway's.
    pub(super) attached: BTreeSet<(ObjectKey, usize)>,
    pub(super) status: Status,
}

/// What a route depends on beside itself and its references to backends.
pub(super) fn dependencies(key: &ObjectKey, route: AnyRoute<'_>, snapshot: &Snapshot) -> BTreeSet<Dependency> {
    let mut all = BTreeSet::from([Dependency::object("Namespace", &ObjectKey::new("", &key.namespace))]);
    for (kind, holder) in route.parent_refs().iter().filter_map(|parent| holder_of(key, parent)) {
        all.insert(Dependency::object(kind, &holder));
        all.extend(gateway_of(kind, &holder, snapshot).map(|gateway| Dependency::object("Gateway", &gateway)));
    }
    all
}

/// None for a route that concerns no Gateway of ours.
pub(super) fn translate(
    key: &ObjectKey,
    route: AnyRoute<'_>,
    offers: &BTreeMap<ObjectKey, Offer>,
    snapshot: &Snapshot,
    backends: &mut Backends<'_>,
) -> Option<Translated> {
    let parents: Vec<_> = route
        .parent_refs()
        .iter()
        .filter_map(|parent| {
            let (kind, holder) = holder_of(key, parent)?;
            let (gateway, offer) = offers.get_key_value(&gateway_of(kind, &holder, snapshot)?)?;
            Some((parent, ObjectRef::new(kind, &holder), gateway, offer))
        })
        .collect();
    if parents.is_empty() {
        return None;
    }
    let object = ObjectRef::new(route.kind(), key);
    let hostnames = hostnames(route.hostnames());
    let rules = Rules::of(key, route, backends);
    let mut statuses = Vec::new();
    let mut listeners: Vec<Name> = Vec::new();
    let mut counted = BTreeSet::new();
    for (parent, holder, gateway, offer) in parents {
        let attached = hostnames.as_ref().map_err(Clone::clone).and_then(|hostnames| {
            let candidate = Candidate { kind: route.kind(), key, hostnames };
            attach::attach(&candidate, parent, &holder, offer, &snapshot.namespaces)
        });
        let accepted = attached.and_then(|attached| {
            // Even a route without a rule that can be followed is served, with 500.
            let served = attached.iter().map(|i| &offer.listeners[*i]).filter(|listener| listener.is_served);
            listeners.extend(served.map(|listener| listener.name.clone()));
            rules.accepted()?;
            counted.extend(attached.into_iter().map(|i| (gateway.clone(), i)));
            Ok(())
        });
        let generation = route.metadata().generation;
        statuses.push(ParentStatus {
            parent_ref: parent.clone(),
            controller_name: CONTROLLER_NAME,
            conditions: conditions(&object, &holder, accepted, &rules, generation),
        });
    }
    listeners.sort();
    listeners.dedup();
    let document = hostnames.ok().filter(|_| !listeners.is_empty()).map(|hostnames| {
        let (name, file) = route.names(key);
        let order = name::order(route.metadata(), key);
        let route =
            Document::Route(conf::Route { name, listeners, hostnames, order: order.into(), rules: rules.rules });
        (file.into(), Arc::new(route))
    });
    let content = Arc::new(Content::Route(RouteStatus { parents: statuses }));
    Some(Translated { document, attached: counted, status: Status { object, content } })
}

/// The Gateway or ListenerSet that a parent reference names, whosoever it is.
fn holder_of(route: &ObjectKey, parent: &ParentRef) -> Option<(&'static str, ObjectKey)> {
    let kind = ["Gateway", "ListenerSet"].into_iter().find(|kind| *kind == parent.kind)?;
    let namespace = parent.namespace.as_deref().unwrap_or(&route.namespace);
    (parent.group == GROUP).then(|| (kind, ObjectKey::new(namespace, &parent.name)))
}

/// The Gateway whose listeners those of a holder are.
fn gateway_of(kind: &str, holder: &ObjectKey, snapshot: &Snapshot) -> Option<ObjectKey> {
    match kind {
        "ListenerSet" => listener_set::gateway_of(holder, snapshot.listener_sets.get(holder)?),
        _ => Some(holder.clone()),
    }
}

/// One hostname that is none spoils the route: without it, it might serve hosts that it should not.
fn hostnames(texts: &[String]) -> Result<Vec<Hostname>, Fault> {
    let hostname = |(i, text): (usize, &String)| {
        text.parse().map_err(|error| Fault::new("UnsupportedValue", format!("hostnames[{i}]: {error}")))
    };
    texts.iter().enumerate().map(hostname).collect()
}

fn conditions(
    route: &ObjectRef,
    parent: &ObjectRef,
    accepted: Result<(), Fault>,
    rules: &Rules,
    generation: Option<i64>,
) -> Vec<Condition> {
    let of_route = |fault: Fault| Fault::new(fault.reason, format!("{route}: {}", fault.message));
    let accepted = accepted.map_err(of_route);
    let mut conditions = vec![Condition::unless(
        accepted.as_ref().err(),
        "Accepted",
        generation,
        format!("{route} is attached to {parent}"),
    )];
    // Only of accepted routes does the API want to hear this.
    if let Some(Fault { reason, message }) = rules.partially_invalid(route).filter(|_| accepted.is_ok()) {
        let status = Truth::True;
        conditions.push(Condition {
            kind: "PartiallyInvalid",
            status,
            reason,
            message,
            observed_generation: generation,
        });
    }
    conditions.push(Condition::unless(
        rules.unresolved().map(of_route).as_ref(),
        "ResolvedRefs",
        generation,
        format!("everything that {route} refers to is there"),
    ));
    conditions
}
