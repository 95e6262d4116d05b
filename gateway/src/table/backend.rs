use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use conf::{Name, Protocol};

use super::RetryBudget;
use super::shared::SharedVec;
use crate::tls::{Bond, Identity, Trust};

/// Where requests go: the endpoints of one name, and whose turn it is.
#[derive(Debug)]
pub struct Backend {
    pub name: Name,
    pub protocol: Protocol,
    security: Security,
    presence: Presence,
    turns: Turns,
    /// Apart from `turns`: a mirror must not change where primary requests go.
    mirror_turns: Turns,
    /// One and the same for all versions.
    pub retries: Arc<RetryBudget>,
}

#[derive(Debug)]
enum Presence {
    Endpoints(Vec<SocketAddr>),
    /// A rule names it, and no document defines it.
    Missing,
}

/// How connections to endpoints are secured.
#[derive(Clone, Debug)]
pub(super) enum Security {
    Plain,
    Tls(Arc<Trust>),
    /// With TLS, but there is nothing that an endpoint could prove itself by.
    Impossible,
}

impl Backend {
    /// The turns go on where those of the version before stood; otherwise the first endpoints would
    /// get more than their share whenever endpoints come and go.
    pub(super) fn new(document: &conf::Backend, security: Security, before: Option<&Self>) -> Self {
        let conf::Backend { name, protocol, endpoints, tls: _ } = document;
        Self {
            name: name.clone(),
            protocol: *protocol,
            security,
            presence: Presence::Endpoints(endpoints.clone()),
            turns: before.map(|before| before.turns.clone()).unwrap_or_default(),
            mirror_turns: before.map(|before| before.mirror_turns.clone()).unwrap_or_default(),
            retries: before.map(|before| before.retries.clone()).unwrap_or_default(),
        }
    }

    pub(super) fn missing(name: Name) -> Self {
        Self {
            name,
            protocol: Protocol::default(),
            security: Security::Plain,
            presence: Presence::Missing,
            turns: Turns::default(),
            mirror_turns: Turns::default(),
            retries: Arc::default(),
        }
    }

    /// Whether no document defines it. Its requests get 500, where those of a backend without
    /// endpoints get 503.
    pub fn is_missing(&self) -> bool {
        matches!(self.presence, Presence::Missing)
    }

    /// Whether its endpoints must prove who they are, and none could: none of the authorities is there
    /// that its document names. Its requests get 500.
    pub fn is_unprovable(&self) -> bool {
        matches!(self.security, Security::Impossible)
    }

    /// What endpoints must prove, if anything.
    pub(super) fn trust(&self) -> Option<&Arc<Trust>> {
        match &self.security {
            Security::Tls(trust) => Some(trust),
            Security::Plain | Security::Impossible => None,
        }
    }

    /// What connections for requests in this protocol rest on, of whom the gateway says it is
    /// `identity`; none without TLS.
    pub(crate) fn bond(&self, identity: Option<&Arc<Identity>>, protocol: Protocol) -> Option<Bond> {
        Some(Bond::new(self.trust()?.clone(), identity.cloned(), protocol))
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
/// to it, so that new endpoints change no rule. Places are given anew once nobody refers to them:
/// an id means something only in the table that its rule came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendId(u32);

impl BackendId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which backend has which place: every backend that a document defines or a rule refers to.
#[derive(Default)]
pub(super) struct Places {
    by_name: HashMap<Name, Place>,
    free: Vec<BackendId>,
}

struct Place {
    id: BackendId,
    /// How many times rules refer to it.
    references: usize,
}

pub(super) type List = SharedVec<Arc<Backend>>;

impl Places {
    /// The document of a backend changed, appeared or, if there is none, went away.
    pub(super) fn define(&mut self, list: &mut List, name: &Name, document: Option<(&conf::Backend, Security)>) {
        match document {
            Some((document, security)) => {
                let id = self.place(list, name).id;
                let before = list.get(id.index()).expect("places are in the list");
                let backend = Backend::new(document, security, Some(before));
                list.set(id.index(), Arc::new(backend));
            }
            None => {
                if let Some(place) = self.by_name.get(name) {
                    list.set(place.id.index(), Arc::new(Backend::missing(name.clone())));
                    self.vacate_unused(list, name);
                }
            }
        }
    }

    /// The backend of a name, whether or not a document defines it.
    pub(super) fn backend<'l>(&self, list: &'l List, name: &Name) -> Option<&'l Arc<Backend>> {
        list.get(self.by_name.get(name)?.id.index())
    }

