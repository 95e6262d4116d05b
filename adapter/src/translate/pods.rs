use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions};

use super::Options;
use super::backend::SERVICE_NAME;
use crate::api::ObjectKey;
use crate::snapshot::Snapshot;

/// The pods that the gateway runs in, as a Service that selects them has them.
#[derive(Debug, Default)]
pub(super) struct Pods(BTreeMap<IpAddr, Endpoint>);

/// Of one family, which is what a slice may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Pods {
    pub(super) fn behind(service: &ObjectKey, snapshot: &Snapshot, options: &Options) -> Self {
        let slices = snapshot.slices.iter().filter(|(key, slice)| {
            let labels = slice.metadata.labels.as_ref();
            key.namespace == service.namespace
                && labels.and_then(|labels| labels.get(SERVICE_NAME)).is_some_and(|name| *name == service.name)
        });
        let mut pods = BTreeMap::new();
        for endpoint in slices.flat_map(|(_, slice)| &slice.endpoints) {
            // Beyond the first, addresses of an endpoint have no meaning, says the API.
            let Some(address) = endpoint.addresses.first().and_then(|address| address.parse().ok()) else { continue };
            // On its way from slice to slice, an endpoint may be in two of them.
            if is_ready(endpoint) || !pods.contains_key(&address) {
                let mut endpoint = endpoint.clone();
                if options.serving.contains(&address) {
                    endpoint.conditions = Some(SERVING);
                }
                pods.insert(address, endpoint);
            }
        }
        Self(pods)
    }

    pub(super) fn ready(&self) -> impl Iterator<Item = &IpAddr> {
        self.0.iter().filter(|(_, endpoint)| is_ready(endpoint)).map(|(address, _)| address)
    }

    /// As endpoints of further Services: where they are and what state they are in.
    pub(super) fn endpoints(&self, family: Family) -> Vec<Endpoint> {
        let of_family = self.0.iter().filter(|(address, _)| address.is_ipv4() == (family == Family::V4));
        of_family
            .map(|(address, endpoint)| Endpoint {
                addresses: vec![address.to_string()],
                conditions: endpoint.conditions.clone(),
                node_name: endpoint.node_name.clone(),
                target_ref: endpoint.target_ref.clone(),
                zone: endpoint.zone.clone(),
                ..Endpoint::default()
            })
            .collect()
    }
}

impl Family {
    pub(super) const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// As the API has it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// Unknown counts as ready, says the API.
pub(super) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

const SERVING: EndpointConditions =
    EndpointConditions { ready: Some(true), serving: Some(true), terminating: Some(false) };
