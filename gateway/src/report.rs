//! What became of reading the configuration, and in which state the program is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use conf::{Kind, Name};
use jiff::Timestamp;

use crate::source::Problem;

/// What is live since the configuration was read last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The live revision of each writer.
    pub revisions: BTreeMap<Name, String>,
    /// What keeps documents, or their newest versions, from being used, and sockets from being
    /// bound. Everything else is live.
    pub problems: Vec<Problem>,
    /// References to documents that do not exist. The documents that hold them are live.
    pub warnings: Vec<Problem>,
    /// How many documents are in use.
    pub documents: BTreeMap<Kind, usize>,
    /// Where connections are accepted, or why not, by configured address.
    pub sockets: BTreeMap<SocketAddr, Result<SocketAddr, String>>,
    pub live_since: Timestamp,
}

/// The state of the program, for those who ask.
#[derive(Default)]
pub(crate) struct Status {
    report: ArcSwapOption<Report>,
    has_served: AtomicBool,
    is_draining: AtomicBool,
}

/// Why requests should not be sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotReady {
    #[error("draining: the program is about to end")]
    Draining,
    #[error("no configuration is live yet")]
    NoConfiguration,
}

impl Status {
    pub(crate) fn publish(&self, report: Arc<Report>) {
        // An empty directory is a configuration that has yet to be written.
        if report.documents.values().any(|count| *count > 0) {
            self.has_served.store(true, Ordering::Release);
        }
        self.report.store(Some(report));
    }

    pub(crate) fn report(&self) -> Option<Arc<Report>> {
        self.report.load_full()
    }

    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
    }

    pub(crate) fn ready(&self) -> Result<(), NotReady> {
        if self.is_draining.load(Ordering::Acquire) {
            return Err(NotReady::Draining);
        }
        if self.has_served.load(Ordering::Acquire) { Ok(()) } else { Err(NotReady::NoConfiguration) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_from_the_first_document_until_the_drain() {
        let status = Status::default();
        let publish = |count| {
            status.publish(Arc::new(Report { documents: [(Kind::Route, count)].into(), ..Report::default() }));
            status.ready()
        };
        assert_eq!(status.ready(), Err(NotReady::NoConfiguration));
        assert_eq!(publish(0), Err(NotReady::NoConfiguration));
        assert_eq!(publish(1), Ok(()));
        assert_eq!(publish(0), Ok(()));
        status.drain();
        assert_eq!(status.ready(), Err(NotReady::Draining));
    }
}
