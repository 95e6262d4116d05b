//! References to ConfigMaps with certificates of authorities: whether they may be followed, and what
//! they lead to.

use std::sync::Arc;

use conf::{Authorities, Document, Name};

use super::grant::{self, Referrer};
use super::readings::Readings;
use super::{name, reference};
use crate::api::{BUNDLE, ConfigMap, ObjectKey, ObjectRef};
use crate::snapshot::Snapshot;
use crate::status::Fault;

/// The authorities that references lead to, read when they are first asked for.
pub(super) struct Bundles<'a> {
    snapshot: &'a Snapshot,
    readings: Readings<ConfigMap>,
}

/// A reference, whichever object has it.
#[derive(Clone, Copy)]
pub(super) struct BundleRef<'r> {
    pub(super) group: &'r str,
    pub(super) kind: &'r str,
    pub(super) namespace: Option<&'r str>,
    pub(super) name: &'r str,
}

impl<'a> Bundles<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, readings: Readings<ConfigMap>) -> Self {
        Self { snapshot, readings }
    }

    pub(super) fn into_readings(self) -> Readings<ConfigMap> {
        self.readings
    }

    /// What some references lead to, each once; and, with the reason of the first, what is wrong with
    /// the others.
    pub(super) fn resolve_all<'r>(
        &mut self,
        referrer: Referrer<'_>,
        references: impl IntoIterator<Item = BundleRef<'r>>,
    ) -> (Vec<Name>, Option<Fault>) {
        reference::each_once(references.into_iter().map(|reference| self.resolve(referrer, reference)))
    }

    /// Whether a ConfigMap exists, and what it holds, is told only to those who may refer to it.
    fn resolve(&mut self, referrer: Referrer<'_>, reference: BundleRef<'_>) -> Result<Name, Fault> {
        let BundleRef { group, kind, namespace, name } = reference;
        if kind != CONFIG_MAP || !group.is_empty() {
            let group = if group.is_empty() { "core" } else { group };
            let message = format!("{kind} {name} of group {group} is no ConfigMap; refer to a ConfigMap with {BUNDLE}");
            return Err(Fault::new(INVALID_KIND, message));
        }
        let key = ObjectKey::new(namespace.unwrap_or(referrer.namespace), name);
        grant::permit(self.snapshot, referrer, &ObjectRef::new(CONFIG_MAP, &key))?;
        let config_map = self.config_map(&key)?;
        let name = name::authorities(&key);
        self.readings
            .read(&key, config_map, || authorities(&key, name.clone(), config_map).map(Document::Authorities))?;
        Ok(name)
    }

    fn config_map(&self, key: &ObjectKey) -> Result<&'a Arc<ConfigMap>, Fault> {
        if let Some(config_map) = self.snapshot.config_maps.get(key) {
            return Ok(config_map);
        }
        let remedy = reference::remedy(key, self.snapshot.config_maps.keys(), "create it or correct the reference");
        Err(invalid(format!("ConfigMap {key} does not exist; {remedy}")))
    }
}

fn authorities(key: &ObjectKey, name: Name, config_map: &ConfigMap) -> Result<Authorities, Fault> {
    let text = config_map.data.as_ref().and_then(|data| data.get(BUNDLE));
    let text = text.ok_or_else(|| invalid(format!("ConfigMap {key} has no {BUNDLE}; {REMEDY}")))?;
    Authorities::new(name, text).map_err(|error| invalid(format!("ConfigMap {key}: {BUNDLE}: {error}; {REMEDY}")))
}

fn invalid(message: String) -> Fault {
    Fault::new(INVALID_REF, message)
}

const REMEDY: &str = "put the certificates of authorities there, in PEM form";
const CONFIG_MAP: &str = "ConfigMap";
pub(super) const INVALID_KIND: &str = "InvalidKind";
const INVALID_REF: &str = "InvalidCACertificateRef";
