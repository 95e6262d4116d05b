//! Which of the adapters writes: the one that holds the Lease.
//!
//! Like Kubernetes' own controllers: the holder renews the Lease every 2 s and stops writing when it
//! could not for 10 s; the others take it once they have not seen it change for 15 s, by their own
//! clocks. They watch it instead of asking, so that one that is given up is taken at once.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

/// Stands for election until `stop` is told or can be told no more, then gives up what it holds. Tells whether it leads.
pub(super) async fn stand(
    client: Client,
    namespace: String,
    identity: String,
    leads: watch::Sender<bool>,
    mut stop: oneshot::Receiver<()>,
) {
    let api = Api::<Lease>::namespaced(client, &namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={NAME}")).timeout(60);
    let mut events = std::pin::pin!(watcher(api.clone(), config).default_backoff());
    let mut election = Election::new(identity, Instant::now());
    let mut listed = None;
    loop {
        tokio::select! {
            _ = &mut stop => break,
            event = events.next() => match event {
                Some(Ok(Event::Init)) => listed = None,
                Some(Ok(Event::InitApply(lease))) => listed = Some(lease),
                Some(Ok(Event::InitDone)) => election.observe(listed.take(), Instant::now()),
                Some(Ok(Event::Apply(lease))) => election.observe(Some(lease), Instant::now()),
                Some(Ok(Event::Delete(_))) => election.observe(None, Instant::now()),
                Some(Err(error)) => log::debug!("the Lease is not watched at the moment: {error}"),
                None => return,
            },
            () = super::until(election.due()) => {
                let lease = election.bid(Timestamp::now());
                let ends = election.ends().unwrap_or_else(|| Instant::now() + RENEW_WITHIN);
                let written = timeout_at(ends, write(&api, &lease)).await;
                let now = Instant::now();
                match written {
                    Ok(Ok(lease)) => election.won(lease, now),
                    Ok(Err(error)) => election.failed(&super::chain(&error), now),
                    Err(_) => election.failed("the API server does not answer", now),
                }
            }
        }
        tell(&leads, election.leads(Instant::now()));
    }
    if election.leads(Instant::now()) {
        tell(&leads, false);
        match timeout(RELEASE_WITHIN, write(&api, &election.release())).await {
            Ok(Ok(_)) => log::info!("the Lease is released"),
            Ok(Err(error)) => log::warn!("cannot release the Lease: {}", super::chain(&error)),
            Err(_) => log::warn!("cannot release the Lease: the API server does not answer"),
        }
    }
}

fn tell(leads: &watch::Sender<bool>, now: bool) {
    let told = leads.send_if_modified(|leads| std::mem::replace(leads, now) != now);
    if told {
        log::info!("{}", if now { "this adapter leads: it writes statuses" } else { "another adapter leads, or none" });
    }
}

async fn write(api: &Api<Lease>, lease: &Lease) -> kube::Result<Lease> {
    match lease.metadata.resource_version {
        None => api.create(&PostParams::default(), lease).await,
        Some(_) => api.replace(NAME, &PostParams::default(), lease).await,
    }
}

/// Who holds the Lease, as one candidate sees it. It knows no API and no clock.
#[derive(Debug)]
struct Election {
    identity: String,
    /// As it was seen last; none if there is none, or none is known of.
    lease: Option<Lease>,
    /// Since when the Lease is known to be as it is.
    since: Instant,
    /// When it was renewed by us, while it is ours.
    renewed: Option<Instant>,
    /// Not to try before.
    pause: Option<Instant>,
    /// Whether the API server has said how things are.
    has_seen: bool,
}

impl Election {
    fn new(identity: String, now: Instant) -> Self {
        Self { identity, lease: None, since: now, renewed: None, pause: None, has_seen: false }
    }

    fn observe(&mut self, lease: Option<Lease>, now: Instant) {
        self.has_seen = true;
        let version = |lease: &Option<Lease>| lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        if version(&lease) != version(&self.lease) {
            self.lease = lease;
            self.since = now;
            self.pause = None;
        }
        if self.holder() != Some(&self.identity) {
            self.renewed = None;
        }
    }

    fn holder(&self) -> Option<&str> {
        let holder = self.lease.as_ref()?.spec.as_ref()?.holder_identity.as_deref()?;
        (!holder.is_empty()).then_some(holder)
    }

    /// When to write a [`bid`](Self::bid) next.
    fn due(&self) -> Option<Instant> {
        if !self.has_seen {
            return None;
        }
        let due = match (self.renewed, self.holder()) {
            (Some(renewed), _) => renewed + RENEW_EVERY,
            // Free, or held by one of our name, who is gone.
            (None, None) => self.since,
            (None, Some(holder)) if holder == self.identity => self.since,
            (None, Some(_)) => self.since + self.duration(),
        };
        Some(self.pause.map_or(due, |pause| pause.max(due)))
    }

    /// How long its holder has to renew it, as the holder says.
    fn duration(&self) -> Duration {
        let spec = self.lease.as_ref().and_then(|lease| lease.spec.as_ref());
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
        seconds.map_or(DURATION, Duration::from_secs)
    }

    /// The Lease as ours from now on.
    fn bid(&self, now: Timestamp) -> Lease {
        let mut lease = self.lease.clone().unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
            spec: None,
        });
        let before = lease.spec.take().unwrap_or_default();
        let is_again = before.holder_identity.as_ref() == Some(&self.identity);
        let transitions = before.lease_transitions.unwrap_or(0);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(DURATION.as_secs() as i32),
            acquire_time: before.acquire_time.filter(|_| is_again).or(Some(MicroTime(now))),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions + i32::from(!is_again && self.lease.is_some())),
            ..LeaseSpec::default()
        });
        lease
    }

    /// The Lease as nobody's.
    fn release(&self) -> Lease {
        let mut lease = self.lease.clone().unwrap_or_default();
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        lease
    }

    fn won(&mut self, lease: Lease, now: Instant) {
        self.lease = Some(lease);
        self.since = now;
        self.renewed = Some(now);
        self.pause = None;
    }

    /// A bid has failed. If another one has won, the watch tells.
    fn failed(&mut self, reason: &str, now: Instant) {
        if self.renewed.is_some() {
            log::warn!("cannot renew the Lease: {reason}");
        } else {
            log::debug!("the Lease is not taken: {reason}");
        }
        self.pause = Some(now + RENEW_EVERY);
        if self.ends().is_some_and(|ends| now >= ends) {
            self.renewed = None;
        }
    }

    fn leads(&self, now: Instant) -> bool {
        self.ends().is_some_and(|ends| now < ends)
    }

    /// When it ends to lead, unless it renews the Lease.
    fn ends(&self) -> Option<Instant> {
        self.renewed.map(|renewed| renewed + RENEW_WITHIN)
    }
}

