use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use conf::{Authorities, Document, Key, Kind, Listener, Name, Tls};
use rustls::RootCertStore;

use super::backend::Security;
use crate::tls::{Check, Identity, Notary, Terms, Trust};

/// What listeners and backends are secured with, as certificates and authorities come and go.
pub(super) struct Sureties {
    notary: Notary,
    identities: HashMap<Name, Arc<Identity>>,
    authorities: HashMap<Name, Authorities>,
    /// What the clients of each listener must prove, if they are asked.
    checks: HashMap<Name, Arc<Check>>,
    /// Those that have TLS.
    backends: HashMap<Name, conf::Backend>,
    /// The certificates and authorities that listeners and backends name, whether those are there or
    /// not.
    named: HashMap<Key, Vec<Key>>,
    /// The same the other way round.
    dependents: BTreeMap<Key, BTreeSet<Key>>,
}

impl Sureties {
    pub(super) fn new() -> Self {
        Self {
            notary: Notary::new(),
            identities: HashMap::new(),
            authorities: HashMap::new(),
            checks: HashMap::new(),
            backends: HashMap::new(),
            named: HashMap::new(),
            dependents: BTreeMap::new(),
        }
    }

    /// Takes notice of any document that is new, or another one now, or gone.
    pub(super) fn note(&mut self, key: &Key, document: Option<&Document>) {
        let Key { kind, name } = key;
        match document {
            Some(Document::Certificate(certificate)) => {
                self.identities.insert(name.clone(), Arc::new(Identity::new(certificate.pair().clone())));
            }
            Some(Document::Authorities(authorities)) => {
                self.authorities.insert(name.clone(), authorities.clone());
            }
            Some(document @ Document::Backend(backend)) => {
                self.backends.remove(name);
                if backend.tls.is_some() {
                    self.backends.insert(name.clone(), backend.clone());
                }
                self.depend(key, Some(document));
            }
            Some(document @ Document::Listener(_)) => self.depend(key, Some(document)),
            Some(Document::Route(_) | Document::Revision(_)) => {}
            None => {
                match kind {
                    Kind::Certificate => drop(self.identities.remove(name)),
                    Kind::Authorities => drop(self.authorities.remove(name)),
                    Kind::Backend => drop(self.backends.remove(name)),
                    Kind::Listener => drop(self.checks.remove(name)),
                    Kind::Route | Kind::Revision => {}
                }
                self.depend(key, None);
            }
        }
    }

    /// Keeps account of what a listener or a backend names.
    fn depend(&mut self, key: &Key, document: Option<&Document>) {
        for named in self.named.remove(key).into_iter().flatten() {
            let Some(dependents) = self.dependents.get_mut(&named) else { continue };
            dependents.remove(key);
            if dependents.is_empty() {
                self.dependents.remove(&named);
            }
        }
        let named: Vec<_> = document.map(conf::references).into_iter().flatten().map(|(_, named)| named).collect();
        for named in &named {
            self.dependents.entry(named.clone()).or_default().insert(key.clone());
        }
        if !named.is_empty() {
            self.named.insert(key.clone(), named);
        }
    }

    /// The listeners and backends that name a certificate or authorities.
    pub(super) fn dependents(&self, named: &Key) -> BTreeSet<Key> {
        self.dependents.get(named).cloned().unwrap_or_default()
    }

    /// The document of a backend with TLS.
    pub(super) fn backend(&self, name: &Name) -> Option<&conf::Backend> {
        self.backends.get(name)
    }

    /// What the endpoints of a backend must prove as of now. Goes on as before if it is the same.
    pub(super) fn security(&self, document: &conf::Backend, before: Option<&Arc<Trust>>) -> Security {
        let Some(tls) = &document.tls else { return Security::Plain };
        let roots = self.roots(tls.authorities.iter().flatten());
        self.notary.trust(tls, roots, before).map_or(Security::Impossible, Security::Tls)
    }

    /// From those of the listener's certificates, and of its clients' authorities, that exist.
    pub(super) fn terms(&mut self, listener: &Listener) -> Option<Terms> {
        let Tls { certificates, clients } = listener.tls.as_ref()?;
        let before = self.checks.remove(&listener.name);
        let check = match clients {
            Some(clients) => {
                let roots = self.roots(clients.authorities.iter());
                let check = self.notary.check(clients, roots, before.as_ref())?;
                self.checks.insert(listener.name.clone(), check.clone());
                Some(check)
            }
            None => None,
        };
        let identities = certificates.iter().filter_map(|name| self.identities.get(name));
        self.notary.terms(identities.map(|identity| identity.pair().clone()).collect(), check.as_deref())
    }

    /// Who the gateway is to backends, by the word of a listener.
    pub(super) fn identity(&self, listener: &Listener) -> Option<Arc<Identity>> {
        self.identities.get(listener.backend_certificate.as_ref()?).cloned()
    }

    /// Of those of the authorities that are there.
    fn roots<'n>(&self, names: impl Iterator<Item = &'n Name>) -> Vec<Arc<RootCertStore>> {
        names.filter_map(|name| self.authorities.get(name)).map(|authorities| authorities.roots().clone()).collect()
    }

    /// Whether nothing is left of what was ever noted.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let Self { notary: _, identities, authorities, checks, backends, named, dependents } = self;
        identities.is_empty()
            && authorities.is_empty()
            && checks.is_empty()
            && backends.is_empty()
            && named.is_empty()
            && dependents.is_empty()
    }
}
