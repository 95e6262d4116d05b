//! Where the program's own log goes, and what of it.

use env_logger::{Builder, Env};
use log::LevelFilter;

/// Logs to the standard error, what RUST_LOG says or else `level`.
///
/// Pingora and rustls tell of clients and backends that misbehave, each time, as errors. Operators have the
/// access log and the metrics for that; who looks for the cause asks for `debug` or names it in
/// RUST_LOG.
pub(crate) fn start(level: LevelFilter) {
    let filter = match level {
        LevelFilter::Debug | LevelFilter::Trace => level.to_string(),
        _ => format!("{level},pingora=off,pingora_core=off,pingora_proxy=off,rustls=off"),
    };
    Builder::from_env(Env::default().default_filter_or(filter)).init();
}
