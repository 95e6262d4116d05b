//! Makes the Services and EndpointSlices that Gateways need, and removes what they need no longer.
//!
//! [`changes`] finds what is to be done, and knows nothing of how; [`Own`] does it, and knows when
//! it was last tried.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api::{EndpointSlice, ObjectKey, ObjectRef, Service};
use crate::hash::fnv1a;
use crate::owned::{self, Objects};
use crate::snapshot::{ByKey, Snapshot};

/// One object that is not as it should be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) object: ObjectRef,
    pub(super) action: Action,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    Create(Value),
    /// Holds the object's uid, so that nothing is done to another one of its name.
    Update(Value),
    Delete {
        uid: String,
    },
}

/// What leads from the snapshot to what is wanted. Objects that others made are let alone, and
/// so are fields that others set in ours.
pub(super) fn changes(wanted: &Objects, snapshot: &Snapshot) -> Vec<Change> {
    let Objects { services, slices, settled } = wanted;
    let mut changes = Vec::new();
    // An EndpointSlice without its Service is of no use and does no harm.
    changes.extend(changes_of("Service", services, &snapshot.services, settled));
    changes.extend(changes_of("EndpointSlice", slices, &snapshot.slices, settled));
    changes.retain(|change| !matches!(change.action, Action::Create(_)) || !is_ending(&change.object.key, snapshot));
    changes
}

/// Nothing can be made in a namespace that is being deleted. Its Gateways go a little later than what
/// was made for them.
fn is_ending(object: &ObjectKey, snapshot: &Snapshot) -> bool {
    let namespace = snapshot.namespaces.get(&ObjectKey::new("", &object.namespace));
    namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some())
}

fn changes_of<T: kube::Resource<DynamicType = ()> + Serialize>(
    kind: &'static str,
    wanted: &BTreeMap<ObjectKey, T>,
    present: &ByKey<T>,
    settled: &BTreeSet<ObjectKey>,
) -> Vec<Change> {
    let to_set = wanted.iter().filter_map(|(key, wanted)| {
        let action = match present.get(key) {
            None => Action::Create(marked(wanted)),
            Some(present) => update(wanted, present)?,
        };
        Some(Change { object: ObjectRef::new(kind, key), action })
    });
    let obsolete = present.iter().filter(|(key, object)| {
        let gateway = owned::gateway(object.meta()).map(|name| ObjectKey::new(&key.namespace, name));
        !wanted.contains_key(key) && gateway.is_some_and(|gateway| settled.contains(&gateway))
    });
    let to_delete = obsolete.map(|(key, object)| {
        let uid = object.meta().uid.clone().unwrap_or_default();
        Change { object: ObjectRef::new(kind, key), action: Action::Delete { uid } }
    });
    to_set.chain(to_delete).collect()
}

/// None where all that is wanted is there, and what was wanted before and is no longer is not.
fn update<T: kube::Resource<DynamicType = ()> + Serialize>(wanted: &T, present: &T) -> Option<Action> {
    owned::gateway(present.meta())?;
    let mut wanted = marked(wanted);
    if covers(&value(present), &wanted) {
        return None;
    }
    wanted["metadata"]["uid"] = present.meta().uid.clone().unwrap_or_default().into();
    Some(Action::Update(wanted))
}

/// Adds a hash of the contents as an annotation. A field that we no longer set cannot be told from one
/// that others have set; the hash tells that something has changed.
fn marked<T: Serialize>(wanted: &T) -> Value {
    let mut wanted = value(wanted);
    let mark = format!("{:016x}", fnv1a(wanted.to_string().as_bytes()));
    wanted["metadata"]["annotations"][MARK] = mark.into();
    wanted
}

fn value(object: &impl Serialize) -> Value {
    serde_json::to_value(object).expect("objects of the API are maps with text keys, which JSON can always hold")
}

