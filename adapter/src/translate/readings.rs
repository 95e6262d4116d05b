use std::collections::BTreeMap;
use std::sync::Arc;

use conf::Document;

use crate::api::ObjectKey;
use crate::status::Fault;

/// What objects were found to hold. Each is read once, as long as it is the same: to check a
/// certificate takes longer than anything else.
#[derive(Debug)]
pub(super) struct Readings<T> {
    before: BTreeMap<ObjectKey, Reading<T>>,
    now: BTreeMap<ObjectKey, Reading<T>>,
}

#[derive(Debug)]
struct Reading<T> {
    object: Arc<T>,
    result: Result<Arc<Document>, Fault>,
}

impl<T> Readings<T> {
    /// Begins anew, but remembers what was read.
    pub(super) fn again(self) -> Self {
        Self { before: self.now, now: BTreeMap::new() }
    }

    pub(super) fn read(
        &mut self,
        key: &ObjectKey,
        object: &Arc<T>,
        read: impl FnOnce() -> Result<Document, Fault>,
    ) -> Result<&Arc<Document>, Fault> {
        let reading = self.now.entry(key.clone()).or_insert_with(|| {
            let before = self.before.remove(key).filter(|before| Arc::ptr_eq(&before.object, object));
            before.unwrap_or_else(|| Reading { object: object.clone(), result: read().map(Arc::new) })
        });
        reading.result.as_ref().map_err(Clone::clone)
    }

    /// The documents that were found, each with the object it comes from.
    pub(super) fn documents(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<Document>)> {
        self.now.iter().filter_map(|(key, reading)| Some((key, reading.result.as_ref().ok()?)))
    }
}

impl<T> Default for Readings<T> {
    fn default() -> Self {
        Self { before: BTreeMap::new(), now: BTreeMap::new() }
    }
}
