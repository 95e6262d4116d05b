//! Which Gateways are ours, what of them is served, and their statuses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use conf::{Document, Name};

use super::address::{self, Addresses, Reach};
use super::authorities::Bundles;
use super::certificate::{Certificates, INVALID_CERTIFICATE_REF};
use super::class::Class;
use super::frontend::Frontend;
use super::grant::Referrer;
use super::listener::{Holder, Listener};
use super::listener_set::{self, ListenerSet};
use super::offer::{Offer, Offered};
use super::pods::Pods;
use super::service::{Exposed, Services};
use super::target::{self, Entrance};
use super::{Options, conflict, name, overlap};
use crate::api::gateways::{GatewayListeners, GatewayListenersTlsCertificateRefs as CertificateRef};
use crate::api::{self, CONTROLLER_NAME, ObjectKey, ObjectRef};
use crate::owned::Objects;
use crate::snapshot::Snapshot;
use crate::status::{Condition, Content, Fault, GatewayStatus, Status, Truth};

/// A Gateway of one of our classes.
pub(super) struct Gateway<'a> {
    pub(super) key: &'a ObjectKey,
    object: &'a api::Gateway,
    /// Its own, then those of its ListenerSets, in the order of precedence.
    pub(super) listeners: Vec<Listener<'a>>,
    /// Also those that it does not allow.
    pub(super) sets: BTreeMap<&'a ObjectKey, ListenerSet<'a>>,
    /// Whether it lets clients in that should show a certificate and cannot.
    is_insecure: bool,
    /// The certificate that it shows to backends, if it has one, or why it cannot be had.
    identity: Result<Option<Name>, Fault>,
    /// Why it is not accepted, whatever its listeners are like: then nothing of it is served.
    fault: Option<Fault>,
    reach: Reach,
}

/// All of ours by name, and what clients reach them by as far as that is for us to make.
pub(super) fn ours<'a>(
    snapshot: &'a Snapshot,
    classes: &BTreeMap<&str, Class<'_>>,
    certificates: &mut Certificates<'_>,
    bundles: &mut Bundles<'_>,
    options: &Options,
) -> (BTreeMap<&'a ObjectKey, Gateway<'a>>, Objects) {
    let mut sets = listener_set::by_gateway(snapshot);
    let mut gateways: Vec<_> = snapshot
        .gateways
        .iter()
        .filter_map(|(key, object)| {
            let class = classes.get(object.spec.gateway_class_name.as_str())?;
            let sets = sets.remove(key).unwrap_or_default().into_iter();
            let sets = sets.map(|(set, of_set)| ListenerSet::new(set, of_set, key, object, &snapshot.namespaces));
            Some(Gateway::new(key, object, class, sets.collect(), certificates, bundles))
        })
        .collect();
    gateways.sort_by_cached_key(|gateway| name::order(&gateway.object.metadata, gateway.key));
    let mut objects = Objects { settled: settled(snapshot, &gateways), ..Objects::default() };
    let accepted = gateways.iter_mut().filter(|gateway| gateway.fault.is_none());
    match &options.addresses {
        Addresses::Host { addresses, gateway_service } => {
            let service = gateway_service.as_ref().map(|service| (service, Pods::behind(service, snapshot, options)));
            let pods = service.as_ref().map(|(service, pods)| (*service, pods));
            share_ports(accepted, |gateway| address::host(gateway.key, gateway.object, addresses, pods));
        }
        Addresses::Service { service_type, gateway_service } => {
            let pods = &Pods::behind(gateway_service, snapshot, options);
            let (refused, service_type) = (&options.refused, *service_type);
            let services = Services { snapshot, refused, service_type, gateway_service, pods };
            isolate(accepted.collect(), &services, &mut objects);
        }
    }
    (gateways.into_iter().map(|gateway| (gateway.key, gateway)).collect(), objects)
}

/// The oldest come first to the ports, which belong to one Gateway each: listeners of different
/// Gateways on one socket would see each other's requests.
fn share_ports<'g, 'a: 'g>(gateways: impl Iterator<Item = &'g mut Gateway<'a>>, reach: impl Fn(&Gateway<'a>) -> Reach) {
    let mut ports = BTreeMap::new();
    for gateway in gateways {
        let own = gateway.positions(Holder::gateway(gateway.key));
        for i in 0..gateway.listeners.len() {
            // Those of its ListenerSets come last, when it is known what is left of the Gateway.
            if gateway.listeners[i].is_usable() && (own.contains(&i) || gateway.is_accepted()) {
                gateway.listeners[i].claim_port(gateway.key, &mut ports);
            }
        }
        gateway.reach = reach(gateway);
    }
}

/// Gives each port of each Gateway a target port of its own, and a way to there.
fn isolate(gateways: Vec<&mut Gateway<'_>>, services: &Services<'_>, objects: &mut Objects) {
    let wanted = gateways.iter().flat_map(|gateway| gateway.entrances());
    let targets = target::allocate(services.snapshot, wanted);
    for gateway in gateways {
        let found = |entrance: Entrance| Some((entrance.port, *targets.get(&entrance)?));
        let ports: BTreeMap<i32, u16> = gateway.entrances().filter_map(found).collect();
        for listener in &mut gateway.listeners {
            listener.lead_to(ports.get(&listener.spec.port).copied());
        }
        let exposed = Exposed { key: gateway.key, gateway: gateway.object, ports: &ports };
        gateway.reach = services.expose(exposed, objects);
    }
}

