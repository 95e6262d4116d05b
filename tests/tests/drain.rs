//! The end of the program.

use std::time::Duration;

use doppel_tests::{Client, Echo, Gate, H2Client, Setup, Step, World, soon};

async fn world(drain: Duration) -> (World, Echo, Gate) {
    let gate = Gate::default();
    let waiting = gate.clone();
    let primary = Echo::scripted(move |_, head| match head.word(1).as_str() {
        "/wait" => Step::echo_after(&waiting),
        _ => Step::echo(),
    })
    .await;
    let setup = Setup::new().backend("primary", &primary).rule("");
    let world = World::start_with(setup, |settings| settings.drain_timeout = drain).await;
    (world, primary, gate)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_end_idle_connections_close_and_nobody_new_comes_in() {
    let (world, primary, gate) = world(Duration::from_secs(60)).await;
    let address = world.address();
    let mut idle = world.client().await;
    assert_eq!(idle.get("/").await.status, 200);
    let mut silent = world.client().await;
    let mut busy = world.client().await;
    busy.send("POST /wait HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody").await;
    let mut h2 = world.h2_client().await;
    let upload = h2.start(H2Client::request("GET", "/wait"), true).await;
    primary.ended(3).await;

    let stopping = tokio::spawn(world.shutdown());
    idle.ended().await;
    silent.ended().await;
    assert!(!stopping.is_finished());
    gate.open();
    assert_eq!(busy.answer().await.text(), "body");
    busy.ended().await;
    assert_eq!(upload.answer().await.status, 200);
    // GOAWAY without an error.
    h2.ended().await.expect("an orderly end");
    soon("the gateway to stop", stopping).await.expect("no panic");
    tokio::net::TcpStream::connect(address).await.expect_err("the gateway has stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_good_for_one_more_request() {
    let (world, _primary, _gate) = world(Duration::from_secs(60)).await;
    let mut kept = world.client().await;
    assert_eq!(kept.get("/").await.status, 200);
    let address = world.address();
    let stopping = tokio::spawn(world.shutdown());
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let answer = kept.get("/").await;
    assert_eq!((answer.status, answer.header("connection").as_deref()), (200, Some("close")));
    kept.ended().await;
    soon("the gateway to stop", stopping).await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_under_way_ends() {
    let (world, primary, _gate) = world(Duration::from_secs(60)).await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbo").await;
    primary.until("the request", |receipts| receipts.len() == 1).await;
    let mut idle = world.client().await;
    assert_eq!(idle.get("/").await.status, 200);
    let stopping = tokio::spawn(world.shutdown());
    idle.ended().await;
    assert_eq!(client.exchange("dy").await.text(), "body");
    soon("the gateway to stop", stopping).await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_end_in_time_are_cut_off() {
    let (world, primary, _gate) = world(Duration::from_millis(200)).await;
    let mut client = Client::connect(world.address()).await;
    client.send("GET /wait HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    primary.ended(1).await;
    world.shutdown().await;
    let answer = client.maybe_answer().await;
    assert!(answer.as_ref().is_none_or(|answer| answer.status >= 500), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_under_way_end_too() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let primary = Echo::start().await;
    let mirror = Echo::scripted(move |_, _| {
        vec![Step::Wait(waiting.clone()), Step::ReadAll, Step::Reply(doppel_tests::Reply::echo())]
    })
    .await;
    let world = Setup::mirrored(&primary, &mirror).start().await;
    assert_eq!(world.client().await.post("/", vec![7; 100_000]).await.status, 200);
    mirror.until("the copy", |receipts| receipts.len() == 1).await;
    let address = world.address();
    let stopping = tokio::spawn(world.shutdown());
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    gate.open();
    assert!(mirror.only().await.is_complete());
    soon("the gateway to stop", stopping).await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_under_way_ends_and_so_does_its_copy() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbo").await;
    mirror.until("the beginning", |copies| copies.first().is_some_and(|copy| copy.body.length == 2)).await;
    let mut idle = world.client().await;
    assert_eq!(idle.get("/").await.status, 200);
    let stopping = tokio::spawn(world.shutdown());
    idle.ended().await;
    assert_eq!(client.exchange("dy").await.text(), "body");
    let copies = mirror.ended(2).await;
    assert!(copies.iter().all(|copy| copy.is_complete()) && copies[0].body.text() == "body", "{copies:?}");
    soon("the gateway to stop", stopping).await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_never_ends_holds_the_end_up_no_longer_than_allowed() {
    let (primary, mirror) = (Echo::start().await, Echo::scripted(|_, _| Step::never_answer()).await);
    let setup = Setup::mirrored(&primary, &mirror);
    let world = World::start_with(setup, |settings| settings.drain_timeout = Duration::from_millis(200)).await;
    assert_eq!(world.client().await.get("/").await.status, 200);
    mirror.ended(1).await;
    world.shutdown().await;
}
