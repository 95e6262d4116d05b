//! What the adapter counts, for Prometheus.

use prometheus::core::Collector;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// Each adapter has its own registry.
pub(super) struct Metrics {
    pub(super) registry: Registry,
    /// By kind.
    pub(super) objects: IntGaugeVec,
    pub(super) unusable: IntGauge,
    /// By kind.
    pub(super) watch_errors: IntCounterVec,
    pub(super) translations: IntCounter,
    pub(super) translation_seconds: Gauge,
    pub(super) files_changed: IntCounter,
    pub(super) publish_errors: IntCounter,
    pub(super) leads: IntGauge,
    /// By kind and outcome: `written`, `conflict`, `failed`.
    pub(super) status_writes: IntCounterVec,
    pub(super) unacknowledged: IntGauge,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help));
        let counter = |name: &str, help: &str| register(&registry, IntCounter::new(name, help));
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let objects = Opts::new("doppel_adapter_objects", "Objects that translations are made from, by kind.");
        Self {
            objects: register(&registry, IntGaugeVec::new(objects, &["kind"])),
            unusable: gauge(
                "doppel_adapter_unusable_objects",
                "Objects that cannot be read as they are; the log names them.",
            ),
            watch_errors: counters("doppel_adapter_watch_errors_total", "Failures of watches, by kind.", &["kind"]),
            translations: counter("doppel_adapter_translations_total", "Translations of all objects."),
            translation_seconds: register(
                &registry,
                Gauge::new(
                    "doppel_adapter_translation_seconds",
                    "How long the last translation took, with its publication.",
                ),
            ),
            files_changed: counter("doppel_adapter_files_changed_total", "Files that were written or removed."),
            publish_errors: counter("doppel_adapter_publish_errors_total", "Publications that failed."),
            leads: gauge("doppel_adapter_leads", "1 while this adapter is the one that writes statuses."),
            status_writes: counters(
                "doppel_adapter_status_writes_total",
                "Writes of statuses by kind and outcome: written, conflict, failed.",
                &["kind", "outcome"],
            ),
            unacknowledged: gauge(
                "doppel_adapter_unacknowledged_gateways",
                "Gateways that did not say in time that they serve what was published last.",
            ),
            registry,
        }
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: prometheus::Result<C>) -> C {
    let collector = collector.expect("names and labels are constants");
    registry.register(Box::new(collector.clone())).expect("each name is registered once");
    collector
}
