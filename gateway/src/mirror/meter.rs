//! The mirrors' metrics: their names, help and labels.

use conf::Name;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use crate::metrics::Family;

pub(super) struct Meters {
    pub(super) requests: IntCounterVec,
    in_flight: IntGaugeVec,
    queue_bytes: IntGaugeVec,
    sent_bytes: IntCounterVec,
    duration: HistogramVec,
    paused: IntGaugeVec,
}

/// One mirror's.
pub(super) struct Meter {
    pub(super) in_flight: IntGauge,
    pub(super) queue_bytes: IntGauge,
    pub(super) sent_bytes: IntCounter,
    pub(super) duration: Histogram,
    pub(super) paused: IntGauge,
}

impl Meters {
    pub(super) fn new() -> Self {
        let gauge = |name, help| valid(IntGaugeVec::new(Opts::new(name, help), &["mirror"]));
        let counter = |name, help, labels: &[&str]| valid(IntCounterVec::new(Opts::new(name, help), labels));
        let duration = HistogramOpts::new(
            "doppel_mirror_duration_seconds",
            "Time of completed copies, from their start to the end of what was read of the answer.",
        )
        .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);
        Self {
            requests: counter(
                "doppel_mirror_requests_total",
                "Requests a mirror filter applies to, by what became of the copy. \
                 eligible = sampled_out + skipped + dropped + started, \
                 started = completed + failed + aborted + in flight.",
                &["route", "mirror", "outcome", "reason"],
            ),
            in_flight: gauge("doppel_mirror_in_flight", "Copies that are started and not at their end."),
            queue_bytes: gauge("doppel_mirror_queue_bytes", "What bodies take up in memory that wait for the mirror."),
            sent_bytes: counter("doppel_mirror_sent_bytes_total", "Body bytes sent to the mirror.", &["mirror"]),
            duration: valid(HistogramVec::new(duration, &["mirror"])),
            paused: gauge("doppel_mirror_paused", "Endpoints that get no copies, because connecting to them failed."),
        }
    }

    /// Those that a mirror has. All but [`Self::requests`], which it has for each route.
    pub(super) fn of_mirrors(&self) -> Vec<Box<dyn Family>> {
        let Self { requests: _, in_flight, queue_bytes, sent_bytes, duration, paused } = self;
        let gauges = [in_flight, queue_bytes, paused].map(|gauge| Box::new(gauge.clone()) as Box<dyn Family>);
        let others: [Box<dyn Family>; 2] = [Box::new(sent_bytes.clone()), Box::new(duration.clone())];
        gauges.into_iter().chain(others).collect()
    }

    pub(super) fn of(&self, mirror: &Name) -> Meter {
        let labels = &[mirror.as_str()];
        Meter {
            in_flight: self.in_flight.with_label_values(labels),
            queue_bytes: self.queue_bytes.with_label_values(labels),
            sent_bytes: self.sent_bytes.with_label_values(labels),
            duration: self.duration.with_label_values(labels),
            paused: self.paused.with_label_values(labels),
        }
    }
}

fn valid<C>(collector: prometheus::Result<C>) -> C {
    collector.expect("names and labels are constants that follow the rules")
}
