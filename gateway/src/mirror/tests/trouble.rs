//! Mirrors that do not do what they should.

use tokio::net::TcpSocket;

use super::*;

fn impatient() -> Limits {
    Limits {
        write_idle: Duration::from_millis(50),
        response_head: Duration::from_millis(50),
        drain: Duration::from_millis(50),
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_mirror_that_takes_no_bytes_is_given_up() {
    let (world, mirror) = (World::new(impatient()), Mirror::new().await);
    let mut tee = world.copy(mirror.endpoint, &post(15 << 20));
    let body = bytes(15 << 20);
    tee.body(Some(&body), true);
    let mut connection = mirror.accept().await;
    world.books(&[("failed write_idle", 1)]).await;
    connection.head().await;
    let got = connection.rest().await;
    assert!(got.len() < body.len() && body.starts_with(&got));
}

#[tokio::test]
async fn a_slow_mirror_is_not_an_idle_one() {
    let limits = Limits { write_idle: Duration::from_millis(500), ..Limits::default() };
    let (world, mirror) = (World::new(limits), Mirror::new().await);
    let mut tee = world.copy(mirror.endpoint, &post(15 << 20));
    let body = bytes(15 << 20);
    tee.body(Some(&body), true);
    let mut connection = mirror.accept().await;
    connection.head().await;
    for step in body.chunks(1 << 20) {
        assert!(connection.read_exact(step.len()).await == step);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    connection.ok().await;
    world.books(&[("completed 2xx", 1)]).await;
}

#[tokio::test]
async fn a_mirror_that_never_answers_is_given_up_and_its_connection_with_it() {
    let (world, mirror) = (World::new(impatient()), Mirror::new().await);
    drop(world.copy(mirror.endpoint, &get()));
    let mut connection = mirror.accept().await;
    world.books(&[("failed answer_timeout", 1)]).await;
    connection.head().await;
    assert_eq!(connection.rest().await, b"");
}

#[tokio::test]
async fn a_mirror_that_breaks_off_fails_the_copy() {
    // After the head, before the rest of the body.
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    let mut tee = world.copy(mirror.endpoint, &post(4));
    tee.body(Some(&Bytes::from_static(b"ab")), false);
    let mut connection = mirror.accept().await;
    connection.head().await;
    drop(connection);
    world.books(&[("failed send", 1)]).await;
    tee.body(Some(&Bytes::from_static(b"cd")), true);
    assert!(tee.is_empty());
    world.books(&[("failed send", 1)]).await;

    // After the body, before the answer; and within its head.
    for answer in ["", "HTTP/1.1 200 OK\r\nConte"] {
        let world = World::new(Limits::default());
        drop(world.copy(mirror.endpoint, &get()));
        let mut connection = mirror.accept().await;
        connection.head().await;
        connection.write(answer).await;
        drop(connection);
        world.books(&[("failed no_answer", 1)]).await;
    }
}

#[tokio::test]
async fn a_kept_connection_that_closes_instead_of_answering_is_stale() {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    drop(world.copy(mirror.endpoint, &get()));
    let mut connection = mirror.accept().await;
    connection.head().await;
    connection.ok().await;
    soon(world.mirrors.drained()).await;
    drop(world.copy(mirror.endpoint, &get()));
    connection.head().await;
    drop(connection);
    world.books(&[("completed 2xx", 1), ("failed stale", 1)]).await;
}

#[tokio::test]
async fn a_dead_mirror_is_paused_and_comes_back() {
    let limits = Limits {
        failures: 3,
        pause_min: Duration::from_secs(1),
        pause_max: Duration::from_secs(1),
        ..Limits::default()
    };
    let world = World::new(limits);
    // Bound, but not listening: connecting is refused, and nobody else gets the port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = socket.local_addr().unwrap();
    for _ in 0..3 {
        drop(world.copy(endpoint, &get()));
        soon(world.mirrors.drained()).await;
    }
    assert_eq!(world.sample("doppel_mirror_paused"), 1.0);
    drop(world.copy(endpoint, &get()));
    world.books(&[("failed connect", 3), ("dropped paused", 1)]).await;

    let mirror = Mirror { listener: socket.listen(16).unwrap(), endpoint };
    soon(async {
        while world.copy(endpoint, &get()).started() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let mut connection = mirror.accept().await;
    connection.head().await;
    assert_eq!(world.sample("doppel_mirror_paused"), 0.0);
    connection.ok().await;
    soon(world.mirrors.drained()).await;
    assert_eq!(world.samples("doppel_mirror_requests_total")["completed 2xx"], 1.0);
}

#[tokio::test]
async fn a_mirror_that_cannot_be_reached_fails_in_time() {
    let world = World::new(Limits { connect: Duration::from_millis(50), ..Limits::default() });
    // Its backlog is full, so that the system answers no further connection.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let endpoint = listener.local_addr().unwrap();
    let mut fill = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(endpoint)).await {
        fill.push(stream);
    }
    drop(world.copy(endpoint, &get()));
    world.books(&[("failed connect_timeout", 1)]).await;
}
