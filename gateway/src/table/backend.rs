use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use conf::{Name, Protocol};

/// Where requests go: the endpoints of one name, and whose turn it is.
#[derive(Debug)]
pub struct Backend {
    pub name: Name,
    pub protocol: Protocol,
    presence: Presence,
    turns: Turns,
    /// Apart from `turns`: a mirror must not change where primary requests go.
    mirror_turns: Turns,
}

#[derive(Debug)]
enum Presence {
    Endpoints(Vec<SocketAddr>),
    /// A rule names it, and no document defines it.
    Missing,
}

impl Backend {
    /// The turns go on where those of the version before stood; otherwise the first endpoints would
    /// get more than their share whenever endpoints come and go.
    pub(super) fn new(document: &conf::Backend, before: Option<&Self>) -> Self {
        let conf::Backend { name, protocol, endpoints } = document;
        Self {
            name: name.clone(),
            protocol: *protocol,
            presence: Presence::Endpoints(endpoints.clone()),
            turns: before.map(|before| before.turns.clone()).unwrap_or_default(),
            mirror_turns: before.map(|before| before.mirror_turns.clone()).unwrap_or_default(),
        }
    }

    pub(super) fn missing(name: Name) -> Self {
        Self {
            name,
            protocol: Protocol::default(),
            presence: Presence::Missing,
            turns: Turns::default(),
            mirror_turns: Turns::default(),
        }
    }

    /// Whether no document defines it. Its requests get 500, where those of a backend without
    /// endpoints get 503.
    pub fn is_missing(&self) -> bool {
        matches!(self.presence, Presence::Missing)
    }

    pub fn endpoints(&self) -> &[SocketAddr] {
        match &self.presence {
            Presence::Endpoints(endpoints) => endpoints,
            Presence::Missing => &[],
        }
    }

    /// For a primary request: round robin.
    pub fn next_endpoint(&self) -> Option<SocketAddr> {
        self.turns.next(self.endpoints())
    }

    /// For a copy of a request: round robin, with turns of its own.
    pub fn next_mirror_endpoint(&self) -> Option<SocketAddr> {
        self.mirror_turns.next(self.endpoints())
    }
}

#[derive(Debug, Default)]
struct Turns(AtomicUsize);

impl Turns {
    fn next(&self, endpoints: &[SocketAddr]) -> Option<SocketAddr> {
        match endpoints {
            [] => None,
            [only] => Some(*only),
            several => Some(several[self.0.fetch_add(1, Relaxed) % several.len()]),
        }
    }
}

impl Clone for Turns {
    fn clone(&self) -> Self {
        Self(AtomicUsize::new(self.0.load(Relaxed)))
    }
}

/// The place of a backend in one [`Table`](super::Table). It stays the same while any rule refers
/// to it, so that new endpoints change no rule; look it up in the table that the rule came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendId(u32);

impl BackendId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}
