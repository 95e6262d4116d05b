use std::net::SocketAddr;
use std::time::Duration;

use gateway::app::Settings;

use super::case::{LIMIT, name};
use super::peer::Station;
use super::wrong::WrongTee;
use crate::{Scrape, Setup, World};

pub use super::wrong::Flaw;

/// What stands between client, primary and mirrors.
pub(super) enum Subject {
    Gateway(Box<World>),
    Wrong(WrongTee),
}

impl Subject {
    /// With a route `route` that leads to the primary, and a mirror for each of the others.
    pub(super) async fn gateway(
        fields: &str,
        primary: &Station,
        mirrors: &[Station],
        tune: &(dyn Fn(&mut Settings) + Send + Sync),
    ) -> Self {
        let mut setup = Setup::new().station("primary", primary);
        let mut filters = Vec::new();
        for (number, mirror) in mirrors.iter().enumerate() {
            setup = setup.station(&name(number), mirror);
            filters.push(format!("{{requestMirror: {{backend: {}}}}}", name(number)));
        }
        let setup = setup.rule(&format!("filters: [{}]\n{fields}", filters.join(", ")));
        let world = World::start_with(setup, |settings| {
            hasten(settings);
            tune(settings);
        });
        Self::Gateway(Box::new(world.await))
    }

    pub(super) async fn wrong(flaw: Flaw, primary: &Station, mirrors: &[Station]) -> Self {
        let mirrors = mirrors.iter().map(|mirror| mirror.address).collect();
        Self::Wrong(WrongTee::start(flaw, primary.address, mirrors).await)
    }

    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Gateway(world) => world.address(),
            Self::Wrong(tee) => tee.address(),
        }
    }

    pub(super) async fn scrape(&self) -> Scrape {
        match self {
            Self::Gateway(world) => world.scrape().await,
            Self::Wrong(tee) => tee.scrape(),
        }
    }
}

/// So short that whatever a mirror leaves undone has an end within the test.
fn hasten(settings: &mut Settings) {
    const IDLE: Duration = Duration::from_millis(50);
    settings.proxy.backend_idle_timeout = IDLE;
    let limits = &mut settings.mirror;
    limits.idle = IDLE;
    limits.connect = LIMIT;
    limits.write_idle = LIMIT;
    limits.response_head = LIMIT;
    limits.drain = LIMIT;
}
