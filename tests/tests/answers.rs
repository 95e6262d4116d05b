//! The gateway's own answers.

use doppel_tests::{Answer, Client, Echo, H2Client, Head, Script, Setup, Step, World, refusing};

async fn check(world: &World, status: u16) -> Answer {
    let answer = world.client().await.get("/").await;
    assert_eq!(answer.status, status);
    assert!(answer.error.is_none(), "{answer:?}");
    assert_eq!(world.h2_client().await.get("/").await.status, status);
    answer
}

/// Everything below `/here` comes back.
async fn here() -> (World, Echo) {
    let (setup, primary) = Setup::echoing(false, "matches: [{path: {prefix: /here}}]").await;
    (setup.start().await, primary)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_is_404_and_the_connection_goes_on() {
    let (world, _primary) = here().await;
    check(&world, 404).await;
    let mut client = world.client().await;
    assert_eq!(client.get("/elsewhere").await.status, 404);
    assert_eq!(client.get("/here").await.status, 200);
    assert_eq!(client.post("/elsewhere", "a body that nobody reads").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_goes_on_after_a_body_that_nobody_wanted() {
    let (world, _primary) = here().await;
    let head = "POST /elsewhere HTTP/1.1\r\nHost: a.test\r\n";
    let mut client = world.client().await;
    for (framing, body) in [
        ("Content-Length: 4", "body".to_owned()),
        ("Transfer-Encoding: chunked", "4\r\nbody\r\n0\r\n\r\n".to_owned()),
        ("Content-Length: 60000", "x".repeat(60_000)),
    ] {
        assert_eq!(client.exchange(format!("{head}{framing}\r\n\r\n{body}")).await.status, 404);
        // A client may also send it after the answer.
        assert_eq!(client.exchange(format!("{head}{framing}\r\n\r\n")).await.status, 404);
        client.send(body).await;
    }
    assert_eq!(client.post("/here", "body").await.text(), "body");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_after_a_body_that_is_not_worth_reading() {
    let world = Setup::new().start().await;
    let head = "POST / HTTP/1.1\r\nHost: a.test\r\n";
    let mut client = world.client().await;
    let answer = client.exchange(format!("{head}Content-Length: 100000000\r\n\r\nbegun")).await;
    assert_eq!((answer.status, answer.header("connection").as_deref()), (404, Some("close")));
    client.ended().await;
    // Whether the body will come is the client's to say, who cannot.
    let mut client = world.client().await;
    let answer = client.exchange(format!("{head}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")).await;
    assert_eq!((answer.status, answer.header("connection").as_deref()), (404, Some("close")));
    assert_eq!(answer.interim, [] as [u16; 0]);
    client.ended().await;
    // How long it is shows only as it comes.
    let mut client = world.client().await;
    client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 404);
    while client.try_send(format!("10000\r\n{}\r\n", "x".repeat(0x10000))).await.is_ok() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_routes_is_404() {
    check(&Setup::new().start().await, 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_backend_is_500() {
    check(&Setup::new().rules("- {matches: [{path: {prefix: /}}]}").start().await, 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_backend_is_500() {
    check(&Setup::new().rules("- backends: [{invalid: no such Service}]").start().await, 500).await;
    check(&Setup::new().rules("- backends: [{backend: nowhere}]").start().await, 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_ready_endpoint_is_503() {
    check(&Setup::new().endpoints("primary", &[]).rule("").start().await, 503).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_refuses_is_502() {
    let (refused, _bound) = refusing();
    check(&Setup::new().endpoints("primary", &[refused]).rule("").start().await, 502).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_breaks_off_or_talks_nonsense_is_502() {
    let scripts: [fn() -> Script; 3] = [
        || vec![Step::ReadAll, Step::Reset],
        || vec![Step::ReadAll, Step::Close],
        || vec![Step::ReadAll, Step::write("SSH-2.0-OpenSSH_9.2\r\n\r\n"), Step::Close],
    ];
    for script in scripts {
        let primary = Echo::scripted(move |_: usize, _: &Head| script()).await;
        check(&Setup::new().backend("primary", &primary).rule("").start().await, 502).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_grpc_is_answered_as_grpc_does() {
    let cases = [
        // UNIMPLEMENTED: no route.
        (Setup::new(), "12"),
        // UNAVAILABLE: no endpoint, and no backend.
        (Setup::new().endpoints("primary", &[]).rule(""), "14"),
        (Setup::new().rules("- backends: [{invalid: no such Service}]"), "14"),
    ];
    for (setup, code) in cases {
        let world = setup.start().await;
        let mut client = world.h2_client().await;
        let answer = client.call("/shop.Cart/Add", &[]).await.answer().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type").as_deref(), Some("application/grpc"));
        assert_eq!(answer.header("grpc-status").as_deref(), Some(code), "{answer:?}");
        // Not how it usually comes, but its end is known there too.
        let mut client = world.client().await;
        let request = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/grpc\r\n\r\n";
        for _ in 0..2 {
            assert_eq!(client.exchange(request).await.header("grpc-status").as_deref(), Some(code));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_refused_without_a_backend() {
    let primary = Echo::start().await;
    let world = Setup::new().backend("primary", &primary).rule("").start().await;
    let requests = [
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
        "nonsense\r\n\r\n",
    ];
    for request in requests {
        let mut client = Client::connect(world.address()).await;
        client.send(request).await;
        let answer = client.maybe_answer().await;
        assert!(answer.as_ref().is_none_or(|answer| answer.status == 400), "{request:?}: {answer:?}");
    }
    assert_eq!(primary.count(), 0);
    assert_eq!(world.client().await.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_one_host_or_is_400() {
    let primary = Echo::start().await;
    let world = Setup::new().backend("primary", &primary).rule("").start().await;
    for bad in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test:x\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a b\r\n\r\n",
        "GET http://a.test/ HTTP/1.1\r\n\r\n",
        "GET http://a.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n",
    ] {
        let answer = world.client().await.exchange(bad).await;
        assert_eq!(answer.status, 400, "{bad:?}: {}", answer.text());
    }
    assert_eq!(primary.count(), 0);
    for good in [
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ] {
        assert_eq!(world.client().await.exchange(good).await.status, 200, "{good:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_backends_may_understand_otherwise_is_refused() {
    let primary = Echo::start().await;
    let world = Setup::new().backend("primary", &primary).rule("").start().await;
    let rest = "HTTP/1.1\r\nHost: a.test\r\n";
    for (bad, status) in [
        (format!("GET a {rest}\r\n"), 400),
        (format!("GET * {rest}\r\n"), 400),
        (format!("GET  /a {rest}\r\n"), 400),
        (format!("POST / {rest}Content-Length: 2, 2\r\n\r\nab"), 400),
        (format!("POST / {rest}Content-Length: 2\r\nContent-Length: 2\r\n\r\nab"), 400),
        (format!("POST / {rest}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501),
        (format!("POST / {rest}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 501),
    ] {
        let answer = world.client().await.exchange(&bad).await;
        assert_eq!(answer.status, status, "{bad:?}: {}", answer.text());
    }
    assert_eq!(primary.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_http_1_0_without_a_host_is_served_by_listeners_without_hostname() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let h2c = Echo::h2c(|_, _| Step::echo()).await;
    let world = Setup::mirrored(&primary, &mirror)
        .h2c_backend("h2c", &h2c)
        .document(
            "route: {name: other, listeners: [http], \
             rules: [{matches: [{path: {prefix: /h2c}}], backends: [{backend: h2c}]}]}",
        )
        .document("listener: {name: named, address: '127.0.0.2:0', hostname: a.test}")
        .document("route: {name: named, listeners: [named], rules: [{backends: [{backend: primary}]}]}")
        .start()
        .await;
    let hostless = "GET / HTTP/1.0\r\n\r\n";
    assert_eq!(world.client().await.exchange(hostless).await.status, 200);
    // What is sent on is HTTP/1.1, which needs one.
    let address = world.address().to_string();
    for receipt in [primary.only().await, mirror.only().await] {
        assert_eq!((receipt.head.word(2).as_str(), receipt.header("host")), ("HTTP/1.1", Some(address.clone())));
    }
    assert_eq!(world.client().await.exchange("GET /h2c HTTP/1.0\r\n\r\n").await.status, 200);
    assert_eq!(h2c.only().await.header("host"), Some(address));
    assert_eq!(Client::connect(world.address_of("named")).await.exchange(hostless).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_both_framings_is_not_understood_in_two_ways() {
    let primary = Echo::start().await;
    let world = Setup::new().backend("primary", &primary).rule("").start().await;
    let smuggled = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
                    0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let mut client = Client::connect(world.address()).await;
    client.send(smuggled).await;
    while client.maybe_answer().await.is_some() {}
    for receipt in primary.receipts() {
        assert_eq!(receipt.target(), "/");
        assert!(receipt.header("content-length").is_none() || receipt.header("transfer-encoding").is_none());
    }
}

/// Clients of gRPC take the trailers of a call that failed at once from a head that ends the stream,
/// and from no other.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_body_ends_with_its_head() {
    let world = Setup::new().start().await;
    let mut client = world.h2_client().await;
    let call = H2Client::request("POST", "/shop.Cart/Add").header("content-type", "application/grpc");
    for request in [call, H2Client::request("HEAD", "/")] {
        let answer = client.start(request, true).await.answer().await;
        assert!(answer.is_head_alone, "{answer:?}");
    }
    let answer = client.get("/").await;
    assert!(!answer.is_head_alone, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_answers_itself_has_one_form() {
    let primary = Echo::start().await;
    let setup = Setup::new().backend("primary", &primary).rules(
        "- matches: [{path: {prefix: /none}}]\n\
         - {matches: [{path: {prefix: /some}}], backends: [{backend: primary}]}",
    );
    let world = World::start_with(setup, |settings| settings.proxy.head_bytes = 8 << 10).await;
    let rest = "HTTP/1.1\r\nHost: a.test\r\n";
    let long = "x".repeat(10 << 10);
    for (request, status) in [
        ("nonsense\r\n\r\n".into(), 400),
        (format!("GET / {rest}Bad Name: x\r\n\r\n"), 400),
        (format!("GET some {rest}\r\n"), 400),
        (format!("GET / {rest}\r\n"), 404),
        ("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n".into(), 405),
        (format!("GET / {rest}X: {long}\r\nY: {long}\r\n\r\n"), 431),
        (format!("GET /none {rest}\r\n"), 500),
        (format!("POST /some {rest}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501),
    ] {
        let answer = world.client().await.exchange(&request).await;
        let request = &request[..request.len().min(40)];
        assert_eq!(answer.status, status, "{request:?}");
        let mut names: Vec<_> = answer.head.headers().iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.retain(|name| name != "connection");
        names.sort();
        assert_eq!(names, ["content-length", "content-type", "date"], "{request:?}");
        assert!(answer.text().len() > 10 && answer.text().ends_with('\n'), "{request:?}: {:?}", answer.text());
    }
    assert_eq!(primary.count(), 0);
}
