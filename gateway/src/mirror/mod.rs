//! Sends copies of requests to mirrors, so that neither client nor primary can notice.
//!
//! A mirror can never delay, fail or change a request. It receives either exactly what the primary
//! was sent, or a visibly aborted request. The gateway can always tell which, how often and why.
//! Memory and concurrency are bounded by [`Limits`].
//!
//! This module knows neither routes nor filters: who is mirrored to whom is decided elsewhere and
//! arrives as a plan.

mod account;
mod limits;
mod reason;
mod receiver;
mod tee;

pub use account::Account;
pub use limits::Limits;
pub use reason::{Abort, Class, Decline, Failure, Outcome, Skip};
pub use receiver::{Mirrors, Receiver};
pub use tee::{Planned, Tee};
