//! What the API server has, as far as the watches have told.

use std::collections::{BTreeMap, BTreeSet};

use kube::runtime::watcher::Event;

use super::kind::Kind;
use super::raw::Found;
use crate::api::{ObjectKey, ObjectRef};
use crate::snapshot::Snapshot;

/// Objects are replaced one by one. A list that comes again after a lost watch removes, at its end,
/// what it did not contain.
#[derive(Debug, Default)]
pub(super) struct Store {
    snapshot: Snapshot,
    /// Of the objects whose status we write.
    statuses: BTreeMap<ObjectRef, Present>,
    /// Which objects cannot be read as they are, and why. Those that could be once stay as they were.
    unusable: BTreeMap<ObjectRef, String>,
    listings: BTreeMap<Kind, Listing>,
}

/// What a status is written on top of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) uid: String,
    pub(super) version: String,
    pub(super) status: Option<Box<str>>,
}

#[derive(Debug, Default)]
struct Listing {
    was_complete: bool,
    /// All objects of the kind, those that cannot be read too.
    known: BTreeSet<ObjectKey>,
    /// Those of a list that comes in.
    seen: BTreeSet<ObjectKey>,
}

/// What became of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    /// Whether a translation may come out differently.
    pub(super) is_relevant: bool,
    /// The objects whose status, or whose version, is another one now.
    pub(super) touched: Vec<ObjectRef>,
}

impl Store {
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub(super) fn present(&self, object: &ObjectRef) -> Option<&Present> {
        self.statuses.get(object)
    }

    /// All whose status we may have to write.
    pub(super) fn with_status(&self) -> impl Iterator<Item = &ObjectRef> {
        self.statuses.keys()
    }

    pub(super) fn unusable(&self) -> usize {
        self.unusable.len()
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        self.listings.get(&kind).map_or(0, |listing| listing.known.len())
    }

    /// The kinds whose first list is still to come.
    pub(super) fn incomplete(&self) -> Vec<Kind> {
        let is_complete = |kind: &Kind| self.listings.get(kind).is_some_and(|listing| listing.was_complete);
        Kind::ALL.into_iter().filter(|kind| !is_complete(kind)).collect()
    }

    pub(super) fn apply(&mut self, kind: Kind, event: Event<Found>) -> Effect {
        let listing = self.listings.entry(kind).or_default();
        match event {
            Event::Init => {
                listing.seen.clear();
                Effect::default()
            }
            Event::InitApply(found) => {
                listing.seen.insert(found.key.clone());
                self.insert(kind, found)
            }
            Event::InitDone => {
                let is_first = !std::mem::replace(&mut listing.was_complete, true);
                let seen = std::mem::take(&mut listing.seen);
                let gone: Vec<_> = listing.known.difference(&seen).cloned().collect();
                let is_relevant =
                    gone.iter().fold(is_first, |is_relevant, key| self.remove(kind, key).is_relevant || is_relevant);
                Effect { is_relevant, touched: Vec::new() }
            }
            Event::Apply(found) => self.insert(kind, found),
            Event::Delete(found) => self.remove(kind, &found.key),
        }
    }

    /// The answer to a write of ours, which the watch has perhaps yet to tell of. Where it has, or has
    /// told more, the answer is old.
    pub(super) fn written(&mut self, object: &ObjectRef, base: &str, found: Found) {
        if let Some(present) = self.statuses.get_mut(object).filter(|present| present.version == base) {
            *present = Present { uid: found.uid, version: found.version, status: found.status };
        }
    }

    fn insert(&mut self, kind: Kind, found: Found) -> Effect {
        let Found { key, uid, version, status, object } = found;
        let reference = ObjectRef::new(kind.as_str(), &key);
        self.listings.entry(kind).or_default().known.insert(key);
        let mut effect = Effect::default();
        match object {
            Ok(object) => {
                self.unusable.remove(&reference);
                effect.is_relevant = self.snapshot.insert(*object);
            }
            Err(message) => {
                if self.unusable.insert(reference.clone(), message.clone()).as_ref() != Some(&message) {
                    log::warn!("{reference}: {message}; its last readable version, if any, stays in force");
                }
            }
        }
        if kind.has_status_of_ours() {
            let present = Present { uid, version, status };
            if self.statuses.get(&reference) != Some(&present) {
                self.statuses.insert(reference.clone(), present);
                effect.touched.push(reference);
            }
        }
        effect
    }

