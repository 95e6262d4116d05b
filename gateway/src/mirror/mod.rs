//! Sends copies of requests to mirrors, so that neither client nor primary can notice.
//!
//! A mirror can never delay, fail or change a request. It receives either exactly what the primary
//! was sent, or a visibly aborted request. The gateway can always tell which, how often and why.
//! Memory and concurrency are bounded by [`Limits`].
//!
//! A [`Tee`] stands between a request and the tasks of its copies. It hands on the body by reference
//! and never waits; a copy that cannot keep up within its budgets is broken off, so that its mirror
//! sees it: over HTTP/1.1 the connection closes before the end of the body, over HTTP/2 the stream
//! is reset. There are no retries, and no redirects are followed.
//!
//! This module knows neither routes nor filters: who is mirrored to whom is decided elsewhere and
//! arrives as a plan.

mod account;
mod answer;
mod budget;
mod connect;
mod copy;
mod head;
mod http1;
mod http2;
mod limits;
mod meter;
mod pause;
mod queue;
mod reason;
mod receiver;
mod silent;
mod tee;
#[cfg(test)]
mod tests;

pub use account::Account;
pub use limits::Limits;
pub use reason::{Abort, Class, Decline, Failure, Outcome, Skip};
pub use receiver::{Mirrors, Receiver};
pub use tee::{Planned, Tee};
