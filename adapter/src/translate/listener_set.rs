//! ListenerSets: listeners that others than its owner add to a Gateway which allows it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::gateway::Gateway;
use super::listener::Listener;
use super::name;
use super::namespace::Selector;
use crate::api::gateways::{GatewayAllowedListeners, GatewayAllowedListenersNamespacesFrom as From};
use crate::api::{self, GROUP, Namespace, ObjectKey, ObjectRef};
use crate::snapshot::{ByKey, Snapshot};
use crate::status::{Condition, Content, Fault, ListenerSetStatus, Status, Truth};

/// A ListenerSet that names a Gateway of ours.
pub(super) struct ListenerSet<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) object: &'a api::ListenerSet,
    /// Why the Gateway takes none of its listeners.
    pub(super) refusal: Option<Fault>,
    /// Where its listeners are among those of the Gateway.
    pub(super) positions: Range<usize>,
}

/// Those that name a Gateway, by the Gateway's name, in the order of precedence: "ListenerSet ordered
/// by creation time (oldest first)", then "ordered alphabetically by {namespace}/{name}".
pub(super) fn by_gateway(snapshot: &Snapshot) -> BTreeMap<ObjectKey, Vec<(&ObjectKey, &api::ListenerSet)>> {
    let mut all: BTreeMap<_, Vec<(_, &api::ListenerSet)>> = BTreeMap::new();
    for (key, set) in &snapshot.listener_sets {
        if let Some(gateway) = gateway_of(key, set) {
            all.entry(gateway).or_default().push((key, set));
        }
    }
    for sets in all.values_mut() {
        sets.sort_by_cached_key(|(key, set)| name::order(&set.metadata, key));
    }
    all
}

/// The Gateway that a ListenerSet names as its parent, ours or not.
pub(super) fn gateway_of(key: &ObjectKey, set: &api::ListenerSet) -> Option<ObjectKey> {
    let parent = &set.spec.parent_ref;
    let namespace = parent.namespace.as_deref().unwrap_or(&key.namespace);
    (parent.group == GROUP && parent.kind == "Gateway").then(|| ObjectKey::new(namespace, &parent.name))
}

