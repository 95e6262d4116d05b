//! What a Gateway asks of the clients of its listeners with HTTPS, port by port.

use std::collections::BTreeMap;

use conf::Clients;

use super::authorities::{BundleRef, Bundles, INVALID_KIND};
use super::grant::Referrer;
use crate::api::ObjectKey;
use crate::api::gateways::{
    GatewayTlsFrontend, GatewayTlsFrontendDefaultValidationMode as DefaultMode,
    GatewayTlsFrontendPerPortTlsValidationMode as PortMode,
};
use crate::status::Fault;

/// Nothing is asked, unless the Gateway says so.
#[derive(Default)]
pub(super) struct Frontend {
    default: Option<Asked>,
    /// Ports where something else is asked, or nothing.
    per_port: BTreeMap<i32, Option<Asked>>,
}

/// What is asked on a port.
pub(super) struct Asked {
    pub(super) required: bool,
    /// None where none of the references can be followed. Clients that should show a certificate and
    /// are not asked for it would be let in, so that such a listener is not served at all.
    pub(super) clients: Option<Clients>,
    /// What is wrong with references.
    pub(super) unresolved: Option<Fault>,
}

impl Frontend {
    pub(super) fn new(gateway: &ObjectKey, spec: Option<&GatewayTlsFrontend>, bundles: &mut Bundles<'_>) -> Self {
        let Some(GatewayTlsFrontend { default, per_port }) = spec else { return Self::default() };
        let default = default.validation.as_ref().map(|validation| {
            let references = validation.ca_certificate_refs.iter().map(|reference| BundleRef {
                group: &reference.group,
                kind: &reference.kind,
                namespace: reference.namespace.as_deref(),
                name: &reference.name,
            });
            Asked::new(gateway, references, validation.mode != Some(DefaultMode::AllowInsecureFallback), bundles)
        });
        let per_port = per_port.iter().flatten().map(|of_port| {
            let asked = of_port.tls.validation.as_ref().map(|validation| {
                let references = validation.ca_certificate_refs.iter().map(|reference| BundleRef {
                    group: &reference.group,
                    kind: &reference.kind,
                    namespace: reference.namespace.as_deref(),
                    name: &reference.name,
                });
                Asked::new(gateway, references, validation.mode != Some(PortMode::AllowInsecureFallback), bundles)
            });
            (of_port.port, asked)
        });
        Self { default, per_port: per_port.collect() }
    }

    pub(super) fn of_port(&self, port: i32) -> Option<&Asked> {
        self.per_port.get(&port).unwrap_or(&self.default).as_ref()
    }

    /// Whether clients are let in somewhere whatever they prove.
    pub(super) fn is_insecure(&self) -> bool {
        let mut all = self.default.iter().chain(self.per_port.values().flatten());
        all.any(|asked| !asked.required)
    }
}

impl Asked {
    fn new<'r>(
        gateway: &ObjectKey,
        references: impl IntoIterator<Item = BundleRef<'r>>,
        required: bool,
        bundles: &mut Bundles<'_>,
    ) -> Self {
        // Whoever holds the listener: the Gateway refers to them.
        let referrer = Referrer { kind: "Gateway", namespace: &gateway.namespace };
        let (authorities, fault) = bundles.resolve_all(referrer, references);
        let reason = |reason| if reason == INVALID_KIND { "InvalidCACertificateKind" } else { reason };
        Self {
            required,
            clients: (!authorities.is_empty()).then_some(Clients { authorities, required }),
            unresolved: fault.map(|fault| Fault::new(reason(fault.reason), fault.message)),
        }
    }

    /// Why a listener that should ask for it cannot be served.
    pub(super) fn fault(&self) -> Option<Fault> {
        let why = match &self.unresolved {
            Some(fault) => fault.message.as_str(),
            None => "caCertificateRefs is empty",
        };
        let message = || format!("none of the authorities of its clients can be had: {why}");
        self.clients.is_none().then(|| Fault::new("NoValidCACertificate", message()))
    }
}
