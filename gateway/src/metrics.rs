//! The metrics of the program: one registry, and the metrics that are not the mirrors'.
//!
//! Labels are names of routes and classes of status codes, never paths or hosts, so that the
//! number of series is bounded by the configuration. Handles are looked up once, when there is first
//! something to count; after that, the request path only adds to them.

mod program;
mod series;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use conf::Name;
use http::StatusCode;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

pub(crate) use program::{Handshake, Program, Refusal, Reload};
pub(crate) use series::{Family, Series};

/// The registry that all parts of one gateway register with, and that `/metrics` shows. Each
/// gateway has its own, so that several can run in one process.
#[derive(Clone)]
pub struct Metrics {
    pub registry: Registry,
    /// How long the series of what is gone stay.
    linger: Duration,
    routes: Series<1, Requests>,
    of_requests: Arc<OfRequests>,
}

/// The metrics that each route has.
struct OfRequests {
    requests: IntCounterVec,
    durations: HistogramVec,
    retries: IntCounterVec,
}

/// The counters of one route's requests.
///
/// Each is made when it is first needed: all of one route's take four kilobytes, and of many routes
/// few have answers of every class, or any.
pub struct Requests {
    metrics: Arc<OfRequests>,
    /// Without one, of the requests that no route matched.
    route: Option<Name>,
    counts: OnceLock<Box<Counts>>,
}

struct Counts {
    by_class: [OnceLock<IntCounter>; CLASSES.len()],
    durations: Histogram,
}

/// What follows a failed attempt; the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Another, as the rule wants.
    Sent,
    /// None, because of the backend's budget.
    Refused,
    /// Another, although no rule asks for it.
    Unprocessed,
}

/// How long the series of what is gone stay, unless told otherwise: several scrapes of everybody.
pub const LINGER: Duration = Duration::from_secs(300);

/// The label `class`: the first digit of the status, or `none` where no answer began.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Upper bounds in seconds.
const BUCKETS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

impl Metrics {
    /// `linger` is how long the series of a route, or of a mirror, stay after it is gone.
    pub fn new(linger: Duration) -> Self {
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
                "Failed attempts by route: sent again by a rule, refused that by the backend's budget, \
                 or sent again without a rule because they were not processed.",
            ),
            &["route", "outcome"],
        );
        let of_requests = OfRequests {
            requests: requests.expect("the name and labels are constants"),
            durations: durations.expect("the name and labels are constants"),
            retries: retries.expect("the name and labels are constants"),
        };
        let OfRequests { requests, durations, retries } = &of_requests;
        let families: Vec<Box<dyn Family>> =
            vec![Box::new(requests.clone()), Box::new(durations.clone()), Box::new(retries.clone())];
        let routes = series(&registry, ["route"], families, linger);
        Self { registry, linger, routes, of_requests: Arc::new(of_requests) }
    }

    /// The counters of a route.
    pub fn of_route(&self, route: &Name) -> Arc<Requests> {
        self.routes.of([route.clone()], || Requests::new(self.of_requests.clone(), Some(route.clone())))
    }

    /// Those of requests that no route matched.
    pub fn unrouted(&self) -> Requests {
        Requests::new(self.of_requests.clone(), None)
    }

    /// Registers what else has series as long as it is there.
    pub(crate) fn series<const N: usize, V: Send + Sync + 'static>(
        &self,
        labels: [&'static str; N],
        families: Vec<Box<dyn Family>>,
    ) -> Series<N, V> {
        series(&self.registry, labels, families, self.linger)
    }
}

fn series<const N: usize, V: Send + Sync + 'static>(
    registry: &Registry,
    labels: [&'static str; N],
    families: Vec<Box<dyn Family>>,
    linger: Duration,
) -> Series<N, V> {
    let series = Series::new(labels, families, linger);
    registry.register(Box::new(series.clone())).expect("each name is registered once");
    series
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(LINGER)
    }
}

impl Requests {
    fn new(metrics: Arc<OfRequests>, route: Option<Name>) -> Self {
        Self { metrics, route, counts: OnceLock::new() }
    }

    /// Counts one request that has ended.
    pub fn record(&self, status: Option<StatusCode>, duration: Duration) {
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100)).min(CLASSES.len() - 1);
        let OfRequests { requests, durations, .. } = &*self.metrics;
        let counts = self.counts.get_or_init(|| {
            let durations = durations.with_label_values(&[self.route()]);
            Box::new(Counts { by_class: Default::default(), durations })
        });
        counts.by_class[class].get_or_init(|| requests.with_label_values(&[self.route(), CLASSES[class]])).inc();
        counts.durations.observe(duration.as_secs_f64());
    }

    /// Counts a failed attempt, by what follows.
    pub fn retry(&self, retry: Retry) {
        let outcome = match retry {
            Retry::Sent => "sent",
            Retry::Refused => "refused",
            Retry::Unprocessed => "unprocessed",
        };
        // Looked up each time: it is rare enough.
        self.metrics.retries.with_label_values(&[self.route(), outcome]).inc();
    }

    /// The label `route`.
    fn route(&self) -> &str {
        self.route.as_ref().map_or("", Name::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_class() {
        let metrics = Metrics::default();
        let requests = metrics.of_route(&"shop/cart".parse().unwrap());
        assert!(metrics.registry.gather().iter().all(|family| family.get_metric().is_empty()));
        requests.record(Some(StatusCode::OK), Duration::from_millis(3));
        requests.record(None, Duration::from_millis(3));
        let OfRequests { requests, durations, .. } = &*metrics.of_requests;
        let count = |class| requests.with_label_values(&["shop/cart", class]).get();
        assert_eq!(CLASSES.map(count), [1, 0, 1, 0, 0, 0]);
        assert_eq!(durations.with_label_values(&["shop/cart"]).get_sample_count(), 2);
    }
}
