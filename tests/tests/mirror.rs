//! What a mirror receives: exactly what the primary was sent.

use doppel_tests::{Body, Echo, Framing, H2Client, Head, Pattern, Receipt, Script, Setup, Step};

const REQUESTS: &[&str] = &[
    "GET /a?b=c HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET /%2e%2e//x? HTTP/1.1\r\nhOST: A.test:8000\r\nx-Odd: 1\r\nX-Other: 2\r\nX-ODD: 3\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody",
    "DELETE / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody",
    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "PROPFIND / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 10.0.0.1\r\nCookie: a=b\r\nAuthorization: Bearer x\r\n\r\n",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_request_reaches_the_mirror_byte_for_byte() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let mut client = world.client().await;
    for (i, request) in REQUESTS.iter().enumerate() {
        assert_eq!(client.exchange(request).await.status, 200, "{request}");
        let (original, copy) = (&primary.ended(i + 1).await[i], &mirror.ended(i + 1).await[i]);
        assert_eq!(lines(copy), lines(original), "{request}");
        assert_eq!((&copy.body, copy.framing), (&original.body, original.framing));
        assert!(copy.is_complete() && original.is_complete());
    }
    let account = world.mirror_account(REQUESTS.len() as u64).await;
    assert_eq!(account.completed, REQUESTS.len() as u64, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_and_bytes_that_are_no_text_are_copied() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let mut client = world.client().await;
    client.send("HEAD /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.answer_to_head().await.status, 200);
    mirror.ended(1).await;
    let mut request = b"POST / HTTP/1.1\r\nHost: a.test\r\nX-Bytes: \xff\xfe\r\n".to_vec();
    request.extend((0..100).flat_map(|i| format!("X-{i}: {i}\r\n").into_bytes()));
    request.extend(b"Content-Length: 4\r\n\r\n\x00\xff\r\n");
    assert_eq!(client.exchange(request).await.status, 200);
    let (originals, copies) = (primary.ended(2).await, mirror.ended(2).await);
    for (original, copy) in originals.iter().zip(copies) {
        assert_eq!((copy.head, copy.body), (original.head.clone(), original.body.clone()));
    }
    assert_eq!(world.mirror_account(2).await.completed, 2);
}

/// The lines of the head, the first and then the others sorted: where what Pingora removes and adds
/// again for the primary stands is its own business.
fn lines(receipt: &Receipt) -> Vec<String> {
    let mut lines: Vec<String> = receipt.head.text().lines().map(str::to_owned).collect();
    lines[1..].sort();
    lines
}

/// What must be the same however the two are framed.
fn assert_alike(original: &Receipt, copy: &Receipt) {
    let framing = ["transfer-encoding", "content-length", "connection"];
    assert!(original.is_complete() && copy.is_complete(), "{original:?} {copy:?}");
    assert_eq!((copy.method(), copy.target()), (original.method(), original.target()));
    assert_eq!(copy.headers_without(&framing), original.headers_without(&framing));
    assert_eq!(copy.body, original.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn either_protocol_is_copied_to_either() {
    for (primary_h2c, mirror_h2c) in [(false, true), (true, false), (true, true)] {
        let backend = async |h2c| match h2c {
            true => Echo::h2c(|_, _| Step::echo()).await,
            false => Echo::start().await,
        };
        let (primary, mirror) = (backend(primary_h2c).await, backend(mirror_h2c).await);
        let mut setup = Setup::new().rule(doppel_tests::MIRRORED);
        for (name, echo, h2c) in [("primary", &primary, primary_h2c), ("mirror", &mirror, mirror_h2c)] {
            setup = if h2c { setup.h2c_backend(name, echo) } else { setup.backend(name, echo) };
        }
        let world = setup.start().await;
        let mut h1 = world.client().await;
        let mut h2 = world.h2_client().await;
        for request in REQUESTS.iter().filter(|request| !request.starts_with("OPTIONS")) {
            assert_eq!(h1.exchange(request).await.status, 200, "{request}");
        }
        assert_eq!(h2.get("/h2?x").await.status, 200);
        assert_eq!(h2.post("/h2", "no length").await.text(), "no length");
        let request = H2Client::request("POST", "/h2").header("content-length", 4).header("x-a", "b");
        let mut upload = h2.start(request, false).await;
        upload.send("body").await;
        upload.finish();
        assert_eq!(upload.answer().await.text(), "body");
        assert_eq!(h2.start(H2Client::request("POST", "/h2/bodiless"), true).await.answer().await.status, 200);
        let count = REQUESTS.len() - 1 + 4;
        let (originals, copies) = (primary.ended(count).await, mirror.ended(count).await);
        for original in &originals {
            let same = |copy: &&Receipt| {
                copy.head.word(0) == original.method()
                    && copy.body == original.body
                    && copy.target() == original.target()
                    && copy.header("x-odd") == original.header("x-odd")
            };
            assert_alike(original, copies.iter().find(same).unwrap_or_else(|| panic!("no copy of {original:?}")));
        }
        assert_eq!(world.mirror_account(count as u64).await.completed, count as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn framing_is_that_of_the_client() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let mut h2 = world.h2_client().await;
    // One after the other at the mirror as well.
    h2.post("/", "abc").await;
    mirror.ended(1).await;
    let mut upload = h2.start(H2Client::request("POST", "/").header("content-length", 3), false).await;
    upload.send("abc").await;
    upload.finish();
    upload.answer().await;
    mirror.ended(2).await;
    h2.start(H2Client::request("POST", "/"), true).await.answer().await;
    let copies = mirror.ended(3).await;
    let framings: Vec<Framing> = copies.iter().map(|copy| copy.framing).collect();
    let originals: Vec<Framing> = primary.receipts().iter().map(|receipt| receipt.framing).collect();
    assert_eq!(framings, originals);
    assert_eq!(framings[..2], [Framing::Chunked, Framing::Length(3)]);
    assert_eq!(world.mirror_account(3).await.completed, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_is_what_the_filters_made_of_the_request() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let fields = "
        matches: [{path: {prefix: /old}}]
        filters:
        - requestMirror: {backend: mirror}
        - requestHeaderModifier: {set: [{name: X-Set, value: new}], remove: [x-gone]}
        - urlRewrite: {hostname: b.test, path: {replacePrefixMatch: /new}}
        ";
    let world = Setup::new().backend("primary", &primary).backend("mirror", &mirror).rule(fields).start().await;
    let request = "GET /old/a?b HTTP/1.1\r\nHost: a.test\r\nX-Gone: 1\r\nX-Set: old\r\n\r\n";
    assert_eq!(world.client().await.exchange(request).await.status, 200);
    let (original, copy) = (primary.only().await, mirror.only().await);
    assert_eq!(copy.head.text(), original.head.text());
    assert_eq!(copy.target(), "/new/a?b");
    assert_eq!((copy.header("host").as_deref(), copy.header("x-gone")), (Some("b.test"), None));
    assert_eq!(world.mirror_account(1).await.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_one_hop_and_expectations_are_not_copied() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let request = "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, X-Secret\r\nKeep-Alive: 5\r\nX-Secret: 1\r\n\
                   Proxy-Authorization: Basic eDp5\r\nExpect: 100-continue\r\nX-Kept: 1\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(world.client().await.exchange(request).await.text(), "body");
    let copy = mirror.only().await;
    for name in ["x-secret", "keep-alive", "proxy-authorization", "expect"] {
        assert_eq!(copy.header(name), None, "{}", copy.head.text());
    }
    assert_eq!((copy.header("x-kept").as_deref(), copy.body.text().as_str()), (Some("1"), "body"));
    assert_eq!(world.mirror_account(1).await.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_a_mirror_are_kept_but_shared_with_no_primary() {
    // One backend is both.
    let both = Echo::start().await;
    let world = Setup::mirrored(&both, &both).start().await;
    let mut client = world.client().await;
    for i in 1..=10 {
        assert_eq!(client.post("/", "x").await.text(), "x");
        both.ended(2 * i).await;
        world.mirror_account(i as u64).await;
    }
    assert_eq!((both.count(), both.connections()), (20, 2));
}

fn fails_twice(number: usize, _: &Head) -> Script {
    if number < 2 { Step::status(503) } else { Step::echo() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_request_is_copied_once() {
    let bodies = [Pattern::new(0), Pattern::new(10), Pattern::new(40_000)];
    for body in bodies {
        let (primary, mirror) = (Echo::scripted(fails_twice).await, Echo::start().await);
        let fields = format!("{}\nretry: {{attempts: 2, codes: [503]}}", doppel_tests::MIRRORED);
        let world = Setup::new().backend("primary", &primary).backend("mirror", &mirror).rule(&fields).start().await;
        let answer = world.client().await.post("/", body.bytes()).await;
        assert_eq!((answer.status, answer.body), (200, body.body()));
        assert_eq!(primary.count(), 3);
        let copy = mirror.only().await;
        assert!(copy.is_complete() && copy.body == body.body(), "{copy:?}");
        assert_eq!(world.mirror_account(1).await.completed, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_to_another_endpoint_is_copied_once() {
    let (refused, _bound) = doppel_tests::refusing();
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let fields = format!("{}\nretry: {{attempts: 1}}", doppel_tests::MIRRORED);
    let world = Setup::new()
        .endpoints("primary", &[refused, primary.address()])
        .backend("mirror", &mirror)
        .rule(&fields)
        .start()
        .await;
    let mut client = world.client().await;
    for _ in 0..4 {
        assert_eq!(client.post("/", "there").await.text(), "there");
    }
    assert_eq!(world.mirror_account(4).await.completed, 4);
    assert_eq!(mirror.count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_the_gateway_are_not_mirrored() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let filter = "{requestMirror: {backend: mirror}}";
    let rules = format!(
        "- {{matches: [{{path: {{prefix: /redirect}}}}], filters: [{{requestRedirect: {{}}}}, {filter}]}}\n\
         - {{matches: [{{path: {{prefix: /invalid}}}}], filters: [{filter}], backends: [{{invalid: no}}]}}\n\
         - {{matches: [{{path: {{prefix: /empty}}}}], filters: [{filter}], backends: [{{backend: empty}}]}}\n\
         - {{backends: [{{backend: primary}}]}}"
    );
    let world = Setup::new()
        .backend("primary", &primary)
        .backend("mirror", &mirror)
        .endpoints("empty", &[])
        .rules(&rules)
        .start()
        .await;
    let mut client = world.client().await;
    for (path, status) in [("/redirect", 302), ("/invalid", 500), ("/empty", 503), ("/", 200)] {
        assert_eq!(client.get(path).await.status, status, "{path}");
    }
    let account = world.mirror_account(3).await;
    assert_eq!((account.skipped, account.reasons["skipped own_answer"]), (3, 3), "{account:?}");
    assert_eq!(mirror.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_tunnel_and_are_not_mirrored() {
    let primary = Echo::scripted(|_, _| {
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        vec![Step::write(answer), Step::Tunnel]
    })
    .await;
    let mirror = Echo::start().await;
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let mut client = world.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n").await;
    assert_eq!(client.head().await.word(1), "101");
    client.send("hello").await;
    assert_eq!(client.take(5).await, b"hello");
    let account = world.mirror_account(1).await;
    assert_eq!(account.reasons["skipped upgrade"], 1, "{account:?}");
    assert_eq!(mirror.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_ask_for_an_upgrade_in_vain_are_not_mirrored_either() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let head = "GET / HTTP/1.1\r\nHost: a.test\r\n";
    for upgrade in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nContent-Length: 1\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "Connection: keep-alive, upgrade\r\nUpgrade: foo/2\r\n",
    ] {
        let answer = world.client().await.exchange(format!("{head}{upgrade}\r\nx")).await;
        assert_eq!(answer.status, 200, "{upgrade}");
    }
    let account = world.mirror_account(5).await;
    assert_eq!(account.reasons["skipped upgrade"], 5, "{account:?}");
    assert_eq!(mirror.connections(), 0);
    // Whether a handshake is good is the backend's to say; of others it hears nothing.
    let upgrades: Vec<_> = primary.receipts().iter().map(|receipt| receipt.header("upgrade")).collect();
    let websocket = || Some("websocket".to_owned());
    assert_eq!(upgrades, [websocket(), websocket(), None, None, None]);
    // Without the Connection header it asks for nothing.
    let plain = world.client().await.exchange(format!("{head}Upgrade: websocket\r\n\r\n")).await;
    assert_eq!(plain.status, 200);
    assert_eq!(world.mirror_account(6).await.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_connection_names_is_missing_from_the_request_and_its_copy_alike() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 10.0.0.1\r\nX-Secret: 1\r\n\
                   Connection: X-Secret, Host, X-Forwarded-For, x-forwarded-proto, \"odd\", close\r\n\r\n";
    assert_eq!(world.client().await.exchange(request).await.status, 200);
    let (original, copy) = (primary.only().await, mirror.only().await);
    assert_eq!(lines(&copy), lines(&original));
    assert_eq!(original.header("x-secret"), None);
    assert_eq!(original.header("x-forwarded-for").as_deref(), Some("10.0.0.1, 127.0.0.1"));
    assert_eq!(world.mirror_account(1).await.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_leads_nowhere_is_skipped() {
    let primary = Echo::start().await;
    let filters = "filters: [{requestMirror: {invalid: no such Service}}, {requestMirror: {backend: nowhere}}, {requestMirror: {backend: empty}}]";
    let world = Setup::new().backend("primary", &primary).endpoints("empty", &[]).rule(filters).start().await;
    let mut client = world.client().await;
    for _ in 0..3 {
        assert_eq!(client.post("/", "served").await.text(), "served");
    }
    let account = world.mirror_account(9).await;
    assert_eq!((account.skipped, account.started), (9, 0), "{account:?}");
    assert_eq!(account.reasons["skipped no_endpoint"], 3, "{account:?}");
    assert_eq!(account.reasons["skipped invalid_target"], 6, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backends_mirror_is_used_when_that_backend_is_chosen() {
    let (one, two, mirror) = (Echo::start().await, Echo::start().await, Echo::start().await);
    let world = Setup::new()
        .backend("one", &one)
        .backend("two", &two)
        .backend("mirror", &mirror)
        .rules(
            "
            - backends:
              - {backend: one, filters: [{requestMirror: {backend: mirror}}]}
              - {backend: two}
            ",
        )
        .start()
        .await;
    let mut client = world.client().await;
    for i in 0..20 {
        assert_eq!(client.get(&format!("/{i}")).await.status, 200);
    }
    let account = world.mirror_account(one.count() as u64).await;
    assert_eq!((account.completed, one.count()), (10, 10));
    let targets = |echo: &Echo| {
        let mut targets: Vec<String> = echo.receipts().iter().map(Receipt::target).collect();
        targets.sort();
        targets
    };
    assert_eq!(targets(&mirror), targets(&one));
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_copied_each() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let mut client = world.client().await;
    let request = |i: usize| format!("POST /{i} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\n{i}");
    client.send((0..5).map(request).collect::<String>()).await;
    for i in 0..5 {
        assert_eq!(client.answer().await.text(), i.to_string());
    }
    let mut copies = mirror.ended(5).await;
    copies.sort_by_key(Receipt::target);
    for (i, copy) in copies.iter().enumerate() {
        assert_eq!((copy.target(), copy.body.clone()), (format!("/{i}"), Body::from(i.to_string())));
    }
    assert_eq!(world.mirror_account(5).await.completed, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_sent_while_the_request_still_comes() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\nabc").await;
    mirror.until("the first half", |copies| copies.first().is_some_and(|copy| copy.body.text() == "abc")).await;
    assert_eq!(client.exchange("def").await.text(), "abcdef");
    assert_eq!(mirror.only().await.body.text(), "abcdef");
    assert_eq!(world.mirror_account(1).await.completed, 1);
}
