//! Changes of the configuration while requests go on.

use std::sync::Arc;
use std::time::Duration;

use doppel_tests::{Client, Echo, Gate, H2Client, Setup, Step, World, eventually, soon};
use tokio::sync::watch;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_comes_and_goes_fails_no_request_and_counts_every_copy() {
    const CONNECTIONS: usize = 50;
    const REQUESTS: usize = 400;
    const FLIPS: usize = 10;
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let with = Setup::mirrored(&primary, &mirror);
    let without = Setup::new().backend("primary", &primary).backend("mirror", &mirror).rule("");
    let mut world = with.clone().start().await;

    let answered = Arc::new(watch::Sender::new(0));
    let mut clients = JoinSet::new();
    for number in 0..CONNECTIONS {
        let (mut client, answered) = (world.client().await, answered.clone());
        clients.spawn(async move {
            for i in 0..REQUESTS {
                let body = format!("{number}/{i}");
                let answer = if i % 2 == 0 { client.post("/", &body).await } else { client.get("/").await };
                let expected = if i % 2 == 0 { body.as_str() } else { "" };
                assert_eq!((answer.status, answer.text().as_str()), (200, expected));
                answered.send_modify(|answered| *answered += 1);
            }
        });
    }
    let mut progress = answered.subscribe();
    for flip in 1..=FLIPS {
        let enough = flip * CONNECTIONS * REQUESTS / (FLIPS + 1);
        soon("requests to be answered", progress.wait_for(|answered| *answered >= enough)).await.expect("clients run");
        world.reload(if flip % 2 == 1 { &without } else { &with }).await;
    }
    while let Some(client) = soon("the clients to end", clients.join_next()).await {
        client.expect("only expected answers");
    }

    assert_eq!(primary.count(), CONNECTIONS * REQUESTS);
    let account = world.mirror_account_at_rest().await;
    assert!(account.started > 0 && account.started < (CONNECTIONS * REQUESTS) as u64, "{account:?}");
    let copies = mirror.receipts();
    assert!(copies.iter().all(|copy| copy.is_complete()));
    assert_eq!(copies.len() as u64, account.started, "{account:?}");
    assert_eq!(account.completed, account.started, "{account:?}");
}

/// A gateway with one route that leads to one of two backends that answer with their names.
async fn named() -> (World, Echo, Echo) {
    let (a, b) = (Echo::named("a").await, Echo::named("b").await);
    let world = leading_to("a", &a, &b).start().await;
    (world, a, b)
}