/// Whether one has all that the other has. The API server is free in the order of lists.
fn covers(present: &Value, wanted: &Value) -> bool {
    match (present, wanted) {
        (Value::Object(present), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| present.get(name).is_some_and(|present| covers(present, wanted)))
        }
        (Value::Array(present), Value::Array(wanted)) => {
            let in_order = || present.iter().zip(wanted).all(|(present, wanted)| covers(present, wanted));
            let in_any_order = || wanted.iter().all(|wanted| present.iter().any(|present| covers(present, wanted)));
            present.len() == wanted.len() && (in_order() || in_any_order())
        }
        _ => present == wanted,
    }
}

/// The one who makes changes, several at a time and one of each object.
pub(super) struct Own {
    client: Client,
    attempts: BTreeMap<ObjectRef, Attempt>,
    running: JoinSet<Done>,
}

/// The last attempt at an object. It is forgotten when nothing more is to be done.
#[derive(Debug)]
struct Attempt {
    change: Change,
    /// How often this very change was tried.
    count: u32,
    /// None while it is under way.
    not_before: Option<Instant>,
    refusal: Option<String>,
}

/// How an attempt has ended.
#[derive(Debug)]
pub(super) struct Done {
    object: ObjectRef,
    result: Result<(), kube::Error>,
}

impl Own {
    pub(super) fn new(client: Client) -> Self {
        Self { client, attempts: BTreeMap::new(), running: JoinSet::new() }
    }

    /// Starts every change that is due. One that is still wanted after an attempt has failed, was
    /// undone, or is not visible yet; it is tried again later.
    pub(super) fn act(&mut self, wanted: &Objects, snapshot: &Snapshot, now: Instant) {
        let changes = changes(wanted, snapshot);
        let objects: BTreeSet<&ObjectRef> = changes.iter().map(|change| &change.object).collect();
        self.attempts.retain(|object, attempt| attempt.not_before.is_none() || objects.contains(object));
        for change in changes {
            if self.running.len() >= MOST_AT_ONCE {
                return;
            }
            let previous = self.attempts.get(&change.object);
            let (count, refusal) = match previous {
                Some(previous) if previous.not_before.is_none() => continue,
                Some(previous) if previous.change == change => {
                    if previous.not_before.is_some_and(|not_before| now < not_before) {
                        continue;
                    }
                    (previous.count + 1, previous.refusal.clone())
                }
                _ => (1, None),
            };
            self.running.spawn(run(self.client.clone(), change.clone()));
            self.attempts.insert(change.object.clone(), Attempt { change, count, not_before: None, refusal });
        }
    }

    /// The end of an attempt. Never ready while none is under way.
    pub(super) async fn done(&mut self) -> Done {
        match self.running.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => std::future::pending().await,
        }
    }

    pub(super) fn settle(&mut self, done: Done, now: Instant) {
        let Done { object, result } = done;
        let Some(attempt) = self.attempts.get_mut(&object) else { return };
        let pause = pause(attempt.count);
        attempt.not_before = Some(now + pause);
        attempt.refusal = result.err().map(|error| super::answer(&error));
        match &attempt.refusal {
            Some(refusal) => log::warn!("{object}: {refusal}; tried again in {} s at the latest", pause.as_secs()),
            None => log::info!("{object} is {}", attempt.change.action.participle()),
        }
    }

    /// When to act again if nothing happens until then.
    pub(super) fn due(&self) -> Option<Instant> {
        let has_room = self.running.len() < MOST_AT_ONCE;
        self.attempts.values().filter(|_| has_room).filter_map(|attempt| attempt.not_before).min()
    }

    /// What has failed more than once, and why, for the status of Gateways.
    pub(super) fn refused(&self) -> BTreeMap<ObjectRef, String> {
        let persistent = self.attempts.values().filter(|attempt| attempt.count > 1);
        persistent.filter_map(|attempt| Some((attempt.change.object.clone(), attempt.refusal.clone()?))).collect()
    }
}

impl Action {
    fn participle(&self) -> &'static str {
        match self {
            Self::Create(_) => "made",
            Self::Update(_) => "brought up to date",
            Self::Delete { .. } => "deleted",
        }
    }
}

