//! A few ways through the table, end to end; the table's own tests have the rest.

use doppel_tests::{Client, Echo, H2Client, Setup, World};

/// A gateway whose rules lead to three backends that answer with their names: `a`, `b`, `c`.
async fn world(documents: &str) -> (World, [Echo; 3]) {
    let echoes = [Echo::named("a").await, Echo::named("b").await, Echo::named("c").await];
    let mut setup = Setup::new();
    for (name, echo) in ["a", "b", "c"].into_iter().zip(&echoes) {
        setup = setup.backend(name, echo);
    }
    for document in documents.split("---\n") {
        setup = setup.document(document);
    }
    (setup.start().await, echoes)
}

async fn check(world: &World, requests: &[(&str, &str)]) {
    let mut client = world.client().await;
    for (request, expected) in requests {
        let answer = client.exchange(format!("{request}\r\n\r\n")).await;
        let found = if answer.status == 200 { answer.text() } else { answer.status.to_string() };
        assert_eq!(found, *expected, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_specific_path_answers() {
    let rules = "
        route:
          name: r
          listeners: [http]
          rules:
          - {matches: [{path: {prefix: /shop}}], backends: [{backend: a}]}
          - {matches: [{path: {exact: /shop/cart}}], backends: [{backend: b}]}
          - {matches: [{path: {prefix: /shop/items/}}], backends: [{backend: c}]}
        ";
    let (world, _echoes) = world(rules).await;
    check(
        &world,
        &[
            ("GET /shop HTTP/1.1\r\nHost: x", "a"),
            ("GET /shop?x=/shop/cart HTTP/1.1\r\nHost: x", "a"),
            ("GET /shop/cart HTTP/1.1\r\nHost: x", "b"),
            ("GET /shop/cart/ HTTP/1.1\r\nHost: x", "a"),
            ("GET /shop/items HTTP/1.1\r\nHost: x", "c"),
            ("GET /shop/items/7 HTTP/1.1\r\nHost: x", "c"),
            ("GET /shopping HTTP/1.1\r\nHost: x", "404"),
            ("GET / HTTP/1.1\r\nHost: x", "404"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_counted_method_then_headers_then_query() {
    let rules = "
        route:
          name: r
          listeners: [http]
          rules:
          - {matches: [{headers: [{name: version, exact: two}]}], backends: [{backend: b}]}
          - {matches: [{method: POST}], backends: [{backend: c}]}
          - {matches: [{query: [{name: q, exact: a b}]}], backends: [{backend: a}]}
        ";
    let (world, _echoes) = world(rules).await;
    check(
        &world,
        &[
            ("GET / HTTP/1.1\r\nHost: x\r\nVersion: two", "b"),
            ("GET /?q=a%20b HTTP/1.1\r\nHost: x\r\nVersion: two", "b"),
            ("POST / HTTP/1.1\r\nHost: x\r\nVersion: two\r\nContent-Length: 0", "c"),
            ("GET /?q=a+b HTTP/1.1\r\nHost: x", "a"),
            ("GET /?q=ab&q=a+b HTTP/1.1\r\nHost: x", "404"),
            ("GET / HTTP/1.1\r\nHost: x\r\nversion: three", "404"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_matched_without_port_and_case() {
    let routes = "
        route: {name: any, listeners: [http], hostnames: ['*.example.com'], rules: [{backends: [{backend: a}]}]}
---
        route: {name: one, listeners: [http], hostnames: [shop.example.com], rules: [{backends: [{backend: b}]}]}
        ";
    let (world, _echoes) = world(routes).await;
    check(
        &world,
        &[
            ("GET / HTTP/1.1\r\nHost: SHOP.example.com:8000", "b"),
            ("GET / HTTP/1.1\r\nHost: deep.down.example.com", "a"),
            ("GET / HTTP/1.1\r\nHost: example.com", "404"),
            ("GET http://shop.example.com/ HTTP/1.1\r\nHost: shop.example.com", "b"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_of_http2_is_the_host() {
    let routes = "
        route: {name: a, listeners: [http], hostnames: [a.test], rules: [{backends: [{backend: a}]}]}
---
        route: {name: b, listeners: [http], hostnames: [b.test], rules: [{backends: [{backend: b}]}]}
        ";
    let (world, _echoes) = world(routes).await;
    let mut client = H2Client::connect(world.address()).await;
    assert_eq!(client.get("/").await.text(), "a");
    let request = http::Request::builder().uri("http://B.test:80/");
    assert_eq!(client.start(request, true).await.answer().await.text(), "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_on_one_socket_are_told_apart_by_host_before_their_routes() {
    let documents = "
        listener: {name: exact, address: '127.0.0.1:0', hostname: a.example.com}
---
        route: {name: wide, listeners: [http], rules: [{backends: [{backend: a}]}]}
---
        route: {name: deep, listeners: [exact], rules: [{matches: [{path: {prefix: /deep}}], backends: [{backend: b}]}]}
        ";
    let (world, _echoes) = world(documents).await;
    check(
        &world,
        &[
            ("GET /deep HTTP/1.1\r\nHost: a.example.com", "b"),
            // The route of the wider listener does not stand in.
            ("GET /other HTTP/1.1\r\nHost: a.example.com", "404"),
            ("GET /deep HTTP/1.1\r\nHost: b.example.com", "a"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_on_other_sockets_have_other_routes() {
    let documents = "
        listener: {name: other, address: '127.0.0.2:0'}
---
        route: {name: a, listeners: [http], rules: [{backends: [{backend: a}]}]}
---
        route: {name: b, listeners: [other], rules: [{backends: [{backend: b}]}]}
        ";
    let (world, _echoes) = world(documents).await;
    assert_eq!(world.client().await.get("/").await.text(), "a");
    assert_eq!(Client::connect(world.address_of("other")).await.get("/").await.text(), "b");
}
