//! TLS with clients: who is let in by which listener, and what a reload changes.

use std::sync::Arc;

use doppel_tests::{
    Client, Dialer, Echo, Framing, H2Client, Identity, MIRRORED, Manifests, Pattern, Setup, World, eventually, soon,
};
use rustls::version::{TLS12, TLS13};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Listeners of one address for a name, for a wildcard and for any host, each with a certificate of
/// its own, whose names are another listener's.
struct House {
    exact: Identity,
    wildcard: Identity,
    any: Identity,
}

impl House {
    fn new() -> Self {
        Self {
            exact: Identity::new(&["x.y.example.com", "other.test"]),
            wildcard: Identity::new(&["shop.example.com"]),
            any: Identity::new(&["*.example.com", "shop.example.com"]),
        }
    }

    /// Each listener has a route of its own, which answers with its name.
    fn setup(&self, [exact, wildcard, any]: [&Echo; 3]) -> Setup {
        let mut setup = Setup::empty()
            .document(&self.exact.document("exact"))
            .document(&self.wildcard.document("wildcard"))
            .document(&self.any.document("any"))
            .document(&listener("exact", "hostname: shop.example.com, "))
            .document(&listener("wildcard", "hostname: '*.example.com', "))
            .document(&listener("any", ""));
        for (name, echo) in [("exact", exact), ("wildcard", wildcard), ("any", any)] {
            let route = "rules: [{matches: [{path: {prefix: /there}}], backends: [{backend: NAME}]}]";
            setup = setup
                .backend(name, echo)
                .document(&format!("route: {{name: {name}, listeners: [{name}], {route}}}").replace("NAME", name));
        }
        setup
    }
}

fn listener(name: &str, hostname: &str) -> String {
    format!("listener: {{name: {name}, address: '127.0.0.1:0', {hostname}tls: {{certificates: [{name}]}}}}")
}

async fn echoes() -> [Echo; 3] {
    [Echo::named("exact").await, Echo::named("wildcard").await, Echo::named("any").await]
}

/// One listener `https` for any host, with its certificate.
fn https(identity: &Identity) -> Setup {
    Setup::empty()
        .document(&identity.document("https"))
        .document(&listener("https", ""))
        .document("route: {name: route, listeners: [https], rules: [{backends: [{backend: primary}]}]}")
}

fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

async fn handshakes(world: &World, result: &str) -> f64 {
    world.scrape().await.sum("doppel_tls_handshakes_total", &[("result", result)])
}