async fn run(client: Client, change: Change) -> Done {
    let Change { object, action } = change;
    let resource = match object.kind {
        "Service" => ApiResource::erase::<Service>(&()),
        _ => ApiResource::erase::<EndpointSlice>(&()),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client, &object.key.namespace, &resource);
    let name = &object.key.name;
    let result = match action {
        // Not forced: what is there in the meantime is somebody else's.
        Action::Create(value) => {
            api.patch(name, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(value)).await.map(drop)
        }
        Action::Update(value) => {
            api.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(value)).await.map(drop)
        }
        Action::Delete { uid } => {
            let preconditions = Preconditions { uid: Some(uid), resource_version: None };
            match api
                .delete(name, &DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() })
                .await
            {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                result => result.map(drop),
            }
        }
    };
    Done { object, result }
}

/// From a second to a minute.
fn pause(count: u32) -> Duration {
    Duration::from_secs(1 << count.saturating_sub(1).min(6)).min(LONGEST_PAUSE)
}

const FIELD_MANAGER: &str = "doppel-adapter";
const MARK: &str = "doppel.dev/contents";
const MOST_AT_ONCE: usize = 16;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::CLASS;
    use crate::translate::{Addresses, Options, ServiceType, translate};

    const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: default, uid: web-uid}
spec:
  gatewayClassName: doppel
  infrastructure: {labels: {team: blue}}
  listeners: [{name: http, port: 80, protocol: HTTP}]
---";
    const PODS: &str = "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: doppel-gateway-abc, namespace: doppel-system, labels: {kubernetes.io/service-name: doppel-gateway}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.7]}]
