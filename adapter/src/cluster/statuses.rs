//! Writes the statuses that differ from what objects have.
//!
//! Each object's status is one write on top of the version that it was compared with: the API server
//! refuses it if the object has changed since, whose watch then brings the new version to compare with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::events::Alarms;
use super::kind::Kind;
use super::merge;
use super::raw::{Found, Raw};
use super::store::Store;
use crate::api::ObjectRef;
use crate::differences::differences;
use crate::status::{Content, Status};

pub(super) struct Statuses {
    client: Client,
    /// None as long as it is not for us to say anything, or we do not know yet what.
    wanted: Option<BTreeMap<ObjectRef, Arc<Content>>>,
    /// The objects whose status may differ from what is wanted.
    dirty: BTreeSet<ObjectRef>,
    /// Those that are being written; one at a time each.
    writing: BTreeSet<ObjectRef>,
    writes: JoinSet<Written>,
}

/// How a write has ended.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) object: ObjectRef,
    /// The version that it was written on top of.
    base: String,
    alarms: Alarms,
    result: Result<Found, kube::Error>,
}

/// What came of a write.
pub(super) enum Outcome {
    Written {
        uid: String,
        alarms: Alarms,
    },
    /// The object has changed since, or is gone.
    Conflict,
    Failed,
}

impl Outcome {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Written { .. } => "written",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
        }
    }
}

impl Statuses {
    pub(super) fn new(client: Client) -> Self {
        Self { client, wanted: None, dirty: BTreeSet::new(), writing: BTreeSet::new(), writes: JoinSet::new() }
    }

    /// Takes what a translation has to say, of all objects that it says something of. The first time,
    /// everything there is has to be compared with it.
    pub(super) fn want(&mut self, statuses: Vec<Status>, store: &Store) {
        let wanted: BTreeMap<_, _> = statuses.into_iter().map(|Status { object, content }| (object, content)).collect();
        if let Some(before) = &self.wanted {
            self.dirty.extend(differences(before, &wanted, |before, wanted| before == wanted).into_iter().cloned());
        } else {
            self.dirty.extend(store.with_status().cloned());
        }
        self.wanted = Some(wanted);
    }

    /// It is no longer for us to say anything. What is being written is let be.
    pub(super) fn leave(&mut self) {
        self.wanted = None;
        self.dirty.clear();
    }

    /// These objects have another status now, by whomever.
    pub(super) fn touched(&mut self, objects: impl IntoIterator<Item = ObjectRef>) {
        if self.wanted.is_some() {
            self.dirty.extend(objects);
        }
    }

    /// Begins to write what differs, as much of it as may be written at once.
    pub(super) fn write(&mut self, store: &Store) {
        let Some(wanted) = &self.wanted else { return };
        let mut later = BTreeSet::new();
        while self.writes.len() < MOST_WRITES
            && let Some(object) = self.dirty.pop_first()
        {
            if self.writing.contains(&object) {
                later.insert(object);
            } else if let Some(write) = difference(&object, wanted.get(&object).map(|content| &**content), store) {
                self.writing.insert(object);
                self.writes.spawn(write.run(self.client.clone()));
            }
        }
        self.dirty.append(&mut later);
    }

    /// The end of a write. Never ready while none is under way.
    pub(super) async fn written(&mut self) -> Written {
        match self.writes.join_next().await {
            Some(Ok(written)) => written,
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => std::future::pending().await,
        }
    }

    pub(super) fn settle(&mut self, written: Written, store: &mut Store) -> (ObjectRef, Outcome) {
        let Written { object, base, alarms, result } = written;
        self.writing.remove(&object);
        let outcome = match result {
            Ok(found) => {
                let uid = found.uid.clone();
                store.written(&object, &base, found);
                Outcome::Written { uid, alarms }
            }
            // Its watch tells what it is now.
            Err(error) if has_changed(&error) => Outcome::Conflict,
            Err(error) => {
                log::warn!("the status of {object} is not written: {}", super::chain(&error));
                self.touched([object.clone()]);
                Outcome::Failed
            }
        };
        (object, outcome)
    }
}

fn difference(object: &ObjectRef, wanted: Option<&Content>, store: &Store) -> Option<Write> {
    let present = store.present(object)?;
    // What is about to be translated again is not told of before.
    let observed = wanted.and_then(Content::observed_generation);
    if observed.is_some() && observed != store.snapshot().generation(object) {
        return None;
    }
    let status = present.status.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    if wanted.is_none() && !merge::has_entries_of_ours(&status) {
        return None;
    }
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let merged = merge::merge(&status, wanted, &now)?;
    let alarms = Alarms::between(&status, &merged);
    let patch = merge::patch(&status, merged);
    Some(Write { object: object.clone(), base: present.version.clone(), status: patch, alarms })
}

struct Write {
    object: ObjectRef,
    base: String,
    status: Value,
    alarms: Alarms,
}

