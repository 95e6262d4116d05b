//! When a request is sent again, and when never.

use std::time::Instant;

use doppel_tests::{Echo, H2Client, Head, Pattern, Reply, Script, Setup, Step, World, refusing};
use tokio::task::JoinSet;

const TWICE: &str = "retry: {attempts: 2, codes: [500, 503]}";

async fn world(fields: &str, script: impl Fn(usize, &Head) -> Script + Send + Sync + 'static) -> (World, Echo) {
    let primary = Echo::scripted(script).await;
    let world = Setup::new().backend("primary", &primary).rule(fields).start().await;
    (world, primary)
}

fn fails_twice(number: usize, _: &Head) -> Script {
    if number < 2 { Step::status(503) } else { Step::echo() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_code_is_retried_with_the_same_request() {
    let (world, primary) = world(TWICE, fails_twice).await;
    let body = Pattern::new(10_000);
    let answer = world.client().await.post("/", body.bytes()).await;
    assert_eq!((answer.status, answer.body), (200, body.body()));
    let receipts = primary.receipts();
    assert_eq!(receipts.len(), 3);
    for receipt in &receipts {
        assert!(receipt.is_complete());
        assert_eq!(
            (&receipt.head, &receipt.body, receipt.framing),
            (&receipts[0].head, &body.body(), receipts[0].framing)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_is_replayed() {
    let (world, primary) = world(TWICE, fails_twice).await;
    let request =
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(world.client().await.exchange(request).await.text(), "abcde");
    assert!(primary.receipts().iter().all(|receipt| receipt.is_complete() && receipt.body.text() == "abcde"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_http2_is_retried() {
    let (world, primary) = world(TWICE, fails_twice).await;
    let answer = H2Client::connect(world.address()).await.post("/", "abc").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "abc"));
    assert_eq!(primary.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_answer_stands_when_attempts_are_used_up() {
    let (world, primary) = world(TWICE, |number, _| {
        vec![Step::ReadAll, Step::Reply(Reply { status: 503, ..Reply::text(&format!("attempt {number}")) })]
    })
    .await;
    let mut client = world.client().await;
    let answer = client.get("/").await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "attempt 2"));
    assert_eq!(primary.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_code_is_not_retried() {
    let (world, primary) = world(TWICE, |_, _| Step::status(502)).await;
    assert_eq!(world.client().await.get("/").await.status, 502);
    assert_eq!(primary.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_rule_nothing_is_retried() {
    let (world, primary) = world("", |_, _| Step::status(503)).await;
    assert_eq!(world.client().await.get("/").await.status, 503);
    assert_eq!(primary.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_retried_at_the_next_endpoint() {
    let (refused, _bound) = refusing();
    let primary = Echo::start().await;
    let world =
        Setup::new().endpoints("primary", &[refused, primary.address()]).rule("retry: {attempts: 1}").start().await;
    let mut client = world.client().await;
    for _ in 0..6 {
        assert_eq!(client.post("/", "there").await.text(), "there");
    }
    assert_eq!(primary.count(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_without_a_rule_is_502() {
    let (refused, _bound) = refusing();
    let world = Setup::new().endpoints("primary", &[refused]).rule("").start().await;
    let mut client = world.client().await;
    assert_eq!(client.get("/").await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_before_an_answer_is_retried_as_often_as_the_rule_says() {
    for (resets, status, attempts) in [(1, 200, 2), (3, 200, 4), (4, 503, 4)] {
        let script = move |number: usize, _: &Head| match number < resets {
            true => vec![Step::ReadAll, Step::Reset],
            false => Step::echo(),
        };
        let (world, primary) = world("retry: {attempts: 3}", script).await;
        assert_eq!(world.client().await.get("/").await.status, status, "{resets} resets");
        assert_eq!(primary.count(), attempts, "{resets} resets");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_down_gets_few_retries_beyond_its_requests() {
    const REQUESTS: usize = 400;
    let (world, primary) = world("retry: {attempts: 15, codes: [503]}", |_, _| Step::status(503)).await;
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let mut client = world.client().await;
        clients.spawn(async move {
            for _ in 0..REQUESTS / 8 {
                assert_eq!(client.get("/").await.status, 503);
            }
        });
    }
    clients.join_all().await;
    // A fifth, ten in each second of the last ten, and a few where threads met.
    let windows = began.elapsed().as_secs() as usize / 10 + 1;
    let (attempts, most) = (primary.count(), REQUESTS + REQUESTS / 5 + 100 * windows + 20);
    assert!(attempts > REQUESTS + 100 && attempts <= most, "{attempts} attempts, at most {most}");
    let counted = world.scrape().await;
    let count = |outcome| counted.sum("doppel_retries_total", &[("route", "route"), ("outcome", outcome)]) as usize;
    assert_eq!(count("sent"), attempts - REQUESTS);
    assert!(count("refused") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_has_begun_is_never_retried() {
    let script = |_: usize, _: &Head| -> Script {
        vec![Step::ReadAll, Step::write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), Step::Reset]
    };
    let (world, primary) = world("retry: {attempts: 3, codes: [500, 502, 503, 504]}", script).await;
    let answer = world.client().await.get("/").await;
    assert!(answer.status == 200 && answer.error.is_some(), "{answer:?}");
    assert_eq!(primary.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_too_large_to_be_kept_is_not_sent_again_in_part() {
    let (world, primary) = world(TWICE, |_, _| Step::status(503)).await;
    let body = Pattern::new(1 << 20);
    let answer = world.client().await.post("/", body.bytes()).await;
    assert_eq!(answer.status, 503);
    for receipt in primary.receipts() {
        assert!(receipt.is_complete() && receipt.body == body.body(), "a part was sent: {receipt:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_its_client_aborted_is_not_sent_again() {
    let script = |number: usize, _: &Head| if number == 0 { vec![Step::Read(3), Step::Stall] } else { Step::echo() };
    let (world, primary) = world("retry: {attempts: 3, codes: [500, 502, 503, 504]}", script).await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nabc").await;
    primary.until("the body", |receipts| receipts.first().is_some_and(|receipt| receipt.body.length == 3)).await;
    client.reset();
    // A request of somebody else, after the gateway has seen the abort.
    world.requests_ended(1).await;
    assert_eq!(world.client().await.get("/other").await.status, 200);
    let targets: Vec<String> = primary.receipts().iter().map(|receipt| receipt.target()).collect();
    assert_eq!(targets, ["/", "/other"]);
}

/// Of each three, the second is on the connection of the first, which closes.
fn closing(number: usize, _: &Head) -> Script {
    if number % 3 == 1 { vec![Step::ReadAll, Step::Close] } else { Step::echo() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_meets_a_closing_connection_is_sent_once_more_and_copied_once() {
    let (primary, mirror) = (Echo::scripted(closing).await, Echo::start().await);
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let mut client = world.client().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(primary.count(), 10 + 5);
    let account = world.mirror_account(10).await;
    assert_eq!((account.completed, mirror.count()), (10, 10), "{account:?}");
    let unprocessed = [("route", "route"), ("outcome", "unprocessed")];
    assert_eq!(world.scrape().await.sum("doppel_retries_total", &unprocessed), 5.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_processed_is_not_sent_again_unasked() {
    // It may have an effect.
    let (world, primary) = world("", closing).await;
    let mut client = world.client().await;
    assert_eq!(client.post("/", "a").await.status, 200);
    assert_eq!(client.post("/", "a").await.status, 502);
    assert_eq!(primary.count(), 2);
    // The connection is new, so that it closed because of this request; nor is it sent a third time.
    for (kept, attempts) in [(0, 1), (1, 3)] {
        let script = move |number: usize, _: &Head| match number < kept {
            true => Step::echo(),
            false => vec![Step::ReadAll, Step::Close],
        };
        let (world, primary) = self::world("", script).await;
        let mut client = world.client().await;
        for _ in 0..kept {
            assert_eq!(client.get("/").await.status, 200);
        }
        assert_eq!(client.get("/").await.status, 502);
        assert_eq!(primary.count(), attempts);
    }
    // The answer had begun.
    let script = |number: usize, _: &Head| match number {
        0 => Step::echo(),
        _ => vec![Step::ReadAll, Step::write("HTTP/1.1 103 Early Hints\r\n\r\n"), Step::Close],
    };
    let (world, primary) = self::world("", script).await;
    let mut client = world.client().await;
    assert_eq!([client.get("/").await.status, client.get("/").await.status], [200, 502]);
    assert_eq!(primary.count(), 2);
    // The rule says itself what is sent again.
    let (world, primary) = self::world("retry: {attempts: 1}", closing).await;
    let mut client = world.client().await;
    assert_eq!([client.get("/").await.status, client.get("/").await.status], [200, 200]);
    assert_eq!(primary.count(), 3);
    let of_rule = [("outcome", "sent")];
    assert_eq!(world.scrape().await.sum("doppel_retries_total", &of_rule), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_refuses_connections_gives_way_to_the_next() {
    let primary = Echo::start().await;
    let ((dead, _one), (gone, _other)) = (refusing(), refusing());
    let world = Setup::new().endpoints("primary", &[dead, primary.address()]).rule("").start().await;
    let mut client = world.client().await;
    for _ in 0..4 {
        assert_eq!(client.post("/", "body").await.text(), "body");
    }
    let world = Setup::new().endpoints("primary", &[dead, gone]).rule("").start().await;
    assert_eq!(world.client().await.get("/").await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_backend_refused_is_opened_once_more() {
    let primary = Echo::h2c(|number, _| if number % 2 == 0 { vec![Step::Refuse] } else { Step::echo() }).await;
    let world = Setup::new().h2c_backend("primary", &primary).rule("").start().await;
    let mut client = world.client().await;
    for _ in 0..3 {
        assert_eq!(client.post("/", "body").await.text(), "body");
    }
    assert_eq!(primary.count(), 6);
}
