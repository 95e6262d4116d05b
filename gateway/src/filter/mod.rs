//! What filters do to requests and answers. This module knows `conf` and the types of `http` only; the
//! order of things, and everything that speaks to the network, is the proxy's.

mod cors;
mod headers;
mod path;
mod redirect;

pub(crate) use cors::{Sharing, is_preflight};
pub(crate) use headers::{HeaderEdit, modify};
pub(crate) use path::rewrite_path;
pub(crate) use redirect::location;
