use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use conf::Name;
use log::debug;
use rustls::server::Acceptor as Hello;
use rustls::{AlertDescription, HandshakeKind, ServerConnection};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::terms::HTTP2;
use crate::listen::Protocol;
use crate::metrics::{Handshake, Program};
use crate::table::Table;

/// Shakes hands with clients, as the table of the moment says.
pub(crate) struct Acceptor {
    table: Arc<ArcSwap<Table>>,
    metrics: Arc<Program>,
}

/// A connection whose handshake is done.
pub(crate) struct Secured {
    pub(crate) stream: TlsStream<TcpStream>,
    /// The listener that it was done with.
    pub(crate) listener: Name,
    /// The protocol that was agreed on, if the client said which it speaks.
    pub(crate) agreed: Option<Protocol>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no listener is for {0}")]
    UnknownName(String),
    #[error("listener {0} has none of its certificates, or none of the authorities of its clients")]
    NoCertificate(Name),
    #[error("it took longer than {HANDSHAKE_TIMEOUT:?}")]
    TimedOut,
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// How long a handshake may take, from the first byte on.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

impl Acceptor {
    pub(crate) fn new(table: Arc<ArcSwap<Table>>, metrics: Arc<Program>) -> Self {
        Self { table, metrics }
    }

    /// Whether a listener of the socket speaks TLS.
    pub(crate) fn is_wanted(&self, socket: SocketAddr) -> bool {
        self.table.load().speaks_tls(socket)
    }

    /// Shakes hands on a connection that begins like TLS. What becomes of it is counted.
    pub(crate) async fn accept(&self, socket: SocketAddr, stream: TcpStream, peer: SocketAddr) -> Option<Secured> {
        let done = match timeout(HANDSHAKE_TIMEOUT, self.shake(socket, stream)).await {
            Ok(done) => done,
            Err(_) => Err(Failure::TimedOut),
        };
        self.metrics.handshake(match &done {
            Ok(secured) => secured.handshake(),
            Err(failure) => failure.handshake(),
        });
        done.inspect_err(|failure| debug!("no handshake on {socket} with {peer}: {failure}")).ok()
    }

    async fn shake(&self, socket: SocketAddr, stream: TcpStream) -> Result<Secured, Failure> {
        let mut hello = LazyConfigAcceptor::new(Hello::default(), stream);
        let start = (&mut hello).await?;
        let chosen = {
            let hello = start.client_hello();
            let table = self.table.load();
            match table.hello(socket, hello.server_name()) {
                Some((listener, Some(terms))) => Ok((listener.name.clone(), terms.config())),
                Some((listener, None)) => Err(Failure::NoCertificate(listener.name.clone())),
                None => {
                    Err(Failure::UnknownName(hello.server_name().unwrap_or("clients that ask for no name").to_owned()))
                }
            }
        };
        let (listener, config) = match chosen {
            Ok(chosen) => chosen,
            Err(failure) => {
                refuse(start.io, &failure).await;
                return Err(failure);
            }
        };
        let stream = start.into_stream(config).await?;
        let agreed = stream.get_ref().1.alpn_protocol().map(|agreed| match agreed {
            HTTP2 => Protocol::Http2,
            _ => Protocol::Http1,
        });
        Ok(Secured { stream, listener, agreed })
    }
}

/// Says why, in the one record that is told before anything is agreed on.
async fn refuse(mut stream: TcpStream, failure: &Failure) {
    let alert = match failure {
        Failure::UnknownName(_) => AlertDescription::UnrecognisedName,
        Failure::NoCertificate(_) | Failure::TimedOut | Failure::Broken(_) => AlertDescription::HandshakeFailure,
    };
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    let record = [ALERT, 3, 3, 0, 2, FATAL, alert.into()];
    // A client that is gone need not know.
    let _ = stream.write_all(&record).await;
    let _ = stream.shutdown().await;
}

impl Secured {
    fn handshake(&self) -> Handshake {
        let session: &ServerConnection = self.stream.get_ref().1;
        match session.handshake_kind() {
            Some(HandshakeKind::Resumed) => Handshake::Resumed,
            _ => Handshake::Full,
        }
    }
}

impl Failure {
    fn handshake(&self) -> Handshake {
        match self {
            Self::UnknownName(_) => Handshake::UnknownName,
            Self::NoCertificate(_) => Handshake::NoCertificate,
            Self::TimedOut => Handshake::TimedOut,
            Self::Broken(_) => Handshake::Broken,
        }
    }
}
