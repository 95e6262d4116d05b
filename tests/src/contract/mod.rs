//! The mirror contract as a check that any case can be put to.
//!
//! A [`Case`] makes the same calls to a gateway without mirrors and to one with them, and gathers
//! [`Evidence`]: answers, receipts, books, time, and what is left in the end. [`violations`] judges
//! that, without knowing where it comes from. That it would notice is shown twice: by evidence with
//! one fault in it, and by tees that are wrong on purpose, see [`Flaw`].

mod case;
mod evidence;
mod peer;
mod sockets;
mod subject;
mod verdict;
mod wrong;

pub use case::{Case, LIMIT, Report, Speech};
pub use evidence::{Evidence, Left, Mirror, Run};
pub use peer::Peer;
pub(crate) use peer::{GUARDED, Station};
pub use sockets::connections_to;
pub use subject::Flaw;
pub use verdict::{Invariant, Violation, violations};
