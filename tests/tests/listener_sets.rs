//! Listeners that ListenerSets add to a Gateway, from manifests to requests.

use std::sync::Arc;

use doppel_tests::{Client, Dialer, Echo, Identity, Manifests, soon};
use tokio::sync::watch;
use tokio::task::JoinSet;

const GATEWAY: &str = "
    apiVersion: gateway.networking.k8s.io/v1
    kind: Gateway
    metadata: {name: gateway}
    spec:
      gatewayClassName: doppel
      allowedListeners: {namespaces: {from: Same}}
      listeners:
      - {name: http, port: 80, protocol: HTTP, hostname: gateway.test}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: of-gateway}
    spec: {ports: [{port: 8080}]}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: of-set}
    spec: {ports: [{port: 8080}]}
    ---
    apiVersion: gateway.networking.k8s.io/v1
    kind: HTTPRoute
    metadata: {name: of-gateway}
    spec:
      parentRefs: [{name: gateway}]
      rules: [{backendRefs: [{name: of-gateway, port: 8080}]}]
";

const SET: &str = "
    apiVersion: gateway.networking.k8s.io/v1
    kind: ListenerSet
    metadata: {name: more}
    spec:
      parentRef: {name: gateway}
      listeners:
      - {name: http, port: 80, protocol: HTTP, hostname: set.test}
      - {name: taken, port: 80, protocol: HTTP, hostname: gateway.test}
      - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}
    ---
    apiVersion: gateway.networking.k8s.io/v1
    kind: HTTPRoute
    metadata: {name: of-set}
    spec:
      parentRefs: [{kind: ListenerSet, name: more}]
      rules: [{backendRefs: [{name: of-set, port: 8080}]}]
";

fn get(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_and_its_listener_set_serve_their_own_routes() {
    let (of_gateway, of_set) = (Echo::named("of-gateway").await, Echo::named("of-set").await);
    let identity = Identity::new(&["a.test"]);
    let manifests = Manifests::with_class().apply(GATEWAY).apply(SET).apply(&identity.secret("cert"));
    let manifests = manifests.pod("default/of-gateway", &of_gateway).pod("default/of-set", &of_set);
    let world = manifests.setup().start().await;
    let mut client = Client::connect(world.address_of("default/gateway/http")).await;
    for (host, status, answer) in [
        ("gateway.test", 200, "of-gateway"),
        ("set.test", 200, "of-set"),
        ("x.test", 404, "no route matches this request\n"),
    ] {
        let found = client.exchange(get(host)).await;
        assert_eq!((found.status, found.text().as_str()), (status, answer), "{host}");
    }
    let address = world.address_of("listenerset/default/more/https");
    let (mut client, agreed) = Dialer::http1().connect(address, "a.test").await;
    assert!(agreed.is_with(&identity));
    assert_eq!(client.exchange(get("a.test")).await.text(), "of-set");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_set_that_comes_and_goes_fails_no_request_of_its_gateway() {
    const CONNECTIONS: usize = 20;
    const REQUESTS: usize = 200;
    const FLIPS: usize = 10;
    let (of_gateway, of_set) = (Echo::named("of-gateway").await, Echo::named("of-set").await);
    let gateway = Manifests::with_class().apply(GATEWAY).apply(&Identity::new(&["a.test"]).secret("cert"));
    let gateway = gateway.pod("default/of-gateway", &of_gateway).pod("default/of-set", &of_set);
    let (without, with) = (gateway.setup(), gateway.apply(SET).setup());
    let mut world = without.clone().start().await;
    let address = world.address_of("default/gateway/http");
    let answered = Arc::new(watch::Sender::new(0));
    let mut clients = JoinSet::new();
    for number in 0..CONNECTIONS {
        let answered = answered.clone();
        clients.spawn(async move {
            let mut client = Client::connect(address).await;
            for i in 0..REQUESTS {
                // Some keep their connection, some come anew.
                if number % 2 == 0 && i % 10 == 0 {
                    client = Client::connect(address).await;
                }
                let answer = client.exchange(get("gateway.test")).await;
                assert_eq!((answer.status, answer.text().as_str()), (200, "of-gateway"));
                answered.send_modify(|answered| *answered += 1);
            }
        });
    }
    let mut progress = answered.subscribe();
    let mut kept = Client::connect(address).await;
    for flip in 1..=FLIPS {
        let enough = flip * CONNECTIONS * REQUESTS / (FLIPS + 1);
        soon("requests to be answered", progress.wait_for(|answered| *answered >= enough)).await.expect("clients run");
        let is_there = flip % 2 == 1;
        world.reload(if is_there { &with } else { &without }).await;
        assert_eq!(kept.exchange(get("set.test")).await.status, if is_there { 200 } else { 404 });
    }
    while let Some(client) = soon("the clients to end", clients.join_next()).await {
        client.expect("only expected answers");
    }
    assert_eq!(of_gateway.count(), CONNECTIONS * REQUESTS);
}