/// A Gateway has no more ports with ListenerSets than it could have without. Each costs a port of the
/// gateway pods and one of the cluster's nodes, and who may write a ListenerSet may write many.
/// `listeners` are in the order of precedence.
pub(super) fn limit_ports(listeners: &mut [Listener<'_>]) {
    let (own, others): (Vec<_>, Vec<_>) = listeners.iter_mut().partition(|listener| listener.holder.kind == "Gateway");
    let mut ports: BTreeSet<i32> = own.into_iter().map(|listener| listener.spec.port).collect();
    for listener in others.into_iter().filter(|listener| listener.fault.is_none()) {
        if ports.len() < MOST_PORTS {
            ports.insert(listener.spec.port);
        } else if !ports.contains(&listener.spec.port) {
            listener.fault = Some(Fault::new(
                "TooManyListeners",
                format!(
                    "listener {}: port {} would be more than the {MOST_PORTS} that a Gateway may have; use one of those that it has",
                    listener.spec.name, listener.spec.port
                ),
            ));
        }
    }
}

/// As many as listeners that a Gateway may have of its own.
const MOST_PORTS: usize = 64;

impl<'a> ListenerSet<'a> {
    /// Without its listeners, which the Gateway makes in the order of precedence.
    pub(super) fn new(
        key: &'a ObjectKey,
        object: &'a api::ListenerSet,
        gateway: &ObjectKey,
        gateway_object: &api::Gateway,
        namespaces: &ByKey<Namespace>,
    ) -> Self {
        let allowed = gateway_object.spec.allowed_listeners.as_ref();
        Self { key, object, refusal: refusal(key, gateway, allowed, namespaces), positions: 0..0 }
    }

    fn listeners<'g>(&self, gateway: &'g Gateway<'a>) -> &'g [Listener<'a>] {
        &gateway.listeners[self.positions.clone()]
    }

    /// Whether it adds to its Gateway.
    pub(super) fn is_accepted(&self, gateway: &Gateway<'a>) -> bool {
        self.fault(gateway).is_none()
    }

    fn fault(&self, gateway: &Gateway<'a>) -> Option<Fault> {
        self.refusal.clone().or_else(|| self.parent_fault(gateway)).or_else(|| {
            let message = || format!("ListenerSet {}: no listener can be served; each has its own status", self.key);
            let is_some_usable = self.listeners(gateway).iter().any(Listener::is_usable);
            (!is_some_usable).then(|| Fault::new(LISTENERS_NOT_VALID, message()))
        })
    }

    fn parent_fault(&self, gateway: &Gateway<'a>) -> Option<Fault> {
        (!gateway.is_accepted()).then(|| {
            let message = format!(
                "ListenerSet {}: its Gateway {} is not accepted; see the status of that",
                self.key, gateway.key
            );
            Fault::new("ParentNotAccepted", message)
        })
    }

    pub(super) fn status(&self, gateway: &Gateway<'a>) -> Status {
        let generation = self.object.metadata.generation;
        let fault = self.fault(gateway);
        let unprogrammed = gateway.unreachable().map(|fault| {
            let message = format!("ListenerSet {}: its Gateway is not programmed: {}", self.key, fault.message);
            Fault::new("ParentNotProgrammed", message)
        });
        let obstacle = self.parent_fault(gateway);
        let listeners = self.listeners(gateway).iter();
        Status {
            object: ObjectRef::new("ListenerSet", self.key),
            content: Arc::new(Content::ListenerSet(ListenerSetStatus {
                conditions: vec![
                    self.accepted(gateway, fault.as_ref()),
                    Condition::unless(
                        fault.as_ref().or(unprogrammed.as_ref()),
                        "Programmed",
                        generation,
                        format!("ListenerSet {} is configured", self.key),
                    ),
                ],
                listeners: listeners.map(|listener| listener.status(generation, obstacle.as_ref())).collect(),
            })),
        }
    }

    /// Some bad listeners among good ones leave it accepted, with a reason that tells of them.
    fn accepted(&self, gateway: &Gateway<'a>, fault: Option<&Fault>) -> Condition {
        let (key, generation) = (self.key, self.object.metadata.generation);
        let bad: Vec<_> = self.listeners(gateway).iter().filter(|listener| !listener.is_usable()).collect();
        if fault.is_some() || bad.is_empty() {
            let good = format!("ListenerSet {key} adds its listeners to Gateway {}", gateway.key);
            return Condition::unless(fault, "Accepted", generation, good);
        }
        let names = bad.iter().map(|listener| listener.spec.name.as_str()).collect::<Vec<_>>().join(", ");
        Condition {
            kind: "Accepted",
            status: Truth::True,
            reason: LISTENERS_NOT_VALID,
            message: format!("ListenerSet {key}: listeners that cannot be served: {names}; each has its own status"),
            observed_generation: generation,
        }
    }
}

/// "The default value for this field is None": only a Gateway that says so has ListenerSets.
fn refusal(
    set: &ObjectKey,
    gateway: &ObjectKey,
    allowed: Option<&GatewayAllowedListeners>,
    namespaces: &ByKey<Namespace>,
) -> Option<Fault> {
    let allowed = allowed.and_then(|allowed| allowed.namespaces.as_ref());
    let is_allowed = match allowed.and_then(|allowed| allowed.from.as_ref()) {
        Some(From::All) => true,
        Some(From::Same) => set.namespace == gateway.namespace,
        Some(From::Selector) => {
            let selector = allowed.and_then(|allowed| allowed.selector.as_ref());
            selector.is_some_and(|selector| Selector::from(selector).selects(&set.namespace, namespaces))
        }
        Some(From::None) | None => false,
    };
    (!is_allowed).then(|| {
        Fault::new(
            "NotAllowed",
            format!(
                "ListenerSet {set}: Gateway {gateway} takes no ListenerSets from namespace {}; its allowedListeners.namespaces would have to",
                set.namespace
            ),
        )
    })
}

const LISTENERS_NOT_VALID: &str = "ListenersNotValid";

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use crate::snapshot::Snapshot;
    use crate::status::Content;
    use crate::testing::CLASS;
    use crate::translate::{Options, translate};

    const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  gatewayClassName: doppel
  allowedListeners: {namespaces: {from: Same}}
  listeners:
    - {name: own, port: 80, protocol: HTTP}
";

    #[test]
    fn listener_sets_give_a_gateway_no_more_ports_than_it_could_have_alone() {
        let mut manifests = CLASS.to_owned() + GATEWAY;
        for set in ["a", "b"] {
            write!(
                manifests,
                "---\napiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {{name: {set}, namespace: shop}}\n\
                 spec:\n  parentRef: {{name: web}}\n  listeners:\n  - {{name: shared, port: 80, protocol: HTTP, hostname: {set}.com}}\n"
            )
            .unwrap();
            for port in 1..=40 {
                let port = if set == "a" { 1000 + port } else { 2000 + port };
                writeln!(manifests, "  - {{name: p{port}, port: {port}, protocol: HTTP}}").unwrap();
            }
        }
        let (snapshot, warnings) = Snapshot::from_manifests(&manifests);
        assert_eq!(warnings, []);
        let translation = translate(&snapshot, &Options::default());
        let refused = translation.statuses.iter().filter_map(|status| match &*status.content {
            Content::ListenerSet(set) => Some((status.object.key.name.as_str(), set)),
            _ => None,
        });
        let refused: Vec<_> = refused
            .map(|(name, set)| {
                let reasons = set.listeners.iter().map(|listener| listener.conditions[0].reason);
                (name, reasons.filter(|reason| *reason == "TooManyListeners").count())
            })
            .collect();
        assert_eq!(refused, [("a", 0), ("b", 17)]);
        assert_eq!(translation.documents().count(), 64 + 2, "of 64 ports, one has two listeners more");
    }
}
