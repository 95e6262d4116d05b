use std::fmt;
use std::sync::{Arc, OnceLock};

use conf::{BackendTls, Clients};
use log::warn;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use super::certificates::Certificates;
use super::check::Check;
use super::trust::Trust;

/// On which terms a listener speaks TLS.
#[derive(Clone)]
pub(crate) struct Terms(Arc<ServerConfig>);

/// Makes the terms of all listeners and the trust in all backends. It lives as long as the program, so
/// that sessions are resumed whatever a reload changes.
///
/// Listeners that ask their clients for nothing share the keys of session tickets: rustls resumes a
/// session only for the name that it was begun for.
pub(crate) struct Notary {
    provider: Arc<CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
    /// Whom the system trusts, read when it is first asked for.
    system: OnceLock<Arc<RootCertStore>>,
}

/// In the order in which they are preferred where the client has no preference.
const PROTOCOLS: [&[u8]; 2] = [HTTP2, HTTP1];

pub(super) const HTTP1: &[u8] = b"http/1.1";
pub(super) const HTTP2: &[u8] = b"h2";

impl Notary {
    pub(crate) fn new() -> Self {
        let provider = Arc::new(ring::default_provider());
        Self { provider, tickets: tickets(), system: OnceLock::new() }
    }

    /// `certificates` are in the order of preference; none leave nothing to agree on.
    pub(crate) fn terms(&self, certificates: Vec<Arc<CertifiedKey>>, check: Option<&Check>) -> Option<Terms> {
        let certificates = Certificates::new(certificates)?;
        let config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3");
        let config = match check {
            Some(check) => config.with_client_cert_verifier(check.verifier()),
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // All that is needed to resume a session is in its ticket.
        config.ticketer = check.map_or_else(|| self.tickets.clone(), Check::tickets);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Some(Terms(Arc::new(config)))
    }

    /// What the clients of a listener must prove. Goes on as that of `before` if it is the same; none
    /// if there are no roots.
    pub(crate) fn check(
        &self,
        clients: &Clients,
        roots: Vec<Arc<RootCertStore>>,
        before: Option<&Arc<Check>>,
    ) -> Option<Arc<Check>> {
        match before.filter(|before| before.is_of(clients.required, &roots)) {
            Some(before) => Some(before.clone()),
            None => Check::new(clients.required, roots, &self.provider, tickets()).map(Arc::new),
        }
    }

    /// What the endpoints of a backend must prove. Goes on as `before` if it is the same; none if there
    /// are no roots. `authorities` are those that it names; if it names none, the system's count.
    pub(crate) fn trust(
        &self,
        wanted: &BackendTls,
        authorities: Vec<Arc<RootCertStore>>,
        before: Option<&Arc<Trust>>,
    ) -> Option<Arc<Trust>> {
        let roots = match wanted.authorities {
            Some(_) => authorities,
            None => vec![self.system()].into_iter().filter(|roots| !roots.is_empty()).collect(),
        };
        match before.filter(|before| before.is_of(wanted, &roots)) {
            Some(before) => Some(before.clone()),
            None => Trust::new(wanted, roots, self.provider.clone()).map(Arc::new),
        }
    }

    fn system(&self) -> Arc<RootCertStore> {
        let read = || {
            let found = rustls_native_certs::load_native_certs();
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let why = found.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
                warn!("the system trusts no authorities: {why}; backends that rely on them get no requests");
            }
            Arc::new(roots)
        };
        self.system.get_or_init(read).clone()
    }
}

fn tickets() -> Arc<dyn ProducesTickets> {
    ring::Ticketer::new().expect("the system has random numbers")
}

impl Terms {
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.0.clone()
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").finish_non_exhaustive()
    }
}
