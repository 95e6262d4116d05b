//! What browsers are told about the pages of other origins.

use doppel_tests::{Answer, Client, Echo, Head, Reply, Setup, Step, refusing};

/// A backend with a rule of its own about other origins, which the gateway's replaces.
async fn opinionated() -> Echo {
    Echo::scripted(|_, _: &Head| {
        let reply = Reply::text("content").header("Access-Control-Allow-Origin", "*").header("Vary", "accept");
        vec![Step::ReadAll, Step::Reply(reply.header("Access-Control-Expose-Headers", "x-backend"))]
    })
    .await
}

const CORS: &str = "cors: {allowOrigins: ['https://www.foo.com', 'https://*.bar.com'], allowCredentials: true, \
                    allowMethods: [PUT], allowHeaders: [x-one], exposeHeaders: [x-two], maxAge: 1m}";

fn preflight(origin: &str) -> String {
    format!(
        "OPTIONS /a HTTP/1.1\r\nHost: a.test\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n\
         Access-Control-Request-Headers: x-one\r\n\r\n"
    )
}

async fn ask(client: &mut Client, method: &str, origin: &str) -> Answer {
    client.exchange(format!("{method} /a HTTP/1.1\r\nHost: a.test\r\nOrigin: {origin}\r\n\r\n")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_are_answered_here_and_seen_by_no_backend_nor_mirror() {
    let (primary, mirror) = (opinionated().await, Echo::start().await);
    let world = Setup::new()
        .backend("primary", &primary)
        .backend("mirror", &mirror)
        .rule(&format!("filters: [{CORS}, {{requestMirror: {{backend: mirror}}}}]"))
        .start()
        .await;
    let mut client = world.client().await;
    for origin in ["https://www.foo.com", "https://a.b.bar.com"] {
        let answer = client.exchange(preflight(origin)).await;
        assert_eq!((answer.status, answer.text().as_str()), (204, ""));
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "PUT"),
            ("access-control-allow-headers", "x-one"),
            ("access-control-expose-headers", "x-two"),
            ("access-control-max-age", "60"),
            ("vary", "origin"),
        ] {
            assert_eq!(answer.head.values(name), [value], "{name}");
        }
    }
    let answer = client.exchange(preflight("https://foobar.com")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None));
    assert_eq!(primary.count(), 0);

    // The connection goes on, and so do requests that are no preflights.
    let answer = ask(&mut client, "OPTIONS", "https://www.foo.com").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "content"));
    let account = world.mirror_account(4).await;
    assert_eq!((account.skipped, account.completed), (3, 1));
    assert_eq!((primary.count(), mirror.count()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_backends_are_shown_to_the_pages_that_the_rule_names() {
    let primary = opinionated().await;
    let world = Setup::new().backend("primary", &primary).rule(&format!("filters: [{CORS}]")).start().await;
    let mut client = world.client().await;
    for (origin, shown) in [("https://www.foo.com", true), ("https://evil.com", false), ("null", false)] {
        let answer = ask(&mut client, "GET", origin).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "content"), "{origin}");
        let told = |name: &str| answer.head.values(name);
        let expected = |value: &str| if shown { vec![value.to_owned()] } else { vec![] };
        assert_eq!(told("access-control-allow-origin"), expected(origin));
        assert_eq!(told("access-control-allow-credentials"), expected("true"));
        assert_eq!(told("access-control-expose-headers"), expected("x-two"));
        assert_eq!(told("vary"), ["accept", "origin"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_the_gateway_are_shown_as_well() {
    let (refusing, _socket) = refusing();
    let cases = [
        (format!("- filters: [{CORS}, {{requestRedirect: {{hostname: b.test}}}}]"), 302),
        (format!("- {{filters: [{CORS}], backends: [{{invalid: nowhere}}]}}"), 500),
        (format!("- {{filters: [{CORS}], backends: [{{backend: refusing}}]}}"), 502),
    ];
    for (rules, status) in cases {
        let world = Setup::new().endpoints("refusing", &[refusing]).rules(&rules).start().await;
        let answer = ask(&mut world.client().await, "GET", "https://www.foo.com").await;
        let origin = answer.header("access-control-allow-origin");
        assert_eq!((answer.status, origin.as_deref()), (status, Some("https://www.foo.com")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backends_filter_counts_where_the_rule_has_none() {
    let primary = Echo::start().await;
    let of_backend = "filters: [{cors: {allowOrigins: ['https://backend.com']}}]";
    for (filters, expected) in [("", "https://backend.com"), (CORS, "https://www.foo.com")] {
        let world = Setup::new()
            .backend("primary", &primary)
            .rules(&format!("- {{filters: [{filters}], backends: [{{backend: primary, {of_backend}}}]}}"))
            .start()
            .await;
        let mut client = world.client().await;
        for origin in ["https://backend.com", "https://www.foo.com"] {
            let status = if origin == expected { 204 } else { 403 };
            assert_eq!(client.exchange(preflight(origin)).await.status, status, "{filters} {origin}");
            let allowed = ask(&mut client, "GET", origin).await.header("access-control-allow-origin");
            assert_eq!(allowed.as_deref(), Some(origin).filter(|origin| *origin == expected), "{filters}");
        }
    }
}
