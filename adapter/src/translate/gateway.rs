use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use conf::Document;

use super::class::Class;
use super::listener::{self, Listener};
use super::{Options, name};
use crate::api::{self, ObjectKey, ObjectRef};
use crate::snapshot::Snapshot;
use crate::status::{Address, Condition, Content, Fault, GatewayStatus, Status, Truth};

/// A Gateway of one of our classes.
pub(super) struct Gateway<'a> {
    pub(super) key: &'a ObjectKey,
    object: &'a api::Gateway,
    pub(super) listeners: Vec<Listener<'a>>,
    /// Why it is not accepted, whatever its listeners are like.
    fault: Option<Fault>,
    /// The addresses it has, or why it cannot have those that it asks for.
    addresses: Result<Vec<Address>, Fault>,
}

/// All of ours. The oldest come first to the ports, which belong to one Gateway each: listeners of
/// different Gateways on one socket would see each other's requests.
pub(super) fn ours<'a>(
    snapshot: &'a Snapshot,
    classes: &BTreeMap<&str, Class<'_>>,
    options: &Options,
) -> BTreeMap<&'a ObjectKey, Gateway<'a>> {
    let mut gateways: Vec<_> = snapshot
        .gateways
        .iter()
        .filter_map(|(key, object)| {
            let class = classes.get(object.spec.gateway_class_name.as_str())?;
            Some(Gateway::new(key, object, class, options))
        })
        .collect();
    gateways.sort_by_cached_key(|gateway| name::order(&gateway.object.metadata, gateway.key));
    let mut ports = BTreeMap::new();
    for gateway in gateways.iter_mut().filter(|gateway| gateway.obstacle().is_none()) {
        for listener in gateway.listeners.iter_mut().filter(|listener| listener.is_usable()) {
            listener.claim_port(gateway.key, &mut ports);
        }
    }
    gateways.into_iter().map(|gateway| (gateway.key, gateway)).collect()
}

impl<'a> Gateway<'a> {
    fn new(key: &'a ObjectKey, object: &'a api::Gateway, class: &Class<'_>, options: &Options) -> Self {
        Self {
            key,
            object,
            listeners: listener::listeners(key, &object.spec.listeners),
            fault: class_fault(key, object, class)
                .or_else(|| parameters_fault(key, object))
                .or_else(|| address_type_fault(key, object)),
            addresses: addresses(key, object, options),
        }
    }

    /// Why nothing of it is served.
    fn obstacle(&self) -> Option<&Fault> {
        self.fault.as_ref().or(self.addresses.as_ref().err())
    }

    /// Those that requests are served on.
    pub(super) fn served(&self) -> impl Iterator<Item = &Listener<'a>> {
        let is_served = self.obstacle().is_none();
        self.listeners.iter().filter(move |listener| is_served && listener.is_usable())
    }

    pub(super) fn documents(&self, bind: IpAddr) -> Vec<Document> {
        self.served()
            .filter_map(|listener| {
                let port = u16::try_from(listener.spec.port).ok()?;
                Some(Document::Listener(conf::Listener {
                    name: listener.name.clone(),
                    address: SocketAddr::new(bind, port),
                    hostname: listener.hostname.clone(),
                    public_port: None,
                }))
            })
            .collect()
    }

    pub(super) fn status(&self) -> Status {
        let generation = self.object.metadata.generation;
        let obstacle = self.obstacle();
        Status {
            object: ObjectRef::new("Gateway", self.key),
            content: Content::Gateway(GatewayStatus {
                addresses: self.addresses.clone().unwrap_or_default(),
                attached_listener_sets: 0,
                conditions: vec![
                    self.accepted(generation),
                    Condition::unless(
                        self.programming_fault().as_ref(),
                        "Programmed",
                        generation,
                        format!("Gateway {} is configured", self.key),
                    ),
                    Condition::unless(
                        self.unresolved().as_ref(),
                        "ResolvedRefs",
                        generation,
                        format!("everything that Gateway {} refers to is there", self.key),
                    ),
                ],
                listeners: self.listeners.iter().map(|listener| listener.status(generation, obstacle)).collect(),
            }),
        }
    }

    /// Some bad listeners among good ones leave a Gateway accepted, with a reason that tells of them.
    fn accepted(&self, generation: Option<i64>) -> Condition {
        let key = self.key;
        let bad: Vec<_> = self.listeners.iter().filter(|listener| listener.fault.is_some()).collect();
        if self.fault.is_some() || bad.is_empty() {
            let good = format!("Gateway {key} is valid");
            return Condition::unless(self.fault.as_ref(), "Accepted", generation, good);
        }
        let status = if bad.len() < self.listeners.len() { Truth::True } else { Truth::False };
        let names = bad.iter().map(|listener| listener.spec.name.as_str()).collect::<Vec<_>>().join(", ");
        Condition {
            kind: "Accepted",
            status,
            reason: LISTENERS_NOT_VALID,
            message: format!("Gateway {key}: listeners not accepted: {names}; each has its own status"),
            observed_generation: generation,
        }
    }

    fn programming_fault(&self) -> Option<Fault> {
        if let Some(fault) = &self.fault {
            let reason = if fault.reason == PENDING { PENDING } else { "Invalid" };
            return Some(Fault::new(reason, fault.message.clone()));
        }
        if let Err(fault) = &self.addresses {
            return Some(fault.clone());
        }
        self.served().next().is_none().then(|| {
            Fault::new("Invalid", format!("Gateway {}: no listener can be served; each has its own status", self.key))
        })
    }

    fn unresolved(&self) -> Option<Fault> {
        let backend = self.object.spec.tls.as_ref().and_then(|tls| tls.backend.as_ref());
        if let Some(reference) = backend.and_then(|backend| backend.client_certificate_ref.as_ref()) {
            return Some(Fault::new(
                "InvalidClientCertificateRef",
                format!(
                    "Gateway {}: tls.backend.clientCertificateRef {} cannot be used: TLS towards backends is not supported by this controller; remove it",
                    self.key, reference.name
                ),
            ));
        }
        let bad: Vec<_> = self.listeners.iter().filter(|listener| listener.unresolved.is_some()).collect();
        let names = bad.iter().map(|listener| listener.spec.name.as_str()).collect::<Vec<_>>().join(", ");
        (!bad.is_empty()).then(|| {
            Fault::new(
                "ListenersNotResolved",
                format!(
                    "Gateway {}: listeners with references that cannot be resolved: {names}; each has its own status",
                    self.key
                ),
            )
        })
    }
}