/// Those of which it is known what they need: nothing, where they are another controller's. Objects
/// of others stay as they are. Addresses are hard to get back, and a class that was deleted, or
/// changed so that it is not accepted, may be a mistake of a moment.
fn settled(snapshot: &Snapshot, ours: &[Gateway<'_>]) -> BTreeSet<ObjectKey> {
    let accepted = ours.iter().filter(|gateway| gateway.fault.is_none()).map(|gateway| gateway.key);
    let strangers = snapshot.gateways.iter().filter(|(_, gateway)| {
        let class = snapshot.classes.get(&ObjectKey::new("", &gateway.spec.gateway_class_name));
        class.is_some_and(|class| class.spec.controller_name != CONTROLLER_NAME)
    });
    accepted.chain(strangers.map(|(key, _)| key)).cloned().collect()
}

impl<'a> Gateway<'a> {
    fn new(
        key: &'a ObjectKey,
        object: &'a api::Gateway,
        class: &Class<'_>,
        mut sets: Vec<ListenerSet<'a>>,
        certificates: &mut Certificates<'_>,
        bundles: &mut Bundles<'_>,
    ) -> Self {
        let frontend = object.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref());
        let frontend = Frontend::new(key, frontend, bundles);
        let mut listeners = Vec::new();
        let mut add = |holder, specs: &'a [GatewayListeners]| {
            let first = listeners.len();
            listeners.extend(specs.iter().map(|spec| Listener::new(holder, spec, &frontend, certificates)));
            first..listeners.len()
        };
        add(Holder::gateway(key), &object.spec.listeners);
        for set in sets.iter_mut().filter(|set| set.refusal.is_none()) {
            set.positions = add(Holder::listener_set(set.key), &set.object.spec.listeners);
        }
        listener_set::limit_ports(&mut listeners);
        conflict::find(&mut listeners);
        overlap::tell(&mut listeners, certificates);
        Self {
            key,
            object,
            listeners,
            sets: sets.into_iter().map(|set| (set.key, set)).collect(),
            is_insecure: frontend.is_insecure(),
            identity: identity(key, object, certificates),
            fault: class_fault(key, object, class)
                .or_else(|| parameters_fault(key, object))
                .or_else(|| address_type_fault(key, object)),
            reach: Reach::default(),
        }
    }

    /// Its ports. A listener of its own keeps its port whatever its faults, lest an address be lost with
    /// the last of them.
    fn entrances(&self) -> impl Iterator<Item = Entrance> {
        let own = self.positions(Holder::gateway(self.key));
        let is_kept = |(i, listener): &(usize, &Listener<'_>)| own.contains(i) || listener.fault.is_none();
        let kept = self.listeners.iter().enumerate().filter(is_kept);
        let ports: BTreeSet<i32> = kept.filter_map(|(_, listener)| listener.entrance()).collect();
        ports.into_iter().map(|port| Entrance { gateway: self.key.clone(), port })
    }

    /// Where those of a holder are among its listeners.
    pub(super) fn positions(&self, holder: Holder<'_>) -> Range<usize> {
        match holder.kind {
            "Gateway" => 0..self.object.spec.listeners.len(),
            _ => self.sets.get(holder.key).map_or(0..0, |set| set.positions.clone()),
        }
    }

    /// Those that its owner gave it.
    fn own(&self) -> impl Iterator<Item = &Listener<'a>> {
        self.listeners[self.positions(Holder::gateway(self.key))].iter()
    }

    /// Whether something of it may be served: a listener of its own, at least, is as it should be.
    pub(super) fn is_accepted(&self) -> bool {
        self.fault.is_none() && self.own().any(|listener| listener.fault.is_none())
    }

    /// Of these listeners, those that requests are served on.
    pub(super) fn served<'l>(
        &self,
        listeners: impl IntoIterator<Item = &'l Listener<'a>>,
    ) -> impl Iterator<Item = &'l Listener<'a>>
    where
        'a: 'l,
    {
        let is_accepted = self.is_accepted();
        listeners.into_iter().filter(move |listener| is_accepted && listener.is_usable())
    }

    pub(super) fn offer(&self) -> Offer {
        let is_accepted = self.is_accepted();
        let offered = |listener: &Listener<'_>| Offered {
            name: listener.name.clone(),
            section: listener.spec.name.clone(),
            port: listener.spec.port,
            hostname: listener.hostname.clone(),
            kinds: listener.kinds.iter().map(|kind| kind.kind).collect(),
            namespaces: listener.spec.allowed_routes.as_ref().and_then(|allowed| allowed.namespaces.clone()),
            is_served: is_accepted && listener.is_usable(),
        };
        let holders = self.sets.keys().map(|set| Holder::listener_set(set)).chain([Holder::gateway(self.key)]);
        Offer {
            listeners: self.listeners.iter().map(offered).collect(),
            positions: holders.map(|holder| (holder.object(), self.positions(holder))).collect(),
        }
    }

    /// The documents, each with the name of its file.
    pub(super) fn documents(&self, bind: IpAddr) -> impl Iterator<Item = (String, Document)> {
        self.served(&self.listeners).filter_map(move |listener| {
            let port = u16::try_from(listener.spec.port).ok()?;
            let target = listener.target.unwrap_or(port);
            let document = Document::Listener(conf::Listener {
                name: listener.name.clone(),
                address: SocketAddr::new(bind, target),
                hostname: listener.hostname.clone(),
                tls: listener.tls(),
                backend_certificate: self.identity.clone().ok().flatten(),
                public_port: (target != port).then_some(port),
            });
            Some((name::listeners_file(listener.holder.kind, listener.holder.key), document))
        })
    }

    pub(super) fn status(&self) -> Status {
        let generation = self.object.metadata.generation;
        let configured = match &self.reach.remark {
            Some(remark) => format!("Gateway {} is configured; {remark}", self.key),
            None => format!("Gateway {} is configured", self.key),
        };
        Status {
            object: ObjectRef::new("Gateway", self.key),
            content: Arc::new(Content::Gateway(GatewayStatus {
                addresses: self.reach.addresses.clone(),
                attached_listener_sets: self.sets.values().filter(|set| set.is_accepted(self)).count(),
                conditions: [
                    Some(self.accepted(generation)),
                    Some(Condition::unless(self.programming_fault().as_ref(), "Programmed", generation, configured)),
                    Some(Condition::unless(
                        self.unresolved().as_ref(),
                        "ResolvedRefs",
                        generation,
                        format!("everything that Gateway {} refers to is there", self.key),
                    )),
                    self.insecure(generation),
                ]
                .into_iter()
                .flatten()
                .collect(),
                listeners: self.own().map(|listener| listener.status(generation, self.fault.as_ref())).collect(),
            })),
        }
    }

    /// Better absent than false.
    fn insecure(&self, generation: Option<i64>) -> Option<Condition> {
        self.is_insecure.then(|| Condition {
            kind: "InsecureFrontendValidationMode",
            status: Truth::True,
            reason: "ConfigurationChanged",
            message: format!(
                "Gateway {}: tls.frontend has mode AllowInsecureFallback: clients are let in whatever they prove",
                self.key
            ),
            observed_generation: generation,
        })
    }

    /// Some bad listeners among good ones leave a Gateway accepted, with a reason that tells of them.
    fn accepted(&self, generation: Option<i64>) -> Condition {
        let key = self.key;
        let bad: Vec<_> = self.own().filter(|listener| listener.fault.is_some()).collect();
        if self.fault.is_some() || bad.is_empty() {
            let good = format!("Gateway {key} is valid");
            return Condition::unless(self.fault.as_ref(), "Accepted", generation, good);
        }
        let status = if self.is_accepted() { Truth::True } else { Truth::False };
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
        if self.served(&self.listeners).next().is_none() {
            let message = format!("Gateway {}: no listener can be served; each has its own status", self.key);
            return Some(Fault::new("Invalid", message));
        }
        self.unreachable().cloned()
    }

    /// Why no client can get to what is served.
    pub(super) fn unreachable(&self) -> Option<&Fault> {
        self.reach.fault.as_ref()
    }

    fn unresolved(&self) -> Option<Fault> {
        if let Err(fault) = &self.identity {
            return Some(fault.clone());
        }
        let bad: Vec<_> = self.own().filter(|listener| listener.unresolved.is_some()).collect();
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

/// The certificate that a Gateway shows to backends.
fn identity(
    key: &ObjectKey,
    gateway: &api::Gateway,
    certificates: &mut Certificates<'_>,
) -> Result<Option<Name>, Fault> {
    let backend = gateway.spec.tls.as_ref().and_then(|tls| tls.backend.as_ref());
    let Some(reference) = backend.and_then(|backend| backend.client_certificate_ref.as_ref()) else { return Ok(None) };
    let reference = CertificateRef {
        group: reference.group.clone(),
        kind: reference.kind.clone(),
        name: reference.name.clone(),
        namespace: reference.namespace.clone(),
    };
    let referrer = Referrer { kind: "Gateway", namespace: &key.namespace };
    certificates.resolve(referrer, &reference).map(Some).map_err(|fault| {
        let reason = if fault.reason == INVALID_CERTIFICATE_REF { "InvalidClientCertificateRef" } else { fault.reason };
        Fault::new(reason, format!("Gateway {key}: tls.backend.clientCertificateRef: {}", fault.message))
    })
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
    let unknown = requested.filter_map(|address| address.r#type.as_deref()).find(|t| !address::TYPES.contains(t))?;
    Some(Fault::new(
        "UnsupportedAddress",
        format!(
            "Gateway {key}: addresses of type {unknown} are not supported by this controller; use {}",
            address::TYPES.join(" or ")
        ),
    ))
}

const PENDING: &str = "Pending";
const LISTENERS_NOT_VALID: &str = "ListenersNotValid";
