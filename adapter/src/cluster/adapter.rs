//! All that the loop decides on, and what it does when something happens.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as Clock};

use kube::Client;
use tokio::time::Instant;

use super::acknowledge::{self, Answers, Gateways, Http, acknowledged, gateways};
use super::doubt::Doubts;
use super::events::Events;
use super::hold_off::HoldOff;
use super::kind::Kind;
use super::metrics::Metrics;
use super::own::{Done, Own};
use super::statuses::{Outcome, Statuses, Written};
use super::store::Store;
use super::watch::Change;
use super::{Settings, problems, until};
use crate::owned::Objects;
use crate::publish::{Directory, notify};
use crate::status::Status;
use crate::translate::Memo;

pub(super) struct Adapter {
    settings: Settings,
    store: Store,
    memo: Memo,
    directory: Directory,
    statuses: Statuses,
    own: Own,
    doubts: Doubts,
    events: Events,
    metrics: Metrics,
    http: Http,
    hold_off: HoldOff,
    /// Whether every kind has been listed once. Before, a translation would lack what is there.
    has_listed: bool,
    is_ready: Arc<AtomicBool>,
    /// Whether a translation waits for gateways in doubt.
    is_held_up: bool,
    /// When to try again to tell the gateway of a new configuration.
    notify_at: Option<Instant>,
    leads: bool,
    /// What the last translation asks for.
    objects: Objects,
    /// What the last translation says, as long as the gateways have not been heard.
    told: Vec<Status>,
    asking: Option<Asking>,
    /// When to ask gateways again that had something to say against what is published.
    ask_at: Option<Instant>,
}

/// A question to the gateways, whether they serve what is published.
struct Asking {
    answers: Pin<Box<dyn Future<Output = Answers> + Send>>,
    /// Of the first of the questions that took each other's place.
    deadline: Instant,
}

/// What there is to do.
pub(super) enum Act {
    Translate,
    Notify,
    Ask,
    Tell(Answers),
    Settle(Written),
    Told,
    Make,
    Made(Done),
    Heard,
}

impl Adapter {
    pub(super) fn open(
        settings: Settings,
        client: Client,
        metrics: Metrics,
        is_ready: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let http = acknowledge::http();
        Ok(Self {
            directory: Directory::open(&settings.to)?,
            doubts: Doubts::new(http.clone(), settings.gateway_admin),
            statuses: Statuses::new(client.clone()),
            own: Own::new(client.clone()),
            events: Events::new(client, settings.identity.clone()),
            settings,
            store: Store::default(),
            memo: Memo::default(),
            metrics,
            http,
            hold_off: HoldOff::default(),
            has_listed: false,
            is_ready,
            is_held_up: false,
            notify_at: None,
            leads: false,
            objects: Objects::default(),
            told: Vec::new(),
            asking: None,
            ask_at: None,
        })
    }

