use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use crate::Name;

/// Certificates of authorities: who may say of others who they are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Authorities {
    pub name: Name,
    certificates: Arc<str>,
    roots: Arc<RootCertStore>,
}

impl Authorities {
    /// The text is PEM; what stands between its sections is ignored.
    pub fn new(name: Name, certificates: &str) -> Result<Self, AuthoritiesError> {
        let roots = Arc::new(roots(certificates)?);
        Ok(Self { name, certificates: certificates.into(), roots })
    }

    /// At least one.
    pub fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }
}

/// Why a text holds no authorities.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    #[error("there is no PEM section CERTIFICATE")]
    None,
    #[error("the text is not PEM after {0} certificates")]
    NotPem(usize),
    #[error("certificate {0} cannot be used: {1}")]
    Certificate(usize, String),
}

fn roots(text: &str) -> Result<RootCertStore, AuthoritiesError> {
    let mut roots = RootCertStore::empty();
    for section in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = section.map_err(|_| AuthoritiesError::NotPem(roots.len()))?;
        let number = roots.len() + 1;
        roots.add(certificate).map_err(|error| AuthoritiesError::Certificate(number, error.to_string()))?;
    }
    if roots.is_empty() { Err(AuthoritiesError::None) } else { Ok(roots) }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "Authorities")]
struct Written {
    name: Name,
    certificates: String,
}

impl TryFrom<Written> for Authorities {
    type Error = AuthoritiesError;

    fn try_from(Written { name, certificates }: Written) -> Result<Self, AuthoritiesError> {
        Self::new(name, &certificates)
    }
}

impl From<Authorities> for Written {
    fn from(Authorities { name, certificates, roots: _ }: Authorities) -> Self {
        Self { name, certificates: (*certificates).into() }
    }
}

impl PartialEq for Authorities {
    /// The roots are made of the text alone.
    fn eq(&self, other: &Self) -> bool {
        let Self { name, certificates, roots: _ } = self;
        *name == other.name && *certificates == other.certificates
    }
}

impl Eq for Authorities {}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, certificates, roots: _ } = self;
        f.debug_struct("Authorities").field("name", name).field("certificates", certificates).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, parse};

    fn example() -> String {
        let documents = parse(include_str!("../examples/backend-tls.yaml")).documents;
        let text = documents.into_iter().find_map(|(_, document)| match document {
            Document::Authorities(authorities) => Some(authorities.certificates.to_string()),
            _ => None,
        });
        text.unwrap()
    }

    fn check(text: &str) -> Result<usize, AuthoritiesError> {
        Authorities::new("name".parse().unwrap(), text).map(|authorities| authorities.roots().len())
    }

    #[test]
    fn a_bundle_is_used_as_a_whole_or_not_at_all() {
        use AuthoritiesError::{Certificate, None, NotPem};
        let one = example();
        let odd = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        for (text, expected) in [
            (one.clone(), Ok(1)),
            (format!("# first\n{one}# and again\n{one}"), Ok(2)),
            (String::new(), Err(None)),
            ("no certificate".to_owned(), Err(None)),
            (format!("{one}-----BEGIN CERTIFICATE-----\nMIIB\n"), Err(NotPem(1))),
            (format!("{one}{odd}"), Err(Certificate(2, "invalid peer certificate: BadEncoding".into()))),
        ] {
            assert_eq!(check(&text), expected, "{text}");
        }
    }
}
