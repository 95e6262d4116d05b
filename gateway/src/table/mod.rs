//! The table that requests are answered from: which listener, which rule, which backend.
//!
//! A [`Table`] is immutable and swapped whole. A [`Compiler`] makes each from the one before and the
//! documents that changed. This module knows `conf` and the types of `http`; it does no IO.
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
mod route;
mod rule;
mod shared;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod testing;

pub use backend::{Backend, BackendId};
pub use balance::{Backends, Choice, ChoiceTarget};
pub use compile::Compiler;
pub use explain::Explanation;
pub use request::Request;
pub use rule::{Filters, Mirror, MirrorDestination, Rule, Timeouts};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use self::host::{HostMap, LowerCase};
use self::path::PathMap;

/// Everything requests are answered from. Copies share all that one of them does not change.
#[derive(Clone, Default)]
pub struct Table {
    sockets: BTreeMap<SocketAddr, HostMap<Entrance>>,
    backends: backend::List,
}

/// A listener, and the rules of its routes.
#[derive(Clone)]
struct Entrance {
    listener: Arc<conf::Listener>,
    hosts: HostMap<Arc<PathMap>>,
}

/// Where a request goes.
#[derive(Clone, Copy)]
pub struct Found<'t> {
    pub listener: &'t Arc<conf::Listener>,
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

    /// The most specific rule for a request that came in on the listeners of `socket`, which is
    /// their configured address. Takes no lock, and allocates only to join a header that is
    /// repeated and to decode a query parameter that is compared.
    pub fn find<'t>(&'t self, socket: SocketAddr, request: &Request<'_>) -> Option<Found<'t>> {
        let host = LowerCase::of(request.host);
        let Entrance { listener, hosts } = self.entrance(socket, &host)?;
        let (rule, prefix) = hosts.covering(host.as_str()).find_map(|paths| paths.find(request))?;
        Some(Found { listener, rule, prefix })
    }

    /// Why [`find`](Self::find) answers as it does, for people.
    pub fn explain(&self, socket: SocketAddr, request: &Request<'_>) -> Explanation {
        Explanation::new(self, socket, request)
    }

    /// `id` comes from a rule of this table.
    pub fn backend(&self, id: BackendId) -> &Arc<Backend> {
        self.backends.get(id.index()).expect("the places of a table's rules are in its list")
    }

    /// The one listener of the socket that is asked: "at most one Listener matches a request, and
    /// only routes attached to that Listener" are.
    fn entrance(&self, socket: SocketAddr, host: &LowerCase) -> Option<&Entrance> {
        self.sockets.get(&socket)?.covering(host.as_str()).next()
    }
}
