//! The sockets of the program: bound, opened and closed while it runs.
//!
//! It knows nothing of routes or of what is served, only which addresses are wanted; who shakes hands
//! where TLS is spoken is told by [`tls`](crate::tls). A change comes
//! in two steps, so that no request meets a socket whose routes are not there yet: new addresses
//! are bound before the table is swapped, and opened after it.

mod head;
mod limit;
mod opening;
mod seats;
mod socket;
#[cfg(test)]
mod tests;
mod unread;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use conf::Name;
use log::{info, warn};
use pingora_core::apps::HttpServerApp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::tls::Acceptor;
pub(crate) use head::Head;
pub(crate) use limit::Connections;
use socket::House;

/// What a client's connection is carried by.
type Transport = crate::transport::Transport<TlsStream<TcpStream>>;

/// How a connection came in, which decides what serves it.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// The configured address of the socket.
    pub(crate) socket: SocketAddr,
    pub(crate) client: SocketAddr,
    pub(crate) protocol: Protocol,
    /// With TLS, the listener that the handshake was with.
    pub(crate) secured_by: Option<Name>,
    pub(crate) head: Arc<Head>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// Without TLS by prior knowledge.
    Http2,
}

/// All sockets, by the address they are configured with; where the system chose the port, that is
/// not where they listen.
pub(crate) struct Listeners<A> {
    house: House<A>,
    bound: BTreeMap<SocketAddr, TcpListener>,
    open: BTreeMap<SocketAddr, Open>,
    failed: BTreeMap<SocketAddr, String>,
    /// One per open socket, and one per closed socket that still has connections.
    tasks: JoinSet<()>,
}

/// A socket that accepts connections.
struct Open {
    local: SocketAddr,
    stop: watch::Sender<bool>,
    closed: oneshot::Receiver<()>,
}

impl<A: HttpServerApp + Send + Sync + 'static> Listeners<A> {
    /// `entrance` is what serves a connection; without `tls`, none is taken for it.
    pub(crate) fn new(
        limit: Arc<Connections>,
        tls: Option<Acceptor>,
        entrance: impl Fn(Arrival) -> Arc<A> + Send + Sync + 'static,
    ) -> Self {
        Self {
            house: House { limit, tls: tls.map(Arc::new), entrance: Arc::new(entrance) },
            bound: BTreeMap::new(),
            open: BTreeMap::new(),
            failed: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Binds the addresses that are not bound yet. What cannot be bound is in [`Self::failed`], and
    /// tried again with the next call.
    pub(crate) fn bind(&mut self, wanted: &BTreeSet<SocketAddr>) {
        self.failed.retain(|address, _| wanted.contains(address));
        self.bound.retain(|address, _| wanted.contains(address));
        for address in wanted {
            if self.open.contains_key(address) || self.bound.contains_key(address) {
                continue;
            }
            match socket::bind(*address) {
                Ok(listener) => {
                    self.failed.remove(address);
                    self.bound.insert(*address, listener);
                }
                Err(error) => {
                    self.failed.insert(*address, explain(*address, &error));
                }
            }
        }
    }

    /// Opens what was bound and closes what is not wanted any more: its port is free when this
    /// returns, its requests go on to their end. An address that could only be bound now, because
    /// one that was closed stood in its way, is opened as well.
    pub(crate) async fn settle(&mut self, wanted: &BTreeSet<SocketAddr>) {
        self.open_bound();
        let unwanted: Vec<_> = self.open.keys().filter(|address| !wanted.contains(address)).copied().collect();
        for address in unwanted {
            if let Some(Open { local, stop, closed }) = self.open.remove(&address) {
                stop.send_replace(true);
                // An error means that its task is gone, and so the port is free as well.
                let _ = closed.await;
                info!("closed {local}");
            }
        }
        if !self.failed.is_empty() {
            self.bind(wanted);
            self.open_bound();
        }
    }

    fn open_bound(&mut self) {
        for (address, listener) in std::mem::take(&mut self.bound) {
            let local = match listener.local_addr() {
                Ok(local) => local,
                Err(error) => {
                    self.failed.insert(address, explain(address, &error));
                    continue;
                }
            };
            let (stop, stopped) = watch::channel(false);
            let (ended, closed) = oneshot::channel();
            self.tasks.spawn(socket::serve(listener, address, self.house.clone(), stopped, ended));
            self.open.insert(address, Open { local, stop, closed });
            info!("listening on {local}");
        }
    }

    /// Where connections are accepted, by configured address.
    pub(crate) fn open(&self) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        self.open.iter().map(|(address, open)| (*address, open.local))
    }

    /// What could not be bound, and why.
    pub(crate) fn failed(&self) -> &BTreeMap<SocketAddr, String> {
        &self.failed
    }

    /// Returns only if a socket has stopped by itself, with the reason.
    pub(crate) async fn broken(&mut self) -> String {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                return error.to_string();
            }
        }
        pending().await
    }

    /// Closes all sockets and lets their requests end. What has not ended in time is cut off.
    pub(crate) async fn drain(mut self, time: Duration) {
        self.bound.clear();
        for open in self.open.values() {
            open.stop.send_replace(true);
        }
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(time, ended).await.is_err() {
            warn!("{} connections were cut off: they had not ended after {time:?}", self.house.limit.open());
            self.tasks.shutdown().await;
        }
    }
}

/// What an operator can do about it, where the system's words do not say.
fn explain(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    let cause = match error.kind() {
        io::ErrorKind::AddrInUse => format!("another socket has port {port}; stop that program or choose another port"),
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        io::ErrorKind::PermissionDenied => format!("port {port} needs CAP_NET_BIND_SERVICE"),
        _ => return format!("cannot listen on {address}: {error}"),
    };
    format!("cannot listen on {address}: {cause}")
}
