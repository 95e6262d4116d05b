//! The whole program but for flags, runtime and signals.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use arc_swap::ArcSwap;
use log::{info, warn};
use prometheus::{IntCounter, IntGauge};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use crate::access_log::{self, AccessLog};
use crate::admin::{self, Admin};
use crate::listen::{Connections, Listeners};
use crate::metrics::{self, Metrics, Program};
use crate::mirror::{self, Mirrors};
use crate::proxy::{self, Server};
use crate::reload::{Loader, Reloader, Request};
pub use crate::report::Report;
use crate::report::Status;
pub use crate::source::Problem;
use crate::source::Source;
use crate::table::Compiler;
use crate::tls::Acceptor;

/// What a gateway runs on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A file of documents, or a directory of such files.
    pub config: PathBuf,
    /// Where to answer `/livez`, `/readyz`, `/metrics` and `/config`.
    pub admin: Option<SocketAddr>,
    /// How long requests, and copies for mirrors, may take to end after the order to stop.
    pub drain_timeout: Duration,
    /// How long the series of a route or a mirror are shown after it is gone.
    pub metrics_linger: Duration,
    /// How many connections of clients may be open at once.
    pub max_connections: usize,
    /// Written to the standard output.
    pub access_log: access_log::Format,
    pub proxy: proxy::Settings,
    pub mirror: mirror::Limits,
}

/// A running gateway. Several can run in one process. Dropped, it ends at once; see
/// [`shutdown`](Self::shutdown) for the other way.
pub struct Gateway {
    status: Arc<Status>,
    reloads: mpsc::Sender<Request>,
    /// The one task that serves, and reloads.
    serving: JoinSet<Result<(), String>>,
    admin: Option<(SocketAddr, Listeners<admin::Entrance>)>,
    mirrors: Arc<Mirrors>,
    access_log: AccessLog,
    drain_timeout: Duration,
}

/// Room for requests to reload that wait for the one at work. They are served together, so that
/// one more would change nothing.
const WAITING_RELOADS: usize = 16;

/// Connections to the admin address, apart from those of clients. A probe always finds room: the
/// connection that has been silent the longest gives way.
const ADMIN_CONNECTIONS: usize = 128;

impl Settings {
    /// The defaults for a configuration.
    pub fn new(config: impl Into<PathBuf>) -> Self {
        Self {
            config: config.into(),
            admin: None,
            drain_timeout: Duration::from_secs(30),
            metrics_linger: metrics::LINGER,
            max_connections: 16_384,
            access_log: access_log::Format::Off,
            proxy: proxy::Settings::default(),
            mirror: mirror::Limits::default(),
        }
    }
}

impl Gateway {
    /// Starts on the current runtime; returns once the first configuration is live. Documents that
    /// cannot be used are no error, nor are addresses that cannot be bound: see [`Report`].
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let metrics = Metrics::new(settings.metrics_linger);
        let program = Arc::new(Program::new(&metrics.registry));
        let status = Arc::<Status>::default();
        // First, so that it tells from the beginning that nothing is ready.
        let admin = match settings.admin {
            Some(address) => {
                let admin = Admin::new(status.clone(), metrics.registry.clone());
                Some(listen_for_admin(address, admin, &settings.proxy).await?)
            }
            None => None,
        };
        let access_log = AccessLog::new(settings.access_log, io::stdout(), program.dropped_rows.clone())
            .context("cannot start the thread of the access log")?;
        let mirrors = Mirrors::new(settings.mirror, &metrics);
        let table = Arc::<ArcSwap<_>>::default();
        let server = Server::new(table.clone(), &metrics, &program, access_log.clone(), settings.proxy)
            .await
            .context("cannot set up the proxy")?;
        let connections = Connections::new(
            settings.max_connections,
            program.open_connections.clone(),
            program.refused_connections.clone(),
        );
        let tls = Acceptor::new(table.clone(), program.clone());
        let listeners = Listeners::new(connections, Some(tls), move |arrival| server.entrance(arrival));
        let loader = Loader::new(Source::new(settings.config), Compiler::new(mirrors.clone(), metrics));
        let reloader = Reloader::start(loader, table, listeners, status.clone(), program).await?;

