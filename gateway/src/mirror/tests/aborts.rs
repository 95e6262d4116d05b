//! What a mirror sees of a request that does not become whole.

use super::*;

/// Sends two bytes of a body, then breaks it off, and returns what the mirror gets until the
/// connection is closed.
async fn broken_off(head: &RequestHeader, how: impl FnOnce(Tee), books: &str) -> String {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    let mut tee = world.copy(mirror.endpoint, head);
    tee.body(Some(&Bytes::from_static(b"ab")), false);
    let mut connection = mirror.accept().await;
    let mut got = connection.read_until("ab").await;
    how(tee);
    got += &String::from_utf8(connection.rest().await).unwrap();
    world.books(&[(books, 1)]).await;
    got.split_once("\r\n\r\n").unwrap().1.into()
}

#[tokio::test]
async fn an_abort_closes_the_connection_before_the_end_of_the_body() {
    for (head, expected) in [(post(3), "ab"), (chunked(), "2\r\nab\r\n")] {
        for (reason, books) in [
            (Abort::Client, "aborted client"),
            (Abort::PrimaryAnswered, "aborted primary_answered"),
            (Abort::PrimaryFailed, "aborted primary_failed"),
            (Abort::Timeout, "aborted timeout"),
            (Abort::Upgraded, "aborted upgraded"),
        ] {
            assert_eq!(broken_off(&head, |mut tee| tee.abort(reason), books).await, expected);
        }
        assert_eq!(broken_off(&head, drop, "aborted unfinished").await, expected);
    }
}

#[tokio::test]
async fn a_body_that_disagrees_with_its_length_is_aborted() {
    for piece in ["", "c", "cde"] {
        let how = |mut tee: Tee| {
            tee.body(Some(&Bytes::from_static(piece.as_bytes())), piece != "cde");
            assert!(tee.is_empty());
        };
        assert_eq!(broken_off(&post(4), how, "aborted length").await, "ab");
    }
}

#[tokio::test]
async fn the_end_counts_once() {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    let mut tee = world.copy(mirror.endpoint, &chunked());
    let chunk = Bytes::from_static(b"ab");
    tee.body(Some(&chunk), false);
    for _ in 0..2 {
        tee.body(None, false);
        tee.body(None, true);
        tee.body(Some(&chunk), true);
    }
    tee.abort(Abort::Client);
    let mut connection = mirror.accept().await;
    connection.head().await;
    assert_eq!(connection.read_until("0\r\n\r\n").await, "2\r\nab\r\n0\r\n\r\n");
    connection.ok().await;
    world.books(&[("completed 2xx", 1)]).await;
}

#[tokio::test]
async fn of_a_request_that_fails_at_once_the_mirror_sees_nothing() {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    let mut tee = world.copy(mirror.endpoint, &post(3));
    assert_eq!(world.sample("doppel_mirror_in_flight"), 1.0);
    tee.body(Some(&Bytes::new()), false);
    tee.abort(Abort::PrimaryFailed);
    world.books(&[("aborted primary_failed", 1)]).await;
    // The first connection is that of another copy.
    drop(world.copy(mirror.endpoint, &get()));
    let mut connection = mirror.accept().await;
    assert!(connection.head().await.starts_with("GET "));
    connection.ok().await;
    world.books(&[("aborted primary_failed", 1), ("completed 2xx", 1)]).await;
}

#[tokio::test]
async fn of_a_request_whose_body_never_begins_the_mirror_sees_the_head() {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    let mut tee = world.copy(mirror.endpoint, &chunked());
    let mut connection = mirror.accept().await;
    assert!(connection.head().await.starts_with("POST "));
    tee.abort(Abort::Client);
    assert_eq!(connection.rest().await, b"");
    world.books(&[("aborted client", 1)]).await;
}

#[tokio::test]
async fn an_abort_reaches_a_mirror_that_does_not_read() {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    let mut tee = world.copy(mirror.endpoint, &post(15 << 20));
    let body = bytes(14 << 20);
    tee.body(Some(&body), false);
    let mut connection = mirror.accept().await;
    connection.head().await;
    tee.abort(Abort::Client);
    world.books(&[("aborted client", 1)]).await;
    let got = connection.rest().await;
    assert!(got.len() < body.len() && body.starts_with(&got));
}

#[test]
fn copies_that_end_with_the_program_are_counted() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = World::new(Limits::default());
    let first = runtime();
    let (tee, _mirror) = first.block_on(async {
        let mirror = Mirror::new().await;
        let mut tee = world.copy(mirror.endpoint, &post(3));
        tee.body(Some(&Bytes::from_static(b"ab")), false);
        drop(world.copy(mirror.endpoint, &get()));
        let (mut one, mut two) = (mirror.accept().await, mirror.accept().await);
        let _ = (one.head().await, two.head().await);
        (tee, mirror)
    });
    drop(first);
    runtime().block_on(world.books(&[("aborted shutdown", 2)]));
    drop(tee);
    runtime().block_on(world.books(&[("aborted shutdown", 2)]));
}
