//! From documents to a [`Table`]: remembers what the last one was made of, and makes anew only what a
//! changed document touches.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use conf::{Document, Hostname, Key, Kind, Listener, Name, Problem, Scheme};

use super::backend::Places;
use super::host::HostMap;
use super::path::PathMap;
use super::route::{Resolver, Route};
use super::surety::Sureties;
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
    sureties: Sureties,
}

/// What only one listener can serve. Of several that want it, the first by name does.
type Claim = (SocketAddr, Scheme, Option<Hostname>);

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
            sureties: Sureties::new(),
        }
    }

    /// The next table; `None` takes a document away. The cost follows the changes: everything else
    /// is shared with the table before. The problems are those of all documents, not only of the
    /// changed ones; references that lead nowhere are not among them, see [`conf::dangling`].
    pub fn apply(&mut self, changes: impl IntoIterator<Item = (Key, Option<Document>)>) -> (Arc<Table>, Vec<Problem>) {
        for (key, document) in changes {
            self.sureties.note(&key, document.as_ref());
            let Key { kind, name } = key;
            match (kind, document) {
                (_, Some(Document::Listener(listener))) => self.listener(name, Some(listener)),
                (_, Some(Document::Route(route))) => self.route(name, Some(route)),
                (_, Some(Document::Backend(backend))) => self.backend(&name, Some(&backend)),
                (_, Some(Document::Certificate(_) | Document::Authorities(_)))
                | (Kind::Certificate | Kind::Authorities, None) => self.secure_dependents(&Key { kind, name }),
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
        let Self { mirrors: _, metrics: _, table, listeners, claims, routes, attached, places, sureties } = self;
        let indices = listeners.is_empty() && claims.is_empty() && routes.is_empty() && attached.is_empty();
        indices && table.sockets.is_empty() && places.is_empty() && sureties.is_empty()
    }

    fn backend(&mut self, name: &Name, document: Option<&conf::Backend>) {
        let (places, list) = (&mut self.places, &mut self.table.backends);
        let before = places.backend(list, name).and_then(|backend| backend.trust());
        let secured = document.map(|document| (document, self.sureties.security(document, before)));
        places.define(list, name, secured);
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

    /// What listeners and backends are secured with changed. Listeners keep their routes, and backends
    /// their turns.
    fn secure_dependents(&mut self, changed: &Key) {
        for Key { kind, name } in self.sureties.dependents(changed) {
            if let Some(document) = self.sureties.backend(&name).filter(|_| kind == Kind::Backend).cloned() {
                self.backend(&name, Some(&document));
            } else if let Some(listener) = self.listeners.get(&name).cloned() {
                let (terms, identity) = (self.sureties.terms(&listener), self.sureties.identity(&listener));
                if let Some(entrance) = self.entrance(&name) {
                    (entrance.terms, entrance.identity) = (terms, identity);
                }
            }
        }
    }

    fn listener(&mut self, name: Name, document: Option<Listener>) {
        if let Some(before) = self.listeners.remove(&name) {
            let claim = claim(&before);
            release(&mut self.claims, &claim, &name);
            self.install(&claim);
        }
        if let Some(listener) = document {
            let claim = claim(&listener);
            self.claims.entry(claim.clone()).or_default().insert(name.clone());
            self.listeners.insert(name, Arc::new(listener));
            self.install(&claim);
        }
    }

    /// Puts the listener that a claim belongs to into the table, with all its routes, in the place
    /// of whichever was there.
    fn install(&mut self, claim: &Claim) {
        let (address, scheme, hostname) = claim;
        let winner = self.claims.get(claim).and_then(|names| names.first()).map(|name| self.listeners[name].clone());
        let entrance = winner.map(|listener| {
            let (terms, identity) = (self.sureties.terms(&listener), self.sureties.identity(&listener));
            let mut entrance = Entrance { listener, terms, identity, hosts: HostMap::default() };
            for route in self.attached.get(&entrance.listener.name).into_iter().flatten() {
                entrance.attach(&self.routes[route]);
            }
            entrance
        });
        let socket = self.table.sockets.entry(*address).or_default();
        let entrances = socket.of_mut(*scheme);
        entrances.remove(hostname.as_ref());
        if let Some(entrance) = entrance {
            entrances.insert_new(hostname.as_ref(), entrance);
        }
        if socket.is_empty() {
            self.table.sockets.remove(address);
        }
    }

    /// The entrance of a listener, if it is the one that serves.
    fn entrance(&mut self, listener: &Name) -> Option<&mut Entrance> {
        let (address, scheme, hostname) = claim(self.listeners.get(listener)?);
        let entrances = self.table.sockets.get_mut(&address)?.of_mut(scheme);
        let entrance = entrances.get_mut(hostname.as_ref())?;
        (entrance.listener.name == *listener).then_some(entrance)
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for ((address, _, hostname), names) in &self.claims {
            let mut names = names.iter();
            let winner = names.next().expect("claims without listeners are removed");
            let host = hostname.as_ref().map_or("any host".into(), |hostname| format!("hostname {hostname}"));
            problems.extend(names.map(|name| Problem {
                location: None,
                document: Some(Key { kind: Kind::Listener, name: name.clone() }),
                message: format!("address: {address} for {host} is served by listener {winner} already; give this one another hostname or address"),
            }));
        }
        problems
    }
}

fn claim(listener: &Listener) -> Claim {
    (listener.address, listener.scheme(), listener.hostname.clone())
}

/// Takes a name out of the set of a key, and the set with its last name.
fn release<K: Ord>(names: &mut BTreeMap<K, BTreeSet<Name>>, key: &K, name: &Name) {
    let Some(of_key) = names.get_mut(key) else { return };
    of_key.remove(name);
    if of_key.is_empty() {
        names.remove(key);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::testing::{SOCKET, Sent, changes, compile, compiler};
    use crate::table::{ChoiceTarget, Rule, Socket};

    const SHOP: &str = "
listener: {name: web, address: '127.0.0.1:80'}
---
backend: {name: cart, endpoints: ['127.0.0.1:1', '127.0.0.1:2']}
---
route: {name: shop, listeners: [web], rules: [{backends: [{backend: cart}]}]}
---
route: {name: other, listeners: [web], hostnames: [other.com], rules: [{backends: [{backend: cart}]}]}
";

    fn rule<'t>(table: &'t Table, host: &str) -> &'t Arc<Rule> {
        table.find(SOCKET, &Sent::get(host, "/").request()).unwrap().rule
    }

    fn next_port(table: &Table, host: &str) -> Option<u16> {
        match rule(table, host).backends.choose().unwrap().target {
            ChoiceTarget::Backend(id) => table.backend(id).next_endpoint().map(|endpoint| endpoint.port()),
            ChoiceTarget::Invalid(_) => None,
        }
    }

    #[test]
    fn a_changed_backend_changes_no_rule() {
        let mut compiler = compiler();
        let (before, _) = compiler.apply(changes(SHOP));
        let (after, _) = compiler.apply(changes("backend: {name: cart, endpoints: ['127.0.0.1:3']}"));
        assert!(Arc::ptr_eq(rule(&before, "a.com"), rule(&after, "a.com")));
        assert_eq!((next_port(&before, "a.com"), next_port(&after, "a.com")), (Some(1), Some(3)));
    }

    #[test]
    fn a_changed_route_changes_no_other_and_no_turns() {
        let mut compiler = compiler();
        let (before, _) = compiler.apply(changes(SHOP));
        assert_eq!(next_port(&before, "a.com"), Some(1));
        let change = "route: {name: shop, listeners: [web], rules: [{name: new, backends: [{backend: cart}]}]}";
        let (after, _) = compiler.apply(changes(change));
        assert!(!Arc::ptr_eq(rule(&before, "a.com"), rule(&after, "a.com")));
        assert!(Arc::ptr_eq(rule(&before, "other.com"), rule(&after, "other.com")));
        assert_eq!(next_port(&after, "a.com"), Some(2));
        assert_eq!(next_port(&after, "other.com"), Some(1));
    }

    #[test]
    fn a_backend_that_went_away_is_missing_until_it_is_back() {
        let mut compiler = compiler();
        let (table, _) = compiler.apply(changes(SHOP));
        assert_eq!(next_port(&table, "a.com"), Some(1));
        let (table, _) = compiler.apply([(Key { kind: Kind::Backend, name: "cart".parse().unwrap() }, None)]);
        assert_eq!(next_port(&table, "a.com"), None);
        let (table, _) = compiler.apply(changes("backend: {name: cart, endpoints: ['127.0.0.1:3']}"));
        assert_eq!(next_port(&table, "a.com"), Some(3));
    }

    #[test]
    fn of_two_listeners_for_the_same_hosts_the_first_by_name_serves() {
        let documents = "
listener: {name: b, address: '127.0.0.1:80', hostname: a.com}
---
route: {name: of-a, listeners: [a], rules: [{}]}
---
route: {name: of-b, listeners: [b], rules: [{}]}
";
        let mut compiler = compiler();
        let answering = |table: &Table| rule(table, "a.com").route.to_string();
        let (table, problems) = compiler.apply(changes(documents));
        assert_eq!((answering(&table), problems), ("of-b".into(), vec![]));
        let (table, problems) =
            compiler.apply(changes("listener: {name: a, address: '127.0.0.1:80', hostname: a.com}"));
        assert_eq!(answering(&table), "of-a");
        let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
        let expected = "listener b: address: 127.0.0.1:80 for hostname a.com is served by listener a already; give this one another hostname or address";
        assert_eq!(problems, [expected]);
        let (_, problems) = compiler.apply([]);
        assert_eq!(problems.len(), 1, "it is told as long as it is so");
        let (table, problems) = compiler.apply([(Key { kind: Kind::Listener, name: "a".parse().unwrap() }, None)]);
        assert_eq!((answering(&table), problems), ("of-b".into(), vec![]));
    }

    /// The examples about TLS, document by document, forwards and backwards: what is named may come
    /// after what names it, and go before it.
    #[test]
    fn what_tls_needs_may_come_and_go_in_any_order() {
        for example in
            [include_str!("../../../conf/examples/tls.yaml"), include_str!("../../../conf/examples/backend-tls.yaml")]
        {
            let mut documents = changes(example);
            for _ in 0..2 {
                documents.reverse();
                let mut compiler = compiler();
                for document in &documents {
                    compiler.apply([document.clone()]);
                }
                assert!(compiler.table.sockets.values().all(is_secured), "{example}");
                let backends = (0..compiler.table.backends.len()).filter_map(|i| compiler.table.backends.get(i));
                let secured = backends.filter(|backend| backend.bond(None, backend.protocol).is_some()).count();
                let with_tls = |document: &&(Key, Option<Document>)| matches!(&document.1, Some(Document::Backend(backend)) if backend.tls.is_some());
                assert_eq!(secured, documents.iter().filter(with_tls).count());
                for (key, _) in &documents {
                    compiler.apply([(key.clone(), None)]);
                }
                assert!(compiler.is_empty(), "{example}");
            }
        }
    }

    /// Whether its listeners have all that they name.
    fn is_secured(socket: &Socket) -> bool {
        let mut plain = socket.plain.covering("shop.example.com");
        let mut secure = socket.secure.covering("shop.example.com");
        secure.all(|entrance| entrance.terms.is_some()) && plain.all(|entrance| entrance.identity.is_some())
    }

    #[test]
    fn sockets_are_those_of_all_listeners_once() {
        let table = compile(
            "
listener: {name: a, address: '127.0.0.1:81'}
---
listener: {name: b, address: '127.0.0.1:80', hostname: a.com}
---
listener: {name: c, address: '127.0.0.1:80'}
",
        );
        let ports: Vec<_> = table.addresses().map(|address| address.port()).collect();
        assert_eq!(ports, [80, 81]);
    }
}
