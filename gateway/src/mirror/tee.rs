//! Hands a request's body to the queues of its copies, on the request's own task, and never waits.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use conf::Protocol;
use pingora::http::RequestHeader;

use super::budget::Ledger;
use super::copy::{Copy, Entry};
use super::head::{Framing, Heads};
use super::queue::{Body, Queue, Reader};
use super::{Abort, Account, Outcome, Receiver};
use crate::tls::Bond;

/// A copy that is to be made of a request.
pub struct Planned {
    pub protocol: Protocol,
    pub endpoint: SocketAddr,
    /// None without TLS.
    pub(crate) bond: Option<Bond>,
    pub receiver: Arc<Receiver>,
    pub account: Arc<Account>,
}

/// All copies of one request, as far as they wait for its body. Dropping it aborts what is not
/// complete.
#[derive(Default)]
pub struct Tee {
    streams: Vec<Arc<Queue>>,
    started: u32,
    /// By Content-Length.
    length: Option<u64>,
    /// How far into the body the present attempt at the primary is.
    offset: u64,
    /// How much of the body the copies were given.
    teed: u64,
}

impl Tee {
    /// Begins the copies of a request, once, whatever the attempts at the primary. `head` is the
    /// request as the primary gets it, but that its hop-by-hop headers may still be there;
    /// `bodiless` tells that no body will come. To be called within a tokio runtime.
    pub fn start(plan: impl IntoIterator<Item = Planned>, head: &RequestHeader, bodiless: bool) -> Self {
        let mut tee = Self::default();
        let mut heads = None;
        for Planned { protocol, endpoint, bond, receiver, account } in plan {
            let Some(entry) = Entry::begin(receiver, account, endpoint) else { continue };
            let heads = heads.get_or_insert_with(|| Heads::new(head, bodiless));
            if let Framing::Length(length) = heads.framing() {
                tee.length = Some(length);
            }
            tee.started += 1;
            match heads.speaking(protocol) {
                Ok(head) if bodiless => Copy::new(entry, bond, head).spawn(Body::None),
                Ok(head) => {
                    let queue = Queue::new(Ledger::new(entry.receiver().clone()));
                    tee.streams.push(queue.clone());
                    Copy::new(entry, bond, head).spawn(Body::Stream(Reader(queue)));
                }
                Err(failure) => entry.end(Outcome::Failed(failure)),
            }
        }
        tee
    }

    /// How many copies were begun.
    pub fn started(&self) -> u32 {
        self.started
    }

    /// Whether no copy waits for more of the body.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// A new attempt at the primary begins, and with it the body: what was sent already is not
    /// sent twice.
    pub fn attempt(&mut self) {
        self.offset = 0;
    }

    /// A piece of the body, as the primary is sent it. Never waits. The end is told by `end` or by
    /// no chunk, and counts once.
    pub fn body(&mut self, chunk: Option<&Bytes>, end: bool) {
        if self.is_empty() {
            return;
        }
        let end = end || chunk.is_none();
        let fresh = chunk.map(|chunk| self.fresh(chunk)).unwrap_or_default();
        if let Some(reason) = self.fault(end) {
            return self.abort(reason);
        }
        if fresh.is_empty() && !end {
            return;
        }
        self.streams.retain(|queue| match reserve(&queue.ledger, &fresh) {
            Ok(chunk) => queue.push(chunk, end) && !end,
            Err(reason) => {
                queue.abort(reason);
                false
            }
        });
    }

    /// Whether so much waits for a copy that its task should get to run: it may stand behind the
    /// request's own task on the same thread, so that yielding once helps.
    pub fn is_behind(&self) -> bool {
        self.streams.iter().any(|queue| queue.ledger.is_behind())
    }

    /// Ends the copies that are not complete, visibly for their mirrors.
    pub fn abort(&mut self, reason: Abort) {
        for queue in self.streams.drain(..) {
            queue.abort(reason);
        }
    }

    /// What of the chunk is new, a replay being cut into other chunks than the original was.
    fn fresh(&mut self, chunk: &Bytes) -> Bytes {
        let start = self.offset;
        self.offset += chunk.len() as u64;
        if self.offset <= self.teed {
            return Bytes::new();
        }
        let known = self.teed.saturating_sub(start) as usize;
        self.teed = self.offset;
        chunk.slice(known..)
    }

    /// Why the copies cannot become whole any more.
    fn fault(&self, end: bool) -> Option<Abort> {
        if end && self.offset < self.teed {
            return Some(Abort::Replay);
        }
        let length = self.length?;
        (self.teed > length || (end && self.teed < length)).then_some(Abort::Length)
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        self.abort(Abort::Unfinished);
    }
}

/// None for no bytes, which take up nothing.
fn reserve(ledger: &Arc<Ledger>, bytes: &Bytes) -> Result<Option<super::budget::Chunk>, Abort> {
    if bytes.is_empty() {
        return Ok(None);
    }
    ledger.reserve(bytes.clone()).map(Some)
}
