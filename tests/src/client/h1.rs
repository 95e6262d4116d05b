use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::wire::{BodyReader, Wire};
use crate::{Body, Framing, Head, soon};

/// A connection that puts any bytes on the wire and takes HTTP/1.1 answers off it.
pub struct Client {
    wire: Wire,
}

/// An answer as it reached the client.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: Head,
    pub framing: Framing,
    pub body: Body,
    pub trailers: Vec<(String, String)>,
    /// The status codes of the interim (1xx) answers before it.
    pub interim: Vec<u16>,
    /// What cut it off, if something did.
    pub error: Option<io::ErrorKind>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<String> {
        self.head.header(name)
    }

    pub fn text(&self) -> String {
        self.body.text()
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(address)).await;
        Self::over(Wire::new(stream.unwrap_or_else(|error| panic!("{address}: {error}"))))
    }

    pub(crate) fn over(wire: Wire) -> Self {
        Self { wire }
    }

    /// Puts bytes on the wire, which must take them.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let sent = soon("bytes to be sent", self.wire.write(bytes.as_ref())).await;
            sent.unwrap_or_else(|error| panic!("{caller}: {error}"));
        }
    }

    /// Puts bytes on the wire, which the peer may have ended.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        soon("bytes to be sent", self.wire.write(bytes.as_ref())).await
    }

    /// Sends a whole request, or several, and takes one answer.
    pub async fn exchange(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request).await;
        self.answer().await
    }

    /// A GET for the target on the host `a.test`; the connection stays.
    pub async fn get(&mut self, target: &str) -> Answer {
        self.exchange(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await
    }

    /// A POST of the body with its length.
    pub async fn post(&mut self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let head = format!("POST {target} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len());
        self.exchange([head.as_bytes(), body].concat()).await
    }

    /// The next answer.
    #[track_caller]
    pub fn answer(&mut self) -> impl Future<Output = Answer> {
        let answer = self.read(false);
        let caller = std::panic::Location::caller();
        async move { answer.await.unwrap_or_else(|| panic!("{caller}: the connection ended instead of an answer")) }
    }

    /// The next answer, to HEAD: without a body, whatever its headers say.
    pub async fn answer_to_head(&mut self) -> Answer {
        self.read(true).await.expect("an answer")
    }

    /// The next answer, if the connection does not end instead.
    pub async fn maybe_answer(&mut self) -> Option<Answer> {
        self.read(false).await
    }

    async fn read(&mut self, bodiless: bool) -> Option<Answer> {
        soon("an answer", async {
            let mut interim = Vec::new();
            loop {
                let head = self.wire.head().await.ok()??;
                let status: u16 = head.word(1).parse().expect("a status code");
                if (100..200).contains(&status) && status != 101 {
                    interim.push(status);
                    continue;
                }
                let framing = head.answer_framing(bodiless);
                let mut reader = BodyReader::new(framing);
                let mut body = Body::default();
                let error = loop {
                    match self.wire.chunk(&mut reader).await {
                        Ok(Some(chunk)) => body.push(&chunk),
                        Ok(None) => break None,
                        Err(error) => break Some(error.kind()),
                    }
                };
                return Some(Answer { status, head, framing, body, trailers: reader.trailers, interim, error });
            }
        })
        .await
    }

    /// The head of the next answer, interim or not, without what follows.
    pub async fn head(&mut self) -> Head {
        let head = soon("the head of an answer", self.wire.head()).await;
        head.expect("no error").expect("an answer")
    }

    /// Bytes as they come, exactly so many: of a tunnel.
    pub async fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let left = (length - bytes.len()) as u64;
            bytes.extend(soon("bytes of the tunnel", self.wire.piece(left)).await.expect("the tunnel is open"));
        }
        bytes
    }

    /// Says that nothing more will be sent; answers still arrive.
    pub async fn finish(&mut self) {
        self.wire.stream().shutdown().await.expect("the connection is open");
    }

    /// Says that nothing more will be sent, to a gateway that may have ended the connection.
    pub async fn try_finish(&mut self) {
        let _ = self.wire.stream().shutdown().await;
    }

    /// Reads until the gateway ends the connection, whatever it says.
    pub async fn ignore_the_rest(&mut self) {
        soon("the end of the connection", async { while self.wire.piece(u64::MAX).await.is_ok() {} }).await;
    }

    /// Ends the connection in order (FIN).
    pub fn close(self) {}

    /// Ends the connection at once (RST).
    pub fn reset(self) {
        self.wire.reset();
    }

    /// Waits until the gateway ended the connection; nothing may come before.
    pub async fn ended(&mut self) {
        if let Ok(bytes) = soon("the end of the connection", self.wire.piece(u64::MAX)).await {
            panic!("{:?} came instead of the end", String::from_utf8_lossy(&bytes));
        }
    }
}
