//! The whole program but for flags, runtime and signals.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::access_log;

/// What a gateway runs on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A file of documents, or a directory of such files.
    pub config: PathBuf,
    /// Where to answer `/livez`, `/readyz`, `/metrics` and `/config`.
    pub admin: Option<SocketAddr>,
    /// How long requests may take to end after the order to stop.
    pub drain_timeout: Duration,
    pub access_log: access_log::Format,
}

/// A running gateway. Several can run in one process.
pub struct Gateway {}

/// What became of reading the configuration.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The live revision of each writer.
    pub revisions: BTreeMap<conf::Name, String>,
}

impl Settings {
    /// The defaults for a configuration.
    pub fn new(config: impl Into<PathBuf>) -> Self {
        Self {
            config: config.into(),
            admin: None,
            drain_timeout: Duration::from_secs(30),
            access_log: access_log::Format::Off,
        }
    }
}

impl Gateway {
    /// Starts on the current runtime; returns once the first configuration is live.
    pub async fn start(_settings: Settings) -> anyhow::Result<Self> {
        anyhow::bail!("the parts are not put together yet")
    }

    /// Where the listeners of an address accept connections: the same, but for port 0.
    pub fn address_of(&self, configured: SocketAddr) -> Option<SocketAddr> {
        Some(configured)
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        None
    }

    /// Reads what changed, and makes it live.
    pub async fn reload(&self) -> Report {
        Report::default()
    }

    /// Lets requests end, for as long as the drain time-out, and stops.
    pub async fn shutdown(self) {}
}