    fn remove(&mut self, kind: Kind, key: &ObjectKey) -> Effect {
        let object = ObjectRef::new(kind.as_str(), key);
        self.listings.entry(kind).or_default().known.remove(key);
        self.unusable.remove(&object);
        self.statuses.remove(&object);
        Effect { is_relevant: self.snapshot.remove(&object), touched: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::raw::tests::found;
    use super::*;

    fn gateway(name: &str, version: u32, port: u32) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "n", "uid": "u", "resourceVersion": version.to_string()},
            "spec": {"gatewayClassName": "c", "listeners": [{"name": "l", "port": port, "protocol": "HTTP"}]},
            "status": {"seen": version},
        })
    }

    fn apply(store: &mut Store, event: Event<Value>) -> (bool, Vec<String>) {
        let kind = Kind::Gateway;
        let event = match event {
            Event::Apply(value) => Event::Apply(found(kind, value)),
            Event::Delete(value) => Event::Delete(found(kind, value)),
            Event::InitApply(value) => Event::InitApply(found(kind, value)),
            Event::Init => Event::Init,
            Event::InitDone => Event::InitDone,
        };
        let Effect { is_relevant, touched } = store.apply(kind, event);
        (is_relevant, touched.iter().map(ToString::to_string).collect())
    }

    fn names(store: &Store) -> Vec<String> {
        store.snapshot.gateways.keys().map(|key| key.name.clone()).collect()
    }

    #[test]
    fn a_list_that_comes_again_leaves_no_gap() {
        let mut store = Store::default();
        assert_eq!(store.incomplete().len(), Kind::ALL.len());
        apply(&mut store, Event::Init);
        for name in ["a", "b"] {
            assert!(apply(&mut store, Event::InitApply(gateway(name, 1, 80))).0);
        }
        assert!(store.incomplete().contains(&Kind::Gateway));
        assert!(apply(&mut store, Event::InitDone).0);
        assert!(!store.incomplete().contains(&Kind::Gateway));

        apply(&mut store, Event::Init);
        assert_eq!(names(&store), ["a", "b"]);
        assert!(apply(&mut store, Event::InitApply(gateway("c", 2, 80))).0);
        assert_eq!(apply(&mut store, Event::InitApply(gateway("b", 1, 80))), (false, vec![]));
        assert_eq!(names(&store), ["a", "b", "c"]);
        assert!(apply(&mut store, Event::InitDone).0);
        assert_eq!(names(&store), ["b", "c"]);
        assert_eq!(store.with_status().count(), 2);
        assert!(!store.incomplete().contains(&Kind::Gateway));
    }

    #[test]
    fn a_change_of_the_status_alone_is_no_reason_to_translate() {
        let mut store = Store::default();
        let touched = vec!["Gateway n/a".to_owned()];
        assert_eq!(apply(&mut store, Event::Apply(gateway("a", 1, 80))), (true, touched.clone()));
        assert_eq!(apply(&mut store, Event::Apply(gateway("a", 1, 80))), (false, vec![]));
        assert_eq!(apply(&mut store, Event::Apply(gateway("a", 2, 80))), (false, touched.clone()));
        assert_eq!(apply(&mut store, Event::Apply(gateway("a", 3, 81))), (true, touched));
        assert_eq!(apply(&mut store, Event::Delete(gateway("a", 4, 81))), (true, vec![]));
        assert_eq!(apply(&mut store, Event::Delete(gateway("a", 4, 81))), (false, vec![]));
        assert_eq!(store.with_status().count(), 0);
    }

    #[test]
    fn an_object_that_cannot_be_read_any_more_stays_as_it_was() {
        let mut store = Store::default();
        apply(&mut store, Event::Apply(gateway("a", 1, 80)));
        assert!(!apply(&mut store, Event::Apply(gateway("a", 2, 0))).0);
        assert_eq!((names(&store).len(), store.unusable()), (1, 1));
        // What never could be read is not there.
        apply(&mut store, Event::Apply(gateway("b", 2, 0)));
        assert_eq!((names(&store).len(), store.unusable()), (1, 2));
        apply(&mut store, Event::Apply(gateway("b", 3, 80)));
        assert!(apply(&mut store, Event::Delete(gateway("a", 3, 0))).0);
        assert_eq!((names(&store), store.unusable()), (vec!["b".to_owned()], 0));
    }
}
