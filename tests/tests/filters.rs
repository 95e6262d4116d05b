//! What filters do to requests and answers.

use doppel_tests::{Answer, Echo, Head, Receipt, Reply, Setup, Step};

/// Sends one request through a rule with these fields; gives the answer and what arrived.
async fn through(fields: &str, request: &str, reply: Reply) -> (Answer, Receipt) {
    let primary = Echo::scripted(move |_, _: &Head| vec![Step::ReadAll, Step::Reply(reply.clone())]).await;
    let world = Setup::new().backend("primary", &primary).rule(fields).start().await;
    let answer = world.client().await.exchange(request).await;
    (answer, primary.only().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn request_headers_are_set_added_and_removed() {
    let fields = "
        filters:
        - requestHeaderModifier:
            set: [{name: X-Set, value: new}]
            add: [{name: X-Add, value: two}, {name: X-New, value: 'a, b'}]
            remove: [x-gone]
        ";
    let request =
        "GET / HTTP/1.1\r\nHost: a.test\r\nx-set: old\r\nX-Set: older\r\nx-add: one\r\nX-Gone: 1\r\nX-Kept: k\r\n\r\n";
    let (_, receipt) = through(fields, request, Reply::status(200)).await;
    assert_eq!(receipt.head.values("x-set"), ["new"]);
    assert_eq!(receipt.head.values("x-add").join(","), "one,two");
    assert_eq!(receipt.head.values("x-new"), ["a, b"]);
    assert!(receipt.head.values("x-gone").is_empty());
    assert_eq!(receipt.header("x-kept").as_deref(), Some("k"));
    assert_eq!(receipt.header("host").as_deref(), Some("a.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn response_headers_are_set_added_and_removed() {
    let fields = "
        filters:
        - responseHeaderModifier:
            set: [{name: X-Set, value: new}]
            add: [{name: X-Add, value: two}]
            remove: [Server]
        ";
    let reply = Reply::text("x").header("X-Set", "old").header("X-Add", "one").header("Server", "secret");
    let (answer, _) = through(fields, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", reply).await;
    assert_eq!(answer.head.values("x-set"), ["new"]);
    assert_eq!(answer.head.values("x-add").join(","), "one,two");
    assert!(answer.head.values("server").is_empty());
    assert_eq!(answer.text(), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_hosts_are_rewritten_and_queries_kept() {
    let cases = [
        ("{path: {replaceFullPath: /new}}", "/old/a?b=%2F&c", "/new?b=%2F&c", "a.test"),
        ("{path: {replacePrefixMatch: /new}}", "/old/a%20b?c", "/new/a%20b?c", "a.test"),
        ("{path: {replacePrefixMatch: /}}", "/old", "/", "a.test"),
        ("{path: {replacePrefixMatch: /}}", "/old/x", "/x", "a.test"),
        ("{hostname: b.test}", "/old/../x?", "/old/../x?", "b.test"),
    ];
    for (rewrite, sent, target, host) in cases {
        let fields = format!("matches: [{{path: {{prefix: /old}}}}]\nfilters: [{{urlRewrite: {rewrite}}}]");
        let request = format!("GET {sent} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let (_, receipt) = through(&fields, &request, Reply::status(200)).await;
        assert_eq!((receipt.target().as_str(), receipt.header("host").as_deref()), (target, Some(host)), "{rewrite}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_answered_without_a_backend() {
    let cases = [
        ("{}", 302, "http://a.test:8000/x/y?q=1"),
        ("{statusCode: 301, scheme: https}", 301, "https://a.test/x/y?q=1"),
        ("{statusCode: 308, hostname: b.test, port: 80}", 308, "http://b.test/x/y?q=1"),
        ("{statusCode: 307, path: {replacePrefixMatch: /z}}", 307, "http://a.test:8000/z/y?q=1"),
        ("{statusCode: 303, scheme: https, port: 8443, path: {replaceFullPath: /z}}", 303, "https://a.test:8443/z?q=1"),
    ];
    for (redirect, status, location) in cases {
        let primary = Echo::start().await;
        let world = Setup::empty()
            .document("listener: {name: http, address: '127.0.0.1:0', publicPort: 8000}")
            .backend("primary", &primary)
            .rules(&format!(
                "- {{matches: [{{path: {{prefix: /x}}}}], filters: [{{requestRedirect: {redirect}}}]}}\n\
                 - {{backends: [{{backend: primary}}]}}"
            ))
            .start()
            .await;
        let mut client = world.client().await;
        let answer = client.get("/x/y?q=1").await;
        assert_eq!((answer.status, answer.header("location").as_deref()), (status, Some(location)), "{redirect}");
        assert_eq!(primary.count(), 0);
        assert_eq!(client.post("/other", "still usable").await.text(), "still usable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backends_filters_come_after_the_rules_and_only_with_that_backend() {
    let (one, two) = (Echo::start().await, Echo::start().await);
    let world = Setup::new()
        .backend("one", &one)
        .backend("two", &two)
        .rules(
            "
            - filters: [{requestHeaderModifier: {set: [{name: x-by, value: rule}]}}]
              backends:
              - {backend: one, filters: [{requestHeaderModifier: {add: [{name: x-by, value: one}]}}]}
              - {backend: two}
            ",
        )
        .start()
        .await;
    let mut client = world.client().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!((one.count(), two.count()), (5, 5));
    assert!(one.receipts().iter().all(|receipt| receipt.head.values("x-by").join(",") == "rule,one"));
    assert!(two.receipts().iter().all(|receipt| receipt.head.values("x-by") == ["rule"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backends_rewrite_and_redirect_are_for_its_requests_alone() {
    let (plain, rewritten, redirected) = (Echo::start().await, Echo::start().await, Echo::start().await);
    let world = Setup::new()
        .backend("plain", &plain)
        .backend("rewritten", &rewritten)
        .backend("redirected", &redirected)
        .rules(
            "
            - matches: [{path: {prefix: /old}}]
              filters: [{urlRewrite: {hostname: rule.test, path: {replacePrefixMatch: /rule}}}]
              backends:
              - {backend: plain}
              - backend: rewritten
                filters: [{urlRewrite: {hostname: b.test, path: {replacePrefixMatch: /new}}}]
              - backend: redirected
                filters: [{requestRedirect: {hostname: c.test, port: 80, path: {replacePrefixMatch: /away}}}]
            ",
        )
        .start()
        .await;
    let mut client = world.client().await;
    let mut locations = Vec::new();
    for _ in 0..9 {
        let answer = client.get("/old/a?b").await;
        match answer.header("location") {
            Some(location) => locations.push((answer.status, location)),
            None => assert_eq!(answer.status, 200),
        }
    }
    assert_eq!(locations.len() + plain.count() + rewritten.count(), 9);
    assert_eq!(locations, vec![(302, "http://c.test/away/a?b".to_owned()); locations.len()]);
    assert!(locations.len() >= 2 && redirected.count() == 0);
    for (echo, target, host) in [(&plain, "/rule/a?b", "rule.test"), (&rewritten, "/new/a?b", "b.test")] {
        let receipts = echo.receipts();
        assert!(receipts.len() >= 2, "{receipts:?}");
        assert!(receipts.iter().all(|receipt| receipt.target() == target), "{receipts:?}");
        assert!(receipts.iter().all(|receipt| receipt.header("host").as_deref() == Some(host)), "{receipts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_reach_the_backend_in_their_order_and_case() {
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nB-first: 1\r\na-Second: 2\r\nAccept: */*\r\n\r\n";
    let (_, receipt) = through("", request, Reply::status(200)).await;
    let names: Vec<String> = receipt.head.headers().into_iter().map(|(name, _)| name).collect();
    let sent = ["Host", "B-first", "a-Second", "Accept"];
    assert_eq!(names[..sent.len()], sent, "{}", receipt.head.text());
}
