//! TLS towards backends: what an endpoint must prove, who the gateway says it is, and which connections
//! and sessions are used again.

use std::time::Duration;

use doppel_tests::{
    Authority, Case, Echo, Guard, Identity, MIRRORED, Manifests, Peer, Reply, Setup, Step, World, eventually,
};
use gateway::app::Settings;

/// A backend that wants to be `shop.test`, by the word of the authority `known`.
const SHOP: &str = "serverName: shop.test, authorities: [known]";

fn setup(known: &Authority, echo: &Echo, tls: &str) -> Setup {
    Setup::new().document(&known.document("known")).guarded_backend("primary", echo, tls).rule("")
}

async fn status(world: &World) -> u16 {
    world.client().await.get("/").await.status
}

/// That a backend with this certificate gets requests, and copies, or not a byte of them.
async fn check(known: &Authority, identity: &Identity, tls: &str, expected: u16) {
    let guard = Guard::new(identity);
    for http2 in [false, true] {
        let echo = match http2 {
            false => Echo::guarded(&guard, |_, _| Step::echo()).await,
            true => Echo::guarded_h2(&guard, |_, _| Step::echo()).await,
        };
        let protocol = if http2 { ", protocol: h2c" } else { "" };
        let document = format!("backend: {{name: NAME, endpoints: ['{}'], tls: {{{tls}}}{protocol}}}", echo.address());
        let (primary, plain) = (document.replace("NAME", "primary"), Echo::start().await);
        let setup = Setup::new().document(&known.document("known"));
        let world = setup.clone().document(&primary).rule("").start().await;
        assert_eq!(world.client().await.post("/", "body").await.status, expected, "{tls}, as the primary");

        let mirror = document.replace("NAME", "mirror");
        let world = setup.document(&mirror).backend("primary", &plain).rule(MIRRORED).start().await;
        assert_eq!(world.client().await.post("/", "body").await.text(), "body", "{tls}");
        let account = world.mirror_account(1).await;
        let (completed, requests) = if expected == 200 { (1, 2) } else { (0, 0) };
        assert_eq!((account.completed, echo.count()), (completed, requests), "{tls}, as a mirror: {account:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_sent_nothing_before_it_has_proved_who_it_is() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let names = "serverName: asked.test, authorities: [known], subjectAltNames: ";
    let uri = "spiffe://a.test/shop";
    for (identity, tls, expected) in [
        (known.identity(&["shop.test"]), SHOP.to_owned(), 200),
        (known.identity(&["*.a.test"]), "serverName: b.a.test, authorities: [known]".to_owned(), 200),
        (known.identity(&["other.test", uri]), SHOP.to_owned(), 502),
        (known.expired(&["shop.test"]), SHOP.to_owned(), 502),
        (unknown.identity(&["shop.test"]), SHOP.to_owned(), 502),
        (Identity::new(&["shop.test"]), SHOP.to_owned(), 502),
        // Nobody but the system's authorities is believed, and none of them has heard of it.
        (known.identity(&["shop.test"]), "serverName: shop.test".to_owned(), 502),
        (known.identity(&["shop.test"]), "serverName: shop.test, authorities: [nobody, known]".to_owned(), 200),
        (known.identity(&["shop.test"]), "serverName: shop.test, authorities: [nobody]".to_owned(), 500),
        (known.identity(&["a.test"]), format!("{names}[{{hostname: a.test}}]"), 200),
        (known.identity(&["*.a.test"]), format!("{names}[{{hostname: b.a.test}}]"), 200),
        (known.identity(&["asked.test"]), format!("{names}[{{hostname: a.test}}]"), 502),
        (known.identity(&["a.test"]), format!("{names}[{{uri: '{uri}'}}, {{hostname: a.test}}]"), 200),
        (known.identity(&[uri]), format!("{names}[{{hostname: a.test}}, {{uri: '{uri}'}}]"), 200),
        (known.identity(&[uri]), format!("{names}[{{uri: '{uri}/'}}]"), 502),
        (known.identity(&["*.a.test"]), format!("{names}[{{hostname: '*.a.test'}}]"), 200),
        (known.identity(&["b.a.test"]), format!("{names}[{{hostname: '*.a.test'}}]"), 502),
        (unknown.identity(&["a.test"]), format!("{names}[{{hostname: a.test}}]"), 502),
    ] {
        check(&known, &identity, &tls, expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_an_endpoint_without_tls() {
    let (known, echo) = (Authority::new(), Echo::start().await);
    let soon = |settings: &mut Settings| settings.proxy.connect_timeout = Duration::from_millis(100);
    let world = World::start_with(setup(&known, &echo, SHOP), soon).await;
    // It waits for the end of what it takes for the head of a request.
    assert_eq!(status(&world).await, 504);
    assert_eq!(echo.receipts().iter().filter(|receipt| receipt.is_complete()).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_does_not_agree_to_http2_is_sent_nothing() {
    let known = Authority::new();
    let echo = Echo::guarded(&Guard::new(&known.identity(&["shop.test"])), |_, _| Step::echo()).await;
    let setup = Setup::new().document(&known.document("known")).rule("");
    let backend =
        format!("backend: {{name: primary, protocol: h2c, endpoints: ['{}'], tls: {{{SHOP}}}}}", echo.address());
    let world = setup.document(&backend).start().await;
    assert_eq!(status(&world).await, 502);
    assert_eq!(echo.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_name_is_asked_for_whatever_the_certificate_must_be_for() {
    let known = Authority::new();
    let echo = Echo::guarded(&Guard::new(&known.identity(&["a.test"])), |_, _| Step::echo()).await;
    let tls = "serverName: asked.test, authorities: [known], subjectAltNames: [{hostname: a.test}]";
    let world = setup(&known, &echo, tls).start().await;
    assert_eq!(status(&world).await, 200);
    let handshakes = echo.handshakes();
    assert_eq!(handshakes[0].name.as_deref(), Some("asked.test"));
    assert!(handshakes[0].is_from_nobody());
}

/// Answers, and closes its connection.
fn closing() -> Vec<Step> {
    vec![Step::ReadAll, Step::Reply(Reply::text("closing").header("Connection", "close")), Step::Close]
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_used_again_and_sessions_resumed_as_long_as_the_terms_are_the_same() {
    let (known, other) = (Authority::new(), Authority::new());
    let guard = Guard::new(&known.identity(&["shop.test", "shop.example"]));
    let kept = Echo::guarded(&guard, |_, _| Step::echo()).await;
    let closed = Echo::guarded(&guard, |_, _| closing()).await;
    let backend = |name: &str, echo: &Echo, tls: &str, times: usize| {
        let endpoints = vec![format!("'{}'", echo.address()); times].join(", ");
        format!("backend: {{name: {name}, endpoints: [{endpoints}], tls: {{{tls}}}}}")
    };
    let setup = |tls: &str, times: usize| {
        Setup::new()
            .document(&known.document("known"))
            .document(&other.document("other"))
            .document(&backend("kept", &kept, tls, times))
            .document(&backend("closed", &closed, tls, times))
            .rules(
                "
                - matches: [{path: {exact: /kept}}]
                  backends: [{backend: kept}]
                - backends: [{backend: closed}]
                ",
            )
    };
    let mut world = setup(SHOP, 1).start().await;
    let ask = async |world: &World| {
        let mut client = world.client().await;
        for path in ["/kept", "/", "/kept", "/"] {
            assert_eq!(client.get(path).await.status, 200, "{path}");
        }
    };
    let resumed = |echo: &Echo| echo.handshakes().iter().map(|shaken| shaken.is_resumed).collect::<Vec<_>>();
    ask(&world).await;
    assert_eq!((resumed(&kept), resumed(&closed)), (vec![false], vec![false, true]));

    // Endpoints that come and go are not among the terms.
    world.reload(&setup(SHOP, 2)).await;
    ask(&world).await;
    assert_eq!((resumed(&kept), resumed(&closed)), (vec![false], vec![false, true, true, true]));

    for tls in [
        "serverName: shop.test, authorities: [known, other]",
        "serverName: shop.test, authorities: [known], subjectAltNames: [{hostname: shop.example}]",
    ] {
        let (before, of_closed) = (resumed(&kept).len(), resumed(&closed).len());
        world.reload(&setup(tls, 1)).await;
        ask(&world).await;
        assert_eq!(resumed(&kept)[before..], [false], "{tls}");
        assert_eq!(resumed(&closed)[of_closed..], [false, true], "{tls}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_that_change_count_from_the_next_request_on() {
    let (known, other) = (Authority::new(), Authority::new());
    let echo = Echo::guarded(&Guard::new(&known.identity(&["shop.test"])), |_, _| Step::echo()).await;
    let mut world = setup(&known, &echo, SHOP).start().await;
    assert_eq!(status(&world).await, 200);
    world.reload(&setup(&other, &echo, SHOP)).await;
    assert_eq!(status(&world).await, 502);
    world.reload(&setup(&known, &echo, SHOP)).await;
    assert_eq!(status(&world).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_the_gateway_is_depends_on_the_listener_and_connections_do_not_cross() {
    let (known, clients) = (Authority::new(), Authority::new());
    let (one, two) = (clients.identity(&["one.test"]), clients.identity(&["two.test"]));
    let guard = Guard::asking(&known.identity(&["shop.test"]), &clients);
    for http2 in [false, true] {
        let (echo, protocol) = match http2 {
            false => (Echo::guarded(&guard, |_, _| Step::echo()).await, ""),
            true => (Echo::guarded_h2(&guard, |_, _| Step::echo()).await, ", protocol: h2c"),
        };
        let plain = Echo::start().await;
        let setup = |one: &Identity| {
            Setup::empty()
                .document(&known.document("known"))
                .document(&one.document("one"))
                .document(&two.document("two"))
                .document("listener: {name: one, address: '127.0.0.1:0', backendCertificate: one}")
                .document("listener: {name: two, address: '127.0.0.2:0', backendCertificate: two}")
                .document("listener: {name: nobody, address: '127.0.0.3:0'}")
                .backend("plain", &plain)
                .document(&format!(
                    "backend: {{name: guarded, endpoints: ['{}'], tls: {{{SHOP}}}{protocol}}}",
                    echo.address()
                ))
                .document(
                    "
                    route:
                      name: route
                      listeners: [one, two, nobody]
                      rules:
                        - matches: [{path: {exact: /copied}}]
                          filters: [{requestMirror: {backend: guarded}}]
                          backends: [{backend: plain}]
                        - backends: [{backend: guarded}]
                    ",
                )
        };
        let mut world = setup(&one).start().await;
        let ask = async |world: &World, listener: &str, path: &str| {
            doppel_tests::Client::connect(world.address_of(listener)).await.get(path).await.status
        };
        for _ in 0..2 {
            assert_eq!(ask(&world, "one", "/").await, 200);
            assert_eq!(ask(&world, "two", "/").await, 200);
            assert_eq!(ask(&world, "nobody", "/").await, 502);
        }
        let who = |echo: &Echo| echo.handshakes().iter().map(|shaken| shaken.is_from(&one)).collect::<Vec<_>>();
        assert_eq!(who(&echo), [true, false]);
        assert!(echo.handshakes()[1].is_from(&two));

        // So it is for copies.
        for listener in ["one", "two", "nobody"] {
            assert_eq!(ask(&world, listener, "/copied").await, 200);
        }
        let account = world.mirror_account(3).await;
        assert_eq!((account.completed, account.failed), (2, 1), "{account:#?}");
        let handshakes = echo.handshakes();
        assert_eq!(handshakes.len(), 4);
        assert_eq!(handshakes[2..].iter().filter(|shaken| shaken.is_from(&one)).count(), 1);

        // A renewed certificate is another one.
        let renewed = clients.identity(&["one.test"]);
        world.reload(&setup(&renewed)).await;
        assert_eq!(ask(&world, "one", "/").await, 200);
        assert_eq!(ask(&world, "two", "/").await, 200);
        assert_eq!(echo.handshakes().len(), 5);
        assert!(echo.handshakes()[4].is_from(&renewed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_secured_like_a_request() {
    let (known, unknown) = (Authority::new(), Authority::new());
    for (authority, expected) in [(&known, 101), (&unknown, 502)] {
        let guard = Guard::new(&authority.identity(&["shop.test"]));
        let echo = Echo::guarded(&guard, |_, _| {
            let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            vec![Step::Write(switch.into()), Step::Tunnel]
        });
        let echo = echo.await;
        let world = setup(&known, &echo, SHOP).start().await;
        let mut client = world.client().await;
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
        assert_eq!(client.head().await.word(1), expected.to_string());
        if expected == 101 {
            client.send("through").await;
            assert_eq!(client.take(7).await, b"through");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_size_and_trailers_pass_over_http2() {
    let known = Authority::new();
    let guard = Guard::new(&known.identity(&["shop.test"]));
    let echo = Echo::guarded_h2(&guard, |_, head| match head.word(1).as_str() {
        "/early" => vec![Step::Reply(Reply::text("enough"))],
        _ => vec![
            Step::ReadAll,
            Step::Reply(Reply { trailers: vec![("grpc-status".into(), "0".into())], ..Reply::echo() }),
        ],
    });
    let echo = echo.await;
    let setup = Setup::new().document(&known.document("known")).rule("");
    let backend =
        format!("backend: {{name: primary, protocol: h2c, endpoints: ['{}'], tls: {{{SHOP}}}}}", echo.address());
    let world = setup.document(&backend).start().await;
    for length in [0, 1, 70_000, 1 << 20] {
        let body = "x".repeat(length);
        let answer = world.h2_client().await.post("/", body.clone()).await;
        assert!(answer.status == 200 && answer.text() == body, "{length}");
        assert_eq!(answer.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
        let answer = world.client().await.post("/", &body).await;
        assert!(answer.status == 200 && answer.text() == body, "{length}");
    }
    assert_eq!(world.client().await.post("/early", "x".repeat(1 << 20)).await.text(), "enough");
    assert_eq!(echo.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_breaks_off_is_seen_to_do_so_over_http2() {
    let known = Authority::new();
    let guard = Guard::new(&known.identity(&["shop.test"]));
    let echo = Echo::guarded_h2(&guard, |_, _| Step::echo()).await;
    let setup = Setup::new().document(&known.document("known")).rule("");
    let backend =
        format!("backend: {{name: primary, protocol: h2c, endpoints: ['{}'], tls: {{{SHOP}}}}}", echo.address());
    let world = setup.document(&backend).start().await;
    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhalf").await;
    echo.until("half of the body", |receipts| receipts.iter().any(|receipt| receipt.body.length == 4)).await;
    client.reset();
    let receipt = echo.only().await;
    assert!(receipt.is_aborted(), "{receipt:#?}");
    eventually("the next request", async || (status(&world).await == 200).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_with_tls_fulfil_the_contract() {
    Case::new().primary(Peer::echo().guarded()).mirror(Peer::echo().guarded()).check().await.all_completed();
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_with_tls_and_http2_fulfil_the_contract() {
    Case::new().primary(Peer::h2_echo().guarded()).mirror(Peer::h2_echo().guarded()).check().await.all_completed();
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_with_tls_that_misbehave_change_nothing() {
    let case = Case::new().mirror(Peer::http1(|_, _| vec![Step::Stall]).guarded());
    let case = case.mirror(Peer::http1(|_, _| vec![Step::ReadAll, Step::Reset]).guarded());
    case.mirror(Peer::http2(|_, _| vec![Step::Reset]).guarded()).check().await;
}

/// From the objects to the handshake: a policy for the primary and one for the mirror, and a Gateway
/// with a certificate of its own.
#[tokio::test(flavor = "multi_thread")]
async fn policies_and_the_certificate_of_a_gateway_count_for_primaries_and_mirrors() {
    let (known, other, clients) = (Authority::new(), Authority::new(), Authority::new());
    let gateway = clients.identity(&["gateway.test"]);
    let primary = Echo::guarded(&Guard::asking(&known.identity(&["shop.test"]), &clients), |_, _| Step::echo()).await;
    let guard = Guard::asking(&known.identity(&["spiffe://shop"]), &clients);
    let mirror = Echo::guarded_h2(&guard, |_, _| Step::echo()).await;
    let manifests = |bundle: &Authority| {
        let manifests = Manifests::with_class().apply(&gateway.secret("gateway")).apply(&bundle.config_map("ca"));
        let manifests = manifests.apply(
            "
            apiVersion: gateway.networking.k8s.io/v1
            kind: Gateway
            metadata: {name: gateway}
            spec:
              gatewayClassName: doppel
              tls: {backend: {clientCertificateRef: {name: gateway}}}
              listeners: [{name: http, port: 80, protocol: HTTP}]
            ---
            apiVersion: gateway.networking.k8s.io/v1
            kind: HTTPRoute
            metadata: {name: route}
            spec:
              parentRefs: [{name: gateway}]
              rules:
              - filters: [{type: RequestMirror, requestMirror: {backendRef: {name: mirror, port: 443}}}]
                backendRefs: [{name: primary, port: 443}]
            ---
            apiVersion: v1
            kind: Service
            metadata: {name: primary}
            spec: {ports: [{port: 443, appProtocol: https}]}
            ---
            apiVersion: v1
            kind: Service
            metadata: {name: mirror}
            spec: {ports: [{port: 443, appProtocol: kubernetes.io/h2c}]}
            ---
            apiVersion: gateway.networking.k8s.io/v1
            kind: BackendTLSPolicy
            metadata: {name: primary}
            spec:
              targetRefs: [{group: '', kind: Service, name: primary}]
              validation: {hostname: shop.test, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}
            ---
            apiVersion: gateway.networking.k8s.io/v1
            kind: BackendTLSPolicy
            metadata: {name: mirror}
            spec:
              targetRefs: [{group: '', kind: Service, name: mirror}]
              validation:
                hostname: asked.test
                subjectAltNames: [{type: URI, uri: 'spiffe://shop'}]
                caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]
            ",
        );
        manifests.pod("default/primary", &primary).pod("default/mirror", &mirror).setup()
    };
    let mut world = manifests(&known).start().await;
    assert_eq!(world.client().await.post("/", "body").await.text(), "body");
    assert_eq!(world.mirror_account(1).await.completed, 1);
    for (echo, asked_for) in [(&primary, "shop.test"), (&mirror, "asked.test")] {
        let [shaken] = &echo.handshakes()[..] else { panic!("{:?}", echo.handshakes()) };
        assert!(shaken.is_from(&gateway) && shaken.name.as_deref() == Some(asked_for), "{shaken:?}");
    }

    // The bundle is another one now.
    world.reload(&manifests(&other)).await;
    assert_eq!(status(&world).await, 502);
    assert_eq!(world.mirror_account(2).await.failed, 1);
    assert_eq!((primary.count(), mirror.count()), (1, 1));
    world.reload(&manifests(&known)).await;
    assert_eq!(status(&world).await, 200);
    assert_eq!(world.mirror_account(3).await.completed, 2);
}
