//! Whether one namespace lets objects of another refer to what is in it.

use crate::api::{GROUP, ObjectRef};
use crate::snapshot::Snapshot;
use crate::status::Fault;

/// Who refers to something, as ReferenceGrants name it. It is of the Gateway API's group.
#[derive(Clone, Copy)]
pub(super) struct Referrer<'r> {
    pub(super) kind: &'static str,
    pub(super) namespace: &'r str,
}

/// Permits a reference to an object of the core group within a namespace, or that a grant in the
/// object's namespace permits. Whether the object exists does not matter.
pub(super) fn permit(snapshot: &Snapshot, referrer: Referrer<'_>, target: &ObjectRef) -> Result<(), Fault> {
    let namespace = &target.key.namespace;
    if referrer.namespace == namespace || is_granted(snapshot, referrer, target) {
        return Ok(());
    }
    let message = format!(
        "{} objects of namespace {} may not refer to {target}; a ReferenceGrant in namespace {namespace} would permit it",
        referrer.kind, referrer.namespace
    );
    Err(Fault::new("RefNotPermitted", message))
}

fn is_granted(snapshot: &Snapshot, referrer: Referrer<'_>, target: &ObjectRef) -> bool {
    let mut grants = snapshot.grants.iter().filter(|(key, _)| key.namespace == target.key.namespace);
    grants.any(|(_, grant)| {
        let is_from = grant
            .spec
            .from
            .iter()
            .any(|from| from.group == GROUP && from.kind == referrer.kind && from.namespace == referrer.namespace);
        let is_to = grant.spec.to.iter().any(|to| {
            let names = to.name.as_deref().filter(|name| !name.is_empty());
            to.group.is_empty() && to.kind == target.kind && names.is_none_or(|name| name == target.key.name)
        });
        is_from && is_to
    })
}
