//! The Kubernetes objects that a translation is made from, as the API defines them.
//!
//! Types come from the crates for them, but for routes: generated types refuse a whole route for a
//! value that they do not know, and the API wants a status for it (see [`http_route`]).

pub mod backend_tls_policy;
mod check;
pub mod grpc_route;
pub mod http_route;
mod listener_set;
mod object;

pub use backend_tls_policy::BackendTlsPolicy;
pub use gateway_api::gatewayclasses::GatewayClass;
pub use gateway_api::gateways::{self, Gateway};
pub use gateway_api::referencegrants::ReferenceGrant;
pub use grpc_route::GrpcRoute;
pub use http_route::HttpRoute;
pub use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
pub use k8s_openapi::api::discovery::v1::EndpointSlice;
pub use listener_set::ListenerSet;
pub use object::{BUNDLE, Object, ObjectKey, ObjectRef, Unusable};

/// The API group of Gateway, HTTPRoute and their kin.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// What GatewayClasses for this controller say.
pub const CONTROLLER_NAME: &str = "doppel.dev/gateway-controller";
