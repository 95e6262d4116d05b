//! Requests that do not come to their end: a mirror sees that they did not, and nothing else.

use doppel_tests::{Client, Echo, H2Client, MIRRORED, Pattern, Reply, Setup, Step, World, refusing};

const LENGTH: u64 = 200_000;
const POINTS: [u64; 4] = [0, 1, 64 << 10, LENGTH - 1];

async fn mirrored() -> (World, Echo, Echo) {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    (Setup::mirrored(&primary, &mirror).start().await, primary, mirror)
}

/// Waits until everything that was sent has reached both.
async fn arrived(primary: &Echo, mirror: &Echo, bytes: u64) {
    for echo in [primary, mirror] {
        echo.until("what was sent", |receipts| receipts.first().is_some_and(|r| r.body.length == bytes)).await;
    }
}

async fn both_aborted(world: &World, primary: &Echo, mirror: &Echo) {
    let account = world.mirror_account(1).await;
    assert_eq!((account.aborted, account.reasons["aborted client"]), (1, 1), "{account:?}");
    for echo in [primary, mirror] {
        echo.until("an abort", |receipts| receipts.iter().all(|receipt| receipt.is_aborted())).await;
        assert_eq!(echo.count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_off_an_upload_breaks_off_the_copy() {
    for sent in POINTS {
        for reset in [true, false] {
            let (world, primary, mirror) = mirrored().await;
            let mut client = world.client().await;
            client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {LENGTH}\r\n\r\n")).await;
            client.send(Pattern::new(sent).bytes()).await;
            arrived(&primary, &mirror, sent).await;
            if reset {
                client.reset()
            } else {
                client.close()
            }
            both_aborted(&world, &primary, &mirror).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_off_a_chunked_upload_breaks_off_the_copy() {
    for sent in POINTS {
        let (world, primary, mirror) = mirrored().await;
        let mut client = world.client().await;
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        if sent > 0 {
            client.send([format!("{sent:x}\r\n").as_bytes(), &Pattern::new(sent).bytes(), b"\r\n"].concat()).await;
        }
        arrived(&primary, &mirror, sent).await;
        // Not even the last chunk is missing but its end.
        client.send("0\r\n").await;
        client.close();
        both_aborted(&world, &primary, &mirror).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_http2_that_is_broken_off_breaks_off_the_copy() {
    for sent in POINTS {
        for with_connection in [false, true] {
            let (world, primary, mirror) = mirrored().await;
            let mut client = world.h2_client().await;
            let mut upload = client.start(H2Client::request("POST", "/"), false).await;
            upload.send(Pattern::new(sent).bytes()).await;
            arrived(&primary, &mirror, sent).await;
            if with_connection {
                client.abort()
            } else {
                upload.reset()
            }
            both_aborted(&world, &primary, &mirror).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_over_http2_is_broken_off_alike() {
    let (primary, mirror) = (Echo::start().await, Echo::h2c(|_, _| Step::echo()).await);
    let setup = Setup::new().backend("primary", &primary).h2c_backend("mirror", &mirror).rule(MIRRORED);
    let world = setup.start().await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nabcd").await;
    arrived(&primary, &mirror, 4).await;
    client.reset();
    both_aborted(&world, &primary, &mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_of_the_primary_breaks_off_the_copy() {
    let primary = Echo::scripted(|_, _| {
        vec![Step::Read(3), Step::Reply(Reply::status(413).header("Connection", "close")), Step::Close]
    })
    .await;
    let mirror = Echo::start().await;
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\nabc").await;
    assert_eq!(client.answer().await.status, 413);
    drop(client);
    assert!(mirror.only().await.is_aborted());
    assert_eq!(world.mirror_account(1).await.aborted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_no_primary_took_is_not_copied_whole() {
    let (refused, _bound) = refusing();
    let mirror = Echo::start().await;
    let setup = Setup::new().endpoints("primary", &[refused]).backend("mirror", &mirror).rule(MIRRORED);
    let world = setup.start().await;
    assert_eq!(world.client().await.post("/", vec![7; 100_000]).await.status, 502);
    let account = world.mirror_account(1).await;
    assert_eq!((account.completed, account.aborted), (0, 1), "{account:?}");
    assert!(mirror.receipts().iter().all(|copy| !copy.is_complete()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_ran_out_of_time_is_broken_off() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let fields = format!("{MIRRORED}\ntimeouts: {{request: 300ms}}");
    let world = Setup::new().backend("primary", &primary).backend("mirror", &mirror).rule(&fields).start().await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nabcd").await;
    assert_eq!(client.answer().await.status, 504);
    assert!(primary.only().await.is_aborted());
    assert!(mirror.only().await.is_aborted());
    assert_eq!(world.mirror_account(1).await.aborted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_request_is_copied_even_if_its_client_no_longer_waits() {
    let primary = Echo::scripted(|_, _| Step::never_answer()).await;
    let mirror = Echo::start().await;
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody").await;
    assert!(primary.only().await.is_complete());
    assert!(mirror.only().await.is_complete());
    client.reset();
    assert_eq!(world.mirror_account(1).await.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_during_a_retry_leaves_one_broken_copy() {
    let script = |number: usize, _: &_| if number == 0 { vec![Step::Read(3), Step::Reset] } else { Step::echo() };
    let (primary, mirror) = (Echo::scripted(script).await, Echo::start().await);
    let fields = format!("{MIRRORED}\nretry: {{attempts: 3, codes: [503]}}");
    let world = Setup::new().backend("primary", &primary).backend("mirror", &mirror).rule(&fields).start().await;
    let mut client = Client::connect(world.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nabc").await;
    primary.until("the first attempt", |receipts| receipts.first().is_some_and(|r| r.body.length == 3)).await;
    client.reset();
    let account = world.mirror_account(1).await;
    assert_eq!((account.completed, account.aborted), (0, 1), "{account:?}");
    assert!(mirror.count() <= 1 && mirror.receipts().iter().all(|copy| !copy.is_complete()));
}
