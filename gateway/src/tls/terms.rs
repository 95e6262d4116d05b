use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::CertifiedKey;

use super::certificates::Certificates;

/// On which terms a listener speaks TLS.
#[derive(Clone)]
pub(crate) struct Terms(Arc<ServerConfig>);

/// Makes the terms of all listeners, which share the keys of session tickets. It lives as long as the
/// program, so that sessions are resumed whatever a reload changes: rustls resumes one only for the
/// name that it was begun for.
///
/// A listener that asks its clients for certificates needs keys of its own: a ticket stands for what
/// was proved when it was given.
pub(crate) struct Notary {
    provider: Arc<CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
}

/// In the order in which they are preferred where the client has no preference.
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];

pub(super) const HTTP2: &[u8] = b"h2";

impl Notary {
    pub(crate) fn new() -> Self {
        let tickets = ring::Ticketer::new().expect("the system has random numbers");
        Self { provider: Arc::new(ring::default_provider()), tickets }
    }

    /// `certificates` are in the order of preference; none leave nothing to agree on.
    pub(crate) fn terms(&self, certificates: Vec<Arc<CertifiedKey>>) -> Option<Terms> {
        let certificates = Certificates::new(certificates)?;
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // All that is needed to resume a session is in its ticket.
        config.ticketer = self.tickets.clone();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Some(Terms(Arc::new(config)))
    }
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
