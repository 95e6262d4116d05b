//! What listeners with protocol HTTPS ask of TLS.

use conf::Name;

use super::certificate::{Certificates, INVALID_CERTIFICATE_REF};
use super::grant::Referrer;
use super::listener::Listener;
use crate::api::gateways::{GatewayListeners, GatewayListenersTlsMode as Mode, GatewayTlsFrontend};
use crate::status::Fault;

/// What is asked of TLS and cannot be had. Clients that should show a certificate and are not asked
/// for it would be let in, so that such a listener is not served at all.
pub(super) fn fault(spec: &GatewayListeners, frontend: Option<&GatewayTlsFrontend>) -> Option<Fault> {
    if spec.protocol != HTTPS {
        return None;
    }
    let (name, port) = (&spec.name, spec.port);
    if spec.tls.as_ref().is_some_and(|tls| tls.mode == Some(Mode::Passthrough)) {
        let message = format!(
            "listener {name}: tls.mode Passthrough leaves protocol {HTTPS} no requests to route; use Terminate"
        );
        return Some(Fault::new("UnsupportedValue", message));
    }
    let of_port = frontend.and_then(|frontend| frontend.per_port.iter().flatten().find(|of_port| of_port.port == port));
    let is_wanted = match of_port {
        Some(of_port) => of_port.tls.validation.is_some(),
        None => frontend.is_some_and(|frontend| frontend.default.validation.is_some()),
    };
    is_wanted.then(|| {
        let message = format!(
            "listener {name}: the Gateway's tls.frontend asks clients on port {port} for certificates, which this controller cannot check; remove it"
        );
        Fault::new("UnsupportedValue", message)
    })
}

/// The certificates that the listener's references lead to; and those that lead nowhere.
pub(super) fn certificates(
    spec: &GatewayListeners,
    referrer: Referrer<'_>,
    certificates: &mut Certificates<'_>,
) -> (Vec<Name>, Option<Fault>) {
    let references = spec.tls.as_ref().and_then(|tls| tls.certificate_refs.as_deref()).unwrap_or_default();
    let name = &spec.name;
    if references.is_empty() {
        let message =
            format!("listener {name}: protocol {HTTPS} needs a certificate; name a Secret in tls.certificateRefs");
        return (Vec::new(), Some(Fault::new(INVALID_CERTIFICATE_REF, message)));
    }
    let mut found: Vec<Name> = Vec::new();
    let mut faults: Vec<Fault> = Vec::new();
    for reference in references {
        match certificates.resolve(referrer, reference) {
            Ok(certificate) if found.contains(&certificate) => {}
            Ok(certificate) => found.push(certificate),
            Err(fault) => faults.push(fault),
        }
    }
    let messages = faults.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("; ");
    let fault = faults.first().map(|fault| Fault::new(fault.reason, format!("listener {name}: {messages}")));
    (found, fault)
}

/// Tells each listener of the others of its port whose hosts one connection may be for as well: a
/// client that has shaken hands with one of them may send it requests for another.
pub(super) fn tell_overlaps(listeners: &mut [Listener<'_>]) {
    let overlaps: Vec<_> = listeners.iter().map(|listener| overlap(listener, listeners)).collect();
    for (listener, overlap) in listeners.iter_mut().zip(overlaps) {
        listener.overlap = overlap;
    }
}

fn overlap(listener: &Listener<'_>, all: &[Listener<'_>]) -> Option<String> {
    let spec = listener.spec;
    if spec.protocol != HTTPS {
        return None;
    }
    let is_neighbour = |other: &&Listener<'_>| {
        !std::ptr::eq(other.spec, spec) && other.spec.port == spec.port && other.spec.protocol == HTTPS
    };
    let intersects = |other: &&Listener<'_>| match (&listener.hostname, &other.hostname) {
        (Some(one), Some(other)) => one.intersection(other).is_some(),
        _ => true,
    };
    let others = all.iter().filter(is_neighbour).filter(intersects);
    let name = |other: &Listener<'_>| match other.holder == listener.holder {
        true => other.spec.name.clone(),
        // Its name may be nobody's business here.
        false => format!("of a listener of a {}", other.holder.kind),
    };
    let mut others: Vec<_> = others.map(name).collect();
    others.dedup();
    let others = others.join(", ");
    (!others.is_empty()).then(|| {
        format!(
            "the hostnames of listener {} and of {others} overlap; requests for the one on a connection with the other are answered 421",
            spec.name
        )
    })
}

pub(super) const HTTPS: &str = "HTTPS";
