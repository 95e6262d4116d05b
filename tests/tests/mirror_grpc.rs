//! Calls of gRPC and their copies: messages that go back and forth while neither side has ended.

use bytes::Bytes;
use doppel_tests::{Echo, H2Client, H2Upload, MIRRORED, Reply, ReplyBody, Script, Setup, Step, World};

/// A server that answers with these messages once it has read so many bytes, and with its status in
/// the trailers.
fn server(read: Step, messages: &'static [&'static str]) -> Script {
    let body = ReplyBody::Chunked(messages.iter().map(|message| Bytes::from_static(message.as_bytes())).collect());
    let reply = Reply { body, trailers: vec![("grpc-status".into(), "0".into())], ..Reply::status(200) };
    vec![read, Step::Reply(reply.header("content-type", "application/grpc")), Step::ReadAll]
}

async fn world(script: fn() -> Script) -> (World, Echo, Echo) {
    let primary = Echo::h2c(move |_, _| script()).await;
    let mirror = Echo::h2c(move |_, _| script()).await;
    let setup = Setup::new().h2c_backend("primary", &primary).h2c_backend("mirror", &mirror).rule(MIRRORED);
    (setup.start().await, primary, mirror)
}

async fn call(world: &World) -> (H2Client, H2Upload) {
    let mut client = world.h2_client().await;
    let request =
        H2Client::request("POST", "/shop.Cart/Add").header("content-type", "application/grpc").header("te", "trailers");
    let upload = client.start(request, false).await;
    (client, upload)
}

async fn both_got(primary: &Echo, mirror: &Echo, messages: &str) {
    let (original, copy) = (primary.only().await, mirror.only().await);
    assert!(original.is_complete() && copy.is_complete());
    assert_eq!((original.body.text().as_str(), copy.body.text().as_str()), (messages, messages));
    assert_eq!(copy.header("te"), original.header("te"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unary_call() {
    let (world, primary, mirror) = world(|| server(Step::ReadAll, &["answer"])).await;
    let (_client, mut upload) = call(&world).await;
    upload.send("message").await;
    upload.finish();
    let answer = upload.answer().await;
    assert_eq!((answer.text().as_str(), answer.trailers.len()), ("answer", 1));
    both_got(&primary, &mirror, "message").await;
    assert_eq!(world.mirror_account(1).await.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_from_the_client() {
    let (world, primary, mirror) = world(|| server(Step::ReadAll, &["answer"])).await;
    let (_client, mut upload) = call(&world).await;
    let mut sent = String::new();
    for i in 0..20 {
        let message = format!("message {i};");
        upload.send(message.clone()).await;
        sent += &message;
        // One after the other, so that nothing is held back for more to come.
        for echo in [&primary, &mirror] {
            echo.until("the message", |receipts| receipts.first().is_some_and(|r| r.body.text() == sent)).await;
        }
    }
    upload.finish();
    assert_eq!(upload.answer().await.text(), "answer");
    both_got(&primary, &mirror, &sent).await;
    assert_eq!(world.mirror_account(1).await.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_from_the_server() {
    let (world, primary, mirror) = world(|| server(Step::ReadAll, &["one", "two", "three"])).await;
    let (_client, mut upload) = call(&world).await;
    upload.send("message").await;
    upload.finish();
    let answer = upload.answer().await;
    assert_eq!(answer.text(), "onetwothree");
    assert_eq!(answer.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
    both_got(&primary, &mirror, "message").await;
    assert_eq!(world.mirror_account(1).await.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_in_turn() {
    const ROUNDS: usize = 10;
    let (world, primary, mirror) = world(|| {
        let turn = || [Step::Read(4), Step::write("pong")];
        let begin = Step::Begin(Reply::status(200).header("content-type", "application/grpc"));
        let end = [Step::ReadAll, Step::Finish(vec![("grpc-status".into(), "0".into())])];
        std::iter::once(begin).chain((0..ROUNDS).flat_map(|_| turn())).chain(end).collect()
    })
    .await;
    let (_client, mut upload) = call(&world).await;
    for _ in 0..ROUNDS {
        upload.send("ping").await;
        assert_eq!(upload.receive().await, "pong");
    }
    upload.finish();
    assert_eq!(upload.answer().await.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
    both_got(&primary, &mirror, &"ping".repeat(ROUNDS)).await;
    assert_eq!(world.mirror_account(1).await.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cancels() {
    let (world, primary, mirror) = world(|| server(Step::ReadAll, &["never"])).await;
    let (mut client, mut upload) = call(&world).await;
    upload.send("message").await;
    for echo in [&primary, &mirror] {
        echo.until("the message", |receipts| receipts.first().is_some_and(|r| r.body.length == 7)).await;
    }
    upload.reset();
    assert!(primary.only().await.is_aborted() && mirror.only().await.is_aborted());
    let account = world.mirror_account(1).await;
    assert_eq!(account.reasons["aborted client"], 1, "{account:?}");
    let mut next = client.start(H2Client::request("POST", "/shop.Cart/Add"), false).await;
    next.send("message").await;
    next.finish();
    assert_eq!(next.answer().await.status, 200);
    assert_eq!(world.mirror_account(2).await.completed, 1);
}
