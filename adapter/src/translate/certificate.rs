//! References of listeners to Secrets: whether they may be followed, and which certificates they
//! lead to.

use std::collections::BTreeMap;
use std::sync::Arc;

use conf::{Certificate, Document, Name};

use super::grant::{self, Referrer};
use super::readings::Readings;
use super::{name, reference};
use crate::api::gateways::GatewayListenersTlsCertificateRefs as CertificateRef;
use crate::api::{ObjectKey, ObjectRef, Secret};
use crate::snapshot::Snapshot;
use crate::status::Fault;

/// The certificates that references lead to, read when they are first asked for.
pub(super) struct Certificates<'a> {
    snapshot: &'a Snapshot,
    readings: Readings<Secret>,
    hosts: BTreeMap<Name, Arc<[String]>>,
}

impl<'a> Certificates<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, readings: Readings<Secret>) -> Self {
        Self { snapshot, readings, hosts: BTreeMap::new() }
    }

    /// What a certificate is for that a reference led to.
    pub(super) fn hosts(&self, name: &Name) -> &[String] {
        self.hosts.get(name).map_or(&[], |hosts| hosts)
    }

    pub(super) fn into_readings(self) -> Readings<Secret> {
        self.readings
    }

    /// The certificate that a reference leads to. Whether a Secret exists, and what it holds, is told
    /// only to those who may refer to it.
    pub(super) fn resolve(&mut self, referrer: Referrer<'_>, reference: &CertificateRef) -> Result<Name, Fault> {
        let kind = reference.kind.as_deref().unwrap_or(SECRET);
        let group = reference.group.as_deref().unwrap_or_default();
        if kind != SECRET || !group.is_empty() {
            let group = if group.is_empty() { "core" } else { group };
            return Err(invalid(format!(
                "{kind} {} of group {group} is no Secret; refer to a Secret of type {TLS}",
                reference.name
            )));
        }
        let key = ObjectKey::new(reference.namespace.as_deref().unwrap_or(referrer.namespace), &reference.name);
        grant::permit(self.snapshot, referrer, &ObjectRef::new(SECRET, &key))?;
        let secret = self.secret(&key)?;
        let name = name::certificate(&key);
        let read = || certificate(&key, name.clone(), secret).map(Document::Certificate);
        if let Document::Certificate(certificate) = &**self.readings.read(&key, secret, read)? {
            self.hosts.entry(name.clone()).or_insert_with(|| certificate.hosts().clone());
        }
        Ok(name)
    }

    fn secret(&self, key: &ObjectKey) -> Result<&'a Arc<Secret>, Fault> {
        if let Some(secret) = self.snapshot.secrets.get(key) {
            return Ok(secret);
        }
        let otherwise = format!("create it with type {TLS}, or correct the reference");
        let remedy = reference::remedy(key, self.snapshot.secrets.keys(), &otherwise);
        Err(invalid(format!("Secret {key} does not exist; {remedy}")))
    }
}

fn certificate(key: &ObjectKey, name: Name, secret: &Secret) -> Result<Certificate, Fault> {
    match secret.type_.as_deref() {
        Some(TLS) => {}
        other => {
            let other = other.unwrap_or("Opaque");
            return Err(invalid(format!("Secret {key} is of type {other}; certificates are in Secrets of type {TLS}")));
        }
    }
    let text = |field: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(field));
        let bytes = bytes.ok_or_else(|| invalid(format!("Secret {key} has no {field}; put {} there", what(field))))?;
        std::str::from_utf8(&bytes.0)
            .map_err(|_| invalid(format!("Secret {key}: {field} is no text; put {} there", what(field))))
    };
    let (chain, private_key) = (text(CHAIN)?, text(KEY)?);
    Certificate::new(name, chain, private_key).map_err(|error| {
        let message = format!("Secret {key}: {error}; put {} into {CHAIN} and {} into {KEY}", what(CHAIN), what(KEY));
        invalid(message)
    })
}

/// What belongs into a field.
fn what(field: &str) -> &'static str {
    match field {
        KEY => "its private key in PEM form",
        _ => "a certificate in PEM form",
    }
}

fn invalid(message: String) -> Fault {
    Fault::new(INVALID_CERTIFICATE_REF, message)
}

pub(super) const INVALID_CERTIFICATE_REF: &str = "InvalidCertificateRef";
const SECRET: &str = "Secret";
const TLS: &str = "kubernetes.io/tls";
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";
