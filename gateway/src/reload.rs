//! Makes the configuration live: read what changed, compile it, bind, swap, close.

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use conf::Kind;
use jiff::Timestamp;
use log::{info, warn};
use pingora_core::apps::HttpServerApp;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::sleep_until;

use crate::listen::Listeners;
use crate::metrics::{Program, Reload};
use crate::report::{Report, Status};
use crate::source::{Problem, ReadError, Source};
use crate::table::{Compiler, Table};

/// Asks for a reload, and perhaps for what becomes of it.
pub(crate) type Request = Option<oneshot::Sender<Arc<Report>>>;

/// The one owner of everything that changes with the configuration.
pub(crate) struct Reloader<A> {
    /// None only while it is at work.
    loader: Option<Loader>,
    table: Arc<ArcSwap<Table>>,
    listeners: Listeners<A>,
    status: Arc<Status>,
    metrics: Arc<Program>,
    retry: Backoff,
    /// Whether the last reload could not even read.
    is_unread: bool,
}

/// What turns files into a table. It reads and computes, so that it works where it may block.
pub(crate) struct Loader {
    source: Source,
    compiler: Compiler,
    table: Arc<Table>,
    /// What the compiler said about the table.
    problems: Vec<conf::Problem>,
}

/// When to try again to bind what could not be bound.
struct Backoff {
    pause: Duration,
    next: Option<tokio::time::Instant>,
}

const FIRST_RETRY: Duration = Duration::from_secs(1);
const SLOWEST_RETRY: Duration = Duration::from_secs(30);

/// How many new problems one reload may log; all are in the report.
const LOGGED_PROBLEMS: usize = 20;

impl Loader {
    pub(crate) fn new(source: Source, compiler: Compiler) -> Self {
        Self { source, compiler, table: Arc::default(), problems: Vec::new() }
    }