fn leading_to(name: &str, a: &Echo, b: &Echo) -> Setup {
    Setup::new().backend("a", a).backend("b", b).rules(&format!("- backends: [{{backend: {name}}}]"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_gets_the_new_routes() {
    let (mut world, a, b) = named().await;
    let (mut h1, mut h2) = (world.client().await, world.h2_client().await);
    assert_eq!([h1.get("/").await.text(), h2.get("/").await.text()], ["a", "a"]);
    world.reload(&leading_to("b", &a, &b)).await;
    assert_eq!([h1.get("/").await.text(), h2.get("/").await.text()], ["b", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_ends_as_it_began() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let primary = Echo::scripted(move |_, _| Step::echo_after(&waiting)).await;
    let mut world = Setup::new().backend("primary", &primary).rule("").start().await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbo").await;
    primary.until("the request", |receipts| receipts.len() == 1).await;
    world.reload(&Setup::new()).await;
    client.send("dy").await;
    gate.open();
    assert_eq!(client.answer().await.text(), "body");
    assert_eq!(client.get("/").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_document_keeps_its_last_good_version_and_the_others_go_on() {
    let (mut world, a, b) = named().await;
    let bad = Setup::new()
        .endpoints("a", &[b.address()])
        .backend("b", &b)
        .document("route:\n  name: route\n  listeners: [http]\n  ruls: []\n");
    world.reload(&bad).await;
    // The route is the old one, its backend the new one.
    assert_eq!(world.client().await.get("/").await.text(), "b");
    let config = world.admin("/config").await;
    for expected in ["0003.yaml", "\"line\": 4", "\"column\": 3", "route route", "unknown field ruls; is rules meant?"]
    {
        assert!(config.contains(expected), "{expected} is not in {config}");
    }
    world.reload(&leading_to("a", &a, &b)).await;
    assert_eq!(world.client().await.get("/").await.text(), "a");
    assert!(!world.admin("/config").await.contains("ruls"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_reported_once_it_is_live() {
    let revision =
        |revision: &str| Setup::new().document(&format!("revision: {{name: writer, revision: '{revision}'}}"));
    let mut world = revision("seven").start().await;
    assert!(world.admin("/config").await.contains("seven"));
    world.reload(&revision("eight")).await;
    let config = world.admin("/config").await;
    assert!(config.contains("eight") && !config.contains("seven"), "{config}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_comes_and_goes() {
    let primary = Echo::start().await;
    let one = Setup::new().backend("primary", &primary);
    let two = one
        .clone()
        .document("listener: {name: other, address: '127.0.0.2:0'}")
        .document("route: {name: r, listeners: [http, other], rules: [{backends: [{backend: primary}]}]}");
    let one = one.document("route: {name: r, listeners: [http], rules: [{backends: [{backend: primary}]}]}");
    let mut world = one.clone().start().await;
    let mut kept = world.client().await;
    assert_eq!(kept.get("/").await.status, 200);

    world.reload(&two).await;
    let other = world.address_of("other");
    let mut idle = Client::connect(other).await;
    assert_eq!(idle.get("/").await.status, 200);
    assert_eq!(H2Client::connect(other).await.get("/").await.status, 200);

    world.reload(&one).await;
    // Its idle connections end, and its port can be had.
    idle.ended().await;
    tokio::net::TcpListener::bind(other).await.expect("the port is free");
    assert_eq!(kept.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_at_a_removed_listener_still_ends() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let primary = Echo::scripted(move |_, _| Step::echo_after(&waiting)).await;
    let mut world = Setup::new().backend("primary", &primary).rule("").start().await;
    let mut client = world.client().await;
    let mut h2 = world.h2_client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody").await;
    let upload = h2.start(H2Client::request("GET", "/"), true).await;
    primary.ended(2).await;
    world.reload(&Setup::empty()).await;
    gate.open();
    assert_eq!(client.answer().await.text(), "body");
    client.ended().await;
    assert_eq!(upload.answer().await.status, 200);
    h2.ended().await.expect("an orderly end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_a_problem_and_nothing_else_stops() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
    let address = taken.local_addr().expect("a bound socket has an address");
    let (mut world, a, b) = named().await;
    let more = leading_to("b", &a, &b).document(&format!("listener: {{name: other, address: '{address}'}}"));
    world.reload(&more).await;
    assert_eq!(world.client().await.get("/").await.text(), "b");
    assert!(world.admin("/config").await.contains(&address.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_is_removed_gets_no_new_copy() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let mut world = Setup::mirrored(&primary, &mirror).start().await;
    let mut client = world.client().await;
    client.get("/before").await;
    // Under way when the filter goes.
    client.send("POST /during HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbo").await;
    mirror.until("the copy", |receipts| receipts.len() == 2).await;
    world.reload(&Setup::new().backend("primary", &primary).backend("mirror", &mirror).rule("")).await;
    assert_eq!(client.exchange("dy").await.text(), "body");
    client.get("/after").await;
    let account = world.mirror_account(2).await;
    assert_eq!(account.completed, 2, "{account:?}");
    assert_eq!(mirror.count(), 2);
    assert!(mirror.receipts().iter().all(|copy| copy.is_complete()));
    world.reload(&Setup::mirrored(&primary, &mirror)).await;
    client.get("/again").await;
    world.mirror_account(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_of_what_is_gone_leave_with_the_last_request() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let primary = Echo::scripted(move |number, _| if number == 0 { Step::echo() } else { Step::echo_after(&waiting) });
    let (primary, mirror) = (primary.await, Echo::start().await);
    let other = Setup::new().backend("primary", &primary).document(
        "route: {name: other, listeners: [http], hostnames: [other.test], rules: [{backends: [{backend: primary}]}]}",
    );
    let with = Setup::mirrored(&primary, &mirror);
    let mut world = World::start_with(with, |settings| settings.metrics_linger = Duration::ZERO).await;
    let mut client = world.client().await;
    assert_eq!(client.get("/").await.status, 200);
    world.mirror_account(1).await;

    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    primary.until("the second request", |receipts| receipts.len() == 2).await;
    world.reload(&other).await;
    let of_route = |page: &str| page.lines().filter(|line| line.contains("route=\"route\"")).count();
    let counted = world.scrape().await.sum("doppel_requests_total", &[("route", "route")]);
    assert_eq!(counted, 1.0, "the other is under way");
    gate.open();
    assert_eq!(client.answer().await.status, 200);
    let page = async || {
        let page = world.admin("/metrics").await;
        (of_route(&page) == 0).then_some(page)
    };
    let page = eventually("the series of the route to leave", page).await;
    assert!(!page.contains("mirror=\"mirror\""), "{page}");

    assert_eq!(client.exchange("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n").await.status, 200);
    world.requests_ended(1).await;
    assert_eq!(of_route(&world.admin("/metrics").await), 0);
}
