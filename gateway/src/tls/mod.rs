//! TLS with clients: which listener a handshake is with, and on which terms.
//!
//! A handshake reads the table once, when the client has said hello: the name that the client asks
//! for decides the listener, and the listener the certificates. What comes after, a reload included,
//! does not touch the connection any more. The table holds the [`Terms`] of each listener, which are
//! made when documents change; here is nothing that a request waits for.

mod acceptor;
mod certificates;
mod terms;

pub(crate) use acceptor::{Acceptor, Secured};
pub(crate) use terms::{Notary, Terms};
