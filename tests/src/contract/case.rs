use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway::app::Settings;
use tokio::runtime::Handle;

use super::evidence::{Evidence, Left, Mirror, Run};
use super::peer::{Peer, Station};
use super::sockets::connections_to;
use super::subject::{Flaw, Subject};
use super::verdict::{Invariant, Violation, violations};
use crate::{Call, Client, End, H2Client, MARK, MirrorAccount, Outcome, PATIENCE, Receipt, Scrape};

/// A case of the mirror contract: calls that are made to a gateway without mirrors, and then to one
/// with them. [`check`](Self::check) says that the mirrors changed nothing, and what they got.
///
/// Every call is followed by another one on the same connection, which is to be unharmed as well.
#[derive(Clone)]
pub struct Case {
    calls: Vec<Call>,
    clients: Vec<Speech>,
    primary: Peer,
    mirrors: Vec<Peer>,
    fields: String,
    tune: Arc<dyn Fn(&mut Settings) + Send + Sync>,
    flaw: Option<Flaw>,
    patience: Duration,
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    Http1,
    Http2,
}

/// What came of a case.
#[derive(Debug)]
pub struct Report {
    /// Of the calls in turn, with mirrors.
    pub outcomes: Vec<Outcome>,
    /// What the primary got beside them.
    pub originals: Vec<Receipt>,
    pub mirrors: Vec<Mirror>,
}

/// How long a mirror may take for anything in a case, where the case says nothing else.
pub const LIMIT: Duration = Duration::from_millis(600);

/// How often a case that took suspiciously long is tried again: noise passes, a delay does not.
const TRIES: usize = 3;

impl Case {
    /// Calls of every kind over both protocols, and a primary that gives every body back.
    pub fn new() -> Self {
        let body = crate::Pattern::new(70_000);
        Self {
            calls: vec![
                Call::get("/a?b=c"),
                Call::with_length("POST", "/", body.bytes()),
                Call::in_pieces("PUT", "/", ["bo".into(), "dy".into()]),
                Call::with_length("POST", "/empty", ""),
            ],
            clients: vec![Speech::Http1, Speech::Http2],
            primary: Peer::echo(),
            mirrors: Vec::new(),
            fields: String::new(),
            tune: Arc::new(|_| {}),
            flaw: None,
            patience: PATIENCE,
        }
    }

    /// These calls instead.
    pub fn calls(mut self, calls: impl IntoIterator<Item = Call>) -> Self {
        self.calls = calls.into_iter().collect();
        self
    }

    /// By clients who speak this alone.
    pub fn spoken(mut self, speech: Speech) -> Self {
        self.clients = vec![speech];
        self
    }

    pub fn primary(mut self, primary: Peer) -> Self {
        self.primary = primary;
        self
    }

    /// Another mirror, which gets a copy of every call.
    pub fn mirror(mut self, mirror: Peer) -> Self {
        self.mirrors.push(mirror);
        self
    }

    /// More fields of the rule, such as `retry`.
    pub fn fields(mut self, fields: &str) -> Self {
        self.fields = fields.to_owned();
        self
    }

    pub fn tuned(mut self, tune: impl Fn(&mut Settings) + Send + Sync + 'static) -> Self {
        self.tune = Arc::new(tune);
        self
    }

    /// Of a tee that is wrong on purpose, instead of the gateway.
    pub fn of(mut self, flaw: Flaw) -> Self {
        self.flaw = Some(flaw);
        self.clients = vec![Speech::Http1];
        // What is wrong for ever is not waited for for ever.
        self.patience = 2 * LIMIT;
        self
    }

    /// That all the invariants hold.
    #[track_caller]
    pub fn check(self) -> impl Future<Output = Report> {
        let caller = std::panic::Location::caller();
        async move {
            let evidence = self.evidence().await;
            let violations = violations(&evidence);
            let told: String = violations.iter().map(|violation| format!("{violation}\n")).collect();
            let accounts: Vec<_> = evidence.mirrors.iter().map(|mirror| &mirror.account).collect();
            assert!(violations.is_empty(), "{caller}\n{told}{accounts:#?}");
            let Run { outcomes, originals, .. } = evidence.mirrored;
            Report { outcomes, originals, mirrors: evidence.mirrors }
        }
    }

    /// Everything that is wrong.
    pub async fn violations(self) -> Vec<Violation> {
        violations(&self.evidence().await)
    }

    /// Which invariants do not hold, in the order in which they are checked.
    pub async fn broken(self) -> Vec<Invariant> {
        let mut broken: Vec<_> = self.violations().await.iter().map(|found| found.invariant).collect();
        broken.dedup();
        broken
    }

    async fn evidence(&self) -> Evidence {
        let (alone, ..) = self.run(&[]).await;
        let mut evidence = self.beside(&alone).await;
        for _ in 1..TRIES {
            let is_late = |violation: &Violation| violation.invariant == Invariant::NoDelay;
            if !violations(&evidence).iter().any(is_late) {
                break;
            }
            evidence = self.beside(&alone).await;
        }
        evidence
    }

    async fn beside(&self, alone: &Run) -> Evidence {
        let (mirrored, mirrors, left) = self.run(&self.mirrors).await;
        let allowance = alone.elapsed + LIMIT / 2;
        Evidence {
            calls: self.numbered().into_iter().map(|(_, call)| call).collect(),
            alone: alone.clone(),
            mirrored,
            allowance,
            mirrors,
            left,
        }
    }

    /// The calls that are really made, one after the other.
    fn numbered(&self) -> Vec<(Speech, Call)> {
        let next = Call::get("/next");
        let said = |speech: Speech| {
            let calls = self.calls.iter().filter(move |call| speech == Speech::Http1 || !call.is_raw());
            calls.flat_map(|call| [call.clone(), next.clone()]).map(move |call| (speech, call))
        };
        self.clients.iter().copied().flat_map(said).collect()
    }

