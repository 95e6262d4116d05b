//! What is wrong with a listener, by itself and beside its neighbours.

use std::collections::BTreeMap;
use std::fmt;

use conf::{Clients, Hostname, Name, Tls};

use super::certificate::Certificates;
use super::frontend::{Asked, Frontend};
use super::grant::Referrer;
use super::https::{self, HTTPS};
use super::{name, target};
use crate::api::gateways::GatewayListeners;
use crate::api::{GROUP, ObjectKey, ObjectRef};
use crate::status::{Condition, Fault, ListenerStatus, RouteKind, Truth};

/// The object that a listener is written in, which routes name as their parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder<'a> {
    /// Gateway or ListenerSet.
    pub(super) kind: &'static str,
    pub(super) key: &'a ObjectKey,
}

impl<'a> Holder<'a> {
    pub(super) fn gateway(key: &'a ObjectKey) -> Self {
        Self { kind: "Gateway", key }
    }

    pub(super) fn listener_set(key: &'a ObjectKey) -> Self {
        Self { kind: "ListenerSet", key }
    }

    pub(super) fn object(self) -> ObjectRef {
        ObjectRef::new(self.kind, self.key)
    }
}

impl fmt::Display for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// A listener that a Gateway of ours should serve, and what was found out about it.
pub(super) struct Listener<'a> {
    pub(super) holder: Holder<'a>,
    pub(super) spec: &'a GatewayListeners,
    /// The name of its document.
    pub(super) name: Name,
    pub(super) hostname: Option<Hostname>,
    /// The port that the gateway listens on, where it is not the listener's own.
    pub(super) target: Option<u16>,
    /// The kinds of routes that may attach; none where nothing can be served.
    pub(super) kinds: Vec<RouteKind>,
    /// Those of its certificates that can be used; only with HTTPS.
    pub(super) certificates: Vec<Name>,
    /// What its clients must prove; only with HTTPS.
    clients: Option<Clients>,
    /// Why it is not accepted.
    pub(super) fault: Option<Fault>,
    /// Other listeners that it clashes with and that do not give way.
    pub(super) conflict: Option<Fault>,
    /// Other listeners of the same Gateway that clients may take for this one.
    pub(super) overlap: Option<Fault>,
    /// What it refers to and cannot have.
    pub(super) unresolved: Option<Fault>,
    /// How many routes are accepted by it.
    pub(super) attached: usize,
}

impl<'a> Listener<'a> {
    /// One by itself. `frontend` is what its Gateway asks of clients.
    pub(super) fn new(
        holder: Holder<'a>,
        spec: &'a GatewayListeners,
        frontend: &Frontend,
        certificates: &mut Certificates<'_>,
    ) -> Self {
        let (hostname, fault) = match hostname(spec) {
            Ok(hostname) => (hostname, protocol_fault(spec).or_else(|| https::fault(spec))),
            Err(fault) => (None, Some(fault)),
        };
        let (kinds, vain) = kinds(spec);
        let (certificates, missing) = match spec.protocol.as_str() {
            HTTPS => {
                let referrer = Referrer { kind: holder.kind, namespace: &holder.key.namespace };
                https::certificates(spec, referrer, certificates)
            }
            _ => (Vec::new(), None),
        };
        let asked = frontend.of_port(spec.port).filter(|_| spec.protocol == HTTPS);
        let of_listener = |fault: Fault| Fault::new(fault.reason, format!("listener {}: {}", spec.name, fault.message));
        let unknown = asked.and_then(|asked| asked.unresolved.clone()).map(of_listener);
        let fault = fault.or_else(|| asked.and_then(Asked::fault).map(of_listener));
        Self {
            holder,
            spec,
            name: name::listener(holder.kind, holder.key, &spec.name),
            hostname,
            target: None,
            kinds,
            certificates,
            clients: asked.and_then(|asked| asked.clients.clone()),
            fault,
            conflict: None,
            overlap: None,
            unresolved: both(both(missing, unknown), vain),
            attached: 0,
        }
    }

    /// Whether requests can be served on it, as far as it alone is concerned.
    pub(super) fn is_usable(&self) -> bool {
        let has_certificate = self.spec.protocol != HTTPS || !self.certificates.is_empty();
        self.fault.is_none() && !self.kinds.is_empty() && has_certificate
    }

    pub(super) fn tls(&self) -> Option<Tls> {
        (self.spec.protocol == HTTPS)
            .then(|| Tls { certificates: self.certificates.clone(), clients: self.clients.clone() })
    }

