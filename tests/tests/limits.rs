//! What a client may take of the gateway, and answers of backends that are not as they should be.

use std::time::Duration;

use doppel_tests::{Client, Echo, Gate, Head, Script, Setup, Step, World};

async fn world(change: impl FnOnce(&mut gateway::proxy::Settings), script: fn() -> Script) -> (World, Echo) {
    let primary = Echo::scripted(move |_: usize, _: &Head| script()).await;
    let setup = Setup::new().backend("primary", &primary).rule("");
    (World::start_with(setup, |settings| change(&mut settings.proxy)).await, primary)
}

async fn refused(world: &World, reason: &str) -> f64 {
    world.scrape().await.sum("doppel_requests_refused_total", &[("reason", reason)])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_long_gets_431() {
    let (world, primary) = world(|settings| settings.head_bytes = 8 << 10, Step::echo).await;
    let mut client = world.client().await;
    // Each on the same connection may be as long.
    for _ in 0..3 {
        let long = "x".repeat(6 << 10);
        let request = format!("POST / HTTP/1.1\r\nHost: a.test\r\nX: {long}\r\nContent-Length: 20000\r\n\r\n");
        client.send(request).await;
        client.send("y".repeat(20_000)).await;
        assert_eq!(client.answer().await.status, 200);
    }
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n").await;
    // The gateway may have closed its end before all is sent.
    let _ = client.try_send(format!("X: {}\r\n", "x".repeat(40 << 10))).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("connection").as_deref()), (431, Some("close")));
    assert_eq!((primary.count(), refused(&world, "malformed").await), (3, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_takes_too_long_is_cut_off_and_an_idle_connection_is_not() {
    let (world, primary) = world(|settings| settings.head_timeout = Duration::from_millis(100), Step::echo).await;
    let mut idle = world.client().await;
    assert_eq!(idle.get("/").await.status, 200);
    let mut slow = world.client().await;
    slow.send("GET / HTTP/1.1\r\nHost: a.te").await;
    slow.ended().await;
    assert_eq!(refused(&world, "malformed").await, 1.0);
    assert_eq!(idle.get("/").await.status, 200);
    assert_eq!(primary.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_in_time_and_one_that_waits_for_its_answer_is_not() {
    let gate = Gate::default();
    let opened_later = gate.clone();
    let primary = Echo::scripted(move |_, head| match head.word(1).as_str() {
        "/wait" => Step::echo_after(&opened_later),
        _ => Step::echo(),
    })
    .await;
    let setup = Setup::new().backend("primary", &primary).rule("");
    let limit = Duration::from_millis(100);
    let world = World::start_with(setup, |settings| settings.proxy.client_idle_timeout = limit).await;
    let mut waiting = world.client().await;
    waiting.send("GET /wait HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    primary.ended(1).await;
    let mut idle = world.client().await;
    for _ in 0..3 {
        assert_eq!(idle.get("/").await.status, 200);
    }
    idle.ended().await;
    gate.open();
    assert_eq!(waiting.answer().await.status, 200);
    waiting.ended().await;
    assert_eq!(refused(&world, "malformed").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_move_on_is_given_up() {
    let (world, primary) =
        world(|settings| settings.request_idle_timeout = Duration::from_millis(200), Step::never_answer).await;
    assert_eq!(world.client().await.post("/", "body").await.status, 504);
    assert_eq!(world.h2_client().await.get("/").await.status, 504);
    // Nor does one whose client is gone keep its backend waiting.
    let mut gone = world.client().await;
    gone.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    gone.close();
    primary.ended(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_moves_on_is_not_given_up() {
    let drip = || vec![Step::ReadAll, Step::write("HTTP/1.1 200 OK\r\n\r\n"), Step::Drip(Duration::from_millis(20))];
    let (world, _primary) = world(|settings| settings.request_idle_timeout = Duration::from_millis(400), drip).await;
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.head().await.word(1), "200");
    // Which takes twice as long.
    client.take(40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_may_be_under_way_get_503() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let primary = Echo::scripted(move |_, _| Step::echo_after(&waiting)).await;
    let setup = Setup::new().backend("primary", &primary).rule("");
    let world = World::start_with(setup, |settings| settings.proxy.max_requests = 1).await;
    let mut first = world.client().await;
    first.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    primary.until("the first request", |receipts| receipts.len() == 1).await;
    let mut second = world.client().await;
    assert_eq!(second.get("/").await.status, 503);
    assert_eq!(refused(&world, "no_room").await, 1.0);
    gate.open();
    assert_eq!(first.answer().await.status, 200);
    world.requests_ended(2).await;
    assert_eq!(second.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_an_interim_answer_is_told() {
    for interim in ["100 Continue", "103 Early Hints"] {
        let primary = Echo::scripted(move |_, _| {
            vec![Step::ReadAll, Step::write(format!("HTTP/1.1 {interim}\r\n\r\n")), Step::Close]
        })
        .await;
        let world = Setup::new().backend("primary", &primary).rule("").start().await;
        let answer = world.client().await.get("/").await;
        assert_eq!(answer.status, 502, "{interim}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_the_backends_connection_stay_there() {
    let script = || -> Script {
        vec![
            Step::ReadAll,
            Step::write("HTTP/1.1 103 Early Hints\r\nConnection: x-hop\r\nX-Hop: 1\r\nLink: </a>\r\n\r\n"),
            Step::write("HTTP/1.1 204 No Content\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ]
    };
    let (world, _primary) = world(|_| {}, script).await;
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let interim = client.head().await;
    assert_eq!((interim.word(1).as_str(), interim.header("x-hop")), ("103", None));
    assert_eq!(interim.header("link").as_deref(), Some("</a>"));
    let answer = client.head().await;
    assert_eq!(answer.word(1), "204");
    assert_eq!((answer.header("upgrade"), answer.header("transfer-encoding")), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_of_protocols_that_nobody_asked_for_is_502() {
    let script = || vec![Step::ReadAll, Step::write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nbytes")];
    let (world, _primary) = world(|_| {}, script).await;
    assert_eq!(world.client().await.get("/").await.status, 502);
    assert_eq!(world.h2_client().await.get("/").await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_is_answered_however_many_connections_to_the_admin_address_are_silent() {
    let (world, _primary) = world(|_| {}, Step::echo).await;
    let mut kept = Client::connect(world.admin_address()).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(Client::connect(world.admin_address()).await);
        // One that asks now and then is not silent.
        assert_eq!(kept.get("/livez").await.status, 200);
    }
    assert_eq!(world.admin("/livez").await, "ok\n");
    silent.first_mut().expect("there are some").ended().await;
    assert_eq!(silent.last_mut().expect("there are some").get("/readyz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_to_the_admin_address_has_the_bounds_of_others() {
    let (world, _primary) = world(
        |settings| {
            settings.head_timeout = Duration::from_millis(100);
            settings.head_bytes = 8 << 10;
        },
        Step::echo,
    )
    .await;
    let mut slow = Client::connect(world.admin_address()).await;
    slow.send("GET /livez HTTP/1.1\r\nHost: a.te").await;
    slow.ended().await;
    let mut long = Client::connect(world.admin_address()).await;
    long.send("GET /livez HTTP/1.1\r\n").await;
    // The gateway may have closed its end before all is sent.
    let _ = long.try_send(format!("X: {}\r\n", "x".repeat(40 << 10))).await;
    assert_eq!(long.answer().await.status, 431);
}
