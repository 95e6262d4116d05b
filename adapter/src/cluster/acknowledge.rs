//! Whether gateways serve what was published for them: each is asked at its admin address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::Uri;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

/// The gateways whose word is waited for, by their admin addresses.
pub(super) type Gateways = BTreeSet<SocketAddr>;

/// What gateways say of documents that they do not serve as they are, by document.
pub(super) type Problems = BTreeMap<String, String>;

/// What gateways had to say about a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// Those that do not serve it, or have not said so.
    pub(super) missing: Gateways,
    pub(super) problems: Problems,
}

pub(super) type Http = Client<HttpConnector, Empty<&'static [u8]>>;

pub(super) fn http() -> Http {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Asks until all serve the revision, or until the deadline.
pub(super) async fn acknowledged(http: Http, gateways: Gateways, revision: String, deadline: Instant) -> Answers {
    let mut answers = Answers { missing: gateways.clone(), ..Answers::default() };
    let mut asked: FuturesUnordered<_> = gateways.iter().map(|gateway| serves(&http, *gateway, &revision)).collect();
    while let Ok(Some((gateway, problems))) = timeout_at(deadline, asked.next()).await {
        answers.missing.remove(&gateway);
        let told = problems.into_iter().filter_map(|Problem { document, message }| Some((document?, message)));
        answers
            .problems
            .extend(told.map(|(document, message)| (document, format!("{message} (gateway {})", gateway.ip()))));
    }
    answers
}

/// The gateways that are ready, or else the one beside this adapter.
pub(super) fn gateways(ready: impl IntoIterator<Item = IpAddr>, port: u16) -> Gateways {
    let gateways: Gateways = ready.into_iter().map(|address| SocketAddr::new(address, port)).collect();
    match gateways.is_empty() {
        true => Gateways::from([SocketAddr::from(([127, 0, 0, 1], port))]),
        false => gateways,
    }
}

async fn serves(http: &Http, gateway: SocketAddr, revision: &str) -> (SocketAddr, Vec<Problem>) {
    let mut pause = FIRST_PAUSE;
    loop {
        // One that does not answer is as one that does not serve it yet.
        if let Some(Report { revisions, problems }) = report(http, gateway).await
            && revisions.get(WRITER).is_some_and(|live| live == revision)
        {
            return (gateway, problems);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

async fn report(http: &Http, gateway: SocketAddr) -> Option<Report> {
    let uri: Uri = format!("http://{gateway}/config").parse().expect("an address makes a URI");
    let answer = http.get(uri).await.ok()?;
    let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await.ok()?;
    serde_json::from_slice(&body.to_bytes()).ok()
}

#[derive(Deserialize)]
struct Report {
    revisions: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    document: Option<String>,
    message: String,
}

const WRITER: &str = "doppel-adapter";
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LAST_PAUSE: Duration = Duration::from_millis(50);
const MOST_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;

    /// A gateway that tells one report after the other, one for each question, and goes on with the last.
    async fn gateway(reports: &[&str], gateways: &mut JoinSet<()>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reports: Vec<_> = reports.iter().map(|report| (*report).to_owned()).collect();
        gateways.spawn(async move {
            for i in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
                }
                assert!(head.starts_with(b"GET /config HTTP/1.1\r\n"));
                let body = &reports[i.min(reports.len() - 1)];
                let answer =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        address
    }

    const OLD: &str = r#"{"revisions": {"doppel-adapter": "1"}, "problems": []}"#;
    const NEW: &str = r#"{"revisions": {"doppel-adapter": "2", "mine": "7"}, "problems": [
        {"file": "a.yaml", "line": 1, "document": "listener shop/web/http", "message": "the port is taken"},
        {"file": "b.yaml", "line": null, "document": null, "message": "not YAML"}
    ]}"#;

    #[tokio::test]
    async fn it_waits_until_all_serve_the_revision() {
        let mut running = JoinSet::new();
        let gateways =
            Gateways::from([gateway(&[OLD, "garbage", NEW], &mut running).await, gateway(&[NEW], &mut running).await]);
        let deadline = Instant::now() + Duration::from_secs(60);
        let answers = acknowledged(http(), gateways, "2".to_owned(), deadline).await;
        assert_eq!(answers.missing, Gateways::new());
        let problems = [("listener shop/web/http".to_owned(), "the port is taken (gateway 127.0.0.1)".to_owned())];
        assert_eq!(answers.problems, Problems::from(problems));
    }

    #[tokio::test]
    async fn it_names_those_that_do_not_in_time() {
        let mut running = JoinSet::new();
        let (behind, current) = (gateway(&[OLD], &mut running).await, gateway(&[NEW], &mut running).await);
        let deadline = Instant::now() + Duration::from_millis(300);
        let answers = acknowledged(http(), Gateways::from([behind, current]), "2".to_owned(), deadline).await;
        assert_eq!(answers.missing, Gateways::from([behind]));
        assert_eq!(answers.problems.len(), 1);
    }

    #[test]
    fn without_pods_the_gateway_beside_it_is_asked() {
        let pods = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        let expected = ["10.0.0.1:19000".parse().unwrap(), "[fd00::1]:19000".parse().unwrap()];
        assert_eq!(gateways(pods, 19000), Gateways::from(expected));
        assert_eq!(gateways([], 19000), Gateways::from(["127.0.0.1:19000".parse().unwrap()]));
    }
}
