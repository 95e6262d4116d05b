//! Objects in, documents and statuses out: pure, total, and the same for every order of arrival.

mod address;
mod any_route;
mod attach;
mod authorities;
mod backend;
mod certificate;
mod class;
mod conflict;
mod filter;
mod frontend;
mod gateway;
mod grant;
mod grpc_match;
mod http_match;
mod https;
mod listener;
mod listener_set;
mod memo;
mod name;
mod namespace;
mod offer;
mod overlap;
mod pods;
mod readings;
mod reference;
mod route;
mod rule;
mod service;
mod target;
mod tls_policy;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use conf::{Document, Name};

pub use self::address::{Addresses, ServiceType, UnknownServiceType};
pub use self::memo::Memo;
use crate::api::{GROUP, ObjectRef};
use crate::owned::Objects;
use crate::snapshot::Snapshot;
use crate::status::Status;

/// What a translation depends on beside objects.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address that listeners bind.
    pub bind: IpAddr,
    pub addresses: Addresses,
    /// The installed Gateway API, when there is a cluster that has one.
    pub bundle: Option<Bundle>,
    /// The gateway pods that serve although they are not ready, by their own word.
    pub serving: BTreeSet<IpAddr>,
    /// Of the objects that a translation asked for, those that could not be made so, and why.
    pub refused: BTreeMap<ObjectRef, String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::UNSPECIFIED.into(),
            addresses: Addresses::Host { addresses: Vec::new(), gateway_service: None },
            bundle: None,
            serving: BTreeSet::new(),
            refused: BTreeMap::new(),
        }
    }
}

/// A release of the Gateway API's definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    pub version: String,
    /// Whether they have the fields that the API is still trying out.
    pub is_experimental: bool,
}

impl Bundle {
    /// What the annotations of a definition tell of the bundle that it came with.
    pub fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let annotation = |name: &str| annotations.get(&format!("{GROUP}/{name}"));
        let is_experimental = annotation("channel").is_some_and(|channel| channel == "experimental");
        Some(Self { version: annotation("bundle-version")?.clone(), is_experimental })
    }
}

/// Documents by the name of the file that holds them. What did not change is the same in the next
/// translation by the same [`Memo`].
pub type Files = BTreeMap<Arc<str>, Vec<Arc<Document>>>;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translation {
    /// A file for each source object.
    pub files: Files,
    /// Of every object that is ours, by kind and name.
    pub statuses: Vec<Status>,
    /// What clients reach the Gateways by, where that is for the adapter to make.
    pub objects: Objects,
}

/// What the document of a listener is called, by the Gateway or ListenerSet that holds it.
pub fn listener_name(holder: &ObjectRef, listener: &str) -> Name {
    name::listener(holder.kind, &holder.key, listener)
}

/// Never fails: what is wrong with an object becomes its status, and spoils nothing beside it.
pub fn translate(snapshot: &Snapshot, options: &Options) -> Translation {
    Memo::default().translate(snapshot, options)
}

impl Translation {
    pub fn documents(&self) -> impl Iterator<Item = &Document> + Clone {
        self.files.values().flatten().map(|document| &**document)
    }
}