impl Write {
    async fn run(self, client: Client) -> Written {
        let Self { object, base, status, alarms } = self;
        let kind = Kind::named(object.kind).expect("statuses are of kinds that are watched");
        let resource = kind.resource();
        let api = match object.key.namespace.as_str() {
            "" => Api::<Raw>::all_with(client, &resource),
            namespace => Api::namespaced_with(client, namespace, &resource),
        };
        let patch = json!({ "metadata": { "resourceVersion": base }, "status": status });
        let result = api.patch_status(&object.key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        if matches!(&result, Err(error) if !has_changed(error)) {
            tokio::time::sleep(PAUSE).await;
        }
        Written { object, base, alarms, result: result.map(|raw| raw.read(kind)) }
    }
}

/// Whether the object is not what the write was meant for.
fn has_changed(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409))
}

/// How many statuses are written at once.
const MOST_WRITES: usize = 16;
/// How long one that could not be written rests, which also keeps its place from being used.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::super::raw::tests::found;
    use super::*;
    use crate::api::ObjectKey;
    use crate::translate::{Options, translate};

    const OTHERS: &str = r#"{"controllerName": "example.com/other", "parentRef": {"name": "o"}, "conditions": []}"#;

    /// A GatewayClass, a Gateway and a route, whose statuses are as the API server has them.
    fn store(parent: &str) -> Store {
        let mut store = Store::default();
        let group = "gateway.networking.k8s.io";
        let metadata = |name: &str| json!({"name": name, "namespace": "shop", "generation": 1, "resourceVersion": "1"});
        let others: Value = serde_json::from_str(OTHERS).unwrap();
        for (kind, value) in [
            (
                Kind::GatewayClass,
                json!({"metadata": {"name": "c"}, "spec": {"controllerName": "doppel.dev/gateway-controller"}}),
            ),
            (
                Kind::Gateway,
                json!({"metadata": metadata("web"), "spec": {
                    "gatewayClassName": "c", "listeners": [{"name": "l", "port": 80, "protocol": "HTTP"}],
                }}),
            ),
            (
                Kind::HttpRoute,
                json!({"metadata": metadata("r"), "status": {"parents": [others]}, "spec": {
                    "parentRefs": [{"group": group, "kind": "Gateway", "name": parent}],
                }}),
            ),
        ] {
            store.apply(kind, Event::Apply(found(kind, value)));
        }
        store
    }

    fn route() -> ObjectRef {
        ObjectRef::new("HTTPRoute", &ObjectKey::new("shop", "r"))
    }

    fn wanted(store: &Store) -> BTreeMap<ObjectRef, Arc<Content>> {
        let statuses = translate(store.snapshot(), &Options::default()).statuses;
        statuses.into_iter().map(|Status { object, content }| (object, content)).collect()
    }

    /// The API server's answer to a write of all that there was to write about the route.
    fn written(store: &mut Store, write: Write) {
        let value = json!({
            "metadata": {"name": "r", "namespace": "shop", "generation": 1, "resourceVersion": "2"},
            "status": write.status,
        });
        store.written(&write.object, &write.base, found(Kind::HttpRoute, value));
    }

    #[test]
    fn what_is_written_is_written_once_and_taken_back_when_it_is_no_longer_ours() {
        let mut store = store("web");
        let write = difference(&route(), wanted(&store).get(&route()).map(|content| &**content), &store).unwrap();
        assert_eq!((write.base.as_str(), write.status["parents"].as_array().unwrap().len()), ("1", 2));
        written(&mut store, write);
        assert!(difference(&route(), wanted(&store).get(&route()).map(|content| &**content), &store).is_none());

        let write = difference(&route(), None, &store).unwrap();
        assert_eq!(write.base, "2");
        assert_eq!(write.status["parents"], Value::Array(vec![serde_json::from_str(OTHERS).unwrap()]));
    }

    #[test]
    fn nothing_is_said_about_routes_to_others() {
        let store = store("theirs");
        assert!(difference(&route(), wanted(&store).get(&route()).map(|content| &**content), &store).is_none());
    }

    #[test]
    fn a_generation_that_was_not_translated_is_not_told_of() {
        let mut store = store("web");
        let wanted = wanted(&store);
        let value = json!({
            "metadata": {"name": "r", "namespace": "shop", "generation": 2, "resourceVersion": "2"}, "spec": {},
        });
        store.apply(Kind::HttpRoute, Event::Apply(found(Kind::HttpRoute, value)));
        assert!(difference(&route(), wanted.get(&route()).map(|content| &**content), &store).is_none());
    }

    #[test]
    fn the_answer_to_a_write_that_the_watch_has_overtaken_is_old() {
        let mut store = store("web");
        let write = difference(&route(), wanted(&store).get(&route()).map(|content| &**content), &store).unwrap();
        let value = json!({"metadata": {"name": "r", "namespace": "shop", "resourceVersion": "3"}, "spec": {}});
        store.apply(Kind::HttpRoute, Event::Apply(found(Kind::HttpRoute, value)));
        written(&mut store, write);
        assert_eq!(store.present(&route()).unwrap().version, "3");
    }
}
