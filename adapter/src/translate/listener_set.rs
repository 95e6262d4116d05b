//! ListenerSets: listeners that others than its owner add to a Gateway which allows it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::gateway::Gateway;
use super::listener::Listener;
use super::name;
use super::namespace::Selector;
use crate::api::gateways::{GatewayAllowedListeners, GatewayAllowedListenersNamespacesFrom as From};
use crate::api::{self, GROUP, Namespace, ObjectKey, ObjectRef};
use crate::snapshot::Snapshot;
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
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
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

impl<'a> ListenerSet<'a> {
    /// Without its listeners, which the Gateway makes in the order of precedence.
    pub(super) fn new(
        key: &'a ObjectKey,
        object: &'a api::ListenerSet,
        gateway: &ObjectKey,
        gateway_object: &api::Gateway,
        namespaces: &BTreeMap<ObjectKey, Namespace>,
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
            content: Content::ListenerSet(ListenerSetStatus {
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
            }),
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
    namespaces: &BTreeMap<ObjectKey, Namespace>,
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
