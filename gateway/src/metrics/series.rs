//! Series of what comes and goes with the configuration, such as routes.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use conf::Name;
use prometheus::core::{Collector, Desc, MetricVec, MetricVecBuilder};
use prometheus::proto::MetricFamily;

/// Everything of a kind that has series of its own, told apart by the values of `N` labels.
///
/// Series are there for as long as anything may count in them: a configuration, or a request that
/// began under one. After that they stay for a while, for everybody who scrapes to get the last of
/// their counts, and go. Whose time has come is found when metrics are shown and when there is much
/// that is new, never when something is counted.
pub(crate) struct Series<const N: usize, V>(Arc<Shared<N, V>>);

struct Shared<const N: usize, V> {
    labels: [&'static str; N],
    families: Vec<Box<dyn Family>>,
    linger: Duration,
    known: Mutex<HashMap<[Name; N], Known<V>>>,
}

struct Known<V> {
    value: Weak<V>,
    /// Since when it is known that nobody uses it.
    gone: Option<Instant>,
}

/// Metrics of one name, of which some can be forgotten.
pub(crate) trait Family: Collector {
    fn forget(&self, labels: &HashMap<&str, &str>);
}

impl<const N: usize, V> Series<N, V> {
    /// `families` have all these labels, and perhaps others.
    pub(super) fn new(labels: [&'static str; N], families: Vec<Box<dyn Family>>, linger: Duration) -> Self {
        Self(Arc::new(Shared { labels, families, linger, known: Mutex::default() }))
    }

    /// The one of this name that is in use, else a new one.
    pub(crate) fn of(&self, name: [Name; N], new: impl FnOnce() -> V) -> Arc<V> {
        let mut known = self.lock();
        if let Some(value) = known.get(&name).and_then(|known| known.value.upgrade()) {
            return value;
        }
        if known.len() == known.capacity() {
            self.sweep(&mut known, Instant::now());
        }
        let value = Arc::new(new());
        known.insert(name, Known { value: Arc::downgrade(&value), gone: None });
        value
    }

    /// Forgets what has been gone for long enough. Nobody can take up a name meanwhile: `known` is locked.
    fn sweep(&self, known: &mut HashMap<[Name; N], Known<V>>, now: Instant) {
        let Shared { labels, families, linger, .. } = &*self.0;
        let gone: Vec<[Name; N]> =
            known.extract_if(|_, known| known.has_been_gone(*linger, now)).map(|(name, _)| name).collect();
        if gone.is_empty() {
            return;
        }
        let gone: HashSet<[&str; N]> = gone.iter().map(|name| name.each_ref().map(Name::as_str)).collect();
        for family in families {
            for metric in family.collect().iter().flat_map(MetricFamily::get_metric) {
                let of: HashMap<&str, &str> =
                    metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
                if gone.contains(&labels.map(|label| of.get(label).copied().unwrap_or_default())) {
                    family.forget(&of);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[Name; N], Known<V>>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

impl<V> Known<V> {
    fn has_been_gone(&mut self, linger: Duration, now: Instant) -> bool {
        self.value.strong_count() == 0 && now.duration_since(*self.gone.get_or_insert(now)) >= linger
    }
}

impl<const N: usize, V> Clone for Series<N, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<const N: usize, V: Send + Sync> Collector for Series<N, V> {
    fn desc(&self) -> Vec<&Desc> {
        self.0.families.iter().flat_map(|family| family.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.sweep(&mut self.lock(), Instant::now());
        self.0.families.iter().flat_map(|family| family.collect()).collect()
    }
}

impl<B: MetricVecBuilder> Family for MetricVec<B> {
    fn forget(&self, labels: &HashMap<&str, &str>) {
        // An error means that it is not there.
        let _ = self.remove(labels);
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{IntCounterVec, Opts};

    use super::*;

    const LINGER: Duration = Duration::from_secs(60);

    fn name(name: &str) -> Name {
        name.parse().unwrap()
    }

    #[test]
    fn what_is_gone_lingers_and_then_leaves_with_all_its_series() {
        let counts = IntCounterVec::new(Opts::new("x", "x"), &["route", "mirror", "outcome"]).unwrap();
        let series = Series::new(["route", "mirror"], vec![Box::new(counts.clone())], LINGER);
        let of = |route, mirror| series.of([name(route), name(mirror)], || ());
        let shown = |at: Instant| -> usize {
            series.sweep(&mut series.lock(), at);
            counts.collect().iter().map(|family| family.get_metric().len()).sum()
        };
        let (stays, goes, comes_back) = (of("r", "m"), of("r", "n"), of("s", "m"));
        for labels in [["r", "m", "a"], ["r", "m", "b"], ["r", "n", "a"], ["r", "n", "b"], ["s", "m", "a"]] {
            counts.with_label_values(&labels).inc();
        }
        let now = Instant::now();
        assert_eq!(shown(now + 9 * LINGER), 5, "all are in use");
        drop((goes, comes_back));
        assert_eq!(shown(now), 5);
        let _back = of("s", "m");
        assert_eq!(shown(now + LINGER - Duration::from_secs(1)), 5);
        assert_eq!(shown(now + LINGER), 3);
        assert_eq!(series.len(), 2);
        drop(stays);
        assert_eq!(shown(now + 2 * LINGER), 3, "the time begins when it is found to be gone");
        assert_eq!(shown(now + 3 * LINGER), 1);
    }
}
