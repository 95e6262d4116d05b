//! What the gateway of a test serves.

use std::net::SocketAddr;

use crate::contract::{GUARDED, Station};
use crate::{Echo, Step, World};

/// Configuration documents in the making.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Each is a file of its own.
    pub(crate) documents: Vec<String>,
}

impl Setup {
    /// With a listener `http`.
    pub fn new() -> Self {
        Self::empty().document("listener: {name: http, address: '127.0.0.1:0'}")
    }

    pub fn empty() -> Self {
        Self { documents: Vec::new() }
    }

    /// Every request goes to the one backend, and a copy of it to the other.
    pub fn mirrored(primary: &Echo, mirror: &Echo) -> Self {
        Self::mirrored_to(primary, mirror.address())
    }

    /// Like [`Setup::mirrored`], whatever is at that address.
    pub fn mirrored_to(primary: &Echo, mirror: SocketAddr) -> Self {
        Self::new().backend("primary", primary).endpoints("mirror", &[mirror]).rule(MIRRORED)
    }

    /// A backend of one endpoint that speaks HTTP/1.1.
    pub fn backend(self, name: &str, echo: &Echo) -> Self {
        self.endpoints(name, &[echo.address()])
    }

    /// Every request goes to a backend that gives its body back, and speaks HTTP/2 or HTTP/1.1.
    pub async fn echoing(h2c: bool, fields: &str) -> (Self, Echo) {
        let (primary, setup) = match h2c {
            true => {
                let primary = Echo::h2c(|_, _| Step::echo()).await;
                let setup = Self::new().h2c_backend("primary", &primary);
                (primary, setup)
            }
            false => {
                let primary = Echo::start().await;
                let setup = Self::new().backend("primary", &primary);
                (primary, setup)
            }
        };
        (setup.rule(fields), primary)
    }

    /// A backend of one endpoint that speaks HTTP/2.
    pub fn h2c_backend(self, name: &str, echo: &Echo) -> Self {
        self.document(&format!("backend: {{name: {name}, protocol: h2c, endpoints: ['{}']}}", echo.address()))
    }

    pub(crate) fn station(self, name: &str, station: &Station) -> Self {
        let protocol = if station.is_h2c { "protocol: h2c, " } else { "" };
        let (setup, tls) = match &station.tls {
            Some(authority) => (
                self.document(&authority.document(name)),
                format!("tls: {{serverName: {GUARDED}, authorities: [{name}]}}, "),
            ),
            None => (self, String::new()),
        };
        setup.document(&format!("backend: {{name: {name}, {protocol}{tls}endpoints: ['{}']}}", station.address))
    }

    /// A backend of one endpoint with TLS: these fields say what it must prove.
    pub fn guarded_backend(self, name: &str, echo: &Echo, tls: &str) -> Self {
        self.document(&format!("backend: {{name: {name}, endpoints: ['{}'], tls: {{{tls}}}}}", echo.address()))
    }

    pub fn endpoints(self, name: &str, endpoints: &[SocketAddr]) -> Self {
        let endpoints: Vec<String> = endpoints.iter().map(|endpoint| format!("'{endpoint}'")).collect();
        self.document(&format!("backend: {{name: {name}, endpoints: [{}]}}", endpoints.join(", ")))
    }

    /// A route of one rule that leads to the backend `primary`, with more fields for that rule.
    pub fn rule(self, fields: &str) -> Self {
        self.rules(&format!("- backends: [{{backend: primary}}]\n{}", indented(fields, 2)))
    }

    /// A route with these rules.
    pub fn rules(self, rules: &str) -> Self {
        self.document(&format!("route:\n  name: route\n  listeners: [http]\n  rules:\n{}", indented(rules, 2)))
    }

    /// Any document.
    pub fn document(mut self, text: &str) -> Self {
        self.documents.push(indented(text, 0));
        self
    }

    pub async fn start(self) -> World {
        World::start(self).await
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

/// Fields of a rule whose requests are all copied to the backend `mirror`.
pub const MIRRORED: &str = "filters: [{requestMirror: {backend: mirror}}]";

/// The text without the indentation that all its lines share, indented by so many spaces instead.
pub(crate) fn indented(text: &str, by: usize) -> String {
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let shared = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    lines().map(|line| format!("{:by$}{}\n", "", &line[shared..])).collect()
}
