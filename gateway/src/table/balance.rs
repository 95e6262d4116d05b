//! The choice among weighted backends, exact and without random numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{BackendId, Filters};

/// The backends of a rule, with their weights.
#[derive(Default)]
pub struct Backends {
    /// Each with the sum of the weights up to its own; those of weight 0 are not there.
    choices: Box<[(u64, Arc<Choice>)]>,
    sequence: Sequence<CHOICES>,
}

pub struct Choice {
    pub target: ChoiceTarget,
    /// After those of the rule.
    pub(super) filters: Option<Box<Filters>>,
}

impl Choice {
    pub fn filters(&self) -> &Filters {
        Filters::of(self.filters.as_deref())
    }
}

#[derive(Debug)]
pub enum ChoiceTarget {
    Backend(BackendId),
    /// Why it leads nowhere, for people; the request gets 500.
    Invalid(String),
}

impl Backends {
    /// The sequence goes on where that of the version before stood, so that frequent changes do not
    /// favour its first choices.
    pub(super) fn new(weighted: impl IntoIterator<Item = (u32, Choice)>, before: Option<&Self>) -> Self {
        let mut sum = 0;
        let weighted = weighted.into_iter().filter(|(weight, _)| *weight > 0);
        let choices = weighted.map(|(weight, choice)| {
            sum += u64::from(weight);
            (sum, Arc::new(choice))
        });
        let choices = choices.collect();
        Self { choices, sequence: before.map(|before| before.sequence.clone()).unwrap_or_default() }
    }

    /// One of them, by weight; `None` without any, and when every weight is 0.
    ///
    /// Shares are kept as evenly as they can be: after any number of requests, and also among every
    /// second or third of them, each backend has had its share but for a few requests.
    pub fn choose(&self) -> Option<&Arc<Choice>> {
        let (sum, _) = self.choices.last()?;
        let point = (u128::from(self.sequence.draw()) * u128::from(*sum)) >> 64;
        let index = self.choices.partition_point(|(end, _)| u128::from(*end) <= point);
        Some(&self.choices[index].1)
    }

    /// All that can be chosen, with their weights.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Arc<Choice>)> {
        let mut before = 0;
        self.choices.iter().map(move |(end, choice)| (end - std::mem::replace(&mut before, *end), choice))
    }
}

/// Numbers spread evenly over all of `u64`: each is the one before plus `STEP`, an irrational share
/// of the whole, which wraps around.
pub(super) struct Sequence<const STEP: u64>(AtomicU64);

/// The golden ratio and the square root of 3, without what is before the point: they spread evenly,
/// also every second or third number of them, and together, so that neither sequence decides about
/// the other. Found by trying pairs of quadratic irrationals against the tests below.
const CHOICES: u64 = 0x9E37_79B9_7F4A_7C15;
pub(super) const SAMPLES: u64 = 0xBB67_AE85_84CA_A73B;

impl<const STEP: u64> Sequence<STEP> {
    pub(super) fn draw(&self) -> u64 {
        self.0.fetch_add(STEP, Relaxed)
    }
}

impl<const STEP: u64> Default for Sequence<STEP> {
    /// From the middle: neither end is favoured where few requests come.
    fn default() -> Self {
        Self(AtomicU64::new(1 << 63))
    }
}

impl<const STEP: u64> Clone for Sequence<STEP> {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(weights: &[u32]) -> Backends {
        let choice = |index: usize| Choice { target: ChoiceTarget::Invalid(index.to_string()), filters: None };
        Backends::new(weights.iter().enumerate().map(|(index, weight)| (*weight, choice(index))), None)
    }

    fn choose(backends: &Backends) -> usize {
        match &backends.choose().unwrap().target {
            ChoiceTarget::Invalid(index) => index.parse().unwrap(),
            ChoiceTarget::Backend(id) => panic!("{id:?} was never put in"),
        }
    }

    #[test]
    fn shares_are_exact_but_for_a_few_requests_at_any_time() {
        for (weights, requests) in [
            (&[70, 30, 0][..], 10_000),
            (&[1, 1], 10_000),
            (&[0, 1, 0], 100),
            (&[1, 1, 1], 10_000),
            (&[1, 99], 10_000),
            (&[1, 1_000_000], 2_000_000),
            (&[1_000_000, 1_000_000, 1_000_000], 10_000),
            (&[5, 4, 3, 2, 1, 0, 7], 10_000),
        ] {
            let (backends, mut counts) = (backends(weights), vec![0_u32; weights.len()]);
            let sum = f64::from(weights.iter().sum::<u32>());
            for request in 1..=requests {
                counts[choose(&backends)] += 1;
                for (count, weight) in counts.iter().zip(weights) {
                    let expected = f64::from(request) * f64::from(*weight) / sum;
                    let difference = (f64::from(*count) - expected).abs();
                    assert!(difference < 5.0, "{count} of {request} requests for {weight} of {weights:?}");
                    assert!(*weight > 0 || *count == 0);
                }
            }
        }
    }

    #[test]
    fn nothing_is_chosen_without_weight() {
        assert!(backends(&[]).choose().is_none());
        assert!(backends(&[0, 0]).choose().is_none());
    }

    #[test]
    fn requests_of_alternating_kinds_are_each_shared_out_fairly() {
        for kinds in 1..=8 {
            let (backends, samples) = (backends(&[1, 1]), Sequence::<SAMPLES>::default());
            let (mut first, mut sampled) = (vec![0_i32; kinds], vec![0_i32; kinds]);
            for request in 0..1000 * kinds {
                first[request % kinds] += i32::from(choose(&backends) == 0);
                sampled[request % kinds] += i32::from(samples.draw() < u64::MAX / 10);
            }
            for (first, sampled) in first.iter().zip(&sampled) {
                assert!((first - 500).abs() < 10 && (sampled - 100).abs() < 10, "{first} {sampled} of {kinds} kinds");
            }
        }
    }

    #[test]
    fn samples_do_not_depend_on_the_backend_chosen() {
        for kinds in 1..=8 {
            let (backends, samples) = (backends(&[1, 1]), Sequence::<SAMPLES>::default());
            let mut counts = vec![[[0_i32; 2]; 2]; kinds];
            for request in 0..1000 * kinds {
                counts[request % kinds][choose(&backends)][usize::from(samples.draw() < u64::MAX / 2)] += 1;
            }
            let count = counts.as_flattened().as_flattened().iter();
            assert!(count.clone().all(|count| (count - 250).abs() < 10), "{counts:?}");
        }
    }

    #[test]
    fn a_sequence_goes_on_after_a_change() {
        let (changed, mut counts) = (backends(&[1, 1]), [0_i32; 2]);
        let mut current = changed;
        for _ in 0..1000 {
            counts[choose(&current)] += 1;
            let before = current;
            current = Backends { sequence: before.sequence.clone(), ..backends(&[1, 1]) };
        }
        assert!((counts[0] - 500).abs() < 5, "{counts:?}");
    }

    #[test]
    fn weights_can_be_read_back() {
        assert_eq!(backends(&[3, 0, 7]).iter().map(|(weight, _)| weight).collect::<Vec<_>>(), [3, 7]);
    }
}
