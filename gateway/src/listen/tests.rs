use std::io::ErrorKind;

use pingora_core::apps::HttpServerOptions;
use pingora_core::apps::http_app::{HttpServer, ServeHttp};
use pingora_core::protocols::http::ServerSession;
use prometheus::{IntCounter, IntGauge};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::*;

/// Answers with the version and path of the request; to `/wait` only once it is told to.
struct Hello(Arc<Gate>);

#[derive(Default)]
struct Gate {
    reached: Notify,
    released: Notify,
}

#[async_trait::async_trait]
impl ServeHttp for Hello {
    async fn response(&self, session: &mut ServerSession) -> http::Response<Vec<u8>> {
        let request = session.req_header();
        let body = format!("{:?} {}", request.version, request.uri.path());
        if request.uri.path() == "/wait" {
            self.0.reached.notify_one();
            self.0.released.notified().await;
        }
        http::Response::builder().header("content-length", body.len()).body(body.into_bytes()).unwrap()
    }
}

struct Fixture {
    listeners: Listeners<HttpServer<Hello>>,
    gate: Arc<Gate>,
    refused: IntCounter,
}

impl Fixture {
    fn new(most: usize) -> Self {
        let gate = Arc::new(Gate::default());
        let refused = IntCounter::new("refused", "connections").unwrap();
        let limit = Connections::new(most, IntGauge::new("open", "connections").unwrap(), refused.clone());
        let hello = gate.clone();
        let listeners = Listeners::new(limit, None, move |arrival| {
            let mut server = HttpServer::new_app(Hello(hello.clone()));
            let mut options = HttpServerOptions::default();
            options.h2c = arrival.protocol == Protocol::Http2;
            server.server_options = Some(options);
            Arc::new(server)
        });
        Self { listeners, gate, refused }
    }

    /// Makes these addresses, and no others, accept connections.
    async fn listen(&mut self, wanted: &[SocketAddr]) {
        let wanted = wanted.iter().copied().collect();
        self.listeners.bind(&wanted);
        self.listeners.settle(&wanted).await;
    }

    async fn listen_anywhere(&mut self) -> SocketAddr {
        self.listen(&[ANYWHERE]).await;
        self.local(ANYWHERE)
    }

    fn local(&self, address: SocketAddr) -> SocketAddr {
        self.listeners.open().find(|(configured, _)| *configured == address).unwrap().1
    }
}

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
}

async fn connect(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// All that comes until the other side closes.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

async fn check_served(address: SocketAddr) {
    let answer = answer(&mut connect(address, get("/x").as_bytes()).await).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("HTTP/1.1 /x"), "{answer}");
}

