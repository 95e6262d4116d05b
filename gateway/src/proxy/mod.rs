//! Requests on their way: from a client's connection to a backend's, through Pingora.
//!
//! [`phases`] holds the order in which things happen, as Pingora's `ProxyHttp` wants it. What
//! happens is decided elsewhere: which rule in [`table`](crate::table), how a request changes in
//! [`filter`](crate::filter), what becomes of a copy in [`mirror`](crate::mirror), and here, one
//! file each, where a request goes, how a backend is connected to, how long it may take, whether it is
//! tried again, and what the gateway answers itself.

mod answer;
mod assembly;
mod connector;
mod context;
mod copies;
mod course;
mod entrance;
mod exchange;
mod fault;
mod headers;
mod http2;
mod line;
mod phases;
mod retry;
mod tunnel;
mod upstream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;

use crate::access_log::AccessLog;
use crate::limit::Limit;
use crate::listen::Arrival;
use crate::metrics::{Metrics, Program, Refusal};
use crate::table::Table;

pub use entrance::Entrance;

/// The numbers of the request path that an operator may set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Worker threads of the runtime that everything runs on; sizes the pools of connections.
    pub threads: usize,
    /// How long a connection to a backend may take to open.
    pub connect_timeout: Duration,
    /// How long an idle connection to a backend is kept. Below what backends keep theirs, or
    /// requests are lost to connections that close as they are sent.
    pub backend_idle_timeout: Duration,
    /// How long an idle HTTP/1.1 connection of a client is kept; zero for no limit.
    pub client_idle_timeout: Duration,
    /// How long neither a request nor its answer may move on; zero for no limit. Tunnels have none.
    pub request_idle_timeout: Duration,
    /// How long the head of an HTTP/1 request may be, in bytes, and how long it may take.
    pub head_bytes: usize,
    pub head_timeout: Duration,
    /// How many requests may be under way at once.
    pub max_requests: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: 1,
            connect_timeout: Duration::from_secs(5),
            backend_idle_timeout: Duration::from_secs(4),
            client_idle_timeout: Duration::from_secs(75),
            request_idle_timeout: Duration::from_secs(300),
            head_bytes: 64 << 10,
            head_timeout: Duration::from_secs(60),
            max_requests: 16_384,
        }
    }
}

/// Serves the connections of all listeners, with one pool of connections to backends.
pub struct Server {
    proxy: Arc<Proxy>,
    limits: entrance::Limits,
}

type Proxy = HttpProxy<phases::Phases, connector::Connector>;

impl Server {
    /// An error means that the system has no socket to spare.
    pub(crate) async fn new(
        table: Arc<ArcSwap<Table>>,
        metrics: &Metrics,
        program: &Program,
        access_log: AccessLog,
        settings: Settings,
    ) -> io::Result<Self> {
        let conf = ServerConf {
            threads: settings.threads,
            // As many as the longest retry rule needs.
            max_retries: usize::from(conf::Retry::MAX_ATTEMPTS) + 1,
            ..ServerConf::default()
        };
        let limits = entrance::Limits {
            head_bytes: settings.head_bytes,
            head_timeout: settings.head_timeout,
            client_idle_timeout: settings.client_idle_timeout,
            idle_timeout: settings.request_idle_timeout,
            malformed: program.refused_requests(Refusal::Malformed),
        };
        // Over HTTP/2 each connection of a client carries many, and each may take one to a backend.
        let requests = Limit::new(settings.max_requests, program.refused_requests(Refusal::NoRoom));
        let connector = connector::Connector::new(settings.backend_idle_timeout);
        let phases = phases::Phases::new(table, metrics, access_log, settings, requests);
        Ok(Self { proxy: assembly::proxy(conf, connector, phases).await?, limits })
    }

    /// What serves connections that arrive in this way.
    pub(crate) fn entrance(&self, arrival: Arrival) -> Arc<Entrance> {
        Arc::new(Entrance::new(arrival, self.proxy.clone(), self.limits.clone()))
    }
}
