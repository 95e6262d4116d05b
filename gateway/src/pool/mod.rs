//! Connections to backends and mirrors that carry one request after the other.

mod http1;
mod http2;

pub(crate) use http1::{Http1Pool, Key};
pub(crate) use http2::Http2Pool;
