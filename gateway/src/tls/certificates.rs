use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificates of one listener, at least one, the preferred first.
#[derive(Debug)]
pub(super) struct Certificates(Vec<Arc<CertifiedKey>>);

impl Certificates {
    pub(super) fn new(certificates: Vec<Arc<CertifiedKey>>) -> Option<Self> {
        (!certificates.is_empty()).then_some(Self(certificates))
    }
}

impl ResolvesServerCert for Certificates {
    /// The first whose signatures the client can check. The names in certificates do not matter:
    /// "the association of SNIs to Certificate is defined based on the Hostname field for this
    /// listener". With none that fits, the handshake fails over the first.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Self(certificates) = self;
        let fits = |pair: &&Arc<CertifiedKey>| pair.key.choose_scheme(hello.signature_schemes()).is_some();
        certificates.iter().find(fits).or(certificates.first()).cloned()
    }
}