async fn check_refused(address: SocketAddr) {
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// A port that nothing listens on, at this moment.
async fn free_port() -> u16 {
    TcpListener::bind(ANYWHERE).await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn both_versions_are_served_on_one_socket() {
    let mut fixture = Fixture::new(10);
    let address = fixture.listen_anywhere().await;
    check_served(address).await;

    let (mut client, connection) = h2::client::handshake(TcpStream::connect(address).await.unwrap()).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://a/y").body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "HTTP/2.0 /y");
    drop((client, body));
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_not_a_preface_is_served_at_once() {
    let mut fixture = Fixture::new(10);
    let address = fixture.listen_anywhere().await;
    // The first is shorter than the preface; the second begins like it.
    for head in ["GET / HTTP/1.0\r\n\r\n", "PRI / HTTP/1.0\r\n\r\n"] {
        let mut first = [0; 12];
        connect(address, head.as_bytes()).await.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200", "{head}");
    }
}

#[tokio::test]
async fn a_client_that_has_closed_its_end_gets_its_answer() {
    let mut fixture = Fixture::new(10);
    let address = fixture.listen_anywhere().await;
    let mut stream = connect(address, b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n").await;
    stream.shutdown().await.unwrap();
    assert!(answer(&mut stream).await.ends_with("HTTP/1.1 /x"));
}

#[tokio::test]
async fn half_a_preface_gets_no_answer() {
    let mut fixture = Fixture::new(10);
    let address = fixture.listen_anywhere().await;
    let mut stream = connect(address, b"PRI * HTTP/2.0\r\n").await;
    stream.shutdown().await.unwrap();
    assert_eq!(answer(&mut stream).await, "");
}

#[tokio::test(start_paused = true)]
async fn silent_clients_are_closed_after_a_while() {
    let mut fixture = Fixture::new(10);
    let address = fixture.listen_anywhere().await;
    let began = tokio::time::Instant::now();
    for silent in [b"".as_slice(), b"PRI * HTTP/2.0\r\n"] {
        assert_eq!(answer(&mut connect(address, silent).await).await, "");
    }
    assert!(began.elapsed() >= 2 * socket::OPENING_TIMEOUT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn connections_wait_between_bind_and_settle() {
    let mut fixture = Fixture::new(10);
    let address = SocketAddr::new(ANYWHERE.ip(), free_port().await);
    let wanted = BTreeSet::from([address]);
    fixture.listeners.bind(&wanted);
    let mut early = connect(address, get("/early").as_bytes()).await;
    assert_eq!(fixture.listeners.open().count(), 0);
    fixture.listeners.settle(&wanted).await;
    assert!(answer(&mut early).await.ends_with("/early"));
}

#[tokio::test]
async fn a_removed_socket_frees_its_port_and_lets_requests_end() {
    let mut fixture = Fixture::new(10);
    let address = fixture.listen_anywhere().await;
    let mut waiting = connect(address, get("/wait").as_bytes()).await;
    fixture.gate.reached.notified().await;

    fixture.listen(&[]).await;
    check_refused(address).await;
    let again = TcpListener::bind(address).await.unwrap();
    drop(again);

    fixture.gate.released.notify_one();
    assert!(answer(&mut waiting).await.ends_with("HTTP/1.1 /wait"));
}

#[tokio::test]
async fn requests_that_the_system_accepted_are_served_though_their_socket_closes() {
    let mut fixture = Fixture::new(10);
    let address = fixture.listen_anywhere().await;
    // The runtime of the test has one thread, so that nothing accepts before `settle` waits.
    let mut early = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut early, get("/early").as_bytes()).unwrap();
    fixture.listen(&[]).await;
    early.set_nonblocking(true).unwrap();
    let mut early = TcpStream::from_std(early).unwrap();
    assert!(answer(&mut early).await.ends_with("/early"));
}

#[tokio::test]
async fn an_address_that_cannot_be_bound_is_told_and_tried_again() {
    let mut fixture = Fixture::new(10);
    let other = TcpListener::bind(ANYWHERE).await.unwrap();
    let taken = other.local_addr().unwrap();
    fixture.listen(&[taken, ANYWHERE]).await;
    let told = format!(
        "cannot listen on {taken}: another socket has port {}; stop that program or choose another port",
        taken.port()
    );
    assert_eq!(fixture.listeners.failed().iter().collect::<Vec<_>>(), [(&taken, &told)]);
    check_served(fixture.local(ANYWHERE)).await;

    drop(other);
    fixture.listen(&[taken, ANYWHERE]).await;
    assert!(fixture.listeners.failed().is_empty());
    check_served(taken).await;
}

#[tokio::test]
async fn an_address_may_take_the_port_of_one_that_goes() {
    let mut fixture = Fixture::new(10);
    let port = free_port().await;
    let [all, local]: [SocketAddr; 2] = [([0, 0, 0, 0], port).into(), ([127, 0, 0, 1], port).into()];
    fixture.listen(&[all]).await;
    check_served(local).await;
    fixture.listen(&[local]).await;
    assert!(fixture.listeners.failed().is_empty(), "{:?}", fixture.listeners.failed());
    check_served(local).await;
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_counted() {
    let mut fixture = Fixture::new(1);
    let address = fixture.listen_anywhere().await;
    let mut first = connect(address, get("/wait").as_bytes()).await;
    fixture.gate.reached.notified().await;
    let mut second = TcpStream::connect(address).await.unwrap();
    assert_eq!(answer(&mut second).await, "");
    assert_eq!(fixture.refused.get(), 1);

    fixture.gate.released.notify_one();
    answer(&mut first).await;
    drop(first);
    // Its place is free a moment after its end.
    while fixture.listeners.house.limit.open() > 0 {
        tokio::task::yield_now().await;
    }
    check_served(address).await;
    assert_eq!(fixture.refused.get(), 1);
}

#[tokio::test]
async fn a_drain_lets_requests_end() {
    let mut fixture = Fixture::new(10);
    let address = fixture.listen_anywhere().await;
    let mut waiting = connect(address, get("/wait").as_bytes()).await;
    fixture.gate.reached.notified().await;
    let drained = tokio::spawn(fixture.listeners.drain(Duration::from_secs(3600)));
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!drained.is_finished());
    fixture.gate.released.notify_one();
    assert!(answer(&mut waiting).await.ends_with("/wait"));
    drop(waiting);
    drained.await.unwrap();
}

#[tokio::test]
async fn a_drain_cuts_off_what_does_not_end_in_time() {
    let mut fixture = Fixture::new(10);
    let address = fixture.listen_anywhere().await;
    let mut waiting = connect(address, get("/wait").as_bytes()).await;
    fixture.gate.reached.notified().await;
    let limit = fixture.listeners.house.limit.clone();
    fixture.listeners.drain(Duration::from_millis(1)).await;
    assert_eq!(answer(&mut waiting).await, "");
    assert_eq!(limit.open(), 0);
}

#[tokio::test]
async fn an_answer_arrives_though_the_request_was_not_read() {
    let mut fixture = Fixture::new(10);
    let address = fixture.listen_anywhere().await;
    let head = "POST /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 8388608\r\n\r\n";
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let upload = tokio::spawn(async move {
        write.write_all(head.as_bytes()).await.unwrap();
        // Until the other side has had enough.
        while write.write_all(&[b'x'; 65536]).await.is_ok() {}
    });
    let mut text = [0; 4096];
    let mut length = 0;
    loop {
        match read.read(&mut text[length..]).await.unwrap() {
            0 => break,
            more => length += more,
        }
    }
    let answer = String::from_utf8_lossy(&text[..length]);
    assert!(answer.ends_with("HTTP/1.1 /x"), "{answer}");
    upload.abort();
}

#[tokio::test]
async fn a_socket_that_stops_by_itself_is_told() {
    let mut fixture = Fixture::new(1);
    fixture.listen_anywhere().await;
    assert!(tokio::time::timeout(Duration::from_millis(1), fixture.listeners.broken()).await.is_err());
    fixture.listeners.tasks.spawn(async { panic!("as a defect of ours would") });
    assert!(fixture.listeners.broken().await.contains("panicked"));
}
