use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The keys whose values are not the same in two maps, or that only one of them has, in their order.
/// Both are walked through side by side, which for thousands is much less than to look each up.
pub(crate) fn differences<'m, K: Ord, A, B>(
    before: &'m BTreeMap<K, A>,
    now: &'m BTreeMap<K, B>,
    is_same: impl Fn(&A, &B) -> bool,
) -> Vec<&'m K> {
    let (mut before, mut now) = (before.iter().peekable(), now.iter().peekable());
    let mut keys = Vec::new();
    loop {
        let order = match (before.peek(), now.peek()) {
            (Some((one, _)), Some((other, _))) => one.cmp(other),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return keys,
        };
        let gone = before.next_if(|_| order.is_le());
        let come = now.next_if(|_| order.is_ge());
        match (gone, come) {
            (Some((_, one)), Some((_, other))) if is_same(one, other) => {}
            (gone, come) => keys.extend(gone.map(|(key, _)| key).or(come.map(|(key, _)| key))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_came_went_or_have_another_value_are_found() {
        let differ = |before: &[(u8, u8)], now: &[(u8, u8)]| {
            let [before, now] = [before, now].map(|pairs| pairs.iter().copied().collect::<BTreeMap<_, _>>());
            differences(&before, &now, |one, other| one == other).into_iter().copied().collect::<Vec<_>>()
        };
        let all = [(1, 1), (2, 2), (4, 4)];
        assert_eq!(differ(&all, &all), [0; 0]);
        assert_eq!(differ(&[], &all), [1, 2, 4]);
        assert_eq!(differ(&all, &[]), [1, 2, 4]);
        assert_eq!(differ(&all, &[(0, 0), (2, 3), (3, 3), (4, 4), (5, 5)]), [0, 1, 2, 3, 5]);
    }
}
