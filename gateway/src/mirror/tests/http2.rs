//! Copies over HTTP/2.

use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Response;

use super::*;

type Request = (http::Request<RecvStream>, SendResponse<Bytes>);

/// The mirror's end of an HTTP/2 connection.
struct Server(h2::server::Connection<TcpStream, Bytes>);

impl Server {
    async fn accept(mirror: &Mirror, builder: &h2::server::Builder) -> Self {
        let stream = mirror.accept().await.stream;
        Self(soon(builder.handshake(stream)).await.unwrap())
    }

    async fn request(&mut self) -> Request {
        soon(self.0.accept()).await.unwrap().unwrap()
    }

    /// Runs a future for which the connection has to go on.
    async fn run<T>(&mut self, future: impl Future<Output = T>) -> T {
        let connection = &mut self.0;
        let closed = async { while let Some(Ok(_)) = connection.accept().await {} };
        let mut future = std::pin::pin!(future);
        tokio::select! {
            biased;
            output = soon(&mut future) => return output,
            () = closed => {}
        }
        soon(future).await
    }
}

async fn body(mut stream: RecvStream) -> Result<Vec<u8>, Option<Reason>> {
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data.map_err(|error| error.reason())?;
        stream.flow_control().release_capacity(data.len()).unwrap();
        body.extend_from_slice(&data);
    }
    Ok(body)
}

fn ok(respond: &mut SendResponse<Bytes>) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    body.send_data("ok".into(), true).unwrap();
}

fn copy(world: &World, endpoint: SocketAddr, head: &RequestHeader) -> Tee {
    Tee::start([world.planned("m", endpoint, Protocol::H2c)], head, head.method == "GET")
}

#[tokio::test]
async fn requests_arrive_as_they_are_on_one_connection() {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    let large = bytes(3 << 20);
    let hello = Bytes::from_static(b"hello");
    let cases = [
        (get(), Bytes::new(), None),
        (post(5), hello.clone(), Some("5")),
        (chunked(), hello, None),
        (post(3 << 20), large, Some("3145728")),
    ];
    let mut server = None;
    for (head, sent, length) in cases {
        let mut tee = copy(&world, mirror.endpoint, &head);
        for piece in sent.chunks(64 << 10) {
            tee.body(Some(&sent.slice_ref(piece)), false);
        }
        tee.body(None, true);
        let server = match &mut server {
            Some(server) => server,
            none => none.insert(Server::accept(&mirror, &h2::server::Builder::new()).await),
        };
        let (request, mut respond) = server.request().await;
        assert_eq!((request.method(), request.uri().to_string()), (&head.method, "http://h/p?q".into()));
        let headers: Vec<_> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(headers, length.map(|length| ("content-length", length)).as_slice());
        assert!(request.body().is_end_stream() == sent.is_empty());
        assert!(server.run(body(request.into_body())).await.unwrap() == sent);
        ok(&mut respond);
        server.run(world.mirrors.drained()).await;
    }
    world.books(&[("completed 2xx", 4)]).await;
}

#[tokio::test]
async fn an_abort_resets_the_stream_and_spares_the_connection() {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    let mut tee = copy(&world, mirror.endpoint, &chunked());
    tee.body(Some(&Bytes::from_static(b"ab")), false);
    let mut server = Server::accept(&mirror, &h2::server::Builder::new()).await;
    let (request, _respond) = server.request().await;
    tee.abort(Abort::Client);
    assert_eq!(server.run(body(request.into_body())).await, Err(Some(Reason::CANCEL)));
    server.run(world.books(&[("aborted client", 1)])).await;
    drop(copy(&world, mirror.endpoint, &get()));
    let (_, mut respond) = server.request().await;
    ok(&mut respond);
    server.run(world.books(&[("aborted client", 1), ("completed 2xx", 1)])).await;
}

