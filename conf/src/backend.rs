use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::value::socket;
use crate::{Hostname, Name, check};

/// A set of endpoints that answer alike: one port of one Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Backend {
    pub name: Name,
    #[serde(default, skip_serializing_if = "Protocol::is_http")]
    pub protocol: Protocol,
    /// Ready endpoints. None is no error: requests get 503 until there is one.
    #[serde(default, deserialize_with = "socket::many")]
    pub endpoints: Vec<SocketAddr>,
    /// Only connections with TLS, to endpoints that prove who they are; without it, only plain ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
}

/// What the endpoints speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1, with upgrades to WebSocket.
    #[default]
    Http,
    /// HTTP/2, with prior knowledge; where there is TLS, agreed on in the handshake.
    H2c,
}

/// What endpoints must prove before they are sent a byte of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BackendTls {
    /// The name that is asked for in the handshake (SNI). No wildcard. The certificate must be for it,
    /// unless there are `subject_alt_names`.
    pub server_name: Hostname,
    /// Authorities documents, one of which must have led to the certificate; without it, the
    /// authorities that the gateway's system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<Vec<Name>>,
    /// The certificate must be for one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// A name that a certificate may be for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum SubjectAltName {
    /// A wildcard is met by the same wildcard alone.
    Hostname(Hostname),
    /// Compared letter by letter: `spiffe://example.com/ns/shop`.
    Uri(String),
}

impl Protocol {
    fn is_http(&self) -> bool {
        *self == Self::Http
    }
}

/// Where a reference leads. One that leads nowhere is data: requests that choose it get 500, a
/// mirror that has it is skipped, and everything beside it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Backend(Name),
    /// Why the reference cannot be followed, for people: `Service default/cart-v2 does not exist`.
    Invalid(String),
}

impl Target {
    /// How a target is written: one of two fields beside the others of its owner.
    pub(crate) fn from_fields(backend: Option<Name>, invalid: Option<String>) -> Result<Self, String> {
        check::exactly_one([("backend", backend.map(Self::Backend)), ("invalid", invalid.map(Self::Invalid))])
    }

    pub(crate) fn into_fields(self) -> (Option<Name>, Option<String>) {
        match self {
            Self::Backend(name) => (Some(name), None),
            Self::Invalid(reason) => (None, Some(reason)),
        }
    }
}
