use std::sync::OnceLock;

use conf::Name;
use prometheus::{IntCounter, IntCounterVec};

use super::{Outcome, Skip};

/// The books of one mirror filter's target within one route: how many requests came to what end.
pub struct Account {
    requests: IntCounterVec,
    route: Name,
    mirror: Name,
    /// Each counter is looked up by its labels once, when it is first needed: a copy costs no
    /// look-up, and what never happens shows no line in the metrics.
    counters: [OnceLock<IntCounter>; Outcome::COUNT],
}

impl Account {
    pub(super) fn new(requests: IntCounterVec, route: Name, mirror: Name) -> Self {
        Self { requests, route, mirror, counters: [const { OnceLock::new() }; Outcome::COUNT] }
    }

    /// The request is outside the filter's share.
    pub fn sampled_out(&self) {
        self.book(Outcome::SampledOut);
    }

    /// The filter applies to the request, but there is nothing to copy or nowhere to send it.
    pub fn skipped(&self, reason: Skip) {
        self.book(Outcome::Skipped(reason));
    }

    pub(super) fn route(&self) -> &Name {
        &self.route
    }

    pub(super) fn book(&self, outcome: Outcome) {
        self.counters[outcome.index()].get_or_init(|| self.counter(outcome)).inc();
    }

    fn counter(&self, outcome: Outcome) -> IntCounter {
        let (outcome, reason) = outcome.labels();
        self.requests.with_label_values(&[self.route.as_str(), self.mirror.as_str(), outcome, reason])
    }
}
