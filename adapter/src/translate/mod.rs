//! Objects in, documents and statuses out: pure, total, and the same for every order of arrival.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use conf::Document;

use crate::snapshot::Snapshot;
use crate::status::Status;

/// What a translation depends on beside objects.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address that listeners bind, with the Gateway's own ports.
    pub bind: IpAddr,
    /// The addresses that clients reach the gateway by, for the status of Gateways.
    pub addresses: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { bind: Ipv4Addr::UNSPECIFIED.into(), addresses: Vec::new() }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Translation {
    /// The documents by the name of the file that holds them, a file for each source object.
    pub files: BTreeMap<String, Vec<Document>>,
    /// Of every object that is ours, by kind and name.
    pub statuses: Vec<Status>,
}

impl Translation {
    pub fn documents(&self) -> impl Iterator<Item = &Document> + Clone {
        self.files.values().flatten()
    }
}

pub fn translate(_snapshot: &Snapshot, _options: &Options) -> Translation {
    Translation::default()
}
