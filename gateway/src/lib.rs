//! The data plane: compiles configuration documents into a table and serves requests from it.
//!
//! It knows nothing of Kubernetes. [`app::Gateway`] is the whole program, so that it can be started
//! inside a test; `main` only reads flags.

pub mod access_log;
pub mod app;
pub mod metrics;
pub mod mirror;
pub mod offline;
pub mod proxy;
pub mod table;

mod admin;
mod alarm;
mod filter;
mod gathered;
mod limit;
mod listen;
mod pool;
mod reload;
mod report;
mod source;
mod tls;
mod transport;