    /// Waits until one of the adapter's own tasks or timers is due.
    pub(super) async fn next(&mut self) -> Act {
        let answers = async {
            match &mut self.asking {
                Some(asking) => asking.answers.as_mut().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = until(self.hold_off.due()) => Act::Translate,
            () = until(self.notify_at) => Act::Notify,
            () = until(self.ask_at) => Act::Ask,
            answers = answers => Act::Tell(answers),
            written = self.statuses.written() => Act::Settle(written),
            () = self.events.told() => Act::Told,
            () = self.doubts.heard() => Act::Heard,
            () = until(self.own.due()), if self.leads => Act::Make,
            done = self.own.done() => Act::Made(done),
        }
    }

    pub(super) fn act(&mut self, act: Act) {
        match act {
            Act::Translate => self.translate(),
            Act::Notify => self.notify(),
            Act::Ask => self.ask(),
            Act::Tell(answers) => self.tell(answers),
            Act::Settle(written) => self.settle(written),
            Act::Told => {}
            Act::Heard => self.heard(),
            Act::Make => self.make(),
            Act::Made(done) => self.made(done),
        }
    }

    pub(super) fn take(&mut self, change: Change) {
        let is_relevant = match change {
            Change::Objects(kind, event) => {
                let effect = self.store.apply(kind, event);
                self.statuses.touched(effect.touched);
                self.metrics.objects.with_label_values(&[kind.as_str()]).set(self.store.count(kind) as i64);
                self.metrics.unusable.set(self.store.unusable() as i64);
                effect.is_relevant
            }
            Change::Bundle(bundle) => {
                let is_other = self.settings.options.bundle != bundle;
                self.settings.options.bundle = bundle;
                is_other
            }
            Change::Failed(kind, message) => {
                self.metrics.watch_errors.with_label_values(&[kind]).inc();
                log::warn!("{kind} objects are not watched at the moment: {message}");
                false
            }
        };
        let is_first = !self.has_listed && self.store.incomplete().is_empty();
        self.has_listed |= is_first;
        if is_first || (is_relevant && self.has_listed) {
            self.hold_off.changed(Instant::now());
        }
    }

    /// Only the leader writes. A new one first catches up on what is left undone.
    pub(super) fn lead(&mut self, leads: bool) {
        self.leads = leads;
        self.metrics.leads.set(leads.into());
        if leads {
            self.make();
            self.ask();
        } else {
            self.statuses.leave();
            self.asking = None;
            self.ask_at = None;
        }
    }

    pub(super) fn look_through(&mut self) {
        log::info!("looking through {} again", self.settings.to.display());
        self.directory.forget();
        if self.has_listed {
            self.hold_off.changed(Instant::now());
        }
    }

    pub(super) fn write_statuses(&mut self) {
        self.statuses.write(&self.store);
    }

    pub(super) fn remind(&self) {
        let missing: Vec<_> = self.store.incomplete().into_iter().map(Kind::as_str).collect();
        if !missing.is_empty() {
            log::warn!("nothing is translated before everything is listed; still missing: {}", missing.join(", "));
        }
    }

    fn translate(&mut self) {
        let began = Clock::now();
        self.hold_off.acted(Instant::now());
        // To take a serving pod for one that is down would be to take it from its clients.
        self.is_held_up = !self.doubts.are_settled(&self.settings.gateway_service, self.store.snapshot());
        if self.is_held_up {
            return;
        }
        self.settings.options.serving = self.doubts.serving();
        let translation = self.memo.translate(self.store.snapshot(), &self.settings.options);
        let published = match self.directory.publish(&translation.files) {
            Ok(published) => published,
            Err(error) => {
                log::error!("{error}; the gateway goes on with what it has");
                self.metrics.publish_errors.inc();
                self.hold_off.retry(Instant::now());
                return;
            }
        };
        for path in &published.in_the_way {
            log::error!("{} is not the adapter's and stands in its way; move it elsewhere", path.display());
        }
        let is_first = !self.is_ready.swap(true, Ordering::AcqRel);
        if is_first || !published.changed.is_empty() {
            self.notify();
            let (files, revision) = (published.changed.len(), self.directory.revision());
            log::info!("revision {revision}: {files} files changed, after {:.1?}", began.elapsed());
        }
        self.metrics.translations.inc();
        self.metrics.translation_seconds.set(began.elapsed().as_secs_f64());
        self.metrics.files_changed.inc_by(published.changed.len() as u64);
        self.told = translation.statuses;
        self.objects = translation.objects;
        self.make();
        self.ask();
    }

    /// A gateway that has yet to start, or to start again, is told once it can be.
    fn notify(&mut self) {
        let Some(pid_file) = &self.settings.pid_file else { return };
        self.notify_at = notify(pid_file).err().map(|error| {
            log::warn!("the gateway is not told of its new configuration: {error}");
            Instant::now() + AGAIN
        });
    }

    /// Asks the gateways whether they serve what is published. Until they answer, or the time is up,
    /// nothing is told that might not be true yet.
    fn ask(&mut self) {
        self.ask_at = None;
        if !self.leads || !self.is_ready.load(Ordering::Acquire) {
            return;
        }
        let deadline = self.asking.as_ref().map_or_else(|| Instant::now() + PATIENCE, |asking| asking.deadline);
        let revision = self.directory.revision().to_owned();
        let answers = Box::pin(acknowledged(self.http.clone(), self.gateways(), revision, deadline));
        self.asking = Some(Asking { answers, deadline });
    }

    fn gateways(&self) -> Gateways {
        let service = &self.settings.gateway_service;
        let slices = self.store.snapshot().slices.iter().filter(|(key, slice)| {
            let labels = slice.metadata.labels.as_ref();
            key.namespace == service.namespace
                && labels.and_then(|labels| labels.get("kubernetes.io/service-name")) == Some(&service.name)
        });
        let endpoints = slices
            .flat_map(|(_, slice)| &slice.endpoints)
            .filter(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true));
        let addresses = endpoints.filter_map(|endpoint| endpoint.addresses.first()?.parse::<IpAddr>().ok());
        gateways(addresses, self.settings.gateway_admin)
    }

    fn tell(&mut self, answers: Answers) {
        self.asking = None;
        let Answers { missing, problems } = answers;
        self.metrics.unacknowledged.set(missing.len() as i64);
        if !missing.is_empty() {
            let names = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            log::warn!("not acknowledged within {PATIENCE:?}, statuses are written anyway; without word from: {names}");
        }
        if !missing.is_empty() || !problems.is_empty() {
            self.ask_at = Some(Instant::now() + ASK_AGAIN);
        }
        self.statuses.want(problems::told(&self.told, &problems), &self.store);
    }

    /// The Services and EndpointSlices that Gateways need. They are made before the gateways serve: an
    /// address takes longer to come than a port.
    fn make(&mut self) {
        if !self.leads {
            return;
        }
        self.own.act(&self.objects, self.store.snapshot(), Instant::now());
        let refused = self.own.refused();
        if self.settings.options.refused != refused {
            self.settings.options.refused = refused;
            self.hold_off.changed(Instant::now());
        }
    }

    fn made(&mut self, done: Done) {
        self.own.settle(done, Instant::now());
        self.make();
    }

    fn heard(&mut self) {
        if self.is_held_up || self.settings.options.serving != self.doubts.serving() {
            self.translate();
        }
    }

    fn settle(&mut self, written: Written) {
        let (object, outcome) = self.statuses.settle(written, &mut self.store);
        self.metrics.status_writes.with_label_values(&[object.kind, outcome.as_str()]).inc();
        if let Outcome::Written { uid, alarms } = outcome {
            self.events.raise(&object, &uid, alarms);
        }
    }
}

const AGAIN: Duration = Duration::from_secs(1);
/// How long statuses wait for the gateways.
const PATIENCE: Duration = Duration::from_secs(1);
const ASK_AGAIN: Duration = Duration::from_secs(5);
