//! Calls of gRPC and their copies, by a GRPCRoute: messages that go back and forth while neither side
//! has ended.

use doppel_tests::{Echo, H2Client, H2Upload, Manifests, Reply, Script, Step, World, message};

const MANIFESTS: &str = "
    apiVersion: gateway.networking.k8s.io/v1
    kind: Gateway
    metadata: {name: web, namespace: shop}
    spec: {gatewayClassName: doppel, listeners: [{name: http, port: 80, protocol: HTTP}]}
    ---
    apiVersion: gateway.networking.k8s.io/v1
    kind: GRPCRoute
    metadata: {name: cart, namespace: shop}
    spec:
      parentRefs: [{name: web}]
      rules:
        - matches: [{method: {service: shop.Cart}}]
          filters: [{type: RequestMirror, requestMirror: {backendRef: {name: mirror, port: 80}}}]
          backendRefs: [{name: primary, port: 80}]
    ---
    {apiVersion: v1, kind: Service, metadata: {name: primary, namespace: shop}, spec: {ports: [{port: 80}]}}
    ---
    {apiVersion: v1, kind: Service, metadata: {name: mirror, namespace: shop}, spec: {ports: [{port: 80}]}}
    ";

/// A server that answers with these messages once it has read so many bytes, and with its status in
/// the trailers.
fn server(read: Step, messages: &[&str]) -> Script {
    vec![read, Step::Reply(Reply::messages(messages)), Step::ReadAll]
}

async fn world(script: fn() -> Script) -> (World, Echo, Echo) {
    let primary = Echo::h2c(move |_, _| script()).await;
    let mirror = Echo::h2c(move |_, _| script()).await;
    let manifests =
        Manifests::with_class().apply(MANIFESTS).pod("shop/primary", &primary).pod("shop/mirror", &mirror).setup();
    (manifests.start().await, primary, mirror)
}

async fn call(world: &World) -> (H2Client, H2Upload) {
    let mut client = world.h2_client().await;
    let upload = client.call("/shop.Cart/Add", &[]).await;
    (client, upload)
}

async fn both_got(primary: &Echo, mirror: &Echo, messages: &[u8]) {
    let (original, copy) = (primary.only().await, mirror.only().await);
    assert!(original.is_complete() && copy.is_complete());
    assert_eq!((original.body.bytes.as_slice(), copy.body.bytes.as_slice()), (messages, messages));
    assert_eq!(copy.headers_without(&[]), original.headers_without(&[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unary_call() {
    let (world, primary, mirror) = world(|| server(Step::ReadAll, &["answer"])).await;
    let (_client, mut upload) = call(&world).await;
    upload.send(message("question")).await;
    upload.finish();
    let answer = upload.answer().await;
    assert_eq!((answer.body.bytes.as_slice(), answer.trailers.len()), (&*message("answer"), 1));
    both_got(&primary, &mirror, &message("question")).await;
    assert_eq!(world.mirror_account(1).await.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_from_the_client() {
    let (world, primary, mirror) = world(|| server(Step::ReadAll, &["answer"])).await;
    let (_client, mut upload) = call(&world).await;
    let mut sent = Vec::new();
    for i in 0..20 {
        let message = message(&format!("message {i}"));
        upload.send(message.clone()).await;
        sent.extend(message);
        // One after the other, so that nothing is held back for more to come.
        for echo in [&primary, &mirror] {
            echo.until("the message", |receipts| receipts.first().is_some_and(|r| r.body.bytes == sent)).await;
        }
    }
    upload.finish();
    assert_eq!(upload.answer().await.body.bytes, message("answer"));
    both_got(&primary, &mirror, &sent).await;
    assert_eq!(world.mirror_account(1).await.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_from_the_server() {
    let (world, primary, mirror) = world(|| server(Step::ReadAll, &["one", "two", "three"])).await;
    let (_client, mut upload) = call(&world).await;
    upload.send(message("question")).await;
    upload.finish();
    let answer = upload.answer().await;
    assert_eq!(answer.body.bytes, ["one", "two", "three"].map(message).concat());
    assert_eq!(answer.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
    both_got(&primary, &mirror, &message("question")).await;
    assert_eq!(world.mirror_account(1).await.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_in_turn() {
    const ROUNDS: usize = 10;
    let (world, primary, mirror) = world(|| {
        let ping = message("ping").len() as u64;
        let turn = || [Step::Read(ping), Step::write(message("pong"))];
        let begin = Step::Begin(Reply::status(200).header("content-type", "application/grpc"));
        let end = [Step::ReadAll, Step::Finish(vec![("grpc-status".into(), "0".into())])];
        std::iter::once(begin).chain((0..ROUNDS).flat_map(|_| turn())).chain(end).collect()
    })
    .await;
    let (_client, mut upload) = call(&world).await;
    for _ in 0..ROUNDS {
        upload.send(message("ping")).await;
        assert_eq!(upload.receive().await, message("pong"));
    }
    upload.finish();
    assert_eq!(upload.answer().await.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
    both_got(&primary, &mirror, &message("ping").repeat(ROUNDS)).await;
    assert_eq!(world.mirror_account(1).await.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cancels() {
    let (world, primary, mirror) = world(|| server(Step::ReadAll, &["never"])).await;
    let (mut client, mut upload) = call(&world).await;
    upload.send(message("question")).await;
    for echo in [&primary, &mirror] {
        let length = message("question").len() as u64;
        echo.until("the message", |receipts| receipts.first().is_some_and(|r| r.body.length == length)).await;
    }
    upload.reset();
    assert!(primary.only().await.is_aborted() && mirror.only().await.is_aborted());
    let account = world.mirror_account(1).await;
    assert_eq!(account.reasons["aborted client"], 1, "{account:?}");
    let mut next = client.call("/shop.Cart/Add", &[]).await;
    next.send(message("question")).await;
    next.finish();
    assert_eq!(next.answer().await.status, 200);
    assert_eq!(world.mirror_account(2).await.completed, 1);
}

/// A mirror that fails in every way that gRPC has is nothing to the call.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_fails() {
    let failures: [fn() -> Script; 3] = [
        || vec![Step::ReadAll, Step::Reply(Reply::status(200).header("grpc-status", "13"))],
        || vec![Step::Reset],
        || vec![Step::Begin(Reply::status(200)), Step::write(message("begun")), Step::Reset],
    ];
    for failure in failures {
        let primary = Echo::h2c(|_, _| server(Step::ReadAll, &["answer"])).await;
        let mirror = Echo::h2c(move |_, _| failure()).await;
        let manifests =
            Manifests::with_class().apply(MANIFESTS).pod("shop/primary", &primary).pod("shop/mirror", &mirror).setup();
        let world = manifests.start().await;
        let mut client = world.h2_client().await;
        for _ in 0..3 {
            let mut upload = client.call("/shop.Cart/Add", &[]).await;
            upload.send(message("question")).await;
            upload.finish();
            let answer = upload.answer().await;
            assert_eq!((answer.body.bytes.as_slice(), answer.trailers.len()), (&*message("answer"), 1));
        }
        assert!(primary.ended(3).await.iter().all(|receipt| receipt.is_complete()));
        world.mirror_account(3).await;
    }
}
