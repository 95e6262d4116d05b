//! The metrics of the program: one registry, and every name in one place.

use prometheus::Registry;

/// The registry that all parts of one gateway register with, and that `/metrics` shows. Each
/// gateway has its own, so that several can run in one process.
#[derive(Clone, Default)]
pub struct Metrics {
    pub registry: Registry,
}
