use std::sync::Arc;

use conf::SubjectAltName;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use webpki::EndEntityCert;

/// What the certificate of a backend's endpoint must be like.
#[derive(Debug)]
pub(super) struct Proof {
    roots: Arc<RootCertStore>,
    /// One of them must be in the certificate; without any, the name that was asked for.
    names: Vec<SubjectAltName>,
    provider: Arc<CryptoProvider>,
}

impl Proof {
    pub(super) fn new(roots: Arc<RootCertStore>, names: Vec<SubjectAltName>, provider: Arc<CryptoProvider>) -> Self {
        Self { roots, names, provider }
    }

    fn is_for_one_of_the_names(&self, certificate: &CertificateDer<'_>) -> Result<bool, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let names = EndEntityCert::try_from(certificate)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        Ok(self.names.iter().any(|name| match name {
            SubjectAltName::Uri(uri) => names.valid_uri_names().any(|found| found == uri),
            // A wildcard is no name that a certificate could be for, but it may be in one.
            SubjectAltName::Hostname(hostname) if hostname.wildcard_domain().is_some() => {
                names.valid_dns_names().any(|found| found.eq_ignore_ascii_case(hostname.as_str()))
            }
            SubjectAltName::Hostname(hostname) => DnsName::try_from(hostname.as_str())
                .is_ok_and(|name| verify_server_name(&parsed, &ServerName::DnsName(name)).is_ok()),
        }))
    }
}

impl ServerCertVerifier for Proof {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        if self.names.is_empty() {
            verify_server_name(&parsed, server_name)?;
        } else if !self.is_for_one_of_the_names(certificate)? {
            return Err(Error::InvalidCertificate(CertificateError::NotValidForName));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
