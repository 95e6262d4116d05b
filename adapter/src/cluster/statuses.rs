//! Writes the statuses that differ from what objects have.
//!
//! Each object's status is one write on top of the version that it was compared with: the API server
//! refuses it if the object has changed since, whose watch then brings the new version to compare with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::events::{self, Alarm};
use super::kind::Kind;
use super::merge;
use super::raw::{Found, Raw};
use super::store::Store;
use crate::api::ObjectRef;
use crate::status::{Content, Status};

pub(super) struct Statuses {
    client: Client,
    wanted: BTreeMap<ObjectRef, Content>,
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
    /// What is worse than before.
    alarms: Vec<Alarm>,
    result: Result<Found, kube::Error>,
}

/// What came of a write.
pub(super) enum Outcome {
    Written {
        uid: String,
        alarms: Vec<Alarm>,
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
        Self {
            client,
            wanted: BTreeMap::new(),
            dirty: BTreeSet::new(),
            writing: BTreeSet::new(),
            writes: JoinSet::new(),
        }
    }

    /// Takes what a translation has to say, of all objects that it says something of.
    pub(super) fn want(&mut self, statuses: Vec<Status>) {
        let wanted: BTreeMap<_, _> = statuses.into_iter().map(|Status { object, content }| (object, content)).collect();
        let changed = wanted.iter().filter(|(object, content)| self.wanted.get(object) != Some(content));
        self.dirty.extend(changed.map(|(object, _)| object.clone()));
        self.dirty.extend(self.wanted.keys().filter(|object| !wanted.contains_key(object)).cloned());
        self.wanted = wanted;
    }

    /// These objects have another status now, by whomever.
    pub(super) fn touched(&mut self, objects: impl IntoIterator<Item = ObjectRef>) {
        self.dirty.extend(objects);
    }

    /// Everything has to be compared, as for one who has not written until now.
    pub(super) fn compare_all(&mut self, store: &Store) {
        self.dirty.extend(store.with_status().map(|(object, _)| object.clone()));
    }

    /// Begins to write what differs, as much of it as may be written at once.
    pub(super) fn write(&mut self, store: &Store) {
        let mut later = BTreeSet::new();
        while self.writes.len() < MOST_WRITES
            && let Some(object) = self.dirty.pop_first()
        {
            if self.writing.contains(&object) {
                later.insert(object);
            } else if let Some(write) = self.difference(&object, store) {
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
                self.dirty.insert(object.clone());
                Outcome::Failed
            }
        };
        (object, outcome)
    }

    fn difference(&self, object: &ObjectRef, store: &Store) -> Option<Write> {
        let present = store.present(object)?;
        let wanted = self.wanted.get(object);
        // What is about to be translated again is not told of before.
        let observed = wanted.and_then(Content::observed_generation);
        if observed.is_some() && observed != store.snapshot().generation(object) {
            return None;
        }
        let status = present.status.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        if wanted.is_none() && !merge::has_parents_of_ours(&status) {
            return None;
        }
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let merged = merge::merge(&status, wanted, &now)?;
        let alarms = events::alarms(&status, &merged);
        let patch = merge::patch(&status, merged);
        Some(Write { object: object.clone(), base: present.version.clone(), status: patch, alarms })
    }
}

struct Write {
    object: ObjectRef,
    base: String,
    status: Value,
    alarms: Vec<Alarm>,
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
