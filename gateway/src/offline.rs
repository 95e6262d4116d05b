//! What can be told about a configuration without serving it: its problems, and where a request
//! would go.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{bail, ensure};
use conf::{Document, Kind, Name, Scheme};
use http::request::Parts;

use crate::metrics::Metrics;
use crate::mirror::{Limits, Mirrors};
use crate::reload::Loader;
use crate::source::{Problem, Source};
use crate::table::{Compiler, Request};

/// A configuration that is read and compiled, but not live anywhere.
pub struct Offline(Loader);

impl Offline {
    /// Reads a file of documents, or a directory of such files.
    pub fn read(config: PathBuf) -> anyhow::Result<Self> {
        let metrics = Metrics::default();
        let mirrors = Mirrors::new(Limits::default(), &metrics);
        let mut loader = Loader::new(Source::new(config), Compiler::new(mirrors, metrics));
        loader.load()?;
        Ok(Self(loader))
    }

    /// Everything that is wrong, references to documents that do not exist included.
    pub fn problems(&self) -> Vec<Problem> {
        let (mut problems, warnings) = self.0.problems();
        problems.extend(warnings);
        problems
    }

    /// How many documents there are: `1 listener, 2 route, …`.
    pub fn summary(&self) -> String {
        let count = |kind: Kind| format!("{} {kind}", self.0.source().count(kind));
        Kind::ALL.map(count).join(", ")
    }

    /// Which rule answers a request and why, on the socket of a listener; without one, on those
    /// with the port of the request's URL, or else on all.
    pub fn explain(&self, listener: Option<&Name>, request: &Parts) -> anyhow::Result<String> {
        let scheme = match request.uri.scheme_str() {
            Some("https") => Scheme::Https,
            _ => Scheme::Http,
        };
        let sockets = self.sockets(listener, scheme, request)?;
        let request = Request::of(request);
        let mut told = String::new();
        for socket in sockets {
            let explanation = self.0.table().explain(socket, scheme, &request);
            // Writing to a String does not fail.
            let _ = writeln!(told, "on {socket}:\n{explanation}");
        }
        Ok(told)
    }

    fn sockets(
        &self,
        listener: Option<&Name>,
        scheme: Scheme,
        request: &Parts,
    ) -> anyhow::Result<BTreeSet<SocketAddr>> {
        let sockets: BTreeSet<_> = self.0.table().addresses().collect();
        ensure!(!sockets.is_empty(), "the configuration has no listener");
        if let Some(name) = listener {
            let address = self.listeners().find(|(known, _)| *known == name).map(|(_, address)| address);
            let Some(address) = address else {
                let near = conf::nearest(name.as_str(), self.listeners().map(|(name, _)| name.as_str()));
                let hint = near.map(|near| format!("; is {near} meant?")).unwrap_or_default();
                bail!("there is no listener {name}{hint}");
            };
            return Ok([address].into());
        }
        let port = request.uri.port_u16().unwrap_or(scheme.well_known_port());
        let of_port: BTreeSet<_> = sockets.iter().filter(|socket| socket.port() == port).copied().collect();
        Ok(if of_port.is_empty() { sockets } else { of_port })
    }

    fn listeners(&self) -> impl Iterator<Item = (&Name, SocketAddr)> {
        self.0.source().documents().filter_map(|document| match document {
            Document::Listener(listener) => Some((&listener.name, listener.address)),
            _ => None,
        })
    }
}
