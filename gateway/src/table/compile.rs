use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use conf::{Document, Hostname, Key, Kind, Listener, Name, Problem};

use super::backend::Places;
use super::host::HostMap;
use super::path::PathMap;
use super::route::{Resolver, Route};
use super::{Entrance, Table};
use crate::metrics::Metrics;
use crate::mirror::Mirrors;

/// Makes tables: each from the one before and what changed since.
pub struct Compiler {
    mirrors: Arc<Mirrors>,
    metrics: Metrics,
    /// What was published is a copy, which shares what the next change leaves alone.
    table: Table,
    listeners: HashMap<Name, Arc<Listener>>,
    claims: BTreeMap<Claim, BTreeSet<Name>>,
    routes: HashMap<Name, Route>,
    /// The routes that name a listener, whether it is there or not.
    attached: HashMap<Name, BTreeSet<Name>>,
    places: Places,
}

/// What only one listener can serve. Of several that want it, the first by name does.
type Claim = (SocketAddr, Option<Hostname>);

impl Compiler {
    pub fn new(mirrors: Arc<Mirrors>, metrics: Metrics) -> Self {
        Self {
            mirrors,
            metrics,
            table: Table::default(),
            listeners: HashMap::new(),
            claims: BTreeMap::new(),
            routes: HashMap::new(),
            attached: HashMap::new(),
            places: Places::default(),
        }
    }

    /// The next table; `None` takes a document away. The cost follows the changes: everything else
    /// is shared with the table before. The problems are those of all documents, not only of the
    /// changed ones; references that lead nowhere are not among them, see [`conf::dangling`].
    pub fn apply(&mut self, changes: impl IntoIterator<Item = (Key, Option<Document>)>) -> (Arc<Table>, Vec<Problem>) {
        for (Key { kind, name }, document) in changes {
            match (kind, document) {
                (_, Some(Document::Listener(listener))) => self.listener(name, Some(listener)),
                (_, Some(Document::Route(route))) => self.route(name, Some(route)),
                (_, Some(Document::Backend(backend))) => self.backend(&name, Some(&backend)),
                (Kind::Listener, None) => self.listener(name, None),
                (Kind::Route, None) => self.route(name, None),
                (Kind::Backend, None) => self.backend(&name, None),
                (_, Some(Document::Revision(_))) | (Kind::Revision, None) => {}
            }
        }
        (Arc::new(self.table.clone()), self.problems())
    }

    /// Whether nothing is left of what was ever put in.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let Self { mirrors: _, metrics: _, table, listeners, claims, routes, attached, places } = self;
        let indices = listeners.is_empty() && claims.is_empty() && routes.is_empty() && attached.is_empty();
        indices && table.sockets.is_empty() && places.is_empty()
    }

    fn backend(&mut self, name: &Name, document: Option<&conf::Backend>) {
        self.places.define(&mut self.table.backends, name, document);
    }

    fn route(&mut self, name: Name, document: Option<conf::Route>) {
        let before = self.routes.remove(&name);
        if let Some(before) = &before {
            self.detach(&name, before);
        }
        if let Some(document) = document {
            let (mirrors, metrics) = (&self.mirrors, &self.metrics);
            let (places, list) = (&mut self.places, &mut self.table.backends);
            let route = Resolver { mirrors, metrics, places, list }.route(document, before.as_ref());
            self.attach(&name, &route);
            self.routes.insert(name, route);
        }
        // Last, so that what both versions refer to keeps its place.
        for backend in before.iter().flat_map(|before| &before.references) {
            self.places.release(&self.table.backends, backend);
        }
    }

    fn attach(&mut self, name: &Name, route: &Route) {
        for listener in &route.listeners {
            self.attached.entry(listener.clone()).or_default().insert(name.clone());
            if let Some(entrance) = self.entrance(listener) {
                entrance.attach(route);
            }
        }
    }

    fn detach(&mut self, name: &Name, route: &Route) {
        for listener in &route.listeners {
            if let Some(routes) = self.attached.get_mut(listener) {
                routes.remove(name);
                if routes.is_empty() {
                    self.attached.remove(listener);
                }
            }
            if let Some(entrance) = self.entrance(listener) {
                entrance.detach(route);
            }
        }
    }

    fn listener(&mut self, name: Name, document: Option<Listener>) {
        if let Some(before) = self.listeners.remove(&name) {
            let claim = (before.address, before.hostname.clone());
            if let Some(names) = self.claims.get_mut(&claim) {
                names.remove(&name);
                if names.is_empty() {
                    self.claims.remove(&claim);
                }
            }
            self.install(&claim);
        }
        if let Some(listener) = document {
            let claim = (listener.address, listener.hostname.clone());
            self.claims.entry(claim.clone()).or_default().insert(name.clone());
            self.listeners.insert(name, Arc::new(listener));
            self.install(&claim);
        }
    }

    /// Puts the listener that a claim belongs to into the table, with all its routes, in the place
    /// of whichever was there.
    fn install(&mut self, claim: &Claim) {
        let (address, hostname) = claim;
        let winner = self.claims.get(claim).and_then(|names| names.first()).map(|name| &self.listeners[name]);
        let entrances = self.table.sockets.entry(*address).or_default();
        entrances.remove(hostname.as_ref());
        if let Some(listener) = winner {
            let mut entrance = Entrance { listener: Arc::clone(listener), hosts: HostMap::default() };
            for route in self.attached.get(&listener.name).into_iter().flatten() {
                entrance.attach(&self.routes[route]);
            }
            entrances.insert_new(hostname.as_ref(), entrance);
        }
        if entrances.is_empty() {
            self.table.sockets.remove(address);
        }
    }

    /// Of a listener that serves.
    fn entrance(&mut self, listener: &Name) -> Option<&mut Entrance> {
        let Listener { address, hostname, .. } = &**self.listeners.get(listener)?;
        let entrance = self.table.sockets.get_mut(address)?.get_mut(hostname.as_ref())?;
        (entrance.listener.name == *listener).then_some(entrance)
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for ((address, hostname), names) in &self.claims {
            let mut names = names.iter();
            let winner = names.next().expect("claims without listeners are removed");
            let host = hostname.as_ref().map_or("any host".into(), |hostname| format!("hostname {hostname}"));
            problems.extend(names.map(|name| Problem {
                location: None,
                document: Some(Key { kind: Kind::Listener, name: name.clone() }),
                message: format!("address: {address} for {host} is served by listener {winner} already"),
            }));
        }
        problems
    }
}

impl Entrance {
    fn attach(&mut self, route: &Route) {
        for (hostname, precedence, candidate) in route.candidates(&self.listener) {
            let hostname = hostname.as_ref();
            if self.hosts.get_mut(hostname).is_none() {
                self.hosts.insert_new(hostname, Arc::new(PathMap::default()));
            }
            let paths = self.hosts.get_mut(hostname).expect("it is there or was just inserted");
            Arc::make_mut(paths).insert(precedence, candidate);
        }
    }

    fn detach(&mut self, route: &Route) {
        for (hostname, precedence, candidate) in route.candidates(&self.listener) {
            let hostname = hostname.as_ref();
            let Some(paths) = self.hosts.get_mut(hostname) else { continue };
            let paths = Arc::make_mut(paths);
            paths.remove(&precedence, &candidate.conditions);
            if paths.is_empty() {
                self.hosts.remove(hostname);
            }
        }
    }
}
