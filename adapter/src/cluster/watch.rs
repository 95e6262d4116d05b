//! A watch for each kind. Lost ones come back by themselves, first from where they were, else with a
//! new list.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::kind::Kind;
use super::raw::{Found, Raw};
use crate::translate::Bundle;

/// What a watch saw.
#[derive(Debug)]
pub(super) enum Change {
    Objects(Kind, Event<Found>),
    /// The Gateway API that is installed now, if any.
    Bundle(Option<Bundle>),
    /// A watch has failed and will be tried again.
    Failed(&'static str, String),
}

/// Begins to watch everything. No task ends while `changes` is received from.
pub(super) fn watch(client: &Client, changes: mpsc::Sender<Change>) -> JoinSet<()> {
    let mut watches = JoinSet::new();
    for kind in Kind::ALL {
        watches.spawn(objects(client.clone(), kind, changes.clone()));
    }
    watches.spawn(bundle(client.clone(), changes.clone()));
    watches
}

async fn objects(client: Client, kind: Kind, changes: mpsc::Sender<Change>) {
    loop {
        let api = Api::<Raw>::all_with(client.clone(), &kind.resource());
        let config = kind.field_selector().map_or_else(config, |selector| config().fields(selector));
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        while let Some(event) = events.next().await {
            let (change, is_missing) = match event {
                Ok(event) => (Change::Objects(kind, read(event, kind)), false),
                Err(error) if is_missing(&error) => (Change::Objects(kind, Event::Init), true),
                Err(error) => (Change::Failed(kind.as_str(), message(&error)), false),
            };
            if changes.send(change).await.is_err() {
                return;
            }
            if is_missing {
                break;
            }
        }
        // Not installed: there are none, until there are.
        if changes.send(Change::Objects(kind, Event::InitDone)).await.is_err() {
            return;
        }
        tokio::time::sleep(MISSING).await;
    }
}

fn read(event: Event<Raw>, kind: Kind) -> Event<Found> {
    match event {
        Event::Apply(raw) => Event::Apply(raw.read(kind)),
        Event::Delete(raw) => Event::Delete(raw.read(kind)),
        Event::Init => Event::Init,
        Event::InitApply(raw) => Event::InitApply(raw.read(kind)),
        Event::InitDone => Event::InitDone,
    }
}

/// The definition of HTTPRoutes tells for all, for they are installed together.
async fn bundle(client: Client, changes: mpsc::Sender<Change>) {
    let api = Api::<PartialObjectMeta<CustomResourceDefinition>>::all(client);
    let config = config().fields(&format!("metadata.name={DEFINITION}"));
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut listed = None;
    while let Some(event) = events.next().await {
        let change = match event {
            Ok(Event::Init) => {
                listed = None;
                continue;
            }
            Ok(Event::InitApply(definition)) => {
                listed = Bundle::of(definition.annotations());
                continue;
            }
            Ok(Event::InitDone) => Change::Bundle(listed.take()),
            Ok(Event::Apply(definition)) => Change::Bundle(Bundle::of(definition.annotations())),
            Ok(Event::Delete(_)) => Change::Bundle(None),
            Err(error) => Change::Failed("CustomResourceDefinition", message(&error)),
        };
        if changes.send(change).await.is_err() {
            return;
        }
    }
}

fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

fn is_missing(error: &watcher::Error) -> bool {
    matches!(cause(error), Some(kube::Error::Api(status)) if status.code == 404)
}

/// What the API server said, without the wrapping.
fn message(error: &watcher::Error) -> String {
    match (error, cause(error)) {
        (watcher::Error::WatchError(status), _) => status.message.clone(),
        (_, Some(kube::Error::Api(status))) => status.message.clone(),
        (_, Some(cause)) => super::chain(cause),
        (error, None) => error.to_string(),
    }
}

fn cause(error: &watcher::Error) -> Option<&kube::Error> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Some(error),
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => None,
    }
}

/// How long a request to watch lasts. A connection that died in silence is noticed this late.
const WATCH_SECONDS: u32 = 60;
/// How often is looked for a kind that is not installed.
const MISSING: Duration = Duration::from_secs(3);
const DEFINITION: &str = "httproutes.gateway.networking.k8s.io";
