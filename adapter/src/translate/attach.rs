//! Which listeners of a Gateway a route attaches to.

use std::collections::BTreeMap;

use conf::{Hostname, nearest};

use super::gateway::Gateway;
use super::listener::Listener;
use crate::api::gateways::{
    GatewayListenersAllowedRoutesNamespacesFrom as From, GatewayListenersAllowedRoutesNamespacesSelector as Selector,
};
use crate::api::http_route::ParentRef;
use crate::api::{Namespace, ObjectKey};
use crate::status::Fault;

/// A route that wants to attach.
pub(super) struct Candidate<'r> {
    pub(super) kind: &'static str,
    pub(super) key: &'r ObjectKey,
    /// Empty: all hosts.
    pub(super) hostnames: &'r [Hostname],
}

/// The positions of the listeners that `parent` selects and that take the route; or which of the
/// conditions left none, in the order of the API.
pub(super) fn attach(
    candidate: &Candidate<'_>,
    parent: &ParentRef,
    gateway: &Gateway<'_>,
    namespaces: &BTreeMap<ObjectKey, Namespace>,
) -> Result<Vec<usize>, Fault> {
    let listener = |i: &usize| &gateway.listeners[*i];
    let selected: Vec<usize> = (0..gateway.listeners.len()).filter(|i| selects(parent, listener(i))).collect();
    if selected.is_empty() {
        return Err(no_matching_parent(parent, gateway));
    }
    let names = |found: &[usize]| found.iter().map(|i| listener(i).spec.name.as_str()).collect::<Vec<_>>().join(", ");
    let serving: Vec<usize> =
        selected.iter().copied().filter(|i| listener(i).kinds.iter().any(|kind| kind.kind == candidate.kind)).collect();
    if serving.is_empty() {
        let message = format!(
            "Gateway {}: no {} can attach to listener {}: its protocol or its allowedRoutes.kinds exclude it; see the listener's status",
            gateway.key,
            candidate.kind,
            names(&selected),
        );
        return Err(Fault::new(NOT_ALLOWED, message));
    }
    let namespace = &candidate.key.namespace;
    let allowing: Vec<usize> = serving
        .iter()
        .copied()
        .filter(|i| allows(listener(i), &gateway.key.namespace, namespace, namespaces))
        .collect();
    if allowing.is_empty() {
        let message = format!(
            "Gateway {}: listener {} takes no routes from namespace {namespace}; allow it with allowedRoutes.namespaces",
            gateway.key,
            names(&serving),
        );
        return Err(Fault::new(NOT_ALLOWED, message));
    }
    let intersecting: Vec<usize> =
        allowing.iter().copied().filter(|i| intersects(listener(i), candidate.hostnames)).collect();
    if intersecting.is_empty() {
        let hosts =
            |hostnames: Vec<&Hostname>| hostnames.iter().map(|host| host.as_str()).collect::<Vec<_>>().join(", ");
        let theirs = allowing.iter().filter_map(|i| listener(i).hostname.as_ref()).collect();
        let message = format!(
            "Gateway {}: hostnames {} are not among {} of listener {}; give the route one that is",
            gateway.key,
            hosts(candidate.hostnames.iter().collect()),
            hosts(theirs),
            names(&allowing),
        );
        return Err(Fault::new("NoMatchingListenerHostname", message));
    }
    Ok(intersecting)
}

fn selects(parent: &ParentRef, listener: &Listener<'_>) -> bool {
    parent.section_name.as_ref().is_none_or(|name| *name == listener.spec.name)
        && parent.port.is_none_or(|port| port == listener.spec.port)
}

fn no_matching_parent(parent: &ParentRef, gateway: &Gateway<'_>) -> Fault {
    let wanted = match (&parent.section_name, parent.port) {
        (Some(name), Some(port)) => format!("named {name} on port {port}"),
        (Some(name), None) => format!("named {name}"),
        (None, Some(port)) => format!("on port {port}"),
        (None, None) => "at all".to_owned(),
    };
    let names = || gateway.listeners.iter().map(|listener| listener.spec.name.as_str());
    let hint = match parent.section_name.as_deref().and_then(|name| nearest(name, names()).filter(|near| *near != name))
    {
        Some(near) => format!("is {near} meant?"),
        None => {
            let all =
                gateway.listeners.iter().map(|listener| format!("{} on {}", listener.spec.name, listener.spec.port));
            format!("it has {}", all.collect::<Vec<_>>().join(", "))
        }
    };
    Fault::new("NoMatchingParent", format!("Gateway {} has no listener {wanted}; {hint}", gateway.key))
}

fn allows(
    listener: &Listener<'_>,
    gateway_namespace: &str,
    namespace: &str,
    namespaces: &BTreeMap<ObjectKey, Namespace>,
) -> bool {
    let allowed = listener.spec.allowed_routes.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
    match allowed.and_then(|allowed| allowed.from.as_ref()) {
        Some(From::All) => true,
        Some(From::Same) | None => gateway_namespace == namespace,
        Some(From::Selector) => {
            let selector = allowed.and_then(|allowed| allowed.selector.as_ref());
            let object = namespaces.get(&ObjectKey::new("", namespace));
            selector.is_some_and(|selector| matches(selector, &labels(namespace, object)))
        }
    }
}

/// Every namespace has its name as a label, which the API server sees to and files do not.
fn labels<'n>(name: &'n str, namespace: Option<&'n Namespace>) -> BTreeMap<&'n str, &'n str> {
    let given = namespace.and_then(|namespace| namespace.metadata.labels.as_ref());
    let mut labels: BTreeMap<_, _> = given.into_iter().flatten().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    labels.insert("kubernetes.io/metadata.name", name);
    labels
}

/// All that a selector demands must hold. An operator that is none holds never.
fn matches(selector: &Selector, labels: &BTreeMap<&str, &str>) -> bool {
    let equal =
        selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key.as_str()) == Some(&value.as_str()));
    equal
        && selector.match_expressions.iter().flatten().all(|expression| {
            let label = labels.get(expression.key.as_str());
            let is_listed = label.is_some_and(|label| expression.values.iter().flatten().any(|value| value == label));
            match expression.operator.as_str() {
                "In" => is_listed,
                "NotIn" => !is_listed,
                "Exists" => label.is_some(),
                "DoesNotExist" => label.is_none(),
                _ => false,
            }
        })
}

fn intersects(listener: &Listener<'_>, hostnames: &[Hostname]) -> bool {
    match &listener.hostname {
        Some(hostname) if !hostnames.is_empty() => hostnames.iter().any(|host| host.intersection(hostname).is_some()),
        _ => true,
    }
}

const NOT_ALLOWED: &str = "NotAllowedByListeners";