---";

    fn snapshot(parts: &[&str]) -> Snapshot {
        let (snapshot, warnings) = Snapshot::from_manifests(&parts.concat());
        assert_eq!(warnings, []);
        snapshot
    }

    fn wanted(snapshot: &Snapshot) -> Objects {
        let gateway_service = ObjectKey::new("doppel-system", "doppel-gateway");
        let addresses = Addresses::Service { service_type: ServiceType::LoadBalancer, gateway_service };
        translate(snapshot, &Options { addresses, ..Options::default() }).objects
    }

    /// The snapshot as it is once all that it asks for has been done, and the API server has given
    /// each object a uid and a field of its own.
    fn settled(mut snapshot: Snapshot) -> Snapshot {
        for change in changes(&wanted(&snapshot), &snapshot) {
            let Action::Create(mut value) = change.action else { panic!("{change:?}") };
            value["metadata"]["uid"] = format!("{}-uid", change.object.key.name).into();
            if change.object.kind == "Service" {
                value["spec"]["clusterIP"] = "10.96.0.7".into();
                value["spec"]["ports"][0]["nodePort"] = 30080.into();
            }
            snapshot.insert(crate::api::Object::read(value).unwrap());
        }
        snapshot
    }

    /// What is to be done, in short.
    fn check(snapshot: &Snapshot) -> Vec<String> {
        let what = |change: &Change| match &change.action {
            Action::Create(_) => format!("create {}", change.object),
            Action::Update(value) => format!("update {} {}", change.object, value["metadata"]["uid"]),
            Action::Delete { uid } => format!("delete {} {uid:?}", change.object),
        };
        changes(&wanted(snapshot), snapshot).iter().map(what).collect()
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_there_is_let_be() {
        let before = snapshot(&[CLASS, GATEWAY, PODS]);
        let slice = "EndpointSlice default/web-doppel-ipv4-1";
        assert_eq!(check(&before), ["create Service default/web-doppel".to_owned(), format!("create {slice}")]);
        let after = settled(before);
        assert_eq!(check(&after), [""; 0]);
    }

    #[test]
    fn nothing_is_made_in_a_namespace_that_ends() {
        const ENDING: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: default, deletionTimestamp: 2026-01-01T00:00:00Z}
---";
        assert_eq!(check(&snapshot(&[CLASS, GATEWAY, PODS, ENDING])), [""; 0]);
        let others = ENDING.replace("default", "other");
        assert_eq!(check(&snapshot(&[CLASS, GATEWAY, PODS, &others])).len(), 2);
    }

    #[test]
    fn what_is_wanted_no_longer_or_changed_by_others_is_brought_up_to_date() {
        let mut present = settled(snapshot(&[CLASS, GATEWAY, PODS]));
        present.insert(crate::manifest::parse(&GATEWAY.replace("{labels: {team: blue}}", "{}")).objects.remove(0).1);
        let both = [
            r#"update Service default/web-doppel "web-doppel-uid""#,
            r#"update EndpointSlice default/web-doppel-ipv4-1 "web-doppel-ipv4-1-uid""#,
        ];
        assert_eq!(check(&present), both);

        let mut present = settled(snapshot(&[CLASS, GATEWAY, PODS]));
        service_spec(&mut present).external_traffic_policy = Some("Cluster".to_owned());
        assert_eq!(check(&present), both[..1]);
        let annotations = service_annotations(&mut present);
        annotations.insert("load-balancer.example.com/id".to_owned(), "7".to_owned());
        service_spec(&mut present).external_traffic_policy = Some("Local".to_owned());
        assert_eq!(check(&present), [""; 0], "others may add to it");
    }

    fn service_annotations(snapshot: &mut Snapshot) -> &mut BTreeMap<String, String> {
        service(snapshot).metadata.annotations.as_mut().unwrap()
    }

    fn service_spec(snapshot: &mut Snapshot) -> &mut k8s_openapi::api::core::v1::ServiceSpec {
        service(snapshot).spec.as_mut().unwrap()
    }

    fn service(snapshot: &mut Snapshot) -> &mut Service {
        Arc::make_mut(snapshot.services.get_mut(&ObjectKey::new("default", "web-doppel")).unwrap())
    }

    /// Addresses are hard to get back, so nothing is deleted on suspicion.
    #[test]
    fn objects_go_only_when_it_is_known_that_their_gateway_needs_them_no_longer() {
        let all = settled(snapshot(&[CLASS, GATEWAY, PODS]));
        let gone = |change: &dyn Fn(&mut Snapshot)| {
            let mut snapshot = all.clone();
            change(&mut snapshot);
            check(&snapshot)
        };
        let others = CLASS.replace("doppel.dev", "example.com");
        let others = crate::manifest::parse(&others).objects.remove(0).1;
        let deleted = [
            r#"delete Service default/web-doppel "web-doppel-uid""#,
            r#"delete EndpointSlice default/web-doppel-ipv4-1 "web-doppel-ipv4-1-uid""#,
        ];
        assert_eq!(gone(&|snapshot| assert!(snapshot.insert(others.clone()))), deleted, "the class is another's");
        assert_eq!(
            gone(&|snapshot| snapshot.slices.retain(|key, _| key.namespace == "default")),
            deleted[1..],
            "no pod"
        );
        assert_eq!(gone(&|snapshot| snapshot.classes.clear()), [""; 0], "the class may come back");
        assert_eq!(gone(&|snapshot| snapshot.gateways.clear()), [""; 0], "Kubernetes sees to that");
        let refused = GATEWAY.replace("spec:", "spec:\n  addresses: [{type: pigeon, value: home}]");
        let refused = crate::manifest::parse(&refused).objects.remove(0).1;
        assert_eq!(gone(&|snapshot| assert!(snapshot.insert(refused.clone()))), [""; 0], "it may be mended");
    }

    #[test]
    fn objects_of_others_are_never_touched() {
        let mut present = settled(snapshot(&[CLASS, GATEWAY, PODS]));
        for service in present.services.values_mut() {
            Arc::make_mut(service)
                .metadata
                .labels
                .as_mut()
                .unwrap()
                .insert(owned::MANAGED_BY.to_owned(), "Helm".to_owned());
        }
        assert_eq!(check(&present), [r#"delete EndpointSlice default/web-doppel-ipv4-1 "web-doppel-ipv4-1-uid""#]);
    }

    #[test]
    fn pauses_grow_to_a_minute() {
        assert_eq!([1, 2, 6, 7, 40].map(|count| pause(count).as_secs()), [1, 2, 32, 60, 60]);
    }
}
