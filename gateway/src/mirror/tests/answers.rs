//! What mirrors may answer.

use super::*;

/// Sends a copy without a body, lets the mirror answer, and looks at the books and at whether the
/// connection is used again.
async fn check(answer: impl AsRef<[u8]>, books: &str, reused: bool) {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    drop(world.copy(mirror.endpoint, &get()));
    let mut connection = mirror.accept().await;
    connection.head().await;
    // The gateway may well close before it has read all.
    let _ = connection.stream.write_all(answer.as_ref()).await;
    if !reused {
        connection.rest().await;
    }
    world.books(&[(books, 1)]).await;
    if reused {
        drop(world.copy(mirror.endpoint, &get()));
        connection.head().await;
        connection.ok().await;
        soon(world.mirrors.drained()).await;
    }
}

#[tokio::test]
async fn any_status_completes_a_copy() {
    for (status, books) in [
        ("200 OK", "completed 2xx"),
        ("302 Found\r\nLocation: http://127.0.0.1:1/", "completed 3xx"),
        ("401 Unauthorized", "completed 4xx"),
        ("500 Oops", "completed 5xx"),
    ] {
        check(format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nabc"), books, true).await;
    }
}

#[tokio::test]
async fn only_a_connection_whose_answer_was_read_is_used_again() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    check(chunked, "completed 2xx", true).await;
    check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", "completed 2xx", true).await;
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: {0}\r\n\r\n{1:0$}", 60 << 10, "");
    check(large, "completed 2xx", true).await;

    check(format!("{chunked}HTTP/1.1 200 OK\r\n"), "completed 2xx", false).await;
    check("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "completed 2xx", false).await;
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", "completed 2xx", false).await;
}

#[tokio::test]
async fn a_bad_answer_fails_the_copy() {
    check("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000), "failed bad_answer", false).await;
    check(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(80 << 10)), "failed bad_answer", false).await;
    check("HTTP/1.1 200 OK\r\nX: \0\r\n\r\n", "failed bad_answer", false).await;
    check("HTTP/1.1 101 Switching Protocols\r\n\r\n", "failed bad_answer", false).await;
    check("220 smtp.example.com ESMTP\r\n\r\n", "failed bad_answer", false).await;
}

#[tokio::test]
async fn an_endless_answer_is_closed() {
    for head in ["Content-Length: 10737418240", "X: y"] {
        let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
        drop(world.copy(mirror.endpoint, &get()));
        let mut connection = mirror.accept().await;
        connection.head().await;
        connection.write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n")).await;
        let endless = async { while connection.stream.write_all(&[b'x'; 4096]).await.is_ok() {} };
        soon(endless).await;
        world.books(&[("completed 2xx", 1)]).await;
    }
}

#[tokio::test]
async fn an_answer_that_trickles_is_closed() {
    let limits = Limits { drain: Duration::from_millis(50), ..Limits::default() };
    let (world, mirror) = (World::new(limits), Mirror::new().await);
    drop(world.copy(mirror.endpoint, &get()));
    let mut connection = mirror.accept().await;
    connection.head().await;
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await;
    let trickle = async {
        while connection.stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(trickle).await;
    world.books(&[("completed 2xx", 1)]).await;
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_body_does_not_end_the_copy() {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    let mut tee = world.copy(mirror.endpoint, &post(4));
    tee.body(Some(&Bytes::from_static(b"ab")), false);
    let mut connection = mirror.accept().await;
    connection.read_until("ab").await;
    connection.write("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").await;
    tokio::task::yield_now().await;
    tee.body(Some(&Bytes::from_static(b"cd")), true);
    assert_eq!(connection.read_exact(2).await, b"cd");
    world.books(&[("completed 4xx", 1)]).await;
}

#[tokio::test]
async fn an_answer_before_the_end_of_a_body_that_does_not_come_completes_nothing() {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    let mut tee = world.copy(mirror.endpoint, &post(4));
    tee.body(Some(&Bytes::from_static(b"ab")), false);
    let mut connection = mirror.accept().await;
    connection.read_until("ab").await;
    connection.ok().await;
    tee.abort(Abort::Client);
    assert_eq!(connection.rest().await, b"");
    world.books(&[("aborted client", 1)]).await;
}

#[tokio::test]
async fn a_mirror_that_answers_as_it_reads_gets_the_whole_body() {
    const LENGTH: usize = 15 << 20;
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    let mut tee = world.copy(mirror.endpoint, &post(LENGTH));
    let body = bytes(LENGTH);
    tee.body(Some(&body), true);
    let mut connection = mirror.accept().await;
    connection.head().await;
    connection.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n")).await;
    let (mut got, mut listened) = (Vec::new(), true);
    while got.len() < LENGTH {
        let piece = connection.read_exact(1).await.into_iter().chain(std::mem::take(&mut connection.read));
        let start = got.len();
        got.extend(piece);
        // It writes before it reads on. After the end of the body nobody need listen any more.
        listened = listened && soon(connection.stream.write_all(&got[start..])).await.is_ok();
    }
    assert!(got == body);
    world.books(&[("completed 2xx", 1)]).await;
}