        let (reloads, requests) = mpsc::channel(WAITING_RELOADS);
        let mut serving = JoinSet::new();
        serving.spawn(reloader.run(requests, settings.drain_timeout));
        Ok(Self { status, reloads, serving, admin, mirrors, access_log, drain_timeout: settings.drain_timeout })
    }

    /// Where connections of clients are accepted, by the address that listeners are configured
    /// with: the same, but for port 0.
    pub fn address_of(&self, configured: SocketAddr) -> Option<SocketAddr> {
        self.status.report()?.sockets.get(&configured)?.as_ref().ok().copied()
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(address, _)| *address)
    }

    /// What is live, and what is not.
    pub fn report(&self) -> Report {
        Report::clone(&self.status.report().unwrap_or_default())
    }

    /// Reads what changed, makes it live, and tells what came of it.
    pub async fn reload(&self) -> Report {
        let (answer, answered) = oneshot::channel();
        // Neither fails while the gateway runs; where it has ended, nothing changes any more.
        let _ = self.reloads.send(Some(answer)).await;
        answered.await.map_or_else(|_| self.report(), |report| Report::clone(&report))
    }

    /// Asks for a [`reload`](Self::reload) without waiting for it.
    pub fn request_reload(&self) {
        // With a full queue there is one ahead that has not begun to read.
        let _ = self.reloads.try_send(None);
    }

    /// Returns only if the gateway cannot go on, with the reason.
    pub async fn failed(&mut self) -> anyhow::Error {
        let admin = async {
            match &mut self.admin {
                Some((_, listeners)) => listeners.broken().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(ended) = self.serving.join_next() => match ended {
                Ok(Ok(())) => anyhow!("the gateway has stopped serving"),
                Ok(Err(reason)) => anyhow!("a listener has stopped: {reason}"),
                Err(error) => anyhow!("the gateway has stopped serving: {error}"),
            },
            reason = admin => anyhow!("the admin address has stopped answering: {reason}"),
        }
    }

    /// Lets requests and copies end for as long as the drain time-out, and stops. Meanwhile it is
    /// not ready.
    pub async fn shutdown(self) {
        let Self { status, reloads, mut serving, admin, mirrors, access_log, drain_timeout } = self;
        let deadline = Instant::now() + drain_timeout;
        info!("draining, for {drain_timeout:?} at most");
        status.drain();
        // Nobody can ask for a reload any more, which is the order to drain.
        drop(reloads);
        while serving.join_next().await.is_some() {}
        if timeout_at(deadline, mirrors.drained()).await.is_err() {
            warn!("copies for mirrors were cut off: they had not ended after {drain_timeout:?}");
        }
        drop(admin);
        // It may block; an error means that the runtime ends, and with it the program.
        let _ = spawn_blocking(move || access_log.close()).await;
        info!("drained");
    }
}

async fn listen_for_admin(
    address: SocketAddr,
    admin: Admin,
    settings: &proxy::Settings,
) -> anyhow::Result<(SocketAddr, Listeners<admin::Entrance>)> {
    let open = IntGauge::new("open", "Never registered.").expect("the name is a constant");
    let refused = IntCounter::new("refused", "Never registered.").expect("the name is a constant");
    let connections = Connections::giving_way(ADMIN_CONNECTIONS, open, refused);
    let admin = Arc::new(admin);
    let (head_bytes, head_timeout) = (settings.head_bytes, settings.head_timeout);
    let mut listeners = Listeners::new(connections, None, move |arrival| {
        Arc::new(admin::Entrance::new(admin.clone(), arrival.head, head_bytes, head_timeout))
    });
    let wanted = BTreeSet::from([address]);
    listeners.bind(&wanted);
    listeners.settle(&wanted).await;
    let bound = listeners.open().map(|(_, local)| local).next();
    match (bound, listeners.failed().get(&address)) {
        (Some(local), _) => {
            info!("the admin address is http://{local}/");
            Ok((local, listeners))
        }
        (None, Some(reason)) => bail!("admin: {reason}"),
        (None, None) => bail!("admin: cannot listen on {address}"),
    }
}
