use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use serde::{Deserialize, Serialize};
use webpki::EndEntityCert;

use crate::Name;

/// A certificate, those that lead from it to an authority, and its private key. They belong
/// together: what cannot be served is refused when it is read.
///
/// The key is in the text that is written of it, and in nothing else: neither messages nor `Debug`
/// show it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Certificate {
    pub name: Name,
    chain: Arc<str>,
    key: Arc<str>,
    pair: Arc<CertifiedKey>,
    hosts: Arc<[String]>,
}

impl Certificate {
    /// Both texts are PEM; what stands between their sections is ignored. The chain begins with the
    /// certificate itself.
    pub fn new(name: Name, chain: &str, key: &str) -> Result<Self, CertificateError> {
        let pair = Arc::new(pair(chain, key)?);
        let hosts = hosts(&pair);
        Ok(Self { name, chain: chain.into(), key: key.into(), pair, hosts })
    }

    /// What signs handshakes.
    pub fn pair(&self) -> &Arc<CertifiedKey> {
        &self.pair
    }

    /// The names that it is for, in lower case. Unlike those of listeners, their wildcards stand for one
    /// label.
    pub fn hosts(&self) -> &Arc<[String]> {
        &self.hosts
    }
}

/// Why a chain and a key are not of use. Nothing of the key is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("the chain has no PEM section CERTIFICATE")]
    NoCertificate,
    #[error("the chain is not PEM after {0} certificates")]
    NotPem(usize),
    #[error("the first certificate of the chain cannot be used: {0}")]
    Certificate(String),
    #[error("the key has no PEM section PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY")]
    NoKey,
    #[error("the key cannot be used; keys of RSA with 2048 bits and more, ECDSA P-256, P-384 and Ed25519 can")]
    Key,
    #[error("the key is not that of the first certificate of the chain")]
    OtherKey,
}

fn pair(chain: &str, key: &str) -> Result<CertifiedKey, CertificateError> {
    let mut certificates = Vec::new();
    for section in CertificateDer::pem_slice_iter(chain.as_bytes()) {
        certificates.push(section.map_err(|_| CertificateError::NotPem(certificates.len()))?);
    }
    if certificates.is_empty() {
        return Err(CertificateError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound => CertificateError::NoKey,
        _ => CertificateError::Key,
    })?;
    let key = ring::sign::any_supported_type(&key).map_err(|_| CertificateError::Key)?;
    let pair = CertifiedKey::new(certificates, key);
    match pair.keys_match() {
        Ok(()) => Ok(pair),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(CertificateError::OtherKey),
        Err(error) => Err(CertificateError::Certificate(error.to_string())),
    }
}

fn hosts(pair: &CertifiedKey) -> Arc<[String]> {
    let certificate = pair.cert.first().and_then(|certificate| EndEntityCert::try_from(certificate).ok());
    certificate.iter().flat_map(|certificate| certificate.valid_dns_names()).map(str::to_ascii_lowercase).collect()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "Certificate")]
struct Written {
    name: Name,
    chain: String,
    key: String,
}

impl TryFrom<Written> for Certificate {
    type Error = CertificateError;

    fn try_from(Written { name, chain, key }: Written) -> Result<Self, CertificateError> {
        Self::new(name, &chain, &key)
    }
}

impl From<Certificate> for Written {
    fn from(Certificate { name, chain, key, pair: _, hosts: _ }: Certificate) -> Self {
        Self { name, chain: (*chain).into(), key: (*key).into() }
    }
}

impl PartialEq for Certificate {
    /// The rest is made of the texts alone.
    fn eq(&self, other: &Self) -> bool {
        let Self { name, chain, key, pair: _, hosts: _ } = self;
        *name == other.name && *chain == other.chain && *key == other.key
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("name", &self.name).field("chain", &self.chain).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, parse};

    /// Those of the example: one of ECDSA, one of RSA.
    fn examples() -> [Certificate; 2] {
        let documents = parse(include_str!("../examples/tls.yaml")).documents;
        let certificates = documents.into_iter().filter_map(|(_, document)| match document {
            Document::Certificate(certificate) => Some(certificate),
            _ => None,
        });
        certificates.collect::<Vec<_>>().try_into().unwrap()
    }

    fn check(chain: &str, key: &str) -> Result<usize, CertificateError> {
        let certificate = Certificate::new("name".parse().unwrap(), chain, key)?;
        Ok(certificate.pair().cert.len())
    }

    #[test]
    fn a_chain_and_its_key_belong_together() {
        use CertificateError::{Certificate, Key, NoCertificate, NoKey, NotPem, OtherKey};
        let [ecdsa, rsa] = examples();
        let both = format!("{}between them\n{}", ecdsa.chain, rsa.chain);
        let cut = format!("{}-----BEGIN CERTIFICATE-----\nMIIB\n", ecdsa.chain);
        let odd = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let broken = ecdsa.key.replacen("MIG", "M!G", 1);
        let unknown = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
        for (chain, key, expected) in [
            (&*ecdsa.chain, &*ecdsa.key, Ok(1)),
            (&rsa.chain, &rsa.key, Ok(1)),
            (&both, &ecdsa.key, Ok(2)),
            // In one text, in any order, as some tools write them.
            (&format!("{}{}", ecdsa.key, ecdsa.chain), &format!("{}{}", ecdsa.chain, ecdsa.key), Ok(1)),
            (&both, &rsa.key, Err(OtherKey)),
            (&ecdsa.chain, &rsa.key, Err(OtherKey)),
            ("", &ecdsa.key, Err(NoCertificate)),
            (&ecdsa.key, &ecdsa.key, Err(NoCertificate)),
            (&cut, &ecdsa.key, Err(NotPem(1))),
            (odd, &ecdsa.key, Err(Certificate("invalid peer certificate: BadEncoding".into()))),
            (&ecdsa.chain, "", Err(NoKey)),
            (&ecdsa.chain, encrypted, Err(NoKey)),
            (&ecdsa.chain, &broken, Err(Key)),
            (&ecdsa.chain, unknown, Err(Key)),
        ] {
            assert_eq!(check(chain, key), expected, "{chain}{key}");
        }
    }

    #[test]
    fn it_is_for_the_hosts_that_it_names() {
        let [ecdsa, _] = examples();
        assert_eq!(**ecdsa.hosts(), ["shop.example.com", "*.example.com"]);
    }

    #[test]
    fn the_key_is_written_and_never_shown() {
        let [certificate, _] = examples();
        let line = certificate.key.lines().nth(1).unwrap().to_owned();
        let document = Document::Certificate(certificate);
        assert!(crate::render(&document).contains(&line));
        assert!(!format!("{document:?}").contains(&line));
    }
}
