//! The control plane of Doppel: Gateway API objects in, configuration documents and statuses out.
//!
//! [`translate`] is the heart, a pure function. Around it: [`api`] and [`manifest`] read objects,
//! [`snapshot`] holds them, [`publish`] writes the documents that a gateway serves from.

pub mod api;
pub mod app;
pub mod cluster;
mod differences;
mod hash;
pub mod manifest;
pub mod owned;
pub mod publish;
pub mod snapshot;
pub mod status;
#[cfg(test)]
mod testing;
pub mod translate;
pub mod watch;

pub use snapshot::Snapshot;
pub use translate::{Addresses, Memo, Options, ServiceType, Translation, translate};
