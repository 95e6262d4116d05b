//! TLS with clients: which listener a handshake is with, and on which terms. And with backends: what
//! their endpoints must prove.
//!
//! A client's handshake reads the table once, when the client has said hello: the name that the client asks
//! for decides the listener, and the listener the certificates. What comes after, a reload included,
//! does not touch the connection any more. The table holds the [`Terms`] of each listener, which are
//! made when documents change; here is nothing that a request waits for.
//!
//! Towards backends the table holds the [`Trust`] of each, and the [`Identity`] of each listener, which
//! together make the [`Bond`] that a connection rests on. Pingora's own connector knows no alternative
//! names, and builds its roots anew for every connection, without a session to resume; so connections
//! with TLS are opened here, and are given to Pingora, its pools included, as what is spoken on them.

mod acceptor;
mod bond;
mod certificates;
mod check;
mod line;
mod proof;
mod terms;
mod trust;

pub(crate) use acceptor::{Acceptor, Secured};
pub(crate) use bond::{Bond, BondError};
pub(crate) use check::Check;
pub(crate) use line::Line;
pub(crate) use terms::{Notary, Terms};
pub(crate) use trust::{Identity, Trust};
