use std::collections::BTreeMap;

use conf::{Hostname, Name};

use super::any_route::AnyRoute;
use super::attach::{self, Candidate};
use super::backend::Backends;
use super::gateway::Gateway;
use super::name;
use super::rule::Rules;
use crate::api::http_route::ParentRef;
use crate::api::{CONTROLLER_NAME, GROUP, Namespace, ObjectKey, ObjectRef};
use crate::status::{Condition, Content, Fault, ParentStatus, RouteStatus, Status, Truth};

/// What becomes of one route that refers to Gateways of ours.
pub(super) struct Translated {
    /// With the name of its file; none where no listener serves it.
    pub(super) document: Option<(String, conf::Route)>,
    pub(super) status: Status,
}

/// None for a route that concerns no Gateway of ours. Counts the route at the listeners that
/// accept it.
pub(super) fn translate(
    key: &ObjectKey,
    route: AnyRoute<'_>,
    gateways: &mut BTreeMap<&ObjectKey, Gateway<'_>>,
    namespaces: &BTreeMap<ObjectKey, Namespace>,
    backends: &mut Backends<'_>,
) -> Option<Translated> {
    let parents: Vec<_> = route
        .parent_refs()
        .iter()
        .filter_map(|parent| Some((parent, gateway_of(key, parent).filter(|gateway| gateways.contains_key(gateway))?)))
        .collect();
    if parents.is_empty() {
        return None;
    }
    let object = ObjectRef::new(route.kind(), key);
    let hostnames = hostnames(route.hostnames());
    let rules = Rules::of(key, route, backends);
    let mut statuses = Vec::new();
    let mut listeners: Vec<Name> = Vec::new();
    for (parent, gateway) in parents {
        let Some(gateway) = gateways.get_mut(&gateway) else { continue };
        let attached = hostnames.as_ref().map_err(Clone::clone).and_then(|hostnames| {
            attach::attach(&Candidate { kind: route.kind(), key, hostnames }, parent, gateway, namespaces)
        });
        let accepted = attached.and_then(|attached| {
            // Even a route without a rule that can be followed is served, with 500.
            let names = attached.iter().map(|i| &gateway.listeners[*i].name);
            let served: Vec<Name> = gateway.served().map(|listener| listener.name.clone()).collect();
            listeners.extend(names.filter(|name| served.contains(name)).cloned());
            rules.accepted()?;
            for i in attached {
                gateway.listeners[i].attached.insert(object.clone());
            }
            Ok(())
        });
        let generation = route.metadata().generation;
        statuses.push(ParentStatus {
            parent_ref: parent.clone(),
            controller_name: CONTROLLER_NAME,
            conditions: conditions(&object, gateway.key, accepted, &rules, generation),
        });
    }
    listeners.sort();
    listeners.dedup();
    let document = hostnames.ok().filter(|_| !listeners.is_empty()).map(|hostnames| {
        let (name, file) = route.names(key);
        let order = name::order(route.metadata(), key);
        (file, conf::Route { name, listeners, hostnames, order, rules: rules.rules })
    });
    let content = Content::Route(RouteStatus { parents: statuses });
    Some(Translated { document, status: Status { object, content } })
}

/// The Gateway that a parent reference names, ours or not.
fn gateway_of(route: &ObjectKey, parent: &ParentRef) -> Option<ObjectKey> {
    let namespace = parent.namespace.as_deref().unwrap_or(&route.namespace);
    (parent.group == GROUP && parent.kind == "Gateway").then(|| ObjectKey::new(namespace, &parent.name))
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
    gateway: &ObjectKey,
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
        format!("{route} is attached to Gateway {gateway}"),
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
