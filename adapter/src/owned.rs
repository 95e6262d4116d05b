//! The Services and EndpointSlices that the adapter makes for Gateways, and what they are known by.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::{EndpointSlice, GROUP, ObjectKey, Service};

/// What should be there, as far as the adapter sets it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    pub services: BTreeMap<ObjectKey, Service>,
    pub slices: BTreeMap<ObjectKey, EndpointSlice>,
    /// The Gateways that need nothing else: what else was made for them is to go. What was made for
    /// others stays as it is; Kubernetes sees to that of Gateways which are gone.
    pub settled: BTreeSet<ObjectKey>,
}

/// The Gateway that an object was made for, by name; it is in the same namespace. None for objects
/// that others made, which are not ours to touch whatever they are called.
pub fn gateway(metadata: &ObjectMeta) -> Option<&str> {
    let manager = metadata.labels.as_ref()?.get(MANAGED_BY)?;
    let mut owners = metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.kind == "Gateway" && owner.api_version.split('/').next() == Some(GROUP))?;
    (manager == MANAGER).then_some(owner.name.as_str())
}

pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const MANAGER: &str = "doppel";

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;

    #[test]
    fn only_marked_objects_that_a_gateway_owns_are_ours() {
        let check = |manager: &str, api_version: &str, kind: &str| {
            let owner = OwnerReference {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                name: "web".to_owned(),
                ..OwnerReference::default()
            };
            let labels = BTreeMap::from([(MANAGED_BY.to_owned(), manager.to_owned())]);
            let metadata =
                ObjectMeta { labels: Some(labels), owner_references: Some(vec![owner]), ..ObjectMeta::default() };
            gateway(&metadata).map(str::to_owned)
        };
        assert_eq!(check("doppel", "gateway.networking.k8s.io/v1", "Gateway").as_deref(), Some("web"));
        assert_eq!(check("Helm", "gateway.networking.k8s.io/v1", "Gateway"), None);
        assert_eq!(check("doppel", "networking.istio.io/v1", "Gateway"), None);
        assert_eq!(check("doppel", "gateway.networking.k8s.io/v1", "HTTPRoute"), None);
        assert_eq!(gateway(&ObjectMeta::default()), None);
    }
}
