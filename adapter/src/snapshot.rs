//! Every object that a translation is made from, at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::{
    BackendTlsPolicy, ConfigMap, EndpointSlice, Gateway, GatewayClass, GrpcRoute, HttpRoute, ListenerSet, Namespace,
    Object, ObjectKey, ObjectRef, ReferenceGrant, Secret, Service,
};
use crate::manifest::{self, Warning};

/// Those of a kind. An object is never changed, only replaced, so that a pointer tells whether it is
/// still the same.
pub type ByKey<T> = BTreeMap<ObjectKey, Arc<T>>;

/// Sorted by namespace and name, so that nothing depends on the order in which objects arrived.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub classes: ByKey<GatewayClass>,
    pub gateways: ByKey<Gateway>,
    pub listener_sets: ByKey<ListenerSet>,
    pub http_routes: ByKey<HttpRoute>,
    pub grpc_routes: ByKey<GrpcRoute>,
    pub grants: ByKey<ReferenceGrant>,
    pub namespaces: ByKey<Namespace>,
    pub services: ByKey<Service>,
    pub slices: ByKey<EndpointSlice>,
    /// Only those of type `kubernetes.io/tls` are ever looked into.
    pub secrets: ByKey<Secret>,
    pub tls_policies: ByKey<BackendTlsPolicy>,
    /// With nothing but authorities in them.
    pub config_maps: ByKey<ConfigMap>,
}

impl Snapshot {
    /// The objects of a text of manifests, and what about it could not be used.
    pub fn from_manifests(text: &str) -> (Self, Vec<Warning>) {
        let parsed = manifest::parse(text);
        let objects = parsed.objects.into_iter().map(|(_, object)| object);
        (objects.collect(), parsed.warnings)
    }

    /// Replaces the object of the same kind, namespace and name. Says whether it was another one.
    pub fn insert(&mut self, object: Object) -> bool {
        let key = object.reference().key;
        match object {
            Object::GatewayClass(class) => replace(&mut self.classes, key, class),
            Object::Gateway(gateway) => replace(&mut self.gateways, key, gateway),
            Object::ListenerSet(set) => replace(&mut self.listener_sets, key, set),
            Object::HttpRoute(route) => replace(&mut self.http_routes, key, route),
            Object::GrpcRoute(route) => replace(&mut self.grpc_routes, key, route),
            Object::ReferenceGrant(grant) => replace(&mut self.grants, key, grant),
            Object::Namespace(namespace) => replace(&mut self.namespaces, key, namespace),
            Object::Service(service) => replace(&mut self.services, key, service),
            Object::EndpointSlice(slice) => replace(&mut self.slices, key, slice),
            Object::Secret(secret) => replace(&mut self.secrets, key, secret),
            Object::BackendTlsPolicy(policy) => replace(&mut self.tls_policies, key, policy),
            Object::ConfigMap(config_map) => replace(&mut self.config_maps, key, config_map),
        }
    }

    /// Says whether there was such an object.
    pub fn remove(&mut self, object: &ObjectRef) -> bool {
        let key = &object.key;
        match object.kind {
            "GatewayClass" => self.classes.remove(key).is_some(),
            "Gateway" => self.gateways.remove(key).is_some(),
            "ListenerSet" => self.listener_sets.remove(key).is_some(),
            "HTTPRoute" => self.http_routes.remove(key).is_some(),
            "GRPCRoute" => self.grpc_routes.remove(key).is_some(),
            "ReferenceGrant" => self.grants.remove(key).is_some(),
            "Namespace" => self.namespaces.remove(key).is_some(),
            "Service" => self.services.remove(key).is_some(),
            "EndpointSlice" => self.slices.remove(key).is_some(),
            "Secret" => self.secrets.remove(key).is_some(),
            "BackendTLSPolicy" => self.tls_policies.remove(key).is_some(),
            "ConfigMap" => self.config_maps.remove(key).is_some(),
            _ => false,
        }
    }

    /// The generation of an object whose status we write; none of others.
    pub fn generation(&self, object: &ObjectRef) -> Option<i64> {
        let key = &object.key;
        match object.kind {
            "GatewayClass" => self.classes.get(key)?.metadata.generation,
            "Gateway" => self.gateways.get(key)?.metadata.generation,
            "ListenerSet" => self.listener_sets.get(key)?.metadata.generation,
            "HTTPRoute" => self.http_routes.get(key)?.metadata.generation,
            "GRPCRoute" => self.grpc_routes.get(key)?.metadata.generation,
            "BackendTLSPolicy" => self.tls_policies.get(key)?.metadata.generation,
            _ => None,
        }
    }
}

fn replace<T: PartialEq>(objects: &mut ByKey<T>, key: ObjectKey, object: T) -> bool {
    if objects.get(&key).is_some_and(|present| **present == object) {
        return false;
    }
    objects.insert(key, Arc::new(object));
    true
}

impl FromIterator<Object> for Snapshot {
    fn from_iter<I: IntoIterator<Item = Object>>(objects: I) -> Self {
        let mut snapshot = Self::default();
        for object in objects {
            snapshot.insert(object);
        }
        snapshot
    }
}
