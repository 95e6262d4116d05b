//! BackendTLSPolicies: what the endpoints of Services must prove, and what is told of that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use conf::{BackendTls, Document, SubjectAltName};

use super::authorities::{BundleRef, Bundles};
use super::grant::Referrer;
use super::name;
use crate::api::backend_tls_policy::{self as api, BackendTlsPolicy, TargetRef};
use crate::api::http_route::ParentRef;
use crate::api::{CONTROLLER_NAME, GROUP, ObjectKey, ObjectRef};
use crate::snapshot::Snapshot;
use crate::status::{AncestorStatus, Condition, Content, Fault, PolicyStatus, Status};

/// All policies, and which is whose.
pub(super) struct Policies<'a> {
    policies: BTreeMap<&'a ObjectKey, Policy<'a>>,
    /// The policies of a target in the order of precedence: the first one counts.
    by_target: BTreeMap<Target, Vec<&'a ObjectKey>>,
}

/// A Service, or one port of it by its name.
pub(super) type Target = (ObjectKey, Option<String>);

/// What a policy demands, or why that is not known.
pub(super) type Demand = (ObjectKey, Result<BackendTls, Fault>);

struct Policy<'a> {
    object: &'a BackendTlsPolicy,
    /// What it demands, or why that is not known.
    tls: Result<BackendTls, Fault>,
    unresolved: Option<Fault>,
    /// All that it is for belongs to policies that come before it.
    conflict: Option<Fault>,
    /// Those of ours whose routes lead to what it is for.
    gateways: BTreeSet<ObjectKey>,
}

impl<'a> Policies<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, bundles: &mut Bundles<'_>) -> Self {
        let mut ordered: Vec<_> = snapshot.tls_policies.iter().collect();
        ordered.sort_by_cached_key(|(key, policy)| name::order(&policy.metadata, key));
        let mut all = Self { policies: BTreeMap::new(), by_target: BTreeMap::new() };
        for (key, object) in ordered {
            let mut owners = BTreeSet::new();
            let (mut targets, mut lost) = (0, 0);
            for target in object.spec.target_refs.iter().filter_map(|target| target_of(key, target)) {
                let policies = all.by_target.entry(target).or_default();
                targets += 1;
                if let Some(owner) = policies.first() {
                    lost += 1;
                    owners.insert(owner.to_string());
                }
                policies.push(key);
            }
            let (tls, unresolved) = demand(key, object, bundles);
            let conflict = (targets > 0 && lost == targets).then(|| {
                let owners = owners.into_iter().collect::<Vec<_>>().join(", ");
                Fault::new(
                    "Conflicted",
                    format!("what it is for belongs to {owners} already, which comes first by age and name"),
                )
            });
            all.policies.insert(key, Policy { object, tls, unresolved, conflict, gateways: BTreeSet::new() });
        }
        all
    }

    /// What the endpoints behind a port must prove: none without a policy, a fault where it is not
    /// known, and then nothing may be sent to them. The policy of a port comes before that of its Service.
    pub(super) fn demanded(&self, service: &ObjectKey, port: &str) -> Result<Option<&BackendTls>, Fault> {
        let [of_port, of_all] = targets(service, port).map(|target| self.by_target.get(&target)?.first());
        let Some(key) = of_port.or(of_all) else { return Ok(None) };
        match &self.policies[key].tls {
            Ok(tls) => Ok(Some(tls)),
            Err(fault) => Err(Fault::new(fault.reason, told(key, &fault.message))),
        }
    }

    pub(super) fn are_none(&self) -> bool {
        self.policies.is_empty()
    }

    /// What is demanded for each target.
    pub(super) fn demands(&self) -> impl Iterator<Item = (Target, Demand)> {
        let first = self.by_target.iter().filter_map(|(target, policies)| Some((target, *policies.first()?)));
        first.map(|(target, key)| (target.clone(), (key.clone(), self.policies[key].tls.clone())))
    }

    /// Routes of these Gateways lead to the port.
    pub(super) fn reached<'g>(
        &mut self,
        service: &ObjectKey,
        port: &str,
        gateways: impl IntoIterator<Item = &'g ObjectKey> + Clone,
    ) {
        for target in targets(service, port) {
            for key in self.by_target.get(&target).into_iter().flatten() {
                if let Some(policy) = self.policies.get_mut(key) {
                    policy.gateways.extend(gateways.clone().into_iter().cloned());
                }
            }
        }
    }

    /// Of those that are for something which our Gateways lead to.
    pub(super) fn statuses(&self) -> impl Iterator<Item = Status> {
        let concerned = self.policies.iter().filter(|(_, policy)| !policy.gateways.is_empty());
        concerned.map(|(key, policy)| policy.status(key))
    }
}

