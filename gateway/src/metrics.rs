//! The metrics of the program: one registry, and the metrics that are not the mirrors'.
//!
//! Labels are names of routes and classes of status codes, never paths or hosts, so that the
//! number of series is bounded by the configuration. Handles are looked up once, when there is first
//! something to count; after that, the request path only adds to them.

mod program;

use std::sync::OnceLock;
use std::time::Duration;

use conf::Name;
use http::StatusCode;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

pub(crate) use program::{Handshake, Program, Refusal, Reload};

/// The registry that all parts of one gateway register with, and that `/metrics` shows. Each
/// gateway has its own, so that several can run in one process.
#[derive(Clone)]
pub struct Metrics {
    pub registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    retries: IntCounterVec,
}

/// The counters of one route's requests.
///
/// Each is made when it is first needed: all of one route's take four kilobytes, and of many routes
/// few have answers of every class, or any.
pub struct Requests {
    metrics: Metrics,
    /// Without one, of the requests that no route matched.
    route: Option<Name>,
    by_class: [OnceLock<IntCounter>; CLASSES.len()],
    durations: OnceLock<Histogram>,
}

/// The counters of the retries of one route.
#[derive(Debug)]
pub struct Retries {
    sent: IntCounter,
    refused: IntCounter,
}

/// The label `class`: the first digit of the status, or `none` where no answer began.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Upper bounds in seconds.
const BUCKETS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

impl Metrics {
    pub fn new() -> Self {
        let registry = Registry::new();
        let requests = IntCounterVec::new(
            Opts::new(
                "doppel_requests_total",
                "Requests by the route that answered and the class of the answer's status.",
            ),
            &["route", "class"],
        );
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "doppel_request_duration_seconds",
                "Time from a request's head to the end of its answer, by route.",
            )
            .buckets(BUCKETS.to_vec()),
            &["route"],
        );
        let retries = IntCounterVec::new(
            Opts::new(
                "doppel_retries_total",
                "Failed attempts that a rule wants to be followed by another, by route: sent, or refused by the backend's budget.",
            ),
            &["route", "outcome"],
        );
        let requests = requests.expect("the name and labels are constants");
        let durations = durations.expect("the name and labels are constants");
        let retries = retries.expect("the name and labels are constants");
        let collectors: [Box<dyn prometheus::core::Collector>; 3] =
            [Box::new(requests.clone()), Box::new(durations.clone()), Box::new(retries.clone())];
        for collector in collectors {
            registry.register(collector).expect("each name is registered once");
        }
        Self { registry, requests, durations, retries }
    }

    /// The counters of a route; without one, of requests that no route matched.
    pub fn requests(&self, route: Option<Name>) -> Requests {
        Requests { metrics: self.clone(), route, by_class: Default::default(), durations: OnceLock::new() }
    }

    /// Those of a route that has a rule for retries.
    pub fn retries(&self, route: &str) -> Retries {
        let counter = |outcome| self.retries.with_label_values(&[route, outcome]);
        Retries { sent: counter("sent"), refused: counter("refused") }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Requests {
    /// Counts one request that has ended.
    pub fn record(&self, status: Option<StatusCode>, duration: Duration) {
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100)).min(CLASSES.len() - 1);
        let Metrics { requests, durations, .. } = &self.metrics;
        self.by_class[class].get_or_init(|| requests.with_label_values(&[self.route(), CLASSES[class]])).inc();
        let durations = self.durations.get_or_init(|| durations.with_label_values(&[self.route()]));
        durations.observe(duration.as_secs_f64());
    }

    /// The label `route`.
    fn route(&self) -> &str {
        self.route.as_ref().map_or("", Name::as_str)
    }
}

impl Retries {
    /// Counts one that was wanted and possible.
    pub fn record(&self, is_sent: bool) {
        if is_sent { &self.sent } else { &self.refused }.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_class() {
        let metrics = Metrics::new();
        let requests = metrics.requests(Some("shop/cart".parse().unwrap()));
        assert!(metrics.registry.gather().iter().all(|family| family.get_metric().is_empty()));
        requests.record(Some(StatusCode::OK), Duration::from_millis(3));
        requests.record(None, Duration::from_millis(3));
        let count = |class| metrics.requests.with_label_values(&["shop/cart", class]).get();
        assert_eq!(CLASSES.map(count), [1, 0, 1, 0, 0, 0]);
        assert_eq!(metrics.durations.with_label_values(&["shop/cart"]).get_sample_count(), 2);
    }
}
