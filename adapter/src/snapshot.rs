//! Every object that a translation is made from, at one moment.

use std::collections::BTreeMap;

use crate::api::{
    EndpointSlice, Gateway, GatewayClass, HttpRoute, Namespace, Object, ObjectKey, ReferenceGrant, Secret, Service,
};
use crate::manifest::{self, Warning};

/// Sorted by namespace and name, so that nothing depends on the order in which objects arrived.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub classes: BTreeMap<ObjectKey, GatewayClass>,
    pub gateways: BTreeMap<ObjectKey, Gateway>,
    pub routes: BTreeMap<ObjectKey, HttpRoute>,
    pub grants: BTreeMap<ObjectKey, ReferenceGrant>,
    pub namespaces: BTreeMap<ObjectKey, Namespace>,
    pub services: BTreeMap<ObjectKey, Service>,
    pub slices: BTreeMap<ObjectKey, EndpointSlice>,
    /// Only those of type `kubernetes.io/tls` are ever looked into.
    pub secrets: BTreeMap<ObjectKey, Secret>,
}

impl Snapshot {
    /// The objects of a text of manifests, and what about it could not be used.
    pub fn from_manifests(text: &str) -> (Self, Vec<Warning>) {
        let parsed = manifest::parse(text);
        let objects = parsed.objects.into_iter().map(|(_, object)| object);
        (objects.collect(), parsed.warnings)
    }

    /// Replaces the object of the same kind, namespace and name.
    pub fn insert(&mut self, object: Object) {
        let key = object.reference().key;
        match object {
            Object::GatewayClass(class) => drop(self.classes.insert(key, class)),
            Object::Gateway(gateway) => drop(self.gateways.insert(key, gateway)),
            Object::HttpRoute(route) => drop(self.routes.insert(key, route)),
            Object::ReferenceGrant(grant) => drop(self.grants.insert(key, grant)),
            Object::Namespace(namespace) => drop(self.namespaces.insert(key, namespace)),
            Object::Service(service) => drop(self.services.insert(key, service)),
            Object::EndpointSlice(slice) => drop(self.slices.insert(key, slice)),
            Object::Secret(secret) => drop(self.secrets.insert(key, secret)),
        }
    }
}

impl FromIterator<Object> for Snapshot {
    fn from_iter<I: IntoIterator<Item = Object>>(objects: I) -> Self {
        let mut snapshot = Self::default();
        objects.into_iter().for_each(|object| snapshot.insert(object));
        snapshot
    }
}