    /// Reads what changed. With an error, everything is as before.
    pub(crate) fn load(&mut self) -> Result<(), ReadError> {
        let changes = self.source.read()?;
        if !changes.is_empty() {
            // One copy after another, or for a moment there were two of all documents.
            let changes =
                changes.into_iter().map(|(key, document)| (key, document.map(|document| (*document).clone())));
            (self.table, self.problems) = self.compiler.apply(changes);
        }
        Ok(())
    }

    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// What keeps documents from being used, and what is served in spite of it.
    pub(crate) fn problems(&self) -> (Vec<Problem>, Vec<Problem>) {
        let mut problems = self.source.problems();
        problems.extend(self.source.locate(self.problems.iter().cloned()));
        (problems, self.source.dangling())
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> Reloader<A> {
    /// Makes the first configuration live. An error means that there is none at all; documents
    /// that cannot be used are only reported.
    pub(crate) async fn start(
        loader: Loader,
        table: Arc<ArcSwap<Table>>,
        listeners: Listeners<A>,
        status: Arc<Status>,
        metrics: Arc<Program>,
    ) -> Result<Self, ReadError> {
        let retry = Backoff { pause: FIRST_RETRY, next: None };
        let mut reloader = Self { loader: Some(loader), table, listeners, status, metrics, retry, is_unread: false };
        match reloader.reload().await {
            Some(error) => Err(error),
            None => Ok(reloader),
        }
    }

    /// Serves requests for reloads until nobody can ask any more, then drains for `drain_timeout`
    /// at most. An error is why it cannot go on.
    pub(crate) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        drain_timeout: Duration,
    ) -> Result<(), String> {
        loop {
            tokio::select! {
                request = requests.recv() => {
                    let Some(request) = request else { break };
                    // Whoever asked before this one began to read is served by it.
                    let mut answers: Vec<_> = request.into_iter().collect();
                    while let Ok(request) = requests.try_recv() {
                        answers.extend(request);
                    }
                    self.reload().await;
                    for answer in answers {
                        // Who does not wait for the answer need not get it.
                        let _ = answer.send(self.status.report().unwrap_or_default());
                    }
                }
                () = self.retry.due() => {
                    if self.is_unread {
                        self.reload().await;
                    } else {
                        self.bind_again().await;
                    }
                }
                reason = self.listeners.broken() => return Err(reason),
            }
        }
        self.listeners.drain(drain_timeout).await;
        Ok(())
    }

    /// Reads what changed and makes it live. Returns why it was not even read.
    async fn reload(&mut self) -> Option<ReadError> {
        let began = Instant::now();
        let mut loader = self.loader.take().expect("it is put back below");
        let (loader, failed) = spawn_blocking(move || {
            let failed = loader.load().err();
            (loader, failed)
        })
        .await
        .expect("loading does not panic, and nobody aborts it");
        let wanted = wanted(&loader);
        self.listeners.bind(&wanted);
        self.table.store(loader.table().clone());
        self.listeners.settle(&wanted).await;
        let is_done = failed.is_none() && self.listeners.failed().is_empty();
        if self.is_unread {
            self.retry.again(is_done);
        } else {
            self.retry.reset(is_done);
        }
        self.is_unread = failed.is_some();
        let mut report = self.report(&loader, failed.as_ref());
        if failed.is_none() {
            report.live_since = Timestamp::now();
        }
        self.loader = Some(loader);
        self.publish(report, failed.is_some(), began.elapsed());
        failed
    }

    async fn bind_again(&mut self) {
        let Some(loader) = self.loader.take() else { return };
        let wanted = wanted(&loader);
        self.listeners.bind(&wanted);
        self.listeners.settle(&wanted).await;
        self.retry.again(self.listeners.failed().is_empty());
        let report = self.report(&loader, None);
        self.loader = Some(loader);
        if self.status.report().is_some_and(|before| before.sockets != report.sockets) {
            self.metrics.problems.set(report.problems.len() as i64);
            self.status.publish(Arc::new(report));
        }
    }

    fn report(&self, loader: &Loader, failed: Option<&ReadError>) -> Report {
        let source = loader.source();
        let (mut problems, warnings) = loader.problems();
        problems.extend(failed.map(|error| Problem {
            file: error.path.as_path().into(),
            problem: conf::Problem { location: None, document: None, message: format!("{error}; all stays as it was") },
        }));
        for (address, reason) in self.listeners.failed() {
            problems.extend(source.locate(source.listeners_of(*address).map(|listener| conf::Problem {
                location: None,
                document: Some(listener),
                message: reason.clone(),
            })));
        }
        let open = self.listeners.open().map(|(address, local)| (address, Ok(local)));
        let failed = self.listeners.failed().iter().map(|(address, reason)| (*address, Err(reason.clone())));
        Report {
            revisions: source.revisions(),
            problems,
            warnings,
            documents: Kind::ALL.into_iter().map(|kind| (kind, source.count(kind))).collect(),
            sockets: open.chain(failed).collect(),
            live_since: self.status.report().map(|before| before.live_since).unwrap_or_default(),
        }
    }

    fn publish(&self, report: Report, has_failed: bool, took: Duration) {
        let metrics = &self.metrics;
        metrics.problems.set(report.problems.len() as i64);
        metrics.warnings.set(report.warnings.len() as i64);
        metrics.reload_time.set(Timestamp::now().as_millisecond() as f64 / 1e3);
        metrics.reload_duration.set(took.as_secs_f64());
        for (kind, count) in &report.documents {
            metrics.documents(*kind, *count);
        }
        metrics.reloaded(match report.problems.is_empty() {
            _ if has_failed => Reload::Failed,
            true => Reload::Complete,
            false => Reload::WithProblems,
        });
        let before = self.status.report();
        let report = Arc::new(report);
        // First, so that what the log says is true when it is read.
        self.status.publish(report.clone());
        log(&report, before.as_deref(), took);
    }
}

fn wanted(loader: &Loader) -> BTreeSet<SocketAddr> {
    loader.table().addresses().collect()
}

/// Tells operators what their action came to: what is live, and each problem once.
fn log(report: &Report, before: Option<&Report>, took: Duration) {
    let counts: Vec<_> = report.documents.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let revisions: Vec<_> = report.revisions.iter().map(|(name, revision)| format!("{name}={revision}")).collect();
    let (problems, warnings) = (report.problems.len(), report.warnings.len());
    info!(
        "live after {took:.1?}: {}; revisions: {}; {problems} problems, {warnings} warnings",
        counts.join(", "),
        if revisions.is_empty() { "none".to_owned() } else { revisions.join(", ") },
    );
    let all = |report: &Report| report.problems.iter().chain(&report.warnings).cloned().collect::<Vec<_>>();
    let known: HashSet<String> = before.map(all).unwrap_or_default().iter().map(ToString::to_string).collect();
    let all = all(report);
    let new: Vec<_> = all.iter().map(ToString::to_string).filter(|problem| !known.contains(problem)).collect();
    for problem in new.iter().take(LOGGED_PROBLEMS) {
        warn!("{problem}");
    }
    if new.len() > LOGGED_PROBLEMS {
        warn!("{} more are told by /config at the admin address, and by --check", new.len() - LOGGED_PROBLEMS);
    }
}

impl Backoff {
    async fn due(&self) {
        match self.next {
            Some(next) => sleep_until(next).await,
            None => std::future::pending().await,
        }
    }

    fn reset(&mut self, is_done: bool) {
        self.pause = FIRST_RETRY;
        self.schedule(is_done);
    }

    fn again(&mut self, is_done: bool) {
        self.pause = (self.pause * 2).min(SLOWEST_RETRY);
        self.schedule(is_done);
    }

    fn schedule(&mut self, is_done: bool) {
        self.next = (!is_done).then(|| tokio::time::Instant::now() + self.pause);
    }
}
