//! Documents into the directory that a gateway serves from.
