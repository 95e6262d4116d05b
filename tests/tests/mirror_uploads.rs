//! Large uploads, streamed: nothing holds a whole body, and both receivers get every byte.

use doppel_tests::{Body, Echo, H2Client, MIRRORED, Pattern, Setup, Step, World};

const UPLOAD: Pattern = Pattern { length: 256 << 20 };

async fn assert_both_have_all(world: &World, primary: &Echo, mirror: &Echo) {
    let expected = UPLOAD.body();
    let same = |body: &Body| (body.length, body.checksum) == (expected.length, expected.checksum);
    let (original, copy) = (primary.only().await, mirror.only().await);
    assert!(original.is_complete() && same(&original.body));
    assert!(copy.is_complete() && same(&copy.body), "{:?} after {} bytes", copy.end, copy.body.length);
    assert_eq!(copy.head.header("content-length"), original.head.header("content-length"));
    let account = world.mirror_account(1).await;
    assert_eq!(account.completed, 1, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_length() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let mut client = world.client().await;
    client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", UPLOAD.length)).await;
    for chunk in UPLOAD.chunks() {
        client.send(chunk).await;
    }
    assert_eq!(client.answer().await.status, 200);
    assert_both_have_all(&world, &primary, &mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for chunk in UPLOAD.chunks() {
        client.send(format!("{:x}\r\n", chunk.len())).await;
        client.send(chunk).await;
        client.send("\r\n").await;
    }
    let answer = client.exchange("0\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    assert_both_have_all(&world, &primary, &mirror).await;
}

async fn over_http2(world: World, primary: Echo, mirror: Echo) {
    let mut client = world.h2_client().await;
    let mut upload = client.start(H2Client::request("POST", "/"), false).await;
    for chunk in UPLOAD.chunks() {
        upload.send(chunk).await;
    }
    upload.finish();
    assert_eq!(upload.answer().await.status, 200);
    assert_both_have_all(&world, &primary, &mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_to_backends_of_http1() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let world = Setup::mirrored(&primary, &mirror).start().await;
    over_http2(world, primary, mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_to_backends_of_http2() {
    let (primary, mirror) = (Echo::h2c(|_, _| Step::echo()).await, Echo::h2c(|_, _| Step::echo()).await);
    let setup = Setup::new().h2c_backend("primary", &primary).h2c_backend("mirror", &mirror).rule(MIRRORED);
    over_http2(setup.start().await, primary, mirror).await;
}