/// A client may have finished its handshake a moment before the gateway has counted it.
async fn handshakes_reach(world: &World, result: &str, count: f64) {
    let counted = async || (handshakes(world, result).await >= count).then_some(());
    eventually("handshakes to be counted", counted).await;
    assert_eq!(handshakes(world, result).await, count, "{result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_that_is_asked_for_decides_the_listener_and_its_certificate() {
    let (house, echoes) = (House::new(), echoes().await);
    let world = house.setup(echoes.each_ref()).start().await;
    let address = world.address_of("any");
    for (name, expected, identity) in [
        ("shop.example.com", "exact", &house.exact),
        ("SHOP.example.com", "exact", &house.exact),
        ("other.example.com", "wildcard", &house.wildcard),
        ("x.y.example.com", "wildcard", &house.wildcard),
        ("example.com", "any", &house.any),
        ("other.test", "any", &house.any),
        // No name at all.
        ("127.0.0.1", "any", &house.any),
    ] {
        let (mut client, agreed) = Dialer::http1().connect(address, name).await;
        assert!(agreed.is_with(identity), "{name}");
        assert_eq!(agreed.protocol.as_deref(), Some("http/1.1"));
        let answer = client.exchange(get(name, "/there")).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{name}");

        let (mut client, agreed) = Dialer::http2().connect_h2(address, name).await;
        assert!(agreed.is_with(identity), "{name}");
        assert_eq!(agreed.protocol.as_deref(), Some("h2"));
        let request = http::Request::get(format!("https://{name}/there"));
        let answer = client.start(request, true).await.answer().await;
        assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_another_listener_than_the_handshakes_is_misdirected() {
    let (house, echoes) = (House::new(), echoes().await);
    let mut world = house.setup(echoes.each_ref()).start().await;
    let address = world.address_of("any");
    let check = async |name: &str, host: &str, path: &str, expected: u16| {
        let (mut client, _) = Dialer::http1().connect(address, name).await;
        assert_eq!(client.exchange(get(host, path)).await.status, expected, "{name} {host}");
        // The connection is as good as before for those that it is for.
        assert_eq!(client.exchange(get(name, "/there")).await.status, 200, "{name} {host}");
        let (mut client, _) = Dialer::http2().connect_h2(address, name).await;
        let request = http::Request::get(format!("https://{host}{path}"));
        assert_eq!(client.start(request, true).await.answer().await.status, expected, "{name} {host}");
    };
    for (name, host) in [
        ("shop.example.com", "other.example.com"),
        ("shop.example.com", "other.test"),
        ("other.example.com", "shop.example.com"),
        ("other.example.com", "example.com"),
        ("other.test", "shop.example.com"),
        ("other.test", "other.example.com:443"),
    ] {
        check(name, host, "/there", 421).await;
        check(name, host, "/nowhere", 421).await;
        check(name, name, "/nowhere", 404).await;
    }
    check("other.example.com", "x.example.com", "/there", 200).await;
    check("other.test", "another.test", "/there", 200).await;

    // Where no listener is for the host, no other connection would do better.
    let without_any = Setup::empty()
        .document(&house.exact.document("exact"))
        .document(&listener("exact", "hostname: shop.example.com, "))
        .backend("exact", &echoes[0])
        .document("route: {name: exact, listeners: [exact], rules: [{backends: [{backend: exact}]}]}");
    world.reload(&without_any).await;
    check("shop.example.com", "other.test", "/there", 404).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_listener_has_gets_no_handshake() {
    let identity = Identity::new(&["other.test"]);
    let setup =
        Setup::empty().document(&identity.document("shop")).document(&listener("shop", "hostname: '*.example.com', "));
    let world = setup.start().await;
    let address = world.address_of("shop");
    for name in ["other.test", "example.com", "127.0.0.1"] {
        let error = Dialer::http1().refused(address, name).await;
        assert!(error.contains("UnrecognisedName"), "{error}");
    }
    handshakes_reach(&world, "unknown_name", 3.0).await;
    Dialer::http1().connect(address, "shop.example.com").await;
    handshakes_reach(&world, "full", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_offer_no_protocol_speak_either() {
    let primary = Echo::start().await;
    let world = https(&Identity::new(&["a.test"])).backend("primary", &primary).start().await;
    let dialer = Dialer::http1().offering(&[]);
    let (mut client, agreed) = dialer.connect(world.address_of("https"), "a.test").await;
    assert_eq!(agreed.protocol, None);
    assert_eq!(client.post("/", "body").await.text(), "body");
    let (mut client, _) = dialer.connect_h2(world.address_of("https"), "a.test").await;
    assert_eq!(client.post("/", "body").await.text(), "body");
    let error = Dialer::http1().offering(&["spdy/3"]).refused(world.address_of("https"), "a.test").await;
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    handshakes_reach(&world, "broken", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_tls_is_served_by_listeners_without_or_told_to_use_it() {
    let primary = Echo::start().await;
    let setup = https(&Identity::new(&["a.test"])).backend("primary", &primary);
    let mut world = setup.clone().start().await;
    let address = world.address_of("https");
    let answer = Client::connect(address).await.get("/").await;
    assert_eq!((answer.status, answer.text().as_str()), (400, "this port speaks TLS; use https\n"));
    assert_eq!(H2Client::connect(address).await.get("/").await.status, 400);
    assert_eq!(primary.count(), 0);

    let plain = setup
        .document("listener: {name: http, address: '127.0.0.1:0'}")
        .document("route: {name: plain, listeners: [http], rules: [{matches: [{path: {exact: /plain}}], backends: [{backend: primary}]}]}");
    world.reload(&plain).await;
    let mut client = Client::connect(address).await;
    assert_eq!([client.get("/plain").await.status, client.get("/").await.status], [200, 404]);
    let (mut client, _) = Dialer::http1().connect(address, "a.test").await;
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_size_pass_in_both_directions() {
    const LENGTH: u64 = 10 << 20;
    let primary = Echo::scripted(|_, head| {
        use doppel_tests::{Reply, ReplyBody, Step};
        let chunks = Pattern::new(LENGTH).chunks().collect();
        match head.header("content-length").as_deref() {
            Some("4") => Step::echo(),
            _ => vec![Step::ReadAll, Step::Reply(Reply { body: ReplyBody::Chunked(chunks), ..Reply::status(200) })],
        }
    })
    .await;
    let world = https(&Identity::new(&["a.test"])).backend("primary", &primary).start().await;
    let address = world.address_of("https");
    let (mut client, _) = Dialer::http1().connect(address, "a.test").await;
    let answer = client.post("/", Pattern::new(LENGTH).bytes()).await;
    assert_eq!((answer.framing, answer.body), (Framing::Chunked, Pattern::new(LENGTH).body()));
    assert_eq!(client.post("/", "body").await.text(), "body");
    let (mut client, _) = Dialer::http2().connect_h2(address, "a.test").await;
    let answer = client.post("/", Pattern::new(LENGTH).bytes()).await;
    assert_eq!(answer.body, Pattern::new(LENGTH).body());
    let bodies: Vec<_> = primary.receipts().iter().map(|receipt| receipt.body.length).collect();
    assert_eq!(bodies, [LENGTH, 4, LENGTH]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_in_order() {
    let primary = Echo::start().await;
    let world = https(&Identity::new(&["a.test"])).backend("primary", &primary).start().await;
    let (mut client, _) = Dialer::http1().connect(world.address_of("https"), "a.test").await;
    let answer = client.exchange("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    // An end without a word of TLS would be an error.
    client.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_and_mirrors_are_told_of_https_and_of_nothing_else() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let world = Setup::empty()
        .document(&Identity::new(&["a.test"]).document("https"))
        .document(&listener("https", ""))
        .backend("primary", &primary)
        .backend("mirror", &mirror)
        .document(&format!(
            "route: {{name: route, listeners: [https], rules: [{{{}, backends: [{{backend: primary}}]}}]}}",
            MIRRORED
        ))
        .start()
        .await;
    let (mut client, _) = Dialer::http1().connect(world.address_of("https"), "a.test").await;
    assert_eq!(client.post("/path?query", "Hello world").await.text(), "Hello world");
    let (mut client, _) = Dialer::http2().connect_h2(world.address_of("https"), "a.test").await;
    assert_eq!(client.post("/path?query", "Hello world").await.text(), "Hello world");
    world.mirror_account(2).await;
    for (original, copy) in primary.receipts().iter().zip(mirror.ended(2).await) {
        assert_eq!(original.header("x-forwarded-proto").as_deref(), Some("https"));
        assert_eq!((original.target().as_str(), original.header("host").as_deref()), ("/path?query", Some("a.test")));
        assert_eq!((original.headers_without(&[]), &original.body), (copy.headers_without(&[]), &copy.body));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_stay_with_https_and_the_port_of_the_client() {
    let identity = Identity::new(&["a.test"]);
    let rules = "
        - {matches: [{path: {exact: /host}}], filters: [{requestRedirect: {hostname: b.test}}]}
        - {matches: [{path: {exact: /http}}], filters: [{requestRedirect: {scheme: http}}]}
        - {matches: [{path: {exact: /port}}], filters: [{requestRedirect: {port: 444}}]}
    ";
    let setup = |port: u16| {
        Setup::empty()
            .document(&identity.document("https"))
            .document(&format!(
                "listener: {{name: https, address: '127.0.0.1:0', publicPort: {port}, tls: {{certificates: [https]}}}}"
            ))
            .document(&format!("route:\n  name: route\n  listeners: [https]\n  rules: {rules}"))
    };
    let mut world = setup(443).start().await;
    for (port, host) in [(443, "https://b.test/host"), (8443, "https://b.test:8443/host")] {
        world.reload(&setup(port)).await;
        let (mut client, _) = Dialer::http1().connect(world.address_of("https"), "a.test").await;
        for (path, expected) in [("/host", host), ("/http", "http://a.test/http"), ("/port", "https://a.test:444/port")]
        {
            assert_eq!(client.get(path).await.header("location").as_deref(), Some(expected), "{port}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_from_the_next_handshake_on_and_no_request_fails() {
    const CLIENTS: usize = 20;
    const REQUESTS: usize = 40;
    let primary = Echo::start().await;
    let (before, after) = (Identity::new(&["before.test"]), Identity::new(&["after.test"]));
    let setup = |identity: &Identity| https(identity).backend("primary", &primary);
    let mut world = setup(&before).start().await;
    let address = world.address_of("https");
    let (mut kept, agreed) = Dialer::http1().connect(address, "a.test").await;
    assert!(agreed.is_with(&before));

    let answered = Arc::new(watch::Sender::new(0));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let answered = answered.clone();
        clients.spawn(async move {
            for i in 0..REQUESTS {
                let body = format!("{number}/{i}");
                let text = if i % 2 == 0 {
                    Dialer::http1().connect(address, "a.test").await.0.post("/", &body).await.text()
                } else {
                    Dialer::http2().connect_h2(address, "a.test").await.0.post("/", body.clone()).await.text()
                };
                assert_eq!(text, body);
                answered.send_modify(|answered| *answered += 1);
            }
        });
    }
    let mut progress = answered.subscribe();
    for (swap, identity) in [&after, &before, &after].into_iter().enumerate() {
        let enough = (swap + 1) * CLIENTS * REQUESTS / 4;
        soon("requests to be answered", progress.wait_for(|answered| *answered >= enough)).await.expect("clients run");
        world.reload(&setup(identity)).await;
        let (_, agreed) = Dialer::http1().connect(address, "a.test").await;
        assert!(agreed.is_with(identity), "swap {swap}");
        assert_eq!(kept.post("/", "kept").await.text(), "kept");
    }
    while let Some(client) = soon("the clients to end", clients.join_next()).await {
        client.expect("only expected answers");
    }
    assert_eq!(handshakes(&world, "broken").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_keeps_its_last_good_version() {
    let primary = Echo::start().await;
    let (good, other) = (Identity::new(&["good.test"]), Identity::new(&["other.test"]));
    let mut world = https(&good).backend("primary", &primary).start().await;
    let bad = Setup::empty()
        .document(&good.document_with_key_of("https", &other))
        .document(&listener("https", ""))
        .document("route: {name: route, listeners: [https], rules: [{backends: [{backend: primary}]}]}")
        .backend("primary", &primary);
    let report = world.reload(&bad).await;
    let [problem] = &report.problems[..] else { panic!("{report:?}") };
    let expected = "the key is not that of the first certificate of the chain";
    assert!(problem.to_string().ends_with(&format!("certificate https: {expected}")), "{problem}");
    let (mut client, agreed) = Dialer::http1().connect(world.address_of("https"), "a.test").await;
    assert!(agreed.is_with(&good));
    assert_eq!(client.get("/").await.status, 200);
    let told = world.admin("/config").await;
    assert!(told.contains(expected) && !told.contains(other.line_of_key()), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_its_certificate_refuses_its_clients_alone() {
    let (primary, good) = (Echo::start().await, Identity::new(&["good.test"]));
    let setup = https(&good).backend("primary", &primary).document(
        "listener: {name: bad, address: '127.0.0.1:0', hostname: '*.example.com', tls: {certificates: [missing]}}",
    );
    let mut world = setup.clone().start().await;
    let address = world.address_of("https");
    assert!(world.admin("/config").await.contains("there is no certificate missing"));
    let error = Dialer::http1().refused(address, "shop.example.com").await;
    assert!(error.contains("HandshakeFailure"), "{error}");
    handshakes_reach(&world, "no_certificate", 1.0).await;
    let (mut client, _) = Dialer::http1().connect(address, "a.test").await;
    assert_eq!(client.get("/").await.status, 200);

    world.reload(&setup.document(&Identity::new(&["x"]).document("missing"))).await;
    Dialer::http1().connect(address, "shop.example.com").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_resumed_for_their_name_also_after_a_reload() {
    let (house, echoes) = (House::new(), echoes().await);
    let mut world = house.setup(echoes.each_ref()).start().await;
    let address = world.address_of("any");
    for version in [&TLS12, &TLS13] {
        let dialer = Dialer::of(&[version]);
        let visit = async |name: &'static str| {
            let (mut client, agreed) = dialer.connect(address, name).await;
            // Tickets of TLS 1.3 come with the first answer.
            assert_eq!(client.exchange(get(name, "/there")).await.status, 200);
            agreed.is_resumed
        };
        assert_eq!([visit("shop.example.com").await, visit("shop.example.com").await], [false, true]);
        assert_eq!([visit("other.test").await, visit("other.test").await], [false, true]);
    }
    let dialer = Dialer::http1();
    dialer.connect(address, "shop.example.com").await.0.exchange(get("shop.example.com", "/there")).await;
    let changed = House { exact: Identity::new(&["new.test"]), ..house };
    world.reload(&changed.setup(echoes.each_ref())).await;
    assert!(dialer.connect(address, "shop.example.com").await.1.is_resumed);
    handshakes_reach(&world, "resumed", 5.0).await;
}

/// The example in the configuration's folder has a certificate of ECDSA and then one of RSA.
#[tokio::test(flavor = "multi_thread")]
async fn each_client_is_shown_the_first_certificate_that_it_can_check() {
    let example = include_str!("../../conf/examples/tls.yaml").replace("0.0.0.0:8443", "127.0.0.1:0");
    let world = Setup::empty().document(&example).start().await;
    let address = world.address_of("shop");
    for version in [&TLS12, &TLS13] {
        let (_, agreed) = Dialer::of(&[version]).connect(address, "shop.example.com").await;
        assert_eq!((agreed.is_with_rsa(), agreed.version), (false, Some(version.version)));
        let (_, agreed) = Dialer::of_rsa(&[version]).connect(address, "shop.example.com").await;
        assert_eq!((agreed.is_with_rsa(), agreed.version), (true, Some(version.version)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_an_https_listener_serves_its_routes() {
    let (pipy, identity) = (Echo::start().await, Identity::new(&["a.test"]));
    let manifests = Manifests::with_class().apply(&identity.secret("cert")).apply(
        "
        apiVersion: gateway.networking.k8s.io/v1
        kind: Gateway
        metadata: {name: gateway}
        spec:
          gatewayClassName: doppel
          listeners:
          - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: foo}
        spec:
          parentRefs: [{name: gateway}]
          rules: [{backendRefs: [{name: pipy, port: 8080}]}]
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: pipy}
        spec: {ports: [{port: 8080}]}
        ",
    );
    let world = manifests.pod("default/pipy", &pipy).setup().start().await;
    let address = world.address_of("default/gateway/https");
    let (mut client, agreed) = Dialer::http1().connect(address, "a.test").await;
    assert!(agreed.is_with(&identity));
    assert_eq!(client.post("/", "Hello world").await.text(), "Hello world");
}