impl Policy<'_> {
    fn status(&self, key: &ObjectKey) -> Status {
        let generation = self.object.metadata.generation;
        let of_policy = |fault: &Fault| Fault::new(fault.reason, told(key, &fault.message));
        let fault = self.conflict.as_ref().or(self.tls.as_ref().err()).map(of_policy);
        let unresolved = self.unresolved.as_ref().map(of_policy);
        let conditions = [
            Condition::unless(fault.as_ref(), "Accepted", generation, told(key, "it is in force")),
            Condition::unless(
                unresolved.as_ref(),
                "ResolvedRefs",
                generation,
                told(key, "everything that it refers to is there"),
            ),
        ];
        let ancestors = self.gateways.iter().take(MOST_ANCESTORS).map(|gateway| AncestorStatus {
            ancestor_ref: ParentRef {
                group: GROUP.to_owned(),
                kind: "Gateway".to_owned(),
                namespace: Some(gateway.namespace.clone()),
                name: gateway.name.clone(),
                section_name: None,
                port: None,
            },
            controller_name: CONTROLLER_NAME,
            conditions: conditions.to_vec(),
        });
        let content = Arc::new(Content::Policy(PolicyStatus { ancestors: ancestors.collect() }));
        Status { object: ObjectRef::new(KIND, key), content }
    }
}

fn told(key: &ObjectKey, message: &str) -> String {
    format!("{KIND} {key}: {message}")
}

fn target_of(policy: &ObjectKey, target: &TargetRef) -> Option<Target> {
    let is_service = target.group.is_empty() && target.kind == "Service";
    is_service.then(|| (ObjectKey::new(&policy.namespace, &target.name), target.section_name.clone()))
}

fn targets(service: &ObjectKey, port: &str) -> [Target; 2] {
    [(service.clone(), Some(port.to_owned())), (service.clone(), None)]
}

/// What a policy demands, or why that is not known; and what it refers to in vain.
fn demand(
    key: &ObjectKey,
    policy: &BackendTlsPolicy,
    bundles: &mut Bundles<'_>,
) -> (Result<BackendTls, Fault>, Option<Fault>) {
    let api::Validation { ca_certificate_refs, well_known_ca_certificates, hostname, subject_alt_names } =
        &policy.spec.validation;
    let references = ca_certificate_refs.iter().map(|reference| BundleRef {
        group: &reference.group,
        kind: &reference.kind,
        namespace: None,
        name: &reference.name,
    });
    let (found, unresolved) = bundles.resolve_all(Referrer { kind: KIND, namespace: &key.namespace }, references);
    let authorities = match well_known_ca_certificates.as_deref().filter(|text| !text.is_empty()) {
        None if found.is_empty() => Err(Fault::new(
            "NoValidCACertificate",
            match &unresolved {
                Some(fault) => format!("validation.caCertificateRefs: {}", fault.message),
                None => "validation names no authority; name a ConfigMap in caCertificateRefs".to_owned(),
            },
        )),
        None => Ok(Some(found)),
        Some(_) if !ca_certificate_refs.is_empty() => {
            Err(invalid("validation: caCertificateRefs and wellKnownCACertificates exclude each other; remove one"))
        }
        Some("System") => Ok(None),
        Some(other) => {
            Err(invalid(format!("validation.wellKnownCACertificates: {other} is not supported; use System")))
        }
    };
    let names = subject_alt_names.iter().enumerate().map(|(i, name)| {
        subject_alt_name(name).map_err(|why| invalid(format!("validation.subjectAltNames[{i}]: {why}")))
    });
    let tls = authorities.and_then(|authorities| {
        let server_name = hostname.parse().map_err(|error| invalid(format!("validation.hostname: {error}")))?;
        checked(BackendTls { server_name, authorities, subject_alt_names: names.collect::<Result<_, _>>()? })
    });
    (tls, unresolved)
}

fn subject_alt_name(name: &api::SubjectAltName) -> Result<SubjectAltName, String> {
    match name.kind.as_str() {
        "Hostname" => name.hostname.parse().map(SubjectAltName::Hostname).map_err(|error| format!("hostname: {error}")),
        "URI" if name.uri.is_empty() => Err("uri is missing".to_owned()),
        "URI" => Ok(SubjectAltName::Uri(name.uri.clone())),
        other => Err(format!("type {other} is not supported; use Hostname or URI")),
    }
}

/// What a backend's document may not say, a policy may not.
fn checked(tls: BackendTls) -> Result<BackendTls, Fault> {
    let backend = conf::Backend {
        name: name::rule("backend"),
        protocol: conf::Protocol::default(),
        endpoints: Vec::new(),
        tls: Some(tls.clone()),
    };
    match conf::problems(&Document::Backend(backend)).first() {
        Some(problem) => Err(invalid(problem.replacen("tls.serverName", "validation.hostname", 1))),
        None => Ok(tls),
    }
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new("Invalid", message)
}

const KIND: &str = "BackendTLSPolicy";
/// What the API server takes.
const MOST_ANCESTORS: usize = 16;
