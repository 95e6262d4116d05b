//! ListenerSet, as much of it as the adapter reads. Its listeners are what those of a Gateway are.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::gateways::GatewayListeners;
use super::http_route::ParentRef;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "ListenerSet",
    plural = "listenersets",
    namespaced,
    schema = "disabled"
)]
#[kube(status = "gateway_api::listenersets::ListenerSetStatus", derive = "PartialEq")]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetSpec {
    pub parent_ref: ParentRef,
    pub listeners: Vec<GatewayListeners>,
}
