use std::fs;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A directory of documents, and where the gateway in a test begins.
struct Fixture(TempDir);

const LISTENER: &str = "listener: {name: web, address: '127.0.0.1:0'}\n";
const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

impl Fixture {
    fn new(listener: &str) -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        fixture.write("listener.yaml", listener);
        fixture
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(".new"), text).unwrap();
        fs::rename(self.0.path().join(".new"), self.0.path().join(name)).unwrap();
    }

    async fn start(&self) -> Gateway {
        let mut settings = Settings::new(self.0.path());
        settings.admin = Some(ANYWHERE);
        Gateway::start(settings).await.unwrap()
    }

    fn problems(&self, report: &Report) -> Vec<String> {
        let directory = format!("{}/", self.0.path().display());
        report.problems.iter().map(|problem| problem.to_string().replace(&directory, "")).collect()
    }
}

/// The status of an answer to `GET path`, and its body.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// A route that answers with a redirect to a host.
fn redirect(host: &str) -> String {
    format!("route: {{name: r, listeners: [web], rules: [{{filters: [{{requestRedirect: {{hostname: {host}}}}}]}}]}}\n")
}

async fn redirected_to(gateway: &Gateway, host: &str) -> bool {
    let mut stream = TcpStream::connect(gateway.address_of(ANYWHERE).unwrap()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.to_lowercase().contains(&format!("location: http://{host}"))
}

#[tokio::test]
async fn a_bad_document_is_reported_and_its_last_good_version_served() {
    let fixture = Fixture::new(LISTENER);
    fixture.write("route.yaml", &redirect("one.example"));
    let gateway = fixture.start().await;
    assert!(redirected_to(&gateway, "one.example").await);

    fixture.write("route.yaml", &redirect("two.example").replace("rules", "rule"));
    let report = gateway.reload().await;
    assert_eq!(fixture.problems(&report), ["route.yaml:1:36: unknown field rule; is rules meant?"]);
    assert!(redirected_to(&gateway, "one.example").await);

    fixture.write("route.yaml", &redirect("two.example"));
    assert_eq!(gateway.reload().await.problems, []);
    assert!(redirected_to(&gateway, "two.example").await);
    gateway.shutdown().await;
}

#[tokio::test]
async fn a_gateway_starts_with_what_is_good() {
    let fixture = Fixture::new(LISTENER);
    fixture.write("0.yaml", "backend: [\n---\nnothing: here\n");
    let gateway = fixture.start().await;
    assert_eq!(gateway.report().problems.len(), 2);
    assert_eq!(get(gateway.address_of(ANYWHERE).unwrap(), "/").await.0, 404);
    gateway.shutdown().await;
}

#[tokio::test]
async fn without_anything_to_read_there_is_no_gateway() {
    let fixture = Fixture::new(LISTENER);
    let nowhere = fixture.0.path().join("nowhere");
    let error = Gateway::start(Settings::new(&nowhere)).await.err().unwrap();
    assert!(error.to_string().starts_with(&format!("cannot read {}: ", nowhere.display())), "{error}");
}

#[tokio::test]
async fn a_configuration_that_goes_away_stays_live() {
    let fixture = Fixture::new(LISTENER);
    let gateway = fixture.start().await;
    let since = gateway.report().live_since;
    let elsewhere = fixture.0.path().with_extension("elsewhere");
    fs::rename(fixture.0.path(), &elsewhere).unwrap();
    let report = gateway.reload().await;
    fs::rename(&elsewhere, fixture.0.path()).unwrap();
    let [problem] = &report.problems[..] else { panic!("{report:?}") };
    assert!(problem.to_string().ends_with("; all stays as it was"), "{problem}");
    assert_eq!(report.live_since, since);
    assert_eq!(get(gateway.address_of(ANYWHERE).unwrap(), "/").await.0, 404);
    gateway.shutdown().await;
}

#[tokio::test]
async fn listeners_come_and_go() {
    let fixture = Fixture::new(LISTENER);
    let gateway = fixture.start().await;
    let first = gateway.address_of(ANYWHERE).unwrap();
    let other: SocketAddr = ([127, 0, 0, 2], 0).into();
    fixture.write("listener.yaml", "listener: {name: web, address: '127.0.0.2:0'}\n");
    gateway.reload().await;
    assert_eq!(gateway.address_of(ANYWHERE), None);
    assert!(TcpStream::connect(first).await.is_err());
    assert_eq!(get(gateway.address_of(other).unwrap(), "/").await.0, 404);
    gateway.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_taken_is_reported_and_bound_once_it_is_free() {
    let taken = TcpListener::bind(ANYWHERE).await.unwrap();
    let address = taken.local_addr().unwrap();
    let fixture = Fixture::new(&format!("listener: {{name: web, address: '{address}'}}\n"));
    let gateway = fixture.start().await;
    let reason = format!(
        "cannot listen on {address}: another socket has port {}; stop that program or choose another port",
        address.port()
    );
    assert_eq!(fixture.problems(&gateway.report()), [format!("listener.yaml:1:1: listener web: {reason}")]);

    drop(taken);
    while gateway.address_of(address).is_none() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(gateway.report().problems, []);
    assert_eq!(get(address, "/").await.0, 404);
}

#[tokio::test]
async fn reloads_that_are_asked_for_together_are_one() {
    let fixture = Fixture::new(LISTENER);
    let gateway = fixture.start().await;
    let reloads = async || {
        let (_, metrics) = get(gateway.admin_address().unwrap(), "/metrics").await;
        let sample = "doppel_config_reloads_total{result=\"complete\"} ";
        metrics.lines().find_map(|line| line.strip_prefix(sample)).unwrap().to_owned()
    };
    assert_eq!(reloads().await, "1");
    fixture.write("revision.yaml", "revision: {name: test, revision: '2'}\n");
    // All have asked before the one thread of this test's runtime begins to read.
    let (a, b, c) = tokio::join!(gateway.reload(), gateway.reload(), gateway.reload());
    assert_eq!((&a, &b), (&b, &c));
    assert_eq!(a.revisions.values().collect::<Vec<_>>(), ["2"]);
    assert_eq!(reloads().await, "2");
    gateway.shutdown().await;
}

#[tokio::test]
async fn ready_from_the_first_document_on_until_the_drain() {
    let fixture = Fixture::new("");
    let gateway = fixture.start().await;
    let admin = gateway.admin_address().unwrap();
    assert_eq!(get(admin, "/readyz").await.0, 503);
    fixture.write("listener.yaml", LISTENER);
    gateway.reload().await;
    assert_eq!(get(admin, "/readyz").await.0, 200);
    assert_eq!(get(admin, "/livez").await.0, 200);

    // Half a request keeps the drain waiting.
    let mut client = TcpStream::connect(gateway.address_of(ANYWHERE).unwrap()).await.unwrap();
    client.write_all(b"PRI").await.unwrap();
    let shutdown = tokio::spawn(gateway.shutdown());
    while get(admin, "/readyz").await.0 != 503 {}
    drop(client);
    shutdown.await.unwrap();
    assert!(TcpStream::connect(admin).await.is_err());
}

#[tokio::test]
async fn the_end_of_what_serves_is_the_end_of_the_gateway() {
    let fixture = Fixture::new(LISTENER);
    let mut gateway = fixture.start().await;
    assert!(tokio::time::timeout(Duration::from_millis(1), gateway.failed()).await.is_err());
    gateway.serving.abort_all();
    assert!(gateway.failed().await.to_string().starts_with("the gateway has stopped serving: "));
}
