//! The configuration documents of the Doppel gateway: what they may say, and how they are written.
//!
//! The adapter produces them, people write them by hand, the gateway serves from them. This crate
//! is the only thing that the two programs share. It knows neither Kubernetes nor Pingora, and it
//! does no IO: text goes in, values come out. What a value must be by itself its
//! type sees to; what fields must be together, [`problems`] tells.

mod authorities;
mod backend;
mod certificate;
mod check;
mod cors;
mod document;
mod filter;
mod listener;
mod matches;
mod problem;
mod route;
mod suggest;
mod text;
mod value;

pub use authorities::{Authorities, AuthoritiesError};
pub use backend::{Backend, BackendTls, Protocol, SubjectAltName, Target};
pub use certificate::{Certificate, CertificateError};
pub use check::{dangling, problems, references};
pub use cors::{Allowed, Cors};
pub use document::{Document, Key, Kind, Revision};
pub use filter::{Filter, Header, HeaderModifier, Mirror, PathModifier, Redirect, RedirectStatus, Rewrite, Scheme};
pub use listener::{Clients, Listener, Tls};
pub use matches::{HeaderMatch, Match, MethodMatch, PathMatch, QueryMatch, StringMatch};
pub use problem::{Location, Problem};
pub use route::{Retry, Route, Rule, Timeouts, WeightedBackend};
pub use suggest::nearest;
pub use text::{Parsed, parse, render};
pub use value::{Duration, Fraction, Hostname, Name, Origin, Pattern};

/// Every value that a document's text holds as one string is written with `Display` and read with
/// `FromStr`, so that the same words appear in files, messages and logs.
macro_rules! as_text {
    ($($type:ty),+ $(,)?) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use as_text;
