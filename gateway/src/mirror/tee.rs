use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use conf::Protocol;
use pingora::http::RequestHeader;

use super::{Abort, Account, Mirrors, Receiver};

/// A copy that is to be made of a request.
pub struct Planned {
    pub protocol: Protocol,
    pub endpoint: SocketAddr,
    pub receiver: Arc<Receiver>,
    pub account: Arc<Account>,
}

/// All copies of one request. Dropping it aborts what is not complete.
#[derive(Default)]
pub struct Tee {}

impl Tee {
    /// Begins the copies of a request. `head` is the request as the primary gets it, but that its
    /// hop-by-hop headers may still be there; `bodiless` tells that no body will come.
    pub fn start(
        _mirrors: &Arc<Mirrors>,
        _plan: impl IntoIterator<Item = Planned>,
        _head: &RequestHeader,
        _bodiless: bool,
    ) -> Self {
        Self {}
    }

    /// How many copies were begun.
    pub fn started(&self) -> u32 {
        0
    }

    /// Whether no copy waits for more of the body.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// A new attempt at the primary begins, and with it the body: what was sent already is not
    /// sent twice.
    pub fn attempt(&mut self) {}

    /// A piece of the body, as the primary is sent it. Never waits. The end is told by `end` or by
    /// no chunk.
    pub fn body(&mut self, _chunk: Option<&Bytes>, _end: bool) {}

    /// Whether a copy waits for its task to run: more than half of what may wait for it does. The
    /// task may stand behind the request's own on the same thread, so that yielding once helps.
    pub fn is_behind(&self) -> bool {
        false
    }

    /// Ends the copies that are not complete, visibly for their mirrors.
    pub fn abort(&mut self, _reason: Abort) {}
}