#[tokio::test]
async fn a_copy_that_cannot_keep_up_is_reset() {
    const MUCH: usize = 4 << 20;
    let world = World::new(Limits { copy_bytes: 256 << 10, ..Limits::default() });
    let mirror = Mirror::new().await;
    let mut tee = copy(&world, mirror.endpoint, &post(MUCH));
    tee.body(Some(&bytes(1 << 10)), false);
    let mut server = Server::accept(&mirror, &h2::server::Builder::new()).await;
    let (request, _respond) = server.request().await;
    // Nobody opens the window.
    let feed = async {
        while !tee.is_empty() {
            tee.body(Some(&bytes(16 << 10)), false);
            tokio::task::yield_now().await;
        }
    };
    server.run(feed).await;
    let mut stream = request.into_body();
    let rest = async {
        while let Some(data) = stream.data().await {
            if let Err(error) = data {
                return error.reason();
            }
        }
        None
    };
    assert_eq!(server.run(rest).await, Some(Reason::CANCEL));
    server.run(world.books(&[("aborted queue_full", 1)])).await;
}

#[tokio::test]
async fn a_window_that_stays_closed_fails_the_copy() {
    let limits = Limits { write_idle: Duration::from_millis(50), ..Limits::default() };
    let (world, mirror) = (World::new(limits), Mirror::new().await);
    let mut tee = copy(&world, mirror.endpoint, &post(1 << 20));
    tee.body(Some(&bytes(1 << 20)), true);
    let mut server = Server::accept(&mirror, h2::server::Builder::new().initial_window_size(0)).await;
    let _request = server.request().await;
    server.run(world.books(&[("failed write_idle", 1)])).await;
}

#[tokio::test]
async fn a_mirror_that_refuses_the_stream_fails_the_copy() {
    for reason in [Reason::REFUSED_STREAM, Reason::CANCEL, Reason::NO_ERROR] {
        let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
        drop(copy(&world, mirror.endpoint, &get()));
        let mut server = Server::accept(&mirror, &h2::server::Builder::new()).await;
        let (_request, mut respond) = server.request().await;
        respond.send_reset(reason);
        server.run(world.books(&[("failed no_answer", 1)])).await;
    }
}

#[tokio::test]
async fn a_mirror_that_allows_no_streams_fails_in_time() {
    let limits = Limits {
        connect: Duration::from_millis(50),
        write_idle: Duration::from_millis(50),
        response_head: Duration::from_millis(50),
        ..Limits::default()
    };
    let (world, mirror) = (World::new(limits), Mirror::new().await);
    drop(copy(&world, mirror.endpoint, &get()));
    let mut server = Server::accept(&mirror, h2::server::Builder::new().max_concurrent_streams(0)).await;
    server.run(world.mirrors.drained()).await;
    let books = world.samples("doppel_mirror_requests_total");
    assert_eq!(books.keys().filter(|outcome| outcome.starts_with("failed")).count(), 1, "{books:?}");
}

#[tokio::test]
async fn a_mirror_that_does_not_speak_it_fails_the_copy() {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    drop(copy(&world, mirror.endpoint, &get()));
    let mut connection = mirror.accept().await;
    connection.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    drop(connection);
    soon(world.mirrors.drained()).await;
    let books = world.samples("doppel_mirror_requests_total");
    assert_eq!(books.keys().filter(|outcome| outcome.starts_with("failed")).count(), 1, "{books:?}");
}

#[tokio::test]
async fn an_early_answer_does_not_end_the_copy() {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    let mut tee = copy(&world, mirror.endpoint, &chunked());
    tee.body(Some(&Bytes::from_static(b"ab")), false);
    let mut server = Server::accept(&mirror, &h2::server::Builder::new()).await;
    let (request, mut respond) = server.request().await;
    let mut answer = respond.send_response(Response::new(()), false).unwrap();
    let mut stream = request.into_body();
    assert_eq!(server.run(stream.data()).await.unwrap().unwrap(), "ab");
    tee.body(Some(&Bytes::from_static(b"cd")), true);
    assert_eq!(server.run(body(stream)).await.unwrap(), b"cd");
    answer.send_data("ok".into(), true).unwrap();
    server.run(world.books(&[("completed 2xx", 1)])).await;
}
