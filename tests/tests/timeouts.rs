//! Limits of time. Upper bounds are generous: they tell "cut off" from "waited for the backend",
//! which here never comes.

use std::time::Duration;

use bytes::Bytes;
use doppel_tests::{Answer, Client, Echo, Gate, H2Client, Head, Reply, Script, Setup, Step, World};

async fn world(fields: &str, script: impl Fn(usize, &Head) -> Script + Send + Sync + 'static) -> (World, Echo) {
    let primary = Echo::scripted(script).await;
    let world = Setup::new().backend("primary", &primary).rule(fields).start().await;
    (world, primary)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_backend_is_504() {
    for limit in ["{request: 200ms}", "{backendRequest: 200ms}", "{request: 10s, backendRequest: 200ms}"] {
        let (world, primary) = world(&format!("timeouts: {limit}"), |_, _| Step::never_answer()).await;
        assert_eq!(world.client().await.post("/", "body").await.status, 504, "{limit}");
        assert_eq!(H2Client::connect(world.address()).await.get("/").await.status, 504, "{limit}");
        assert_eq!(primary.count(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_cannot_be_reached_in_time_is_504() {
    let (address, _full) = doppel_tests::full_backlog().await;
    for limit in ["{request: 200ms}", "{backendRequest: 200ms}"] {
        let fields = format!("timeouts: {limit}");
        let world = Setup::new().endpoints("primary", &[address]).rule(&fields).start().await;
        assert_eq!(world.client().await.get("/").await.status, 504, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dripping_answer_is_cut_off() {
    let drip = |_: usize, _: &Head| -> Script {
        let head = Step::write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        vec![Step::ReadAll, head, Step::Drip(Duration::from_millis(20))]
    };
    for limit in ["{request: 300ms}", "{backendRequest: 300ms}"] {
        let (world, _primary) = world(&format!("timeouts: {limit}"), drip).await;
        let answer = world.client().await.get("/").await;
        assert!(answer.error.is_some() && answer.body.length < 1000, "{limit}: {answer:?}");
        let answer = H2Client::connect(world.address()).await.get("/").await;
        assert!(answer.error.is_some() && answer.body.length < 1000, "{limit}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dripping_head_is_504() {
    let drip = |_: usize, _: &Head| -> Script {
        vec![Step::ReadAll, Step::write("HTTP/1.1 200 OK\r\nX-Slow: "), Step::Drip(Duration::from_millis(20))]
    };
    for limit in ["{request: 300ms}", "{backendRequest: 300ms}"] {
        let (world, primary) = world(&format!("timeouts: {limit}"), drip).await;
        let mut client = world.client().await;
        assert_eq!(client.get("/").await.status, 504, "{limit}");
        assert_eq!(world.client().await.post("/", "body").await.status, 504, "{limit}");
        assert_eq!(world.h2_client().await.get("/").await.status, 504, "{limit}");
        assert_eq!(world.h2_client().await.post("/", "body").await.status, 504, "{limit}");
        let handshake = world.client().await.exchange(HANDSHAKE).await;
        assert_eq!(handshake.status, 504, "{limit}");
        assert_eq!(primary.count(), 5);
    }
}

const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: abc\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_counts_as_time_of_the_request() {
    for h2c in [false, true] {
        let (setup, primary) = Setup::echoing(h2c, "timeouts: {request: 300ms}").await;
        let world = setup.start().await;
        let mut client = world.client().await;
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nabc").await;
        assert_eq!(client.answer().await.status, 504);
        let mut client = world.h2_client().await;
        let mut upload = client.start(H2Client::request("POST", "/"), false).await;
        upload.send("abc").await;
        assert_eq!(upload.answer().await.status, 504);
        assert!(primary.ended(2).await.iter().all(|receipt| receipt.is_aborted()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_before_the_next_attempt_is_none_of_the_attempts_time() {
    let script = |number: usize, _: &Head| if number == 0 { Step::never_answer() } else { Step::echo() };
    let fields = "
        timeouts: {backendRequest: 100ms}
        retry: {attempts: 1, backoff: 600ms}
        ";
    let (world, primary) = world(fields, script).await;
    assert_eq!(world.client().await.get("/").await.status, 200);
    assert_eq!(primary.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn zero_is_no_limit() {
    let gate = Gate::default();
    let script_gate = gate.clone();
    let (world, primary) =
        world("timeouts: {request: 0s, backendRequest: 0s}", move |_, _| Step::echo_after(&script_gate)).await;
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    primary.ended(1).await;
    gate.open();
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_no_delay_and_the_connection_goes_on() {
    let (world, primary) = world("timeouts: {request: 20s, backendRequest: 10s}", |_, _| Step::echo()).await;
    let mut client = world.client().await;
    for _ in 0..3 {
        assert_eq!(client.post("/", "in time").await.text(), "in time");
    }
    assert_eq!(primary.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_takes_too_long_is_retried_within_the_requests_time() {
    let script = |number: usize, _: &Head| if number == 0 { Step::never_answer() } else { Step::echo() };
    let fields = "
        timeouts: {request: 20s, backendRequest: 200ms}
        retry: {attempts: 1, codes: [504]}
        ";
    let (world, primary) = world(fields, script).await;
    let answer: Answer = world.client().await.post("/", "again").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "again"));
    assert_eq!(primary.ended(2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_take_too_long_are_retried_without_a_code() {
    for (silent, status) in [(2, 200), (3, 504)] {
        let script = move |number: usize, _: &Head| if number < silent { Step::never_answer() } else { Step::echo() };
        let fields = "
            timeouts: {backendRequest: 200ms}
            retry: {attempts: 2}
            ";
        let (world, primary) = world(fields, script).await;
        assert_eq!(world.client().await.get("/").await.status, status, "{silent} silent attempts");
        assert_eq!(primary.count(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_would_be_retried_is_none_once_the_requests_time_is_over() {
    for (script, status) in [
        (vec![Step::status(500), Step::echo()], 200),
        (vec![Step::status(500), Step::never_answer(), Step::never_answer(), Step::echo()], 504),
    ] {
        let fields = "
            timeouts: {request: 400ms, backendRequest: 200ms}
            retry: {attempts: 5, codes: [500]}
            ";
        let (world, _primary) = world(fields, move |number, _| script[number].clone()).await;
        assert_eq!(world.client().await.get("/").await.status, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_requests_time_holds_over_all_attempts() {
    let fields = "
        timeouts: {request: 500ms, backendRequest: 200ms}
        retry: {attempts: 15, codes: [504]}
        ";
    let (world, primary) = world(fields, |_, _| Step::never_answer()).await;
    assert_eq!(world.client().await.get("/").await.status, 504);
    assert!((2..=3).contains(&primary.count()), "{} attempts of 200 ms in 500 ms", primary.count());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_the_next_request_is_not_timed() {
    let (world, _primary) = world("timeouts: {request: 100ms}", |number, _| match number {
        1 => Step::never_answer(),
        _ => vec![
            Step::ReadAll,
            Step::Reply(Reply {
                body: doppel_tests::ReplyBody::Length(Bytes::from_static(b"x")),
                ..Reply::status(200)
            }),
        ],
    })
    .await;
    let mut idle = world.client().await;
    assert_eq!(idle.get("/").await.status, 200);
    // Takes longer than the limit.
    assert_eq!(Client::connect(world.address()).await.get("/").await.status, 504);
    assert_eq!(idle.get("/").await.status, 200);
}