fn class_fault(key: &ObjectKey, gateway: &api::Gateway, class: &Class<'_>) -> Option<Fault> {
    class.fault.as_ref().map(|_| {
        let name = &gateway.spec.gateway_class_name;
        Fault::new(PENDING, format!("Gateway {key}: its GatewayClass {name} is not accepted; see the status of that"))
    })
}

fn parameters_fault(key: &ObjectKey, gateway: &api::Gateway) -> Option<Fault> {
    let reference = gateway.spec.infrastructure.as_ref()?.parameters_ref.as_ref()?;
    Some(Fault::new(
        "InvalidParameters",
        format!(
            "Gateway {key}: infrastructure.parametersRef names {} {}, but this controller has no parameters; remove it",
            reference.kind, reference.name
        ),
    ))
}

fn address_type_fault(key: &ObjectKey, gateway: &api::Gateway) -> Option<Fault> {
    let requested = gateway.spec.addresses.iter().flatten();
    let unknown = requested.filter_map(|address| address.r#type.as_deref()).find(|t| !ADDRESS_TYPES.contains(t))?;
    Some(Fault::new(
        "UnsupportedAddress",
        format!(
            "Gateway {key}: addresses of type {unknown} are not supported by this controller; use {}",
            ADDRESS_TYPES.join(" or ")
        ),
    ))
}

/// Those that the Gateway asks for, as far as we have them; all that we have if it asks for none.
fn addresses(key: &ObjectKey, gateway: &api::Gateway, options: &Options) -> Result<Vec<Address>, Fault> {
    let ours: Vec<Address> = options.addresses.iter().map(|value| address(value)).collect();
    let requested = gateway.spec.addresses.as_deref().unwrap_or_default();
    if requested.is_empty() {
        return Ok(ours);
    }
    let have = match ours.as_slice() {
        [] => "none; the adapter is told them with --address".to_owned(),
        ours => ours.iter().map(|address| address.value.as_str()).collect::<Vec<_>>().join(", "),
    };
    let mut found = Vec::new();
    for request in requested {
        let kind = request.r#type.as_deref().unwrap_or(IP_ADDRESS);
        let mut of_kind = ours.iter().filter(|address| address.kind == kind);
        match request.value.as_deref().filter(|value| !value.is_empty()) {
            None => found.push(of_kind.next().cloned().ok_or_else(|| {
                let message =
                    format!("Gateway {key}: there is no address of type {kind} to assign; the addresses are {have}");
                Fault::new("AddressNotAssigned", message)
            })?),
            Some(value) => found.push(of_kind.find(|address| address.value == value).cloned().ok_or_else(|| {
                let message = format!("Gateway {key}: address {value} is not one of this gateway's; they are {have}");
                Fault::new("AddressNotUsable", message)
            })?),
        }
    }
    Ok(found)
}

fn address(value: &str) -> Address {
    let kind = if value.parse::<IpAddr>().is_ok() { IP_ADDRESS } else { HOSTNAME };
    Address { kind, value: value.to_owned() }
}

const IP_ADDRESS: &str = "IPAddress";
const HOSTNAME: &str = "Hostname";
const ADDRESS_TYPES: [&str; 2] = [IP_ADDRESS, HOSTNAME];
const PENDING: &str = "Pending";
const LISTENERS_NOT_VALID: &str = "ListenersNotValid";
