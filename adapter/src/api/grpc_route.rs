//! GRPCRoute, as much of it as the adapter reads. What it shares with HTTPRoute, and why these types
//! are not generated ones, is in [`http_route`](super::http_route).

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::http_route::{BackendRef, Filter, ParentRef, ValueMatch};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "GRPCRoute",
    root = "GrpcRoute",
    plural = "grpcroutes",
    namespaced,
    schema = "disabled"
)]
#[kube(status = "gateway_api::grpcroutes::GrpcRouteStatus", derive = "Default", derive = "PartialEq")]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcRouteSpec {
    pub parent_refs: Vec<ParentRef>,
    pub hostnames: Vec<String>,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    pub name: Option<String>,
    pub matches: Vec<Match>,
    pub filters: Vec<Filter>,
    pub backend_refs: Vec<BackendRef>,
    /// Only whether there is one counts: the gateway has none.
    pub session_persistence: Option<serde_json::Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Match {
    pub method: Option<MethodMatch>,
    pub headers: Vec<ValueMatch>,
}

/// A condition on what is called. What is empty is any.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodMatch {
    #[serde(default = "super::http_route::exact", rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub service: String,
    #[serde(default)]
    pub method: String,
}