    async fn run(&self, mirrors: &[Peer]) -> (Run, Vec<Mirror>, Left) {
        let primary = self.primary.start().await;
        let mut stations = Vec::new();
        for mirror in mirrors {
            stations.push(mirror.start().await);
        }
        let subject = self.subject(&primary, &stations).await;
        let sockets = || stations.iter().map(|station| connections_to(station.address)).sum::<usize>();
        let served = stations.iter().chain([&primary]).filter(|station| station.echo.is_some()).count();
        let (tasks_before, sockets_before) = (tasks() - served, sockets());

        let begun = Instant::now();
        let outcomes = self.make_calls(&subject, &primary).await;
        let elapsed = begun.elapsed();

        let mut left = Left::default();
        let mut page = subject.scrape().await;
        self.patiently(async || {
            page = subject.scrape().await;
            left = Left {
                in_flight: page.sum("doppel_mirror_in_flight", &[]) as u64,
                queue_bytes: page.sum("doppel_mirror_queue_bytes", &[]) as u64,
                sockets: sockets().saturating_sub(sockets_before),
                tasks: 0,
            };
            let is_over =
                |station: &Station| station.receipts().iter().flatten().all(|receipt| receipt.end != End::Open);
            let are_over = is_over(&primary) && stations.iter().all(is_over);
            let account = page.mirror_account(&[]);
            let is_balanced =
                account.started == account.ended() && account.eligible() == routed(&page) * stations.len() as u64;
            page.sum("doppel_connections_open", &[]) == 0.0 && left.is_nothing() && are_over && is_balanced
        })
        .await;

        let originals = primary.receipts().unwrap_or_default();
        let account = |name: &str| page.mirror_account(&[("mirror", name)]);
        let mirrors = stations.iter().enumerate().map(|(number, station)| {
            let name = name(number);
            Mirror { account: account(&name), copies: station.receipts(), name }
        });
        let mirrors: Vec<Mirror> = mirrors.collect();
        // The scripts that stall are tasks as well.
        drop((primary, stations));
        self.patiently(async || tasks() <= tasks_before).await;
        left.tasks = tasks().saturating_sub(tasks_before);
        (Run { outcomes, originals, routed: routed(&page), elapsed }, mirrors, left)
    }

    async fn subject(&self, primary: &Station, mirrors: &[Station]) -> Subject {
        match self.flaw {
            Some(flaw) => Subject::wrong(flaw, primary, mirrors).await,
            None => Subject::gateway(&self.fields, primary, mirrors, self.tune.as_ref()).await,
        }
    }

    async fn make_calls(&self, subject: &Subject, primary: &Station) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let (mut h1, mut h2) = (None, None);
        for (number, (speech, call)) in self.numbered().iter().enumerate() {
            // What a client breaks off is to reach the primary first, as far as it goes.
            let sent = call.body().unwrap_or_default().length;
            let arrived = async || sent == 0 || primary.has_of(number, sent);
            let outcome;
            match speech {
                Speech::Http1 => {
                    let client = match h1.take() {
                        Some(client) => client,
                        None => Client::connect(subject.address()).await,
                    };
                    (outcome, h1) = call.over_http1(client, number, arrived).await;
                }
                Speech::Http2 => {
                    let client = match h2.take() {
                        Some(client) => client,
                        None => H2Client::connect(subject.address()).await,
                    };
                    (outcome, h2) = call.over_http2(client, number, arrived).await;
                }
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Waits for the condition as long as this case has patience.
    async fn patiently(&self, mut holds: impl AsyncFnMut() -> bool) {
        let waiting = async {
            let mut pause = tokio::time::interval(Duration::from_millis(5));
            while !holds().await {
                pause.tick().await;
            }
        };
        // What does not hold in the end is judged as it is.
        let _ = tokio::time::timeout(self.patience, waiting).await;
    }
}

impl Default for Case {
    fn default() -> Self {
        Self::new()
    }
}

impl Report {
    pub fn account(&self) -> &MirrorAccount {
        &self.mirrors[0].account
    }

    pub fn copies(&self) -> &[Receipt] {
        self.mirrors[0].copies.as_deref().unwrap_or_default()
    }

    /// That every mirror was sent every call, whole, and answered.
    pub fn all_completed(&self) {
        for mirror in &self.mirrors {
            let calls = self.outcomes.len() as u64;
            assert_eq!(mirror.account.completed, calls, "{}: {:?}", mirror.name, mirror.account);
            assert!(mirror.copies.iter().flatten().all(Receipt::is_complete), "{:#?}", mirror.copies);
        }
    }
}

/// The name of a mirror's backend.
pub(super) fn name(number: usize) -> String {
    format!("mirror{number}")
}

fn routed(page: &Scrape) -> u64 {
    page.sum("doppel_requests_total", &[("route", "route")]) as u64
}

/// Of this test alone: each has a runtime of its own.
fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

impl Station {
    fn receipts(&self) -> Option<Vec<Receipt>> {
        self.echo.as_ref().filter(|_| self.remembers).map(crate::Echo::receipts)
    }

    /// Whether so many bytes came of this call; of whom nobody asks, yes.
    fn has_of(&self, number: usize, bytes: u64) -> bool {
        let Some(receipts) = self.receipts() else { return true };
        let number = number.to_string();
        let mut of_call = receipts.iter().filter(|receipt| receipt.header(MARK).as_ref() == Some(&number));
        of_call.any(|receipt| receipt.body.length >= bytes || matches!(receipt.end, End::Unread))
    }
}
