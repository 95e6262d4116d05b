//! Which listeners that one Gateway would serve clash: on one port they must speak protocols that can
//! be told apart from the first bytes, and hosts must tell apart those that speak the same.

use std::collections::{BTreeMap, BTreeSet};

use super::listener::Listener;
use crate::api::gateways::GatewayListeners;
use crate::status::Fault;

/// Tells all that clash. `listeners` are in the order of precedence, those of one holder together: the
/// Gateway's own, then those of its ListenerSets. Of two holders, the first has its way. Among the
/// listeners of one holder nothing decides, so that all that clash are at fault.
pub(super) fn find<'a>(listeners: &mut [Listener<'a>]) {
    let mut taken: Taken<'a> = Taken::default();
    for group in listeners.chunk_by_mut(|one, other| one.holder == other.holder) {
        for listener in &mut *group {
            listener.conflict = taken.conflict(listener.spec);
        }
        let left = group.iter().filter(|listener| listener.conflict.is_none());
        let left: Vec<_> = left.map(|listener| (listener.spec, listener.fault.is_none())).collect();
        for listener in group.iter_mut().filter(|listener| listener.conflict.is_none()) {
            listener.conflict = conflict(listener.spec, left.iter().map(|(spec, _)| *spec));
        }
        for (spec, _) in left.iter().filter(|(_, could_be_served)| *could_be_served) {
            taken.take(spec);
        }
        for listener in group {
            if let Some(conflict) = &listener.conflict {
                listener.fault = Some(conflict.clone());
            }
        }
    }
}

/// What listeners that come first have of their Gateway.
#[derive(Default)]
struct Taken<'a> {
    protocols: BTreeMap<i32, BTreeSet<&'a str>>,
    hosts: BTreeSet<(i32, &'a str, String)>,
}

impl<'a> Taken<'a> {
    fn take(&mut self, spec: &'a GatewayListeners) {
        self.protocols.entry(spec.port).or_default().insert(&spec.protocol);
        self.hosts.insert((spec.port, &spec.protocol, host(spec)));
    }

    /// Who has it is not told: it may be in a namespace that is nobody's business here.
    fn conflict(&self, spec: &GatewayListeners) -> Option<Fault> {
        let (name, port, protocol) = (&spec.name, spec.port, spec.protocol.as_str());
        let mut others = self.protocols.get(&port).into_iter().flatten();
        if let Some(other) = others.find(|other| excludes(protocol, other)) {
            return Some(Fault::new(
                PROTOCOL,
                format!(
                    "listener {name} ({protocol}): port {port} is for {other}, by a listener of the Gateway or of a ListenerSet that comes before; give it another port"
                ),
            ));
        }
        let host = host(spec);
        let hosts = hosts(&host);
        self.hosts.contains(&(port, protocol, host)).then(|| {
            Fault::new(
                HOSTNAME,
                format!(
                    "listener {name}: a listener of the Gateway or of a ListenerSet that comes before is {hosts} on port {port} as well; give it another hostname or port"
                ),
            )
        })
    }
}

/// With the first of the others that a listener clashes with.
fn conflict<'a>(spec: &GatewayListeners, all: impl Iterator<Item = &'a GatewayListeners> + Clone) -> Option<Fault> {
    let mut neighbours = all.filter(|other| other.name != spec.name && other.port == spec.port);
    let (name, port) = (&spec.name, spec.port);
    if let Some(other) = neighbours.clone().find(|other| excludes(&spec.protocol, &other.protocol)) {
        return Some(Fault::new(
            PROTOCOL,
            format!(
                "listeners {name} ({}) and {} ({}) cannot share port {port}; give one of them another port",
                spec.protocol, other.name, other.protocol
            ),
        ));
    }
    let host = host(spec);
    let other = neighbours.find(|other| other.protocol == spec.protocol && self::host(other) == host)?;
    Some(Fault::new(
        HOSTNAME,
        format!(
            "listeners {name} and {} are both {} on port {port}; give one of them another hostname or port",
            other.name,
            hosts(&host)
        ),
    ))
}

fn host(spec: &GatewayListeners) -> String {
    spec.hostname.as_deref().unwrap_or_default().to_ascii_lowercase()
}

fn hosts(host: &str) -> String {
    if host.is_empty() { "for all hosts".to_owned() } else { format!("for {host}") }
}

/// Whether two protocols cannot share a port. What we do not know, we do not blame.
fn excludes(one: &str, other: &str) -> bool {
    let class = |protocol| match protocol {
        "HTTP" => Some(0),
        "HTTPS" | "TLS" => Some(1),
        "TCP" => Some(2),
        // UDP has ports of its own.
        _ => None,
    };
    class(one).zip(class(other)).is_some_and(|(one, other)| one != other)
}

const PROTOCOL: &str = "ProtocolConflict";
const HOSTNAME: &str = "HostnameConflict";