    /// A rule begins to refer to a backend, which need not be defined.
    pub(super) fn refer(&mut self, list: &mut List, name: &Name) -> BackendId {
        let place = self.place(list, name);
        place.references += 1;
        place.id
    }

    /// A rule no longer refers to a backend.
    pub(super) fn release(&mut self, list: &List, name: &Name) {
        let place = self.by_name.get_mut(name).expect("what is released was referred to");
        place.references -= 1;
        self.vacate_unused(list, name);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    fn place(&mut self, list: &mut List, name: &Name) -> &mut Place {
        let Self { by_name, free } = self;
        by_name.entry(name.clone()).or_insert_with(|| {
            let backend = Arc::new(Backend::missing(name.clone()));
            let id = match free.pop() {
                Some(id) => {
                    list.set(id.index(), backend);
                    id
                }
                None => {
                    list.push(backend);
                    BackendId(u32::try_from(list.len() - 1).expect("four billion backends do not fit in memory"))
                }
            };
            Place { id, references: 0 }
        })
    }

    fn vacate_unused(&mut self, list: &List, name: &Name) {
        let Some(place) = self.by_name.get(name) else { return };
        if place.references == 0 && list.get(place.id.index()).is_some_and(|backend| backend.is_missing()) {
            self.free.push(place.id);
            self.by_name.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn document(backend: &str, ports: &[u16]) -> conf::Backend {
        let endpoints = ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect();
        conf::Backend { name: name(backend), protocol: Protocol::Http, endpoints, tls: None }
    }

    fn ports(backend: &Backend, count: usize) -> Vec<u16> {
        (0..count).map(|_| backend.next_endpoint().unwrap().port()).collect()
    }

    #[test]
    fn endpoints_take_turns_and_mirrors_have_their_own() {
        let backend = Backend::new(&document("a", &[1, 2, 3]), Security::Plain, None);
        assert_eq!(ports(&backend, 2), [1, 2]);
        assert_eq!(backend.next_mirror_endpoint().unwrap().port(), 1);
        assert_eq!(ports(&backend, 2), [3, 1]);
        assert_eq!(backend.next_mirror_endpoint().unwrap().port(), 2);
        let empty = Backend::new(&document("a", &[]), Security::Plain, None);
        assert!(empty.next_endpoint().is_none() && empty.next_mirror_endpoint().is_none() && !empty.is_missing());
    }

    #[test]
    fn turns_go_on_when_endpoints_change() {
        let (mut places, mut list) = (Places::default(), List::default());
        let a = places.refer(&mut list, &name("a"));
        let backend = |list: &List| Arc::clone(list.get(a.index()).unwrap());
        assert!(backend(&list).is_missing() && backend(&list).next_endpoint().is_none());
        places.define(&mut list, &name("a"), Some((&document("a", &[1, 2]), Security::Plain)));
        assert_eq!(ports(&backend(&list), 1), [1]);
        places.define(&mut list, &name("a"), Some((&document("a", &[1, 2, 3]), Security::Plain)));
        assert_eq!(ports(&backend(&list), 3), [2, 3, 1]);
        places.define(&mut list, &name("a"), None);
        assert!(backend(&list).is_missing());
        assert_eq!(backend(&list).name, name("a"));
    }

    #[test]
    fn places_are_given_anew_once_nobody_needs_them() {
        let (mut places, mut list) = (Places::default(), List::default());
        let kept = places.refer(&mut list, &name("kept"));
        for round in 0..1000 {
            let churning = name(&format!("b{round}"));
            let id = places.refer(&mut list, &churning);
            assert_eq!(places.refer(&mut list, &churning), id);
            places.define(&mut list, &churning, Some((&document(churning.as_str(), &[1]), Security::Plain)));
            places.release(&list, &churning);
            // In every order: the document goes first, or the last reference.
            if round % 2 == 0 {
                places.define(&mut list, &churning, None);
                assert_eq!(list.get(id.index()).unwrap().name, churning);
                places.release(&list, &churning);
            } else {
                places.release(&list, &churning);
                assert!(!list.get(id.index()).unwrap().is_missing());
                places.define(&mut list, &churning, None);
            }
        }
        places.define(&mut list, &name("never-there"), None);
        assert_eq!((list.len(), places.by_name.len(), places.free.len()), (2, 1, 1));
        assert_eq!(list.get(kept.index()).unwrap().name, name("kept"));
    }
}
