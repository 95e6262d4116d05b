//! The adapter's own admin address: whether it lives, whether it is ready, and its metrics.
//!
//! Three fixed answers to probes do not need a library for servers: it reads the head of a request,
//! answers and closes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(super) struct Admin {
    listener: TcpListener,
    registry: Registry,
    is_ready: Arc<AtomicBool>,
}

impl Admin {
    /// `is_ready` is told by `/readyz`.
    pub(super) async fn bind(address: SocketAddr, registry: Registry, is_ready: Arc<AtomicBool>) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, registry, is_ready })
    }

    /// Answers until it can accept no more connections, and returns why.
    pub(super) async fn serve(self) -> io::Error {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        let (registry, is_ready) = (self.registry.clone(), self.is_ready.clone());
                        connections.spawn(timeout(MOST_TIME, answer(stream, registry, is_ready)));
                    }
                    Err(error) if is_passing(&error) => tokio::time::sleep(PAUSE).await,
                    Err(error) => return error,
                },
                // How one ends is its client's concern.
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn answer(mut stream: TcpStream, registry: Registry, is_ready: Arc<AtomicBool>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MOST_HEAD || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split_ascii_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_ready = is_ready.load(Ordering::Acquire);
    let (status, content_type, body) = respond(method, path, &registry, is_ready);
    let length = body.len();
    let mut text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    if method != "HEAD" {
        text.push_str(&body);
    }
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

fn respond(method: &str, path: &str, registry: &Registry, is_ready: bool) -> (&'static str, &'static str, String) {
    if !["GET", "HEAD"].contains(&method) {
        return ("405 Method Not Allowed", TEXT, "only GET and HEAD are answered here\n".to_owned());
    }
    match path.split('?').next().unwrap_or_default() {
        "/livez" => ("200 OK", TEXT, "ok\n".to_owned()),
        "/readyz" if is_ready => ("200 OK", TEXT, "ok\n".to_owned()),
        "/readyz" => ("503 Service Unavailable", TEXT, "nothing is published yet\n".to_owned()),
        "/metrics" => match TextEncoder::new().encode_to_string(&registry.gather()) {
            Ok(metrics) => ("200 OK", TEXT_FORMAT, metrics),
            Err(error) => ("500 Internal Server Error", TEXT, format!("{error}\n")),
        },
        path => ("404 Not Found", TEXT, format!("{path} is not here; these are: /livez /readyz /metrics\n")),
    }
}

/// Of errors to accept those that concern one connection, or that more closed ones may mend.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    let is_out_of_files = error.raw_os_error().is_some_and(|code| [23, 24].contains(&code));
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) || is_out_of_files
}

const TEXT: &str = "text/plain; charset=utf-8";
const MOST_CONNECTIONS: usize = 32;
const MOST_HEAD: usize = 16 << 10;
const MOST_TIME: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;

    use super::*;

    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn it_answers_what_probes_ask() {
        let (registry, is_ready) = (Registry::new(), Arc::new(AtomicBool::new(false)));
        registry.register(Box::new(IntCounter::new("x_total", "x").unwrap())).unwrap();
        let admin = Admin::bind(([127, 0, 0, 1], 0).into(), registry, is_ready.clone()).await.unwrap();
        let address = admin.listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(admin.serve());
        let check = async |request: &str, begin: &str, end: &str| {
            let answer = exchange(address, &format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {begin}\r\n")) && answer.ends_with(end), "{answer}");
        };
        check("GET /livez", "200 OK", "\r\n\r\nok\n").await;
        check("GET /readyz", "503 Service Unavailable", "nothing is published yet\n").await;
        is_ready.store(true, Ordering::Release);
        check("GET /readyz?verbose", "200 OK", "ok\n").await;
        check("HEAD /readyz", "200 OK", "connection: close\r\n\r\n").await;
        check("GET /metrics", "200 OK", "# TYPE x_total counter\nx_total 0\n").await;
        check("POST /livez", "405 Method Not Allowed", "here\n").await;
        check("GET /", "404 Not Found", "/metrics\n").await;
    }
}
