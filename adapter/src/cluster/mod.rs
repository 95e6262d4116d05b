//! The program in a cluster: objects from the API server, documents to the gateway beside it,
//! statuses back.
//!
//! One loop owns all state, in [`Adapter`]. What takes time is a task that the loop waits for, and
//! the end of one that should not end is the end of the program.

mod acknowledge;
mod adapter;
mod admin;
mod doubt;
mod events;
mod hold_off;
mod kind;
mod lease;
mod merge;
mod metrics;
mod own;
mod problems;
mod raw;
mod statuses;
mod store;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, bail};
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch as latest};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::adapter::Adapter;
use self::admin::Admin;
use self::metrics::Metrics;
use crate::api::ObjectKey;
use crate::translate::Options;

/// What the program is asked to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to reach the API server; without it, as the service account of a pod says.
    pub kubeconfig: Option<PathBuf>,
    pub to: PathBuf,
    /// Where the gateway to be notified has written its process id.
    pub pid_file: Option<PathBuf>,
    pub options: Options,
    /// The Service whose endpoints are the pods that serve.
    pub gateway_service: ObjectKey,
    /// Where each of those tells what it serves.
    pub gateway_admin: u16,
    pub admin: SocketAddr,
    /// What this adapter is called among those that may write.
    pub identity: String,
    /// Where the Lease is that one of them holds.
    pub namespace: String,
}

/// Translates whenever objects change, until it is told to stop by SIGTERM or SIGINT. SIGHUP makes it
/// look through its directory again.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let client = client(&settings).await?;
    let metrics = Metrics::new();
    let is_ready = Arc::new(AtomicBool::new(false));
    let admin = Admin::bind(settings.admin, metrics.registry.clone(), is_ready.clone()).await;
    let mut admin = std::pin::pin!(admin.with_context(|| format!("--admin {}", settings.admin))?.serve());
    let (sender, mut changes) = mpsc::channel(MOST_CHANGES);
    let mut watches = watch::watch(&client, sender);
    let (stop, stopped) = oneshot::channel();
    let (leads, mut leading) = latest::channel(false);
    let mut candidate = JoinSet::new();
    let Settings { namespace, identity, .. } = &settings;
    candidate.spawn(lease::stand(client.clone(), namespace.clone(), identity.clone(), leads, stopped));
    let mut adapter = Adapter::open(settings, client, metrics, is_ready)?;
    let mut reminder = tokio::time::interval_at(Instant::now() + REMIND, REMIND);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => adapter.look_through(),
            Some(change) = changes.recv() => {
                adapter.take(change);
                // Those that are there already are taken together.
                for _ in 0..MOST_CHANGES {
                    let Ok(change) = changes.try_recv() else { break };
                    adapter.take(change);
                }
            }
            Ok(()) = leading.changed() => {
                let leads = *leading.borrow_and_update();
                adapter.lead(leads);
            }
            act = adapter.next() => adapter.act(act),
            _ = reminder.tick() => adapter.remind(),
            ended = watches.join_next() => bail!("a watch has ended: {ended:?}"),
            ended = candidate.join_next() => bail!("the election by Lease has ended: {ended:?}"),
            error = &mut admin => return Err(error).context("the admin address has stopped answering"),
        }
        adapter.write_statuses();
    }
    log::info!("told to stop");
    drop(stop);
    candidate.join_next().await;
    Ok(())
}

async fn client(settings: &Settings) -> anyhow::Result<Client> {
    let config = match &settings.kubeconfig {
        Some(path) => {
            let kubeconfig = kube::config::Kubeconfig::read_from(path)?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?
        }
        None => kube::Config::incluster().context("no --from, no --kubeconfig, and no service account of a pod")?,
    };
    Ok(Client::try_from(config)?)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What the API server answered, or why it did not.
fn answer(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => chain(other),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        // Many say what their cause says.
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// How many changes wait until the loop takes them.
const MOST_CHANGES: usize = 1024;
/// How often is said what keeps the first translation waiting.
const REMIND: Duration = Duration::from_secs(10);
