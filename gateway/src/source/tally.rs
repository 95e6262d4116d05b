use std::collections::{BTreeMap, BTreeSet, HashMap};

use conf::{Document, Key, Kind, Name};

use super::claims::Claims;

/// What is to be told of all documents in use, kept up with each change of one.
#[derive(Default)]
pub(super) struct Tally {
    counts: BTreeMap<Kind, usize>,
    revisions: BTreeMap<Name, String>,
    /// How often each document is referred to, whether it is there or not.
    references: HashMap<Key, usize>,
    /// What is referred to and not there.
    missing: BTreeSet<Key>,
}

impl Tally {
    /// `claims` are those after this change, and after all that are told of with it.
    pub(super) fn replace(&mut self, key: &Key, before: Option<&Document>, now: Option<&Document>, claims: &Claims) {
        let count = self.counts.entry(key.kind).or_default();
        *count = *count + usize::from(now.is_some()) - usize::from(before.is_some());
        match now {
            Some(Document::Revision(revision)) => {
                self.revisions.insert(revision.name.clone(), revision.revision.clone());
            }
            _ if key.kind == Kind::Revision => {
                self.revisions.remove(&key.name);
            }
            _ => {}
        }
        let now = now.map(conf::references).unwrap_or_default();
        let before = before.map(conf::references).unwrap_or_default();
        for (_, key) in &now {
            *self.references.entry(key.clone()).or_default() += 1;
        }
        for (_, key) in &before {
            if let Some(count) = self.references.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.references.remove(key);
                }
            }
        }
        for key in now.iter().chain(&before).map(|(_, key)| key).chain([key]) {
            if self.references.contains_key(key) && claims.get(key).is_none() {
                self.missing.insert(key.clone());
            } else {
                self.missing.remove(key);
            }
        }
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        self.counts.get(&kind).copied().unwrap_or_default()
    }

    pub(super) fn revisions(&self) -> &BTreeMap<Name, String> {
        &self.revisions
    }

    /// Whether every reference leads somewhere.
    pub(super) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}
