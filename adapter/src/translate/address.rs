//! How clients reach Gateways, and the addresses that a Gateway has by it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::pods::Pods;
use crate::api::{Gateway, ObjectKey};
use crate::status::{Address, Fault};

/// How clients reach Gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// By the machines that the gateway runs on and the Gateways' own ports, of which each belongs
    /// to one Gateway.
    Host {
        /// What the machines are reached by, for the status of Gateways.
        addresses: Vec<String>,
        /// Without `addresses`, the Service whose ready endpoints are those machines.
        gateway_service: Option<ObjectKey>,
    },
    /// By Services, of which each Gateway has its own. They lead to ports of the gateway pods that
    /// no other Gateway has, so that Gateways with the same port do not see each other's requests.
    Service {
        service_type: ServiceType,
        /// The Service whose endpoints are the gateway pods.
        gateway_service: ObjectKey,
    },
}

/// The type of the Services that are made for Gateways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// Addresses are those that a load balancer gives.
    #[default]
    LoadBalancer,
    /// Addresses are those that only the cluster knows.
    ClusterIp,
    /// As ClusterIP, and by a port of its own on each node.
    NodePort,
}

impl ServiceType {
    pub const ALL: [Self; 3] = [Self::LoadBalancer, Self::ClusterIp, Self::NodePort];

    /// As the API has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LoadBalancer => "LoadBalancer",
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
        }
    }
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ServiceType {
    type Err = UnknownServiceType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|known| known.as_str() == text);
        found.ok_or_else(|| UnknownServiceType { text: text.to_owned() })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a Service type for Gateways; use one of {}", ServiceType::ALL.map(ServiceType::as_str).join(", "))]
pub struct UnknownServiceType {
    text: String,
}

/// Where one Gateway can be reached.
#[derive(Debug, Default)]
pub(super) struct Reach {
    pub(super) addresses: Vec<Address>,
    /// Why it is not reached as it should be. Its listeners are served all the same: addresses come
    /// later than they, and what has gone wrong on the way may come right.
    pub(super) fault: Option<Fault>,
    /// What those who reach it must know beside addresses and ports.
    pub(super) remark: Option<String>,
}

/// An address that a Gateway asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    /// None takes any.
    kind: Option<&'a str>,
    /// None takes any of its kind.
    pub(super) value: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// At least one: Gateways that ask for nothing take what there is.
    pub(super) fn all(gateway: &'a Gateway) -> Vec<Self> {
        let requested = gateway.spec.addresses.as_deref().unwrap_or_default();
        if requested.is_empty() {
            return vec![Self { kind: None, value: None }];
        }
        let request = |address: &'a gateway_api::gateways::GatewayAddresses| Self {
            kind: Some(address.r#type.as_deref().unwrap_or(IP_ADDRESS)),
            value: address.value.as_deref().filter(|value| !value.is_empty()),
        };
        requested.iter().map(request).collect()
    }

    /// Those of ours that it takes.
    pub(super) fn pick(&self, ours: &[Address]) -> Vec<Address> {
        let suits = |address: &&Address| {
            self.kind.is_none_or(|kind| kind == address.kind) && self.value.is_none_or(|value| value == address.value)
        };
        ours.iter().filter(suits).cloned().collect()
    }
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.value, self.kind) {
            (Some(value), _) => write!(f, "address {value}"),
            (None, Some(kind)) => write!(f, "an address of type {kind}"),
            (None, None) => f.write_str("an address"),
        }
    }
}

impl Reach {
    /// Each once, and no more than a status may hold.
    pub(super) fn add(&mut self, addresses: impl IntoIterator<Item = Address>) {
        for address in addresses {
            if self.addresses.len() < MOST && !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
    }
}

/// By the machines that the gateway runs on.
pub(super) fn host(key: &ObjectKey, gateway: &Gateway, known: &[String], pods: Option<(&ObjectKey, &Pods)>) -> Reach {
    let mut ours: Vec<Address> = known.iter().map(|value| address(value)).collect();
    let mut reach = Reach::default();
    if let Some((service, pods)) = pods.filter(|_| ours.is_empty()) {
        ours = pods.ready().map(|ip| address(&ip.to_string())).collect();
        if ours.is_empty() {
            let message = format!("Gateway {key}: no gateway pod is ready: Service {service} has no ready endpoint");
            reach.fault = Some(Fault::new(NOT_ASSIGNED, message));
            return reach;
        }
    }
    let have = match ours.as_slice() {
        [] => "none; the adapter is told them with --address".to_owned(),
        ours => join(ours),
    };
    for request in Request::all(gateway) {
        let mut found = request.pick(&ours);
        if found.is_empty() && request.kind.is_some() {
            let reason = if request.value.is_some() { NOT_USABLE } else { NOT_ASSIGNED };
            let message =
                format!("Gateway {key}: {request} is not among the addresses of this gateway, which are {have}");
            reach.fault.get_or_insert(Fault::new(reason, message));
        }
        if request.kind.is_some() {
            found.truncate(1);
        }
        reach.add(found);
    }
    reach
}

pub(super) fn address(value: &str) -> Address {
    let kind = if value.parse::<IpAddr>().is_ok() { IP_ADDRESS } else { HOSTNAME };
    Address { kind, value: value.to_owned() }
}

pub(super) fn join(addresses: &[Address]) -> String {
    addresses.iter().map(|address| address.value.as_str()).collect::<Vec<_>>().join(", ")
}

/// The most addresses that a Gateway may ask for, and its status may hold.
pub(super) const MOST: usize = 16;

const IP_ADDRESS: &str = "IPAddress";
const HOSTNAME: &str = "Hostname";
pub(super) const TYPES: [&str; 2] = [IP_ADDRESS, HOSTNAME];

pub(super) const NOT_ASSIGNED: &str = "AddressNotAssigned";
pub(super) const NOT_USABLE: &str = "AddressNotUsable";
