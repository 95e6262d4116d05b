//! What the adapter tells about objects, ready to be written into their `status`.
//!
//! Times are absent: a condition's last transition is known to who writes it, not to who finds it.

use std::sync::Arc;

use serde::Serialize;

use crate::api::http_route::ParentRef;
use crate::api::{ObjectKey, ObjectRef};

/// The status of one object, as far as it is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub object: ObjectRef,
    pub content: Arc<Content>,
}

impl Status {
    /// As the object would be shown, with nothing but its status.
    pub fn to_yaml(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Object<'s> {
            api_version: &'static str,
            kind: &'static str,
            metadata: &'s ObjectKey,
            status: &'s Content,
        }
        let Self { object: ObjectRef { kind, key }, content } = self;
        serde_saphyr::to_string(&Object { api_version: API_VERSION, kind, metadata: key, status: content })
            .expect("statuses are maps with text keys, which YAML can always hold")
    }
}

/// Only objects of the Gateway API have a status that is ours.
const API_VERSION: &str = "gateway.networking.k8s.io/v1";

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Content {
    GatewayClass(GatewayClassStatus),
    Gateway(GatewayStatus),
    ListenerSet(ListenerSetStatus),
    Route(RouteStatus),
    Policy(PolicyStatus),
}

impl Content {
    /// The generation of the object that this status describes.
    pub fn observed_generation(&self) -> Option<i64> {
        let conditions = match self {
            Self::GatewayClass(class) => &class.conditions,
            Self::Gateway(gateway) => &gateway.conditions,
            Self::ListenerSet(set) => &set.conditions,
            Self::Route(route) => &route.parents.first()?.conditions,
            Self::Policy(policy) => &policy.ancestors.first()?.conditions,
        };
        conditions.first()?.observed_generation
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassStatus {
    pub conditions: Vec<Condition>,
    /// Sorted by name.
    pub supported_features: Vec<Feature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Feature {
    pub name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    pub attached_listener_sets: usize,
    pub conditions: Vec<Condition>,
    pub listeners: Vec<ListenerStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerSetStatus {
    pub conditions: Vec<Condition>,
    pub listeners: Vec<ListenerStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Address {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    pub name: String,
    pub supported_kinds: Vec<RouteKind>,
    pub attached_routes: usize,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RouteKind {
    pub group: &'static str,
    pub kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteStatus {
    /// Only those of our Gateways: others' entries are not ours to touch.
    pub parents: Vec<ParentStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    pub parent_ref: ParentRef,
    pub controller_name: &'static str,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyStatus {
    /// Only our Gateways.
    pub ancestors: Vec<AncestorStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AncestorStatus {
    pub ancestor_ref: ParentRef,
    pub controller_name: &'static str,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub status: Truth,
    pub reason: &'static str,
    /// Names the object and the remedy; never empty.
    pub message: String,
    pub observed_generation: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Truth {
    True,
    False,
}

/// Why a condition does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub reason: &'static str,
    pub message: String,
}

impl Fault {
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl Condition {
    /// A condition that holds unless there is a fault. The reason of one that holds is its own
    /// name, which is the API's custom.
    pub fn unless(fault: Option<&Fault>, kind: &'static str, generation: Option<i64>, good: impl Into<String>) -> Self {
        let (status, reason, message) = match fault {
            None => (Truth::True, kind, good.into()),
            Some(fault) => (Truth::False, fault.reason, fault.message.clone()),
        };
        Self { kind, status, reason, message, observed_generation: generation }
    }
}
