use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use conf::Document;
use gateway::app::{Gateway, Report, Settings};
use tempfile::TempDir;

use crate::{Client, H2Client, MirrorAccount, Scrape, Setup, eventually, soon};

/// A running gateway and the directory that it serves from. It ends when dropped.
pub struct World {
    gateway: Gateway,
    directory: TempDir,
    /// The configured address of each listener.
    listeners: BTreeMap<String, SocketAddr>,
}

impl World {
    pub(crate) async fn start(setup: Setup) -> Self {
        Self::start_with(setup, |_| {}).await
    }

    /// Like [`Setup::start`], with other settings than the defaults.
    pub async fn start_with(setup: Setup, change: impl FnOnce(&mut Settings)) -> Self {
        let directory = TempDir::new().expect("temporary directories can be made");
        let listeners = write(directory.path(), &setup);
        let mut settings = Settings::new(directory.path());
        settings.admin = Some(([127, 0, 0, 1], 0).into());
        change(&mut settings);
        let gateway = soon("the gateway to start", Gateway::start(settings)).await.expect("the gateway starts");
        Self { gateway, directory, listeners }
    }

    /// Replaces the documents by others, and makes them live as SIGHUP does.
    pub async fn reload(&mut self, setup: &Setup) -> Report {
        self.listeners.extend(write(self.directory.path(), setup));
        soon("the configuration to be live", self.gateway.reload()).await
    }

    /// Where the listener `http` accepts connections, or the only one.
    pub fn address(&self) -> SocketAddr {
        let mut names = self.listeners.keys();
        match (names.next(), names.next()) {
            (Some(only), None) => self.address_of(only),
            _ => self.address_of("http"),
        }
    }

    pub fn address_of(&self, listener: &str) -> SocketAddr {
        let configured = self.listeners.get(listener);
        let configured = configured.unwrap_or_else(|| panic!("listener {listener} is none of {:?}", self.listeners));
        self.gateway.address_of(*configured).unwrap_or_else(|| panic!("{configured} is not bound"))
    }

    /// A new connection to the listener `http`.
    pub async fn client(&self) -> Client {
        Client::connect(self.address()).await
    }

    pub async fn h2_client(&self) -> H2Client {
        H2Client::connect(self.address()).await
    }

    pub async fn scrape(&self) -> Scrape {
        let answer = self.admin("/metrics").await;
        Scrape::parse(&answer)
    }

    /// Waits until so many requests have come to their end, one way or another.
    pub async fn requests_ended(&self, requests: u64) {
        let counted = async || (self.scrape().await.sum("doppel_requests_total", &[]) as u64 >= requests).then_some(());
        eventually("requests to end", counted).await;
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.gateway.admin_address().expect("the settings name an admin address")
    }

    /// The text at a path of the admin address, which must be there.
    pub async fn admin(&self, path: &str) -> String {
        let answer = Client::connect(self.admin_address()).await.get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// The books of all mirrors together; see [`World::mirror_account_of`].
    pub async fn mirror_account(&self, eligible: u64) -> MirrorAccount {
        self.account(Some(eligible), &[]).await
    }

    /// The books of one mirror, once so many requests are in them and every copy has come to its
    /// end. They must balance then, and never hold more. Every test of mirrors ends with this.
    pub async fn mirror_account_of(&self, mirror: &str, eligible: u64) -> MirrorAccount {
        self.account(Some(eligible), &[("mirror", mirror)]).await
    }

    /// The books of all mirrors together once every copy has come to its end, where nobody knows
    /// for how many requests a mirror was meant.
    pub async fn mirror_account_at_rest(&self) -> MirrorAccount {
        self.account(None, &[]).await
    }

    async fn account(&self, eligible: Option<u64>, labels: &[(&str, &str)]) -> MirrorAccount {
        let balanced = async || {
            let account = self.scrape().await.mirror_account(labels);
            if let Some(eligible) = eligible {
                assert!(account.eligible() <= eligible, "more than {eligible} requests: {account:#?}");
            }
            assert!(account.ended() <= account.started, "more copies ended than started: {account:#?}");
            let all = eligible.is_none_or(|eligible| account.eligible() == eligible);
            (all && account.in_flight == 0 && account.started == account.ended()).then_some(account)
        };
        eventually("the books of the mirrors to balance", balanced).await
    }

    /// Stops the gateway as SIGTERM does, and waits until it has.
    pub async fn shutdown(self) {
        soon("the gateway to stop", self.gateway.shutdown()).await;
    }
}

/// Makes the directory hold the documents and nothing else, each file replaced by rename. Says
/// which listeners there are.
fn write(directory: &Path, setup: &Setup) -> BTreeMap<String, SocketAddr> {
    let name = |index: usize| format!("{index:04}.yaml");
    let mut listeners = BTreeMap::new();
    for (index, text) in setup.documents.iter().enumerate() {
        for (_, document) in conf::parse(text).documents {
            if let Document::Listener(listener) = document {
                listeners.insert(listener.name.to_string(), listener.address);
            }
        }
        let path = directory.join(name(index));
        if std::fs::read_to_string(&path).is_ok_and(|present| present == *text) {
            continue;
        }
        let new = directory.join(".new");
        std::fs::write(&new, text).expect("the directory is ours");
        std::fs::rename(&new, &path).expect("the directory is ours");
    }
    for index in setup.documents.len().. {
        if std::fs::remove_file(directory.join(name(index))).is_err() {
            break;
        }
    }
    listeners
}
