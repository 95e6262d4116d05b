use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Headers that can be changed. What is below the proxy keeps its own kind of map, with the case
/// of names as they were sent.
pub(crate) trait HeaderEdit {
    /// Replaces all values of the name.
    fn set(&mut self, name: &HeaderName, value: &HeaderValue);
    /// Appends to the values of the name.
    fn add(&mut self, name: &HeaderName, value: &HeaderValue);
    /// Deletes all values of the name.
    fn remove(&mut self, name: &HeaderName);
}

impl HeaderEdit for HeaderMap {
    fn set(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.insert(name, value.clone());
    }

    fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.append(name, value.clone());
    }

    fn remove(&mut self, name: &HeaderName) {
        HeaderMap::remove(self, name);
    }
}

/// First what is set, then what is added, then what is removed.
pub(crate) fn modify(modifier: &conf::HeaderModifier, headers: &mut impl HeaderEdit) {
    let conf::HeaderModifier { set, add, remove } = modifier;
    for header in set {
        headers.set(&header.name, &header.value);
    }
    for header in add {
        headers.add(&header.name, &header.value);
    }
    for name in remove {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use conf::{Header, HeaderModifier};

    use super::*;

    fn header(text: &str) -> (HeaderName, HeaderValue) {
        let (name, value) = text.split_once('=').unwrap();
        (name.parse().unwrap(), value.parse().unwrap())
    }

    fn headers(texts: &[&str]) -> Vec<Header> {
        texts.iter().map(|text| header(text)).map(|(name, value)| Header { name, value }).collect()
    }

    #[test]
    fn modifiers_set_then_add_then_remove() {
        type Texts<'a> = &'a [&'a str];
        let cases: [(Texts, Texts, Texts, Texts, Texts); 9] = [
            // Before, set, add, remove, after.
            (&["a=1"], &[], &[], &[], &["a=1"]),
            (&["a=1"], &["a=2"], &[], &[], &["a=2"]),
            (&["a=1", "a=2"], &["A=3"], &[], &[], &["a=3"]),
            (&[], &["a=1"], &[], &[], &["a=1"]),
            (&["a=1"], &[], &["a=2", "b=3"], &[], &["a=1", "a=2", "b=3"]),
            (&["a=1", "a=2", "b=3"], &[], &[], &["A"], &["b=3"]),
            (&["a=1"], &["a=2"], &["a=3"], &[], &["a=2", "a=3"]),
            (&["a=1"], &["a=2"], &["a=3"], &["a"], &[]),
            (&["a=1"], &[], &[], &["b"], &["a=1"]),
        ];
        for (before, set, add, remove, after) in cases {
            let modifier = HeaderModifier {
                set: headers(set),
                add: headers(add),
                remove: remove.iter().map(|name| name.parse().unwrap()).collect(),
            };
            let mut map: HeaderMap = before.iter().map(|text| header(text)).collect();
            let expected: HeaderMap = after.iter().map(|text| header(text)).collect();
            modify(&modifier, &mut map);
            assert_eq!(map, expected, "{before:?} set {set:?} add {add:?} remove {remove:?}");
        }
    }
}
