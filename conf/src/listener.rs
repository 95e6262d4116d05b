use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::value::socket;
use crate::{Hostname, Name, Scheme};

/// A socket that the gateway accepts requests on, or a share of one: listeners with the same
/// address serve it together and are told apart by hostname, the most specific first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Listener {
    pub name: Name,
    /// Where to listen: `0.0.0.0:8000`, `[::]:8000`. Port 0 takes a free one.
    #[serde(deserialize_with = "socket::one")]
    pub address: SocketAddr,
    /// Only requests for these hosts; without it, for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Hostname>,
    /// Only connections with TLS, which this listener terminates; without it, only plain ones.
    /// Listeners of both sorts may have the same address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Certificate document: who the gateway says it is to backends with TLS that ask, for requests
    /// that come in here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_certificate: Option<Name>,
    /// The port that clients use, for redirects, where it is not that of `address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_port: Option<u16>,
}

/// How a listener proves to its clients who it is. The hostname of the listener decides which
/// clients it speaks to, not the names in its certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tls {
    /// Certificate documents. Each client is shown the first whose signatures it can check: with one
    /// of RSA and one of ECDSA, old clients and new ones are served.
    pub certificates: Vec<Name>,
    /// Which certificates clients are asked for; without it, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients>,
}

/// How clients prove to a listener who they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Clients {
    /// Authorities documents, one of which must have led to the client's certificate.
    pub authorities: Vec<Name>,
    /// Whether clients that cannot prove it are refused. If not, they are asked, and the answer does
    /// not matter.
    #[serde(default = "required", skip_serializing_if = "Clone::clone")]
    pub required: bool,
}

fn required() -> bool {
    true
}

impl Listener {
    /// What the URLs of its clients begin with.
    pub fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }

    /// The port that clients use.
    pub fn client_port(&self) -> u16 {
        self.public_port.unwrap_or(self.address.port())
    }
}
