//! Changes under load: no request fails of what did not change.

use std::net::SocketAddr;
use std::sync::Arc;

use doppel_tests::{Authority, Client, Dialer, Echo, Guard, Identity, Setup, World};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What is there whatever changes: a listener without TLS and one with, each with a route of its own
/// to a backend with TLS, whose requests are copied to a mirror with TLS.
struct Standing {
    known: Authority,
    server: Identity,
    primary: Echo,
    mirror: Echo,
}

impl Standing {
    async fn new() -> Self {
        let known = Authority::new();
        let guard = Guard::new(&known.identity(&["shop.test"]));
        let (primary, mirror) = (echo(&guard).await, echo(&guard).await);
        Self { known, server: Identity::new(&["a.test"]), primary, mirror }
    }

    fn setup(&self) -> Setup {
        let tls = "serverName: shop.test, authorities: [known]";
        Setup::new()
            .document(&self.known.document("known"))
            .document(&self.server.document("server"))
            .document(
                "listener: {name: https, address: '127.0.0.1:0', hostname: a.test, tls: {certificates: [server]}}",
            )
            .guarded_backend("primary", &self.primary, tls)
            .guarded_backend("mirror", &self.mirror, tls)
            .document(
                "
                route:
                  name: standing
                  listeners: [http, https]
                  rules: [{filters: [{requestMirror: {backend: mirror}}], backends: [{backend: primary}]}]
                ",
            )
    }
}

async fn echo(guard: &Guard) -> Echo {
    Echo::guarded(guard, |_, _| doppel_tests::Step::echo()).await
}

/// Makes requests until it is told to stop, on connections that are kept and on new ones.
struct Load {
    answered: Arc<watch::Sender<usize>>,
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

impl Load {
    fn on(world: &World) -> Self {
        let (answered, stop) = (Arc::new(watch::Sender::new(0)), watch::Sender::new(false));
        let (http, https) = (world.address_of("http"), world.address_of("https"));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            clients.spawn(client(number, http, https, answered.clone(), stop.subscribe()));
        }
        Self { answered, stop, clients }
    }

    /// Waits until as many requests again have been answered as there are clients, twice.
    async fn goes_on(&self) {
        let mut answered = self.answered.subscribe();
        let enough = *answered.borrow() + 2 * CLIENTS;
        let more = answered.wait_for(|answered| *answered >= enough);
        doppel_tests::soon("requests to be answered", more).await.expect("clients run");
    }

    /// How many requests there were, none of which failed.
    async fn end(mut self) -> usize {
        self.stop.send_replace(true);
        while let Some(client) = doppel_tests::soon("the clients to end", self.clients.join_next()).await {
            client.expect("every request is answered as it should be");
        }
        *self.answered.borrow()
    }
}

const CLIENTS: usize = 8;

async fn client(
    number: usize,
    http: SocketAddr,
    https: SocketAddr,
    answered: Arc<watch::Sender<usize>>,
    stop: watch::Receiver<bool>,
) {
    let dialer = Dialer::http1();
    let connect = async || match number % 2 {
        0 => Client::connect(http).await,
        _ => dialer.connect(https, "a.test").await.0,
    };
    let mut kept = connect().await;
    for i in 0.. {
        if *stop.borrow() {
            return;
        }
        let body = format!("{number}/{i}");
        let text = match i % 3 {
            0 => connect().await.post("/", &body).await.text(),
            _ => kept.post("/", &body).await.text(),
        };
        assert_eq!(text, body);
        answered.send_modify(|answered| *answered += 1);
    }
}

/// That nothing of what stands is harmed while other documents come, change and go.
async fn check(changes: impl IntoIterator<Item = Vec<String>>, settled: impl AsyncFn(&World, usize)) {
    let standing = Standing::new().await;
    let mut world = standing.setup().start().await;
    let load = Load::on(&world);
    load.goes_on().await;
    for (number, documents) in changes.into_iter().enumerate() {
        let setup = documents.iter().fold(standing.setup(), |setup, document| setup.document(document));
        let report = world.reload(&setup).await;
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        settled(&world, number).await;
        load.goes_on().await;
    }
    let requests = load.end().await as u64;
    let account = world.mirror_account_of("mirror", requests).await;
    assert_eq!(account.completed, requests, "{account:#?}");
    let connections = standing.primary.connections();
    assert!(connections <= 3 * CLIENTS, "{connections} connections for {requests} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_rotated_harms_nobody_else() {
    let listener = "listener: {name: other, address: '127.0.0.1:0', hostname: b.test, tls: {certificates: [other]}}";
    let identities: Vec<_> = (0..10).map(|_| Identity::new(&["b.test"])).collect();
    let changes = identities.iter().map(|identity| vec![listener.to_owned(), identity.document("other")]);
    check(changes, async |world, number| {
        let (_, agreed) = Dialer::http1().connect(world.address_of("https"), "b.test").await;
        assert!(agreed.is_with(&identities[number]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_that_are_edited_harm_nobody_else() {
    let (one, two) = (Authority::new(), Authority::new());
    let other = echo(&Guard::new(&one.identity(&["other.test"]))).await;
    let documents = |authority: &Authority| {
        vec![
            authority.document("edited"),
            format!(
                "backend: {{name: other, endpoints: ['{}'], tls: {{serverName: other.test, authorities: [edited]}}}}",
                other.address()
            ),
            "route: {name: other, listeners: [http], hostnames: [other.test], rules: [{backends: [{backend: other}]}]}"
                .to_owned(),
        ]
    };
    let changes = (0..10).map(|number| documents(if number % 2 == 0 { &one } else { &two }));
    check(changes, async |world, number| {
        let answer = world.client().await.exchange("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n").await;
        assert_eq!(answer.status, if number % 2 == 0 { 200 } else { 502 });
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_that_come_and_go_harm_nobody_else() {
    let listener = |host: &str| {
        vec![
            format!("listener: {{name: new, address: '127.0.0.2:0', hostname: {host}}}"),
            format!(
                "listener: {{name: beside, address: '127.0.0.1:0', hostname: {host}, tls: {{certificates: [server]}}}}"
            ),
            "route: {name: new, listeners: [new, beside], rules: [{backends: [{backend: primary}]}]}".to_owned(),
        ]
    };
    let changes = (0..10).map(|number| if number % 2 == 0 { listener("new.test") } else { Vec::new() });
    check(changes, async |world, number| {
        if number % 2 == 0 {
            let mut client = Client::connect(world.address_of("new")).await;
            assert_eq!(client.exchange("GET / HTTP/1.1\r\nHost: new.test\r\n\r\n").await.status, 200);
        }
    })
    .await;
}
