use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use conf::{BackendTls, Protocol};
use rustls::client::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{DnsName, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, RootCertStore};

use super::proof::Proof;
use super::terms::{HTTP1, HTTP2};

/// What the endpoints of a backend must prove. It lives as long as nothing about that changes: with it
/// live the sessions that are resumed, and with its number the connections that are used again.
pub(crate) struct Trust {
    number: u32,
    wanted: BackendTls,
    roots: Vec<Arc<RootCertStore>>,
    server_name: ServerName<'static>,
    proof: Arc<Proof>,
    provider: Arc<CryptoProvider>,
    /// Apart for each identity, since a session is resumed as who it was begun as. Asked only when a
    /// connection is opened.
    sessions: Mutex<HashMap<u32, Sessions>>,
}

/// A certificate and its key: who the gateway says it is.
pub(crate) struct Identity {
    number: u32,
    pair: Arc<CertifiedKey>,
}

/// The terms of connections with one identity, or with none.
struct Sessions {
    identity: Option<Weak<Identity>>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl Trust {
    /// None if there are no roots, or the name is none that can be asked for.
    pub(super) fn new(
        wanted: &BackendTls,
        roots: Vec<Arc<RootCertStore>>,
        provider: Arc<CryptoProvider>,
    ) -> Option<Self> {
        let all = match roots.as_slice() {
            [] => return None,
            [only] => only.clone(),
            several => Arc::new(several.iter().flat_map(|roots| roots.roots.iter().cloned()).collect()),
        };
        let server_name = DnsName::try_from(wanted.server_name.as_str().to_owned()).ok()?;
        Some(Self {
            number: next(),
            wanted: wanted.clone(),
            roots,
            server_name: ServerName::DnsName(server_name),
            proof: Arc::new(Proof::new(all, wanted.subject_alt_names.clone(), provider.clone())),
            provider,
            sessions: Mutex::default(),
        })
    }

    /// Whether it asks for just this.
    pub(super) fn is_of(&self, wanted: &BackendTls, roots: &[Arc<RootCertStore>]) -> bool {
        let same = |(mine, other): (&Arc<_>, &Arc<_>)| Arc::ptr_eq(mine, other);
        self.wanted == *wanted && self.roots.len() == roots.len() && self.roots.iter().zip(roots).all(same)
    }

    /// No other that ever was has it.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }

    pub(super) fn config(
        &self,
        identity: Option<&Arc<Identity>>,
        protocol: Protocol,
    ) -> Result<Arc<ClientConfig>, Error> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let number = identity.map_or(NOBODY, |identity| identity.number);
        if !sessions.contains_key(&number) {
            // Certificates are renewed; what is left of old ones goes.
            sessions.retain(|_, sessions| sessions.identity.as_ref().is_none_or(|held| held.strong_count() > 0));
            sessions.insert(number, self.begin(identity)?);
        }
        let Sessions { http1, http2, .. } = &sessions[&number];
        Ok(match protocol {
            Protocol::Http => http1.clone(),
            Protocol::H2c => http2.clone(),
        })
    }

    fn begin(&self, identity: Option<&Arc<Identity>>) -> Result<Sessions, Error> {
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(self.proof.clone());
        let mut config = match identity {
            Some(identity) => {
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::clone(&identity.pair))))
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![HTTP1.to_vec()];
        let http1 = Arc::new(config.clone());
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(Sessions { identity: identity.map(Arc::downgrade), http1, http2: Arc::new(config) })
    }
}

impl Identity {
    pub(crate) fn new(pair: Arc<CertifiedKey>) -> Self {
        Self { number: next(), pair }
    }

    pub(crate) fn pair(&self) -> &Arc<CertifiedKey> {
        &self.pair
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("number", &self.number).field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The number of no identity.
pub(super) const NOBODY: u32 = 0;

fn next() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(NOBODY);
    LAST.fetch_add(1, Relaxed) + 1
}
