//! Which of the documents that files hold is in use, where several have one name.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::mem;
use std::sync::Arc;

use conf::Key;

/// A place that holds a document. The least of a key's is the one in use: good documents come before
/// versions that are only kept, then it goes by file and place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) is_kept: bool,
    pub(super) file: Arc<OsStr>,
    /// Among the documents of the file, or among those that are kept.
    pub(super) index: usize,
}

/// The claims of all files.
#[derive(Default)]
pub(super) struct Claims {
    live: HashMap<Key, Claim>,
    /// Hardly ever is there one.
    others: BTreeSet<(Key, Claim)>,
}

impl Claims {
    pub(super) fn add(&mut self, key: &Key, claim: Claim) {
        let first = match self.live.entry(key.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(claim);
                return;
            }
            Entry::Occupied(first) => first.into_mut(),
        };
        let other = if claim < *first { mem::replace(first, claim) } else { claim };
        self.others.insert((key.clone(), other));
    }

    pub(super) fn withdraw(&mut self, key: &Key, claim: Claim) {
        let is_live = self.live.get(key) == Some(&claim);
        let claim = (key.clone(), claim);
        if !is_live {
            self.others.remove(&claim);
            return;
        }
        // What is left of the key comes after the one that was in use.
        let next = self.others.range(&claim..).next().filter(|(other, _)| other == key).cloned();
        match next {
            Some(next) => {
                self.others.remove(&next);
                self.live.insert(next.0, next.1);
            }
            None => {
                self.live.remove(key);
            }
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Claim> {
        self.live.get(key)
    }

    /// In no order.
    pub(super) fn live(&self) -> impl Iterator<Item = &Claim> + Clone {
        self.live.values()
    }

    /// Good documents that are not in use, each with the one that is.
    pub(super) fn duplicates(&self) -> impl Iterator<Item = (&Claim, &Claim)> {
        self.others.iter().filter(|(_, claim)| !claim.is_kept).map(|(key, claim)| (claim, &self.live[key]))
    }
}
