use conf::Kind;
use prometheus::core::Collector;
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// What the program tells about itself: its configuration, its connections, its log.
pub(crate) struct Program {
    reloads: IntCounterVec,
    pub(crate) problems: IntGauge,
    pub(crate) warnings: IntGauge,
    documents: IntGaugeVec,
    pub(crate) reload_time: Gauge,
    pub(crate) reload_duration: Gauge,
    pub(crate) open_connections: IntGauge,
    pub(crate) refused_connections: IntCounter,
    refused_requests: IntCounterVec,
    handshakes: IntCounterVec,
    pub(crate) dropped_rows: IntCounter,
}

/// What became of a TLS handshake; the label `result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    Full,
    /// Of a session that was begun before.
    Resumed,
    /// No listener is for the name that the client asked for.
    UnknownName,
    /// The listener has none of its certificates.
    NoCertificate,
    TimedOut,
    /// The two did not agree, or the client went away.
    Broken,
}

/// Why a request was refused before it was looked at; the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is not HTTP, or its head was too long, too slow, or broken off.
    Malformed,
    /// As many as may be were under way.
    NoRoom,
}

/// What became of a reload; the label `result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    Complete,
    /// Some documents or sockets are as they were before.
    WithProblems,
    /// Everything is as it was before.
    Failed,
}

impl Program {
    pub(crate) fn new(registry: &Registry) -> Self {
        let reloads = Opts::new("doppel_config_reloads_total", "How often the configuration was read, by result.");
        let handshakes = Opts::new("doppel_tls_handshakes_total", "TLS handshakes with clients, by result.");
        let refused = Opts::new(
            "doppel_requests_refused_total",
            "Requests refused before a route was looked up: malformed, or no room for another.",
        );
        let documents = Opts::new("doppel_config_documents", "Documents in use, by kind.");
        Self {
            reloads: register(registry, IntCounterVec::new(reloads, &["result"])),
            problems: register(
                registry,
                IntGauge::new(
                    "doppel_config_problems",
                    "What keeps a document or socket from being as the files want it.",
                ),
            ),
            warnings: register(
                registry,
                IntGauge::new("doppel_config_warnings", "References to documents that do not exist."),
            ),
            documents: register(registry, IntGaugeVec::new(documents, &["kind"])),
            reload_time: register(
                registry,
                Gauge::new(
                    "doppel_config_last_reload_timestamp_seconds",
                    "When the configuration was read last, in seconds since 1970.",
                ),
            ),
            reload_duration: register(
                registry,
                Gauge::new(
                    "doppel_config_last_reload_duration_seconds",
                    "How long it took to make the configuration live the last time.",
                ),
            ),
            open_connections: register(
                registry,
                IntGauge::new("doppel_connections_open", "Open connections of clients."),
            ),
            refused_connections: register(
                registry,
                IntCounter::new(
                    "doppel_connections_refused_total",
                    "Connections closed at once because --max-connections were open.",
                ),
            ),
            refused_requests: register(registry, IntCounterVec::new(refused, &["reason"])),
            handshakes: register(registry, IntCounterVec::new(handshakes, &["result"])),
            dropped_rows: register(
                registry,
                IntCounter::new(
                    "doppel_access_log_dropped_total",
                    "Rows of the access log that its reader was too slow for.",
                ),
            ),
        }
    }

    pub(crate) fn refused_requests(&self, reason: Refusal) -> IntCounter {
        let reason = match reason {
            Refusal::Malformed => "malformed",
            Refusal::NoRoom => "no_room",
        };
        self.refused_requests.with_label_values(&[reason])
    }

    pub(crate) fn reloaded(&self, result: Reload) {
        self.reloads.with_label_values(&[result.as_str()]).inc();
    }

    pub(crate) fn handshake(&self, result: Handshake) {
        self.handshakes.with_label_values(&[result.as_str()]).inc();
    }

    pub(crate) fn documents(&self, kind: Kind, count: usize) {
        self.documents.with_label_values(&[kind.as_str()]).set(count as i64);
    }
}

impl Reload {
    fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::WithProblems => "with_problems",
            Self::Failed => "failed",
        }
    }
}

impl Handshake {
    fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::UnknownName => "unknown_name",
            Self::NoCertificate => "no_certificate",
            Self::TimedOut => "timed_out",
            Self::Broken => "broken",
        }
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: prometheus::Result<C>) -> C {
    let collector = collector.expect("the name and labels are constants");
    registry.register(Box::new(collector.clone())).expect("each name is registered once");
    collector
}
