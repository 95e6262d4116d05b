//! Which listeners of a Gateway or ListenerSet a route attaches to.

use conf::{Hostname, nearest};

use super::namespace::Selector;
use super::offer::{Offer, Offered};
use crate::api::gateways::GatewayListenersAllowedRoutesNamespacesFrom as From;
use crate::api::http_route::ParentRef;
use crate::api::{Namespace, ObjectKey, ObjectRef};
use crate::snapshot::ByKey;
use crate::status::Fault;

/// A route that wants to attach.
pub(super) struct Candidate<'r> {
    pub(super) kind: &'static str,
    pub(super) key: &'r ObjectKey,
    /// Empty: all hosts.
    pub(super) hostnames: &'r [Hostname],
}

/// The positions among the Gateway's listeners of those of `holder`, which is what `parent` names, that
/// `parent` selects and that take the route; or which of the conditions left none, in the order of
/// the API. A ListenerSet's listeners are not its Gateway's to a route, nor the other way round.
pub(super) fn attach(
    candidate: &Candidate<'_>,
    parent: &ParentRef,
    holder: &ObjectRef,
    gateway: &Offer,
    namespaces: &ByKey<Namespace>,
) -> Result<Vec<usize>, Fault> {
    let listener = |i: &usize| &gateway.listeners[*i];
    let held = gateway.positions(holder);
    let selected: Vec<usize> = held.clone().filter(|i| selects(parent, listener(i))).collect();
    if selected.is_empty() {
        return Err(no_matching_parent(parent, holder, &gateway.listeners[held]));
    }
    let names = |found: &[usize]| found.iter().map(|i| listener(i).section.as_str()).collect::<Vec<_>>().join(", ");
    let serving: Vec<usize> =
        selected.iter().copied().filter(|i| listener(i).kinds.contains(&candidate.kind)).collect();
    if serving.is_empty() {
        let message = format!(
            "{holder}: no {} can attach to listener {}: its protocol or its allowedRoutes.kinds exclude it; see the listener's status",
            candidate.kind,
            names(&selected),
        );
        return Err(Fault::new(NOT_ALLOWED, message));
    }
    let namespace = &candidate.key.namespace;
    let allowing: Vec<usize> =
        serving.iter().copied().filter(|i| allows(listener(i), holder, namespace, namespaces)).collect();
    if allowing.is_empty() {
        let message = format!(
            "{holder}: listener {} takes no routes from namespace {namespace}; allow it with allowedRoutes.namespaces",
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
            "{holder}: hostnames {} are not among {} of listener {}; give the route one that is",
            hosts(candidate.hostnames.iter().collect()),
            hosts(theirs),
            names(&allowing),
        );
        return Err(Fault::new("NoMatchingListenerHostname", message));
    }
    Ok(intersecting)
}

fn selects(parent: &ParentRef, listener: &Offered) -> bool {
    parent.section_name.as_ref().is_none_or(|name| *name == listener.section)
        && parent.port.is_none_or(|port| port == listener.port)
}

fn no_matching_parent(parent: &ParentRef, holder: &ObjectRef, held: &[Offered]) -> Fault {
    const REASON: &str = "NoMatchingParent";
    if held.is_empty() {
        return Fault::new(REASON, format!("{holder} adds no listener to its Gateway; see the status of it"));
    }
    let wanted = match (&parent.section_name, parent.port) {
        (Some(name), Some(port)) => format!("named {name} on port {port}"),
        (Some(name), None) => format!("named {name}"),
        (None, Some(port)) => format!("on port {port}"),
        (None, None) => "at all".to_owned(),
    };
    let names = || held.iter().map(|listener| listener.section.as_str());
    let hint = match parent.section_name.as_deref().and_then(|name| nearest(name, names()).filter(|near| *near != name))
    {
        Some(near) => format!("is {near} meant?"),
        None => {
            let all = held.iter().map(|listener| format!("{} on {}", listener.section, listener.port));
            format!("it has {}", all.collect::<Vec<_>>().join(", "))
        }
    };
    Fault::new(REASON, format!("{holder} has no listener {wanted}; {hint}"))
}

fn allows(listener: &Offered, holder: &ObjectRef, namespace: &str, namespaces: &ByKey<Namespace>) -> bool {
    let allowed = listener.namespaces.as_ref();
    match allowed.and_then(|allowed| allowed.from.as_ref()) {
        Some(From::All) => true,
        Some(From::Same) | None => holder.key.namespace == namespace,
        Some(From::Selector) => {
            let selector = allowed.and_then(|allowed| allowed.selector.as_ref());
            selector.is_some_and(|selector| Selector::from(selector).selects(namespace, namespaces))
        }
    }
}

fn intersects(listener: &Offered, hostnames: &[Hostname]) -> bool {
    match &listener.hostname {
        Some(hostname) if !hostnames.is_empty() => hostnames.iter().any(|host| host.intersection(hostname).is_some()),
        _ => true,
    }
}

const NOT_ALLOWED: &str = "NotAllowedByListeners";
