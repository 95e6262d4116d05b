//! What listeners with protocol HTTPS ask of TLS.

use conf::Name;

use super::certificate::{Certificates, INVALID_CERTIFICATE_REF};
use super::grant::Referrer;
use super::reference;
use crate::api::gateways::{GatewayListeners, GatewayListenersTlsMode as Mode};
use crate::status::Fault;

/// What is asked of TLS and cannot be had.
pub(super) fn fault(spec: &GatewayListeners) -> Option<Fault> {
    let is_passed_through = spec.tls.as_ref().is_some_and(|tls| tls.mode == Some(Mode::Passthrough));
    (spec.protocol == HTTPS && is_passed_through).then(|| {
        let name = &spec.name;
        let message = format!(
            "listener {name}: tls.mode Passthrough leaves protocol {HTTPS} no requests to route; use Terminate"
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
    let resolved = references.iter().map(|reference| certificates.resolve(referrer, reference));
    let (found, fault) = reference::each_once(resolved);
    let fault = fault.map(|fault| Fault::new(fault.reason, format!("listener {name}: {}", fault.message)));
    (found, fault)
}

pub(super) const HTTPS: &str = "HTTPS";
