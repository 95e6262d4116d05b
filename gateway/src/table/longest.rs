use std::collections::BTreeMap;

use super::shared::SharedMap;

/// Values by names of which any may cover a request, the longest first: path prefixes, and domains
/// of wildcards.
///
/// Only lengths that are in use are looked up, so that long paths and hosts of strangers cost
/// nothing.
pub(super) struct Longest<V> {
    values: SharedMap<V>,
    /// How many names there are of each length, in bytes.
    lengths: BTreeMap<usize, usize>,
}

impl<V: Clone> Longest<V> {
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values of all names that `cut` makes from the request, the longest first; `cut` is given
    /// a length and yields the name of that length, if there can be one.
    pub(super) fn covering<'v, 'n>(
        &'v self,
        cut: impl Fn(usize) -> Option<&'n str>,
    ) -> impl Iterator<Item = (usize, &'v V)> {
        let lengths = self.lengths.keys().rev();
        lengths.filter_map(move |length| Some((*length, self.values.get(cut(*length)?)?)))
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        self.values.get_mut(name)
    }

    /// `name` is not there yet.
    pub(super) fn insert_new(&mut self, name: &str, value: V) {
        self.values.insert_new(name, value);
        *self.lengths.entry(name.len()).or_default() += 1;
    }

    pub(super) fn remove(&mut self, name: &str) {
        if !self.values.remove(name) {
            return;
        }
        if let Some(count) = self.lengths.get_mut(&name.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&name.len());
            }
        }
    }

    /// In no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.values.iter()
    }
}

impl<V> Clone for Longest<V> {
    fn clone(&self) -> Self {
        Self { values: self.values.clone(), lengths: self.lengths.clone() }
    }
}

impl<V> Default for Longest<V> {
    fn default() -> Self {
        Self { values: SharedMap::default(), lengths: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_names_come_first_and_removed_ones_are_not_asked_for() {
        let mut names = Longest::default();
        for name in ["a", "b", "abc", "abcd"] {
            names.insert_new(name, name);
        }
        let covering = |names: &Longest<&'static str>, text: &'static str| {
            names.covering(|length| text.get(..length)).map(|(_, name)| *name).collect::<Vec<_>>()
        };
        assert_eq!(covering(&names, "abcd"), ["abcd", "abc", "a"]);
        assert_eq!(covering(&names, "abx"), ["a"]);
        names.remove("a");
        names.remove("abc");
        names.remove("none");
        assert_eq!(names.lengths, BTreeMap::from([(1, 1), (4, 1)]));
        assert_eq!(covering(&names, "abcd"), ["abcd"]);
    }
}