const NAME: &str = "doppel-adapter";
/// How long a Lease that is not renewed is respected.
const DURATION: Duration = Duration::from_secs(15);
/// How long its holder goes on without having renewed it.
const RENEW_WITHIN: Duration = Duration::from_secs(10);
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How long the end of the program waits for the Lease to be given up.
const RELEASE_WITHIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    /// The API server: it takes a Lease only on top of its present version.
    #[derive(Default)]
    struct Server {
        lease: Option<Lease>,
        version: u64,
    }

    impl Server {
        fn write(&mut self, mut lease: Lease) -> Option<Lease> {
            let version = |lease: &Lease| lease.metadata.resource_version.clone();
            if self.lease.as_ref().and_then(version) != version(&lease) {
                return None;
            }
            self.version += 1;
            lease.metadata.resource_version = Some(self.version.to_string());
            self.lease = Some(lease.clone());
            Some(lease)
        }
    }

    /// Lets the candidates act whenever they are due, in steps of 100 ms. Those that are dead do
    /// nothing. Returns who leads at the end, and asserts that never two did.
    fn pass(server: &mut Server, all: &mut [(Election, bool)], now: &mut Instant, time: Duration) -> Vec<usize> {
        let end = *now + time;
        while *now < end {
            for (election, _) in all.iter_mut().filter(|(_, is_dead)| !is_dead) {
                election.observe(server.lease.clone(), *now);
                if election.due().is_some_and(|due| due <= *now) {
                    match server.write(election.bid(Timestamp::UNIX_EPOCH)) {
                        Some(lease) => election.won(lease, *now),
                        None => election.failed("conflict", *now),
                    }
                }
            }
            assert!(leaders(all, *now).len() <= 1);
            *now += Duration::from_millis(100);
        }
        leaders(all, *now)
    }

    fn leaders(all: &[(Election, bool)], now: Instant) -> Vec<usize> {
        all.iter().enumerate().filter(|(_, (election, _))| election.leads(now)).map(|(i, _)| i).collect()
    }

    fn candidates(now: Instant) -> [(Election, bool); 3] {
        ["a", "b", "c"].map(|name| (Election::new(name.to_owned(), now), false))
    }

    #[test]
    fn one_leads_and_goes_on_while_it_renews() {
        let (mut server, mut now) = (Server::default(), Instant::now());
        let mut all = candidates(now);
        assert_eq!(pass(&mut server, &mut all, &mut now, Duration::from_secs(1)), [0]);
        assert_eq!(pass(&mut server, &mut all, &mut now, Duration::from_secs(60)), [0]);
        let spec = server.lease.unwrap().spec.unwrap();
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("a"), Some(0)));
    }

    #[test]
    fn one_that_died_is_replaced_after_the_lease_and_not_before() {
        let (mut server, mut now) = (Server::default(), Instant::now());
        let mut all = candidates(now);
        pass(&mut server, &mut all, &mut now, Duration::from_secs(5));
        all[0].1 = true;
        assert_eq!(pass(&mut server, &mut all, &mut now, Duration::from_secs(12)), [0; 0]);
        assert_eq!(pass(&mut server, &mut all, &mut now, Duration::from_secs(4)), [1]);
        assert_eq!(server.lease.unwrap().spec.unwrap().lease_transitions, Some(1));
    }

    #[test]
    fn one_that_gives_up_is_replaced_at_once() {
        let (mut server, mut now) = (Server::default(), Instant::now());
        let mut all = candidates(now);
        pass(&mut server, &mut all, &mut now, Duration::from_secs(5));
        server.write(all[0].0.release()).unwrap();
        all[0] = (Election::new("z".to_owned(), now), true);
        assert_eq!(pass(&mut server, &mut all, &mut now, Duration::from_millis(200)), [1]);
    }

    #[test]
    fn one_of_the_same_name_takes_over_at_once() {
        let (mut server, mut now) = (Server::default(), Instant::now());
        let mut all = candidates(now);
        pass(&mut server, &mut all, &mut now, Duration::from_secs(5));
        all[0].0 = Election::new("a".to_owned(), now);
        assert_eq!(pass(&mut server, &mut all, &mut now, Duration::from_millis(200)), [0]);
    }

    #[test]
    fn one_that_cannot_renew_stops_to_lead_before_another_begins() {
        let now = Instant::now();
        let mut election = Election::new("a".to_owned(), now);
        assert_eq!(election.due(), None, "nothing is known yet");
        election.observe(None, now);
        assert_eq!(election.due(), Some(now));
        election.won(election.bid(Timestamp::UNIX_EPOCH), now);
        let mut at = now;
        while election.leads(at) {
            at = election.due().unwrap();
            election.failed("the API server is gone", at);
        }
        assert!(at >= now + RENEW_WITHIN && at < now + DURATION, "{:?}", at - now);
    }
}
