//! What the gateway says and understands of HTTP/1.1 and HTTP/2, and what it passes on.

use bytes::Bytes;
use doppel_tests::{Client, Echo, Framing, Gate, H2Client, Head, Reply, ReplyBody, Script, Setup, Step, World};

async fn world(script: impl Fn(usize, &Head) -> Script + Send + Sync + 'static) -> (World, Echo) {
    let primary = Echo::scripted(script).await;
    let world = Setup::new().backend("primary", &primary).rule("").start().await;
    (world, primary)
}

async fn echoing() -> (World, Echo) {
    world(|_, _| Step::echo()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_on_both_sides() {
    let (world, primary) = echoing().await;
    let mut client = world.client().await;
    for _ in 0..10 {
        assert_eq!(client.post("/", "again").await.text(), "again");
    }
    assert_eq!((primary.count(), primary.connections()), (10, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_wants_its_connection_closed_gets_that() {
    let (world, _primary) = echoing().await;
    for request in
        ["GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"]
    {
        let mut client = world.client().await;
        assert_eq!(client.exchange(request).await.status, 200);
        client.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let (world, primary) = echoing().await;
    let mut client = world.client().await;
    let request =
        |body: &str| format!("POST /{body} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    client.send([request("one"), request("second"), request("3")].concat()).await;
    for expected in ["one", "second", "3"] {
        assert_eq!(client.answer().await.text(), expected);
    }
    assert_eq!(primary.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn framing_is_kept_in_both_directions() {
    let (world, primary) = world(|_, _| {
        let chunks = vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
        vec![Step::ReadAll, Step::Reply(Reply { body: ReplyBody::Chunked(chunks), ..Reply::status(200) })]
    })
    .await;
    let mut client = world.client().await;
    let chunked = "PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n1\r\nz\r\n0\r\n\r\n";
    let answer = client.exchange(chunked).await;
    assert_eq!((answer.framing, answer.text().as_str()), (Framing::Chunked, "abc"));
    client.post("/", "xyz").await;
    client.post("/", "").await;
    client.get("/").await;
    let framings: Vec<Framing> = primary.receipts().iter().map(|receipt| receipt.framing).collect();
    assert_eq!(framings, [Framing::Chunked, Framing::Length(3), Framing::Length(0), Framing::None]);
    assert!(primary.receipts()[..2].iter().all(|receipt| receipt.body.text() == "xyz"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_come_with_any_method() {
    let (world, primary) = echoing().await;
    let mut client = world.client().await;
    for method in ["GET", "DELETE", "OPTIONS", "PATCH", "PROPFIND"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(client.exchange(request).await.text(), "body", "{method}");
    }
    let methods: Vec<String> = primary.receipts().iter().map(|receipt| receipt.method()).collect();
    assert_eq!(methods, ["GET", "DELETE", "OPTIONS", "PATCH", "PROPFIND"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_passed_on_as_it_comes() {
    let (world, primary) = echoing().await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\nabc").await;
    primary
        .until("the first half", |receipts| receipts.first().is_some_and(|receipt| receipt.body.text() == "abc"))
        .await;
    assert_eq!(client.exchange("def").await.text(), "abcdef");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_does_not_wait_for_its_body() {
    for h2c in [false, true] {
        for mirror_h2c in [false, true] {
            let backend = async |h2c| match h2c {
                true => Echo::h2c(|_, _| Step::echo()).await,
                false => Echo::start().await,
            };
            let (primary, mirror) = (backend(h2c).await, backend(mirror_h2c).await);
            let mut setup = Setup::new().rule(doppel_tests::MIRRORED);
            for (name, echo, h2c) in [("primary", &primary, h2c), ("mirror", &mirror, mirror_h2c)] {
                setup = if h2c { setup.h2c_backend(name, echo) } else { setup.backend(name, echo) };
            }
            let world = setup.start().await;
            let arrived = async |requests: usize| {
                for echo in [&primary, &mirror] {
                    echo.until("the head", |receipts| receipts.len() == requests).await;
                    assert_eq!(echo.receipts()[requests - 1].body.length, 0);
                }
            };
            let mut client = world.client().await;
            client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\n").await;
            arrived(1).await;
            assert_eq!(client.exchange("body").await.text(), "body");
            client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            arrived(2).await;
            assert_eq!(client.exchange("4\r\nbody\r\n0\r\n\r\n").await.text(), "body");
            let mut client = world.h2_client().await;
            let mut upload = client.start(H2Client::request("POST", "/"), false).await;
            arrived(3).await;
            upload.send("body").await;
            upload.finish();
            assert_eq!(upload.answer().await.text(), "body");
            assert_eq!(world.mirror_account(3).await.completed, 3);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_expects_100_is_told_to_continue() {
    let (world, primary) = world(|_, head| {
        let interim = Step::write("HTTP/1.1 100 Continue\r\n\r\n");
        let expects = head.header("expect").is_some();
        expects.then_some(interim).into_iter().chain(Step::echo()).collect()
    })
    .await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").await;
    assert_eq!(client.head().await.word(1), "100");
    let answer = client.exchange("body").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    assert_eq!(client.post("/", "the connection goes on").await.status, 200);
    assert!(primary.receipts().iter().all(|receipt| receipt.is_complete()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_expects_100_may_be_refused_instead() {
    let refuse = |_: usize, _: &Head| vec![Step::Reply(Reply::status(417).header("Connection", "close")), Step::Close];
    let (world, _primary) = world(refuse).await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 417);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_expects_100_is_told_so_before_a_backend_of_http2() {
    let primary = Echo::h2c(|_, _| Step::echo()).await;
    let world = Setup::new().h2c_backend("primary", &primary).rule("").start().await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").await;
    assert_eq!(client.head().await.word(1), "100");
    assert_eq!(client.exchange("body").await.text(), "body");
    assert_eq!(client.post("/", "the connection goes on").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_client_gets_its_answer() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let (world, primary) = world(move |_, _| Step::echo_after(&waiting)).await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody").await;
    client.finish().await;
    primary.ended(1).await;
    gate.open();
    assert_eq!(client.answer().await.text(), "body");
    client.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_with_prior_knowledge_is_understood() {
    let (world, primary) = echoing().await;
    let mut client = world.h2_client().await;
    assert_eq!(client.get("/a?b").await.status, 200);
    assert_eq!(client.post("/", "abc").await.text(), "abc");
    let mut uploads = Vec::new();
    for _ in 0..20 {
        uploads.push(client.start(H2Client::request("POST", "/").header("content-length", 3), false).await);
    }
    for upload in &mut uploads {
        upload.send("xyz").await;
        upload.finish();
    }
    for upload in uploads {
        assert_eq!(upload.answer().await.text(), "xyz");
    }
    let receipts = primary.receipts();
    assert_eq!((receipts[0].target().as_str(), receipts[0].framing), ("/a?b", Framing::None));
    assert_eq!(receipts[0].header("host").as_deref(), Some("a.test"));
    assert_eq!(receipts[1].framing, Framing::Chunked);
    assert!(receipts[2..].iter().all(|receipt| receipt.framing == Framing::Length(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_blocks_nobody() {
    let (world, _primary) = echoing().await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(world.client().await);
    }
    assert_eq!(world.client().await.get("/").await.status, 200);
    assert_eq!(world.h2_client().await.get("/").await.status, 200);
    for mut client in silent {
        assert_eq!(client.get("/").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preface_may_come_byte_by_byte() {
    let (world, _primary) = echoing().await;
    let mut client = world.client().await;
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        client.send([*byte]).await;
    }
    // SETTINGS, empty. The gateway's own comes first: length, type 4.
    client.send([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    assert_eq!(client.take(9).await[3], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_come_byte_by_byte_even_if_it_begins_like_the_preface() {
    let (world, primary) = echoing().await;
    for method in ["PRI", "PRIZE", "P", "GET"] {
        let mut client = world.client().await;
        for byte in format!("{method} /slow HTTP/1.1\r\nHost: a.test\r\n\r\n").bytes() {
            client.send([byte]).await;
        }
        assert_eq!(client.answer().await.status, 200, "{method}");
    }
    assert_eq!(primary.count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_wrong_preface_is_refused() {
    let (world, primary) = echoing().await;
    let mut client = world.client().await;
    client.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").await;
    assert!(client.maybe_answer().await.is_none_or(|answer| answer.status == 400));
    assert_eq!(primary.count(), 0);
}

fn upgrade(_: usize, head: &Head) -> Script {
    let key = head.header("sec-websocket-key").unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Key: {key}\r\n\r\n"
    );
    vec![Step::write(answer), Step::Tunnel]
}

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: abc\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_a_tunnel_in_both_directions() {
    let (world, primary) = world(upgrade).await;
    let mut client = world.client().await;
    client.send(HANDSHAKE).await;
    let head = client.head().await;
    assert_eq!((head.word(1).as_str(), head.header("x-key").as_deref()), ("101", Some("abc")));
    for message in ["ping", "\u{0}\r\n\r\n", "pong"] {
        client.send(message).await;
        assert_eq!(client.take(message.len()).await, message.as_bytes());
    }
    let large = vec![7; 500_000];
    let (mut sent, mut received) = (0, 0);
    while sent < large.len() {
        client.send(&large[sent..sent + 50_000]).await;
        sent += 50_000;
        received += client.take(50_000).await.len();
    }
    assert_eq!(received, large.len());
    client.close();
    assert_eq!(primary.ended(1).await[0].header("upgrade").as_deref(), Some("websocket"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_websockets_in_a_row_all_open() {
    let (world, primary) = world(upgrade).await;
    for _ in 0..200 {
        let mut client = world.client().await;
        // Bytes that come with the handshake already belong to the tunnel.
        client.send(HANDSHAKE).await;
        assert_eq!(client.head().await.word(1), "101");
        client.send("hello").await;
        assert_eq!(client.take(5).await, b"hello");
    }
    assert_eq!(primary.count(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_the_backend_refuses_is_an_ordinary_answer() {
    let (world, _primary) = world(|_, _| Step::status(403)).await;
    let mut client = world.client().await;
    assert_eq!(client.exchange(HANDSHAKE).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_of_http2_serves_both_kinds_of_clients() {
    let primary = Echo::h2c(|_, _| Step::echo()).await;
    let world = Setup::new().h2c_backend("primary", &primary).rule("").start().await;
    let mut h1 = world.client().await;
    let mut h2 = world.h2_client().await;
    for _ in 0..5 {
        assert_eq!(h1.post("/a?b", "abc").await.text(), "abc");
        assert_eq!(h2.post("/a?b", "def").await.text(), "def");
        assert_eq!(h1.get("/").await.status, 200);
        assert_eq!(h2.get("/").await.status, 200);
    }
    let receipts = primary.receipts();
    assert!(
        receipts.iter().all(|receipt| receipt.is_complete() && receipt.header("host").as_deref() == Some("a.test"))
    );
    assert!(receipts.iter().all(|receipt| receipt.header("connection").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_http2_answers_arrive() {
    let reply = Reply { trailers: vec![("grpc-status".into(), "0".into())], ..Reply::text("message") };
    let primary = Echo::h2c(move |_, _| vec![Step::ReadAll, Step::Reply(reply.clone())]).await;
    let world = Setup::new().h2c_backend("primary", &primary).rule("").start().await;
    let mut client = world.h2_client().await;
    let request =
        H2Client::request("POST", "/shop.Cart/Add").header("content-type", "application/grpc").header("te", "trailers");
    let mut upload = client.start(request, false).await;
    upload.send("frame").await;
    upload.finish();
    let answer = upload.answer().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "message"));
    assert_eq!(answer.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
    assert_eq!(primary.only().await.header("te").as_deref(), Some("trailers"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_trailers_arrives_whole() {
    for h2c in [false, true] {
        let (setup, primary) = Setup::echoing(h2c, "").await;
        let world = setup.start().await;
        let mut client = world.h2_client().await;
        let mut upload = client.start(H2Client::request("POST", "/"), false).await;
        upload.send("abc").await;
        upload.finish_with_trailers(std::iter::once(("x-check".parse().unwrap(), "1".parse().unwrap())).collect());
        assert_eq!(upload.answer().await.text(), "abc");
        assert!(primary.only().await.is_complete());
        let chunked =
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Check: 1\r\n\r\n";
        let mut client = world.client().await;
        assert_eq!(client.exchange(chunked).await.text(), "abc");
        assert_eq!(client.get("/").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_end_with_their_head() {
    let (world, _primary) = world(|_, head| {
        let reply = match head.word(1).as_str() {
            "/204" => Reply { status: 204, body: ReplyBody::None, ..Reply::status(204) },
            "/304" => Reply { body: ReplyBody::None, ..Reply::status(304).header("ETag", "\"x\"") },
            _ => Reply { body: ReplyBody::None, ..Reply::status(200).header("Content-Length", "1000") },
        };
        vec![Step::ReadAll, Step::Reply(reply)]
    })
    .await;
    let mut client = world.client().await;
    client.send("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let answer = client.answer_to_head().await;
    assert_eq!((answer.status, answer.header("content-length").as_deref()), (200, Some("1000")));
    for status in [204, 304, 204] {
        let answer = client.get(&format!("/{status}")).await;
        assert_eq!((answer.status, answer.framing, answer.header("transfer-encoding")), (status, Framing::None, None));
    }
    let mut h2 = world.h2_client().await;
    let head = h2.start(H2Client::request("HEAD", "/"), true).await.answer().await;
    assert_eq!((head.status, head.body.length), (200, 0));
    assert_eq!(h2.get("/204").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_ends_with_its_connection_is_passed_on_whole() {
    let (world, _primary) =
        world(|_, _| vec![Step::ReadAll, Step::write("HTTP/1.1 200 OK\r\n\r\nto the end"), Step::Close]).await;
    assert_eq!(world.client().await.get("/").await.text(), "to the end");
    assert_eq!(world.h2_client().await.get("/").await.text(), "to the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_1_0_gets_what_it_understands() {
    let (world, _primary) = world(|_, _| {
        let reply = Reply { body: ReplyBody::Chunked(vec!["ab".into(), "c".into()]), ..Reply::status(200) };
        vec![Step::ReadAll, Step::write("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"), Step::Reply(reply)]
    })
    .await;
    let mut client = world.client().await;
    let answer = client.exchange("GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n").await;
    assert_eq!((answer.framing, answer.text().as_str()), (Framing::UntilClose, "abc"), "{answer:?}");
    assert_eq!(answer.interim, [] as [u16; 0]);
    let answer = world.client().await.get("/").await;
    assert_eq!((answer.framing, answer.interim), (Framing::Chunked, vec![103]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_gets_a_path_for_a_url() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let fields = "- {matches: [{path: {exact: /only}}], filters: [{requestRedirect: {hostname: new.test}}]}";
    let world = Setup::mirrored(&primary, &mirror)
        .document(&format!("route:\n  name: only\n  listeners: [http]\n  rules:\n  {fields}"))
        .start()
        .await;
    // It is the path that routes are looked up by.
    let request = "GET http://a.test/only HTTP/1.1\r\nHost: a.test\r\n\r\n";
    assert_eq!(world.client().await.exchange(request).await.status, 302);
    for (n, (url, path)) in
        [("http://a.test/b//%2e?", "/b//%2e?"), ("http://a.test", "/"), ("http://a.test?q", "/?q")].iter().enumerate()
    {
        let request = format!("GET {url} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(world.client().await.exchange(request).await.status, 200);
        for echo in [&primary, &mirror] {
            assert_eq!(echo.ended(n + 1).await[n].target(), *path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_off_is_cut_off_for_the_client() {
    for head in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let (world, _primary) =
            world(move |_, _| vec![Step::ReadAll, Step::write(format!("HTTP/1.1 200 OK\r\n{head}")), Step::Close])
                .await;
        let answer = world.client().await.get("/").await;
        assert!(answer.error.is_some(), "{answer:?}");
        let answer = world.h2_client().await.get("/").await;
        assert!(answer.error.is_some(), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_one_hop_are_not_passed_on() {
    let (world, primary) = world(|_, _| {
        let reply = Reply::text("x")
            .header("Keep-Alive", "timeout=9")
            .header("Connection", "X-Hop")
            .header("X-Hop", "1")
            .header("X-Kept", "1");
        vec![Step::ReadAll, Step::Reply(reply)]
    })
    .await;
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, X-Secret\r\nKeep-Alive: 5\r\nX-Secret: 1\r\n\
                   Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\nTE: gzip\r\nX-Kept: 1\r\n\r\n";
    let answer = world.client().await.exchange(request).await;
    let receipt = primary.only().await;
    for name in ["x-secret", "keep-alive", "proxy-connection", "te", "upgrade"] {
        assert_eq!(receipt.header(name), None, "{}", receipt.head.text());
    }
    assert_eq!(receipt.header("x-kept").as_deref(), Some("1"));
    assert_eq!((answer.header("keep-alive"), answer.header("x-hop")), (None, None), "{}", answer.head.text());
    assert_eq!(answer.header("x-kept").as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_is_told_who_asked_and_how() {
    let (world, primary) = echoing().await;
    world.client().await.get("/").await;
    let forwarded = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n\
                     X-Forwarded-Proto: https\r\n\r\n";
    world.client().await.exchange(forwarded).await;
    world.h2_client().await.get("/").await;
    let receipts = primary.receipts();
    let told: Vec<_> = receipts
        .iter()
        .map(|receipt| (receipt.head.values("x-forwarded-for").join(", "), receipt.head.values("x-forwarded-proto")))
        .collect();
    assert_eq!(told[0], ("127.0.0.1".to_owned(), vec!["http".to_owned()]));
    assert_eq!(told[1].0, "10.0.0.1, 10.0.0.2, 127.0.0.1");
    assert_eq!(told[1].1.len(), 1);
    assert_eq!(told[2], ("127.0.0.1".to_owned(), vec!["http".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_but_legal_requests_arrive_as_they_are() {
    let (world, primary) = echoing().await;
    let mut client = world.client().await;
    for target in ["/%2e%2e/a", "//double", "/a?", "/a?x=%zz&&y", "/;p=1", "/a/./b/../c", "/~!$&'()*+,=:@"] {
        assert_eq!(client.get(target).await.status, 200, "{target}");
        assert_eq!(primary.receipts().last().unwrap().target(), target);
    }
    let long = format!("/{}", "x".repeat(60_000));
    assert_eq!(client.get(&long).await.status, 200);
    assert_eq!(primary.receipts().last().unwrap().target(), long);
    let headers: String = (0..100).map(|i| format!("X-{i}: {i}\r\n")).collect();
    client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{headers}")).await;
    assert_eq!(client.exchange(b"X-Bytes: \xff\xfe\r\n\r\n").await.status, 200);
    let receipt = primary.receipts().pop().unwrap();
    assert_eq!(receipt.header("x-99").as_deref(), Some("99"));
    assert!(receipt.head.bytes.windows(2).any(|window| window == b"\xff\xfe"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let early = |_: usize, _: &Head| {
        vec![Step::Read(1), Step::Reply(Reply::status(413).header("Connection", "close")), Step::Close]
    };
    let (world, _primary) = world(early).await;
    let mut client = Client::connect(world.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\nabc").await;
    assert_eq!(client.answer().await.status, 413);
}