    /// Takes its port for its Gateway, unless an older Gateway has it.
    pub(super) fn claim_port<'k>(&mut self, gateway: &'k ObjectKey, ports: &mut BTreeMap<i32, &'k ObjectKey>) {
        let port = self.spec.port;
        let owner = *ports.entry(port).or_insert(gateway);
        if owner != gateway {
            self.fault = Some(Fault::new(
                "PortUnavailable",
                format!(
                    "listener {}: port {port} belongs to Gateway {owner}, which comes first by age and name; choose another port, or add the listener there",
                    self.spec.name
                ),
            ));
        }
    }

    /// The port that requests for it come in by, if TCP carries them.
    pub(super) fn entrance(&self) -> Option<i32> {
        (self.spec.protocol != "UDP" && u16::try_from(self.spec.port).is_ok_and(|port| port != 0))
            .then_some(self.spec.port)
    }

    /// Takes the target port of its port, if there is one left.
    pub(super) fn lead_to(&mut self, target: Option<u16>) {
        self.target = target;
        if target.is_none() && self.is_usable() {
            self.fault = Some(Fault::new(
                "PortUnavailable",
                format!(
                    "listener {}: every target port from {} to {} of the gateway pods belongs to some port of some Gateway; remove Gateways that are not used",
                    self.spec.name,
                    target::RANGE.start(),
                    target::RANGE.end()
                ),
            ));
        }
    }

    /// `obstacle` is why nothing of its holder is served.
    pub(super) fn status(&self, generation: Option<i64>, obstacle: Option<&Fault>) -> ListenerStatus {
        let name = &self.spec.name;
        let programmed = obstacle.or(self.fault.as_ref()).or(match self.is_usable() {
            true => None,
            false => self.unresolved.as_ref(),
        });
        let reason = self.conflict.as_ref().map_or("Invalid", |conflict| conflict.reason);
        let programmed = programmed.map(|fault| Fault::new(reason, fault.message.clone()));
        let port = self.spec.port;
        ListenerStatus {
            name: name.clone(),
            supported_kinds: self.kinds.clone(),
            attached_routes: self.attached,
            conditions: [
                Some(Condition::unless(
                    self.fault.as_ref(),
                    "Accepted",
                    generation,
                    format!("listener {name} is valid"),
                )),
                Some(self.conflicted(generation)),
                self.overlapping(generation),
                Some(Condition::unless(
                    programmed.as_ref(),
                    "Programmed",
                    generation,
                    format!("listener {name} is configured on port {port}"),
                )),
                Some(Condition::unless(
                    self.unresolved.as_ref(),
                    "ResolvedRefs",
                    generation,
                    format!("everything that listener {name} refers to is there"),
                )),
            ]
            .into_iter()
            .flatten()
            .collect(),
        }
    }

    /// Negative polarity, absent when false: "this is a negative polarity condition and MUST NOT be set when it is False".
    fn overlapping(&self, generation: Option<i64>) -> Option<Condition> {
        let Fault { reason, message } = self.overlap.clone()?;
        Some(Condition {
            kind: "OverlappingTLSConfig",
            status: Truth::True,
            reason,
            message,
            observed_generation: generation,
        })
    }

    /// Negative polarity, but always set.
    fn conflicted(&self, generation: Option<i64>) -> Condition {
        let (status, reason, message) = match &self.conflict {
            Some(fault) => (Truth::True, fault.reason, fault.message.clone()),
            None => {
                let message = format!("listener {} clashes with no other of its Gateway", self.spec.name);
                (Truth::False, "NoConflicts", message)
            }
        };
        Condition { kind: "Conflicted", status, reason, message, observed_generation: generation }
    }
}

fn hostname(spec: &GatewayListeners) -> Result<Option<Hostname>, Fault> {
    let Some(text) = spec.hostname.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|error| Fault::new("UnsupportedValue", format!("listener {}: {error}", spec.name)))
}

fn protocol_fault(spec: &GatewayListeners) -> Option<Fault> {
    let (name, protocol) = (&spec.name, &spec.protocol);
    (![HTTP, HTTPS].contains(&protocol.as_str())).then(|| {
        Fault::new(
            "UnsupportedProtocol",
            format!("listener {name}: protocol {protocol} is not supported by this controller; use {HTTP} or {HTTPS}"),
        )
    })
}

/// One condition tells of both, with the reason of the first.
fn both(first: Option<Fault>, second: Option<Fault>) -> Option<Fault> {
    match (first, second) {
        (Some(first), Some(second)) => Some(Fault::new(first.reason, format!("{}; {}", first.message, second.message))),
        (first, second) => first.or(second),
    }
}

/// The kinds that the protocol can serve and the listener allows; and those it allows in vain.
fn kinds(spec: &GatewayListeners) -> (Vec<RouteKind>, Option<Fault>) {
    let servable: &[RouteKind] = match spec.protocol.as_str() {
        HTTP | HTTPS => &[HTTP_ROUTE, GRPC_ROUTE],
        _ => &[],
    };
    let allowed = spec.allowed_routes.as_ref().and_then(|allowed| allowed.kinds.as_deref()).unwrap_or_default();
    if allowed.is_empty() || servable.is_empty() {
        return (servable.to_vec(), None);
    }
    let group = |group: &Option<String>| group.clone().unwrap_or_else(|| GROUP.to_owned());
    let is_servable = |kind: &RouteKind| allowed.iter().any(|a| a.kind == kind.kind && group(&a.group) == kind.group);
    let kinds: Vec<_> = servable.iter().copied().filter(is_servable).collect();
    let vain = |kind: &str, group: &str| !servable.iter().any(|s| s.kind == kind && s.group == group);
    let vain: Vec<_> = allowed
        .iter()
        .map(|allowed| (&allowed.kind, group(&allowed.group)))
        .filter(|(kind, group)| vain(kind, group))
        .map(|(kind, group)| format!("{kind} of group {group}"))
        .collect();
    let fault = (!vain.is_empty()).then(|| {
        let known =
            servable.iter().map(|kind| format!("{} of group {}", kind.kind, kind.group)).collect::<Vec<_>>().join(", ");
        Fault::new(
            "InvalidRouteKinds",
            format!(
                "listener {}: allowedRoutes.kinds has {}, which protocol {} cannot serve here; it can serve {known}",
                spec.name,
                vain.join(", "),
                spec.protocol
            ),
        )
    });
    (kinds, fault)
}

const HTTP: &str = "HTTP";
const HTTP_ROUTE: RouteKind = RouteKind { group: GROUP, kind: "HTTPRoute" };
const GRPC_ROUTE: RouteKind = RouteKind { group: GROUP, kind: "GRPCRoute" };
