use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use conf::Protocol;
use rustls::client::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::line::Line;
use super::terms::HTTP2;
use super::trust::{Identity, NOBODY, Trust};

/// What a connection to a backend rests on: what the other end must prove, who we say we are, and what
/// is spoken. Cheap to copy.
#[derive(Clone, Debug)]
pub(crate) struct Bond {
    trust: Arc<Trust>,
    identity: Option<Arc<Identity>>,
    protocol: Protocol,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BondError {
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("no TLS handshake: {0}")]
    Handshake(#[source] io::Error),
    #[error("the endpoint does not agree to HTTP/2")]
    NoHttp2,
}

impl Bond {
    pub(crate) fn new(trust: Arc<Trust>, identity: Option<Arc<Identity>>, protocol: Protocol) -> Self {
        Self { trust, identity, protocol }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Connections are shared among requests with the same number, and no others.
    pub(crate) fn number(&self) -> u64 {
        let identity = self.identity.as_ref().map_or(NOBODY, |identity| identity.number());
        (u64::from(self.trust.number()) << 32 | u64::from(identity)) << 1 | u64::from(self.protocol == Protocol::H2c)
    }

    /// A connection whose other end has proved who it is. To be given up by the caller in time.
    pub(crate) async fn connect(&self, endpoint: SocketAddr) -> Result<Line, BondError> {
        let config = self.config().map_err(BondError::Handshake)?;
        let stream = TcpStream::connect(endpoint).await.map_err(BondError::Connect)?;
        stream.set_nodelay(true).map_err(BondError::Connect)?;
        let connecting = TlsConnector::from(config).connect(self.trust.server_name(), stream);
        let stream = connecting.await.map_err(BondError::Handshake)?;
        if self.protocol == Protocol::H2c && stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
            return Err(BondError::NoHttp2);
        }
        Ok(Line::new(stream, endpoint))
    }

    fn config(&self) -> io::Result<Arc<ClientConfig>> {
        self.trust.config(self.identity.as_ref(), self.protocol).map_err(io::Error::other)
    }
}
