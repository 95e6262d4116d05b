//! The table that requests are answered from: which listener, which rule, which backend.
//!
//! A [`Table`] is immutable and swapped whole. A [`Compiler`] makes each from the one before and the
//! documents that changed. This module knows `conf`, the types of `http`, and the handles
//! of mirrors, metrics and certificates that it is given; it does no IO.
//!
//! A request goes the way of the Gateway API, at each step to the most specific first: of the
//! socket's listeners the one for its host, and only that one's routes; of their hostnames each
//! that covers its host; of their paths each that covers its path; of what those do not tell apart
//! each in order of [`Precedence`](precedence::Precedence). Every step but the last is a look-up by
//! hash, so that a request costs the same among ten routes and among forty thousand.

mod backend;
mod balance;
mod compile;
mod conditions;
mod explain;
mod host;
mod longest;
mod path;
mod precedence;
mod query;
mod request;
mod retry_budget;
mod route;
mod rule;
mod shared;
mod surety;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod testing;

pub use backend::{Backend, BackendId};
pub use balance::{Backends, Choice, ChoiceTarget};
pub use compile::Compiler;
pub use explain::Explanation;
pub use request::Request;
pub use retry_budget::RetryBudget;
pub use rule::{Filters, Mirror, MirrorDestination, Rule, Timeouts};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use conf::{Name, Scheme};

use self::host::{HostMap, LowerCase};
use self::path::PathMap;
use crate::tls::{Identity, Terms};

/// Everything requests are answered from. Copies share all that one of them does not change.
#[derive(Clone, Default)]
pub struct Table {
    sockets: BTreeMap<SocketAddr, Socket>,
    backends: backend::List,
}

/// The listeners of one address.
#[derive(Clone, Default)]
struct Socket {
    /// For connections without TLS.
    plain: HostMap<Entrance>,
    secure: HostMap<Entrance>,
}

/// A listener, and the rules of its routes.
#[derive(Clone)]
struct Entrance {
    listener: Arc<conf::Listener>,
    /// None without TLS, and where there is no certificate to offer.
    terms: Option<Terms>,
    /// Who the gateway is to backends, if the listener says so.
    identity: Option<Arc<Identity>>,
    hosts: HostMap<Arc<PathMap>>,
}

/// How a request came in.
#[derive(Clone, Copy, Debug)]
pub struct Via<'v> {
    /// The configured address of the socket.
    pub socket: SocketAddr,
    /// With TLS, the listener that the handshake was with.
    pub secured_by: Option<&'v Name>,
}

/// Without TLS.
impl From<SocketAddr> for Via<'_> {
    fn from(socket: SocketAddr) -> Self {
        Self { socket, secured_by: None }
    }
}

/// Why no rule answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    NoRoute,
    /// Its host is another listener's than the one that the handshake was with.
    Misdirected,
    /// It came without TLS to a socket that has nothing without.
    Plain,
}

/// Where a request goes.
#[derive(Clone, Copy)]
pub struct Found<'t> {
    pub listener: &'t Arc<conf::Listener>,
    /// Who the gateway is to backends that ask.
    pub(crate) identity: Option<&'t Arc<Identity>>,
    pub rule: &'t Arc<Rule>,
    /// How many bytes of the path the rule's prefix match covered, without a slash at its end;
    /// `None` where the path was matched otherwise.
    pub prefix: Option<usize>,
}

impl Table {
    /// The sockets to listen on, each once.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.keys().copied()
    }

    /// The most specific rule for a request. Takes no lock, and allocates only to join a header that
    /// is repeated and to decode a query parameter that is compared.
    pub fn find<'t, 'v>(&'t self, via: impl Into<Via<'v>>, request: &Request<'_>) -> Result<Found<'t>, Miss> {
        let host = LowerCase::of(request.host);
        let Entrance { listener, terms: _, identity, hosts } = self.entrance(via.into(), &host)?;
        let found = hosts.covering(host.as_str()).find_map(|paths| paths.find(request));
        let (rule, prefix) = found.ok_or(Miss::NoRoute)?;
        Ok(Found { listener, identity: identity.as_ref(), rule, prefix })
    }

    /// Why [`find`](Self::find) answers as it does, for people; with TLS, of a connection whose
    /// handshake was for the request's host.
    pub fn explain(&self, socket: SocketAddr, scheme: Scheme, request: &Request<'_>) -> Explanation {
        Explanation::new(self, socket, scheme, request)
    }

    /// Whether a listener of the socket has TLS.
    pub(crate) fn speaks_tls(&self, socket: SocketAddr) -> bool {
        self.sockets.get(&socket).is_some_and(|socket| !socket.secure.is_empty())
    }

    /// The listener that a client with this server name shakes hands with, and its terms, unless it
    /// has none of its certificates. Without a name it is the one for any host.
    pub(crate) fn hello(
        &self,
        socket: SocketAddr,
        server_name: Option<&str>,
    ) -> Option<(&Arc<conf::Listener>, Option<&Terms>)> {
        let host = LowerCase::of(server_name.unwrap_or_default());
        let Entrance { listener, terms, .. } = self.sockets.get(&socket)?.secure.covering(host.as_str()).next()?;
        Some((listener, terms.as_ref()))
    }

    /// `id` comes from a rule of this table.
    pub fn backend(&self, id: BackendId) -> &Arc<Backend> {
        self.backends.get(id.index()).expect("the places of a table's rules are in its list")
    }

    /// The one listener that is asked: "at most one Listener matches a request, and only routes
    /// attached to that Listener" are. With TLS it must be the one that the handshake was with:
    /// another might demand more of its clients.
    fn entrance(&self, via: Via<'_>, host: &LowerCase) -> Result<&Entrance, Miss> {
        let Socket { plain, secure } = self.sockets.get(&via.socket).ok_or(Miss::NoRoute)?;
        match via.secured_by {
            None if plain.is_empty() => Err(Miss::Plain),
            None => plain.covering(host.as_str()).next().ok_or(Miss::NoRoute),
            Some(listener) => match secure.covering(host.as_str()).next() {
                Some(entrance) if entrance.listener.name == *listener => Ok(entrance),
                Some(_) => Err(Miss::Misdirected),
                None => Err(Miss::NoRoute),
            },
        }
    }
}

impl Socket {
    fn of(&self, scheme: Scheme) -> &HostMap<Entrance> {
        match scheme {
            Scheme::Http => &self.plain,
            Scheme::Https => &self.secure,
        }
    }

    fn of_mut(&mut self, scheme: Scheme) -> &mut HostMap<Entrance> {
        match scheme {
            Scheme::Http => &mut self.plain,
            Scheme::Https => &mut self.secure,
        }
    }

    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.secure.is_empty()
    }
}
