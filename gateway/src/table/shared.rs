//! Collections whose copies share what does not change, so that one changed document costs a few
//! entries and not the whole table.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// A map by text. A copy is one counter; a change copies the shard it falls into and the list of
/// shards, where they are shared.
pub(super) struct SharedMap<V> {
    /// None, or a power of two of them.
    shards: Arc<[Arc<Shard<V>>]>,
    len: usize,
}

type Shard<V> = HashTable<(Arc<str>, V)>;

/// The mean load at which there get to be more shards, by as much: at 40,000 entries a change
/// copies some 1,000 pointers and 40 entries.
const LOAD: usize = 64;
const GROWTH: usize = 4;

impl<V: Clone> SharedMap<V> {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn get(&self, key: &str) -> Option<&V> {
        if self.is_empty() {
            return None;
        }
        let hash = hash(key);
        let (_, value) = self.shards[self.shard(hash)].find(hash, |(k, _)| **k == *key)?;
        Some(value)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.get(key)?;
        let hash = hash(key);
        let (_, value) = self.shard_mut(hash).find_mut(hash, |(k, _)| **k == *key)?;
        Some(value)
    }

    /// `key` is not there yet.
    pub(super) fn insert_new(&mut self, key: &str, value: V) {
        self.grow_for(self.len + 1);
        let hash = hash(key);
        self.shard_mut(hash).insert_unique(hash, (key.into(), value), |(k, _)| self::hash(k));
        self.len += 1;
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, key: &str) -> bool {
        if self.get(key).is_none() {
            return false;
        }
        let hash = hash(key);
        if let Ok(entry) = self.shard_mut(hash).find_entry(hash, |(k, _)| **k == *key) {
            entry.remove();
            self.len -= 1;
        }
        true
    }

    /// In no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter()).map(|(key, value)| (&**key, value))
    }

    /// From other bits of the hash than a shard uses itself, which are the lowest and the highest.
    fn shard(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.shards.len() - 1)
    }

    fn shard_mut(&mut self, hash: u64) -> &mut Shard<V> {
        let shard = self.shard(hash);
        Arc::make_mut(&mut Arc::make_mut(&mut self.shards)[shard])
    }

    fn grow_for(&mut self, len: usize) {
        if len <= self.shards.len() * LOAD {
            return;
        }
        let shards = (self.shards.len() * GROWTH).max(1);
        let mut grown = Self { shards: (0..shards).map(|_| Arc::default()).collect(), len: self.len };
        for (key, value) in self.shards.iter().flat_map(|shard| shard.iter()) {
            let hash = hash(key);
            let entry = (Arc::clone(key), value.clone());
            grown.shard_mut(hash).insert_unique(hash, entry, |(k, _)| self::hash(k));
        }
        *self = grown;
    }
}

/// Keys come from documents; requests only look up. So nobody gains by guessing the hash.
fn hash(key: &str) -> u64 {
    FixedState::with_seed(0).hash_one(key)
}

impl<V> Clone for SharedMap<V> {
    fn clone(&self) -> Self {
        Self { shards: Arc::clone(&self.shards), len: self.len }
    }
}

impl<V> Default for SharedMap<V> {
    fn default() -> Self {
        Self { shards: Arc::default(), len: 0 }
    }
}

/// A vector that is copied and changed in chunks.
#[derive(Clone)]
pub(super) struct SharedVec<T>(Arc<Vec<Arc<Vec<T>>>>);

const CHUNK: usize = 256;

impl<T: Clone> SharedVec<T> {
    pub(super) fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * CHUNK + last.len())
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.0.get(index / CHUNK)?.get(index % CHUNK)
    }

    pub(super) fn set(&mut self, index: usize, value: T) {
        Arc::make_mut(&mut Arc::make_mut(&mut self.0)[index / CHUNK])[index % CHUNK] = value;
    }

    pub(super) fn push(&mut self, value: T) {
        let chunks = Arc::make_mut(&mut self.0);
        match chunks.last_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(value),
            Some(_) | None => chunks.push(Arc::new(vec![value])),
        }
    }
}

impl<T> Default for SharedVec<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sorted(map: &SharedMap<usize>) -> BTreeMap<String, usize> {
        map.iter().map(|(key, value)| (key.to_owned(), *value)).collect()
    }

    #[test]
    fn a_map_holds_what_was_put_in_and_not_taken_out() {
        let (mut map, mut expected) = (SharedMap::default(), BTreeMap::new());
        for i in 0..1000 {
            map.insert_new(&i.to_string(), i);
            expected.insert(i.to_string(), i);
        }
        for i in (0..1200).step_by(3) {
            assert_eq!(map.remove(&i.to_string()), expected.remove(&i.to_string()).is_some());
        }
        *map.get_mut("1").unwrap() = 7;
        expected.insert("1".into(), 7);
        assert_eq!(sorted(&map), expected);
        assert!(map.get("0").is_none() && map.get_mut("0").is_none() && map.get("1") == Some(&7));
        for key in expected.keys() {
            assert!(!map.is_empty() && map.remove(key));
        }
        assert!(map.is_empty());
    }

    #[test]
    fn a_copy_keeps_what_it_had_and_shares_the_rest() {
        let mut map = SharedMap::default();
        for i in 0..10 * LOAD {
            map.insert_new(&i.to_string(), i);
        }
        let (copy, before) = (map.clone(), sorted(&map));
        *map.get_mut("1").unwrap() = 0;
        assert_eq!(sorted(&copy), before);
        let shared = copy.shards.iter().zip(map.shards.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, copy.shards.len() - 1);
        map.remove("2");
        map.insert_new("new", 0);
        assert_eq!(sorted(&copy), before);
    }

    #[test]
    fn a_change_to_a_copied_vector_copies_one_chunk() {
        let mut vec = SharedVec::default();
        for i in 0..3 * CHUNK + 1 {
            vec.push(i);
        }
        let copy = vec.clone();
        vec.set(CHUNK, 0);
        assert_eq!((vec.get(CHUNK), copy.get(CHUNK)), (Some(&0), Some(&CHUNK)));
        assert_eq!(
            (vec.get(CHUNK + 1), vec.get(3 * CHUNK), vec.get(3 * CHUNK + 1)),
            (Some(&(CHUNK + 1)), Some(&(3 * CHUNK)), None)
        );
        assert_eq!(vec.len(), 3 * CHUNK + 1);
        let shared = copy.0.iter().zip(vec.0.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, 3);
    }
}
