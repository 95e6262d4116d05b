//! The table that requests are answered from: which listener, which rule, which backend.
//!
//! A [`Table`] is immutable and swapped whole. A [`Compiler`] makes each from the one before and the
//! documents that changed. This module knows `conf` and the types of `http`; it does no IO.

mod backend;
mod balance;
mod compile;
mod explain;
mod request;
mod rule;

pub use backend::{Backend, BackendId};
pub use balance::{Backends, Choice, ChoiceTarget};
pub use compile::Compiler;
pub use explain::Explanation;
pub use request::Request;
pub use rule::{Filters, Mirror, MirrorDestination, Rule, Timeouts};

use std::net::SocketAddr;
use std::sync::Arc;

/// Everything requests are answered from.
#[derive(Default)]
pub struct Table {
    backends: Vec<Arc<Backend>>,
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
        std::iter::empty()
    }

    /// The most specific rule for a request that came in on the listeners of `socket`, which is
    /// their configured address. Without a lock, and without an allocation.
    pub fn find<'t>(&'t self, socket: SocketAddr, request: &Request<'_>) -> Option<Found<'t>> {
        let _ = (socket, request);
        None
    }

    /// Why [`find`](Self::find) answers as it does, for people.
    pub fn explain(&self, socket: SocketAddr, request: &Request<'_>) -> Explanation {
        let _ = (socket, request);
        Explanation
    }

    /// `id` comes from a rule of this table.
    pub fn backend(&self, id: BackendId) -> &Arc<Backend> {
        &self.backends[id.index()]
    }
}
