//! The kinds of objects that are watched.

use kube::core::ApiResource;

use crate::api::{
    BackendTlsPolicy, ConfigMap, EndpointSlice, Gateway, GatewayClass, GrpcRoute, HttpRoute, ListenerSet, Namespace,
    ReferenceGrant, Secret, Service,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    GatewayClass,
    Gateway,
    ListenerSet,
    HttpRoute,
    GrpcRoute,
    ReferenceGrant,
    Namespace,
    Service,
    EndpointSlice,
    Secret,
    BackendTlsPolicy,
    ConfigMap,
}

impl Kind {
    pub(super) const ALL: [Self; 12] = [
        Self::GatewayClass,
        Self::Gateway,
        Self::ListenerSet,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::ReferenceGrant,
        Self::Namespace,
        Self::Service,
        Self::EndpointSlice,
        Self::Secret,
        Self::BackendTlsPolicy,
        Self::ConfigMap,
    ];

    /// As objects name it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::GatewayClass => "GatewayClass",
            Self::Gateway => "Gateway",
            Self::ListenerSet => "ListenerSet",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
            Self::BackendTlsPolicy => "BackendTLSPolicy",
            Self::ConfigMap => "ConfigMap",
        }
    }

    pub(super) fn resource(self) -> ApiResource {
        match self {
            Self::GatewayClass => ApiResource::erase::<GatewayClass>(&()),
            Self::Gateway => ApiResource::erase::<Gateway>(&()),
            Self::ListenerSet => ApiResource::erase::<ListenerSet>(&()),
            Self::HttpRoute => ApiResource::erase::<HttpRoute>(&()),
            Self::GrpcRoute => ApiResource::erase::<GrpcRoute>(&()),
            // The version that every release of the API serves; the first ones have no other.
            Self::ReferenceGrant => ApiResource {
                version: "v1beta1".to_owned(),
                api_version: "gateway.networking.k8s.io/v1beta1".to_owned(),
                ..ApiResource::erase::<ReferenceGrant>(&())
            },
            Self::Namespace => ApiResource::erase::<Namespace>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::EndpointSlice => ApiResource::erase::<EndpointSlice>(&()),
            Self::Secret => ApiResource::erase::<Secret>(&()),
            Self::BackendTlsPolicy => ApiResource::erase::<BackendTlsPolicy>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
        }
    }

    /// Only what a translation could look into is asked for: other Secrets are not ours to know.
    pub(super) fn field_selector(self) -> Option<&'static str> {
        (self == Self::Secret).then_some("type=kubernetes.io/tls")
    }

    /// Whether the adapter writes into its objects' status.
    pub(super) fn has_status_of_ours(self) -> bool {
        matches!(
            self,
            Self::GatewayClass
                | Self::Gateway
                | Self::ListenerSet
                | Self::HttpRoute
                | Self::GrpcRoute
                | Self::BackendTlsPolicy
        )
    }

    /// The kind with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}
