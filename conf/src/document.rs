use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Authorities, Backend, Certificate, Listener, Name, Route};

/// One document of the configuration. Documents are independent: each is replaced, kept or refused
/// as a whole, and may stand in any file and order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    Listener(Listener),
    Route(Route),
    Backend(Backend),
    Certificate(Certificate),
    Authorities(Authorities),
    Revision(Revision),
}

/// Which state of its source a configuration stands for. The gateway reports it once live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// Whose documents: the writer's name.
    pub name: Name,
    pub revision: String,
}

/// What a document is replaced and found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: Kind,
    pub name: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Listener,
    Route,
    Backend,
    Certificate,
    Authorities,
    Revision,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Listener, Self::Route, Self::Backend, Self::Certificate, Self::Authorities, Self::Revision];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Route => "route",
            Self::Backend => "backend",
            Self::Certificate => "certificate",
            Self::Authorities => "authorities",
            Self::Revision => "revision",
        }
    }
}

impl Document {
    pub fn key(&self) -> Key {
        let (kind, name) = match self {
            Self::Listener(listener) => (Kind::Listener, &listener.name),
            Self::Route(route) => (Kind::Route, &route.name),
            Self::Backend(backend) => (Kind::Backend, &backend.name),
            Self::Certificate(certificate) => (Kind::Certificate, &certificate.name),
            Self::Authorities(authorities) => (Kind::Authorities, &authorities.name),
            Self::Revision(revision) => (Kind::Revision, &revision.name),
        };
        Key { kind, name: name.clone() }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}
