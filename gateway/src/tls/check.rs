use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

/// What clients of a listener must prove. It lives as long as nothing about that changes, with keys of
/// its own for session tickets: a ticket stands for what was proved when it was given.
pub(crate) struct Check {
    required: bool,
    roots: Vec<Arc<RootCertStore>>,
    verifier: Arc<dyn ClientCertVerifier>,
    tickets: Arc<dyn ProducesTickets>,
}

impl Check {
    /// None if there are no roots.
    pub(super) fn new(
        required: bool,
        roots: Vec<Arc<RootCertStore>>,
        provider: &Arc<CryptoProvider>,
        tickets: Arc<dyn ProducesTickets>,
    ) -> Option<Self> {
        let all = Arc::new(roots.iter().flat_map(|roots| roots.roots.iter().cloned()).collect::<RootCertStore>());
        let verifier = WebPkiClientVerifier::builder_with_provider(all, provider.clone()).build().ok()?;
        let verifier = if required { verifier } else { Arc::new(Asking(verifier)) };
        Some(Self { required, roots, verifier, tickets })
    }

    /// Whether it asks for just this.
    pub(super) fn is_of(&self, required: bool, roots: &[Arc<RootCertStore>]) -> bool {
        let same = |(mine, other): (&Arc<_>, &Arc<_>)| Arc::ptr_eq(mine, other);
        self.required == required && self.roots.len() == roots.len() && self.roots.iter().zip(roots).all(same)
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        self.verifier.clone()
    }

    pub(super) fn tickets(&self) -> Arc<dyn ProducesTickets> {
        self.tickets.clone()
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("required", &self.required).finish_non_exhaustive()
    }
}

/// Asks like another, and takes any answer, or none: "connections are accepted even if the client
/// certificate is not presented or fails verification".
#[derive(Debug)]
struct Asking(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
