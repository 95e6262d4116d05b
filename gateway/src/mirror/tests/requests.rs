//! What a mirror gets of a request that goes well.

use super::*;

/// Sends one copy in these pieces, and compares every byte that the mirror gets.
async fn check(head: &RequestHeader, pieces: &[&'static str], expected: &str) {
    // The connection is closed soon after, which shows that nothing follows.
    let limits = Limits { idle: Duration::from_millis(1), ..Limits::default() };
    let (world, mirror) = (World::new(limits), Mirror::new().await);
    let bodiless = pieces.is_empty();
    let mut tee = Tee::start([world.planned("m", mirror.endpoint, Protocol::Http)], head, bodiless);
    for (i, piece) in pieces.iter().enumerate() {
        let chunk = Bytes::from_static(piece.as_bytes());
        tee.body((!piece.is_empty()).then_some(&chunk), i + 1 == pieces.len());
        // Now and then the copy's task gets to run between two pieces.
        if i % 2 == 1 {
            tokio::task::yield_now().await;
        }
    }
    assert!(tee.is_empty());
    let mut connection = mirror.accept().await;
    let got = connection.read_exact(expected.len()).await;
    assert_eq!(String::from_utf8_lossy(&got), expected);
    connection.ok().await;
    world.books(&[("completed 2xx", 1)]).await;
    assert_eq!(world.sample("doppel_mirror_sent_bytes_total"), pieces.concat().len() as f64);
    assert_eq!(connection.rest().await, b"");
}

#[tokio::test]
async fn a_request_without_a_body_arrives_as_it_is() {
    for method in ["GET", "HEAD", "POST", "OPTIONS"] {
        check(&request(method, &[("X-A", "b")]), &[], &format!("{method} /p?q HTTP/1.1\r\nHost: h\r\nX-A: b\r\n\r\n"))
            .await;
    }
    check(&post(0), &[], "POST /p?q HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
}

#[tokio::test]
async fn a_body_with_a_length_keeps_it() {
    let expected = "POST /p?q HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    for pieces in [&["hello"][..], &["h", "ell", "o"], &["hello", ""], &["h", "e", "l", "l", "o", ""]] {
        check(&post(5), pieces, expected).await;
    }
}

#[tokio::test]
async fn a_body_without_a_length_is_chunked() {
    let head = "POST /p?q HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(&chunked(), &["hello"], &format!("{head}5\r\nhello\r\n0\r\n\r\n")).await;
    check(&chunked(), &["hello", ""], &format!("{head}5\r\nhello\r\n0\r\n\r\n")).await;
    check(&chunked(), &[""], &format!("{head}0\r\n\r\n")).await;
    check(&request("GET", &[]), &["a", "0123456789abcdef"], "GET /p?q HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn a_large_body_arrives_whole_at_several_mirrors() {
    let world = World::new(Limits { copy_bytes: 1 << 20, ..Limits::default() });
    let (m, n) = (Mirror::new().await, Mirror::new().await);
    let plan = [world.planned("m", m.endpoint, Protocol::Http), world.planned("n", n.endpoint, Protocol::Http)];
    let body = bytes(20 << 20);
    let read = |mirror: Mirror, length: usize| async move {
        let mut connection = mirror.accept().await;
        connection.head().await;
        let body = connection.read_exact(length).await;
        connection.ok().await;
        body
    };
    let (at_m, at_n) = (tokio::spawn(read(m, body.len())), tokio::spawn(read(n, body.len())));
    let mut tee = Tee::start(plan, &post(body.len()), false);
    for start in (0..body.len()).step_by(64 << 10) {
        let end = (start + (64 << 10)).min(body.len());
        tee.body(Some(&body.slice(start..end)), end == body.len());
        while tee.is_behind() {
            tokio::task::yield_now().await;
        }
    }
    assert!(soon(at_m).await.unwrap() == body && soon(at_n).await.unwrap() == body);
    world.books(&[("completed 2xx", 1), ("n completed 2xx", 1)]).await;
}

#[tokio::test]
async fn connections_are_used_again() {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    drop(world.copy(mirror.endpoint, &get()));
    let mut connection = mirror.accept().await;
    for head in [get(), post(5), chunked(), get()] {
        connection.head().await;
        connection.ok().await;
        soon(world.mirrors.drained()).await;
        let mut tee = world.copy(mirror.endpoint, &head);
        tee.body(Some(&Bytes::from_static(b"hello")), true);
        if head.method == "POST" {
            connection.read_until("hello").await;
            connection.ok().await;
            if head.headers.contains_key("transfer-encoding") {
                connection.read_until("0\r\n\r\n").await;
            }
            soon(world.mirrors.drained()).await;
            drop(world.copy(mirror.endpoint, &get()));
        }
    }
    connection.head().await;
    connection.ok().await;
    world.books(&[("completed 2xx", 7)]).await;
}

#[tokio::test]
async fn an_idle_connection_that_was_closed_is_not_used() {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    for _ in 0..3 {
        drop(world.copy(mirror.endpoint, &get()));
        let mut connection = mirror.accept().await;
        connection.head().await;
        connection.ok().await;
        soon(world.mirrors.drained()).await;
        drop(connection);
        // Until the reactor has seen the close.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.books(&[("completed 2xx", 3)]).await;
}

#[tokio::test]
async fn the_client_may_take_longer_for_its_body_than_the_mirror_may() {
    let limits = Limits {
        write_idle: Duration::from_millis(200),
        response_head: Duration::from_millis(200),
        drain: Duration::from_millis(200),
        ..Limits::default()
    };
    let (world, mirror) = (World::new(limits), Mirror::new().await);
    let mut tee = world.copy(mirror.endpoint, &post(2));
    tee.body(Some(&Bytes::from_static(b"a")), false);
    let mut connection = mirror.accept().await;
    connection.head().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    tee.body(Some(&Bytes::from_static(b"b")), true);
    assert_eq!(connection.read_exact(2).await, b"ab");
    connection.ok().await;
    world.books(&[("completed 2xx", 1)]).await;
}
