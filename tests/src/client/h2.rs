use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::response::Parts;
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::echo::{pairs, send};
use crate::stream::Stream;
use crate::{Body, soon};

/// A connection of HTTP/2 with prior knowledge.
pub struct H2Client {
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// An answer as it reached the client.
#[derive(Debug)]
pub struct H2Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Whether the head ended the stream, without a piece of body however empty.
    pub is_head_alone: bool,
    pub body: Body,
    pub trailers: Vec<(String, String)>,
    /// What cut it off, if something did.
    pub error: Option<h2::Error>,
}

impl H2Answer {
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    pub fn text(&self) -> String {
        self.body.text()
    }
}

impl H2Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(address)).await;
        Self::over(stream.unwrap_or_else(|error| panic!("{address}: {error}"))).await
    }

    pub(crate) async fn over(stream: impl Into<Stream>) -> Self {
        let stream = stream.into();
        stream.socket().set_nodelay(true).expect("a connected socket has this option");
        let connect = h2::client::Builder::new().initial_window_size(1 << 20).handshake(stream);
        let (sender, connection) = soon("a connection of HTTP/2", connect).await.expect("a handshake");
        Self { sender, connection: tokio::spawn(connection) }
    }

    /// A request on the host `a.test`, to which headers can be added.
    pub fn request(method: &str, target: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("http://a.test{target}"))
    }

    pub async fn get(&mut self, target: &str) -> H2Answer {
        self.start(Self::request("GET", target), true).await.answer().await
    }

    /// A POST of the body, without a `content-length`.
    pub async fn post(&mut self, target: &str, body: impl Into<Bytes>) -> H2Answer {
        let mut upload = self.start(Self::request("POST", target), false).await;
        upload.send(body).await;
        upload.finish();
        upload.answer().await
    }

    /// Sends the head of a request, which may be all of it.
    pub async fn start(&mut self, request: http::request::Builder, is_end: bool) -> H2Upload {
        let request = request.body(()).expect("tests write valid requests");
        let started = async {
            poll_fn(|context| self.sender.poll_ready(context)).await?;
            self.sender.send_request(request, is_end)
        };
        let (response, stream) = soon("a stream", started).await.expect("the connection is open");
        H2Upload { response, stream, begun: None }
    }

    /// Waits until the gateway ended the connection, and says whether in order.
    pub async fn ended(self) -> Result<(), h2::Error> {
        drop(self.sender);
        soon("the end of the connection", self.connection).await.expect("the task does not panic")
    }

    /// Ends the connection without a word.
    pub fn abort(self) {
        self.connection.abort();
    }
}

/// A request whose body is on its way.
pub struct H2Upload {
    response: ResponseFuture,
    stream: SendStream<Bytes>,
    /// The answer, once it has begun.
    begun: Option<(Parts, RecvStream)>,
}

impl H2Upload {
    /// Sends bytes of the body, as fast as the gateway takes them.
    pub async fn send(&mut self, bytes: impl Into<Bytes>) {
        soon("bytes to be sent", send(&mut self.stream, bytes.into())).await.expect("the stream is open");
    }

    /// Sends bytes of the body, unless the stream has ended.
    pub async fn try_send(&mut self, bytes: impl Into<Bytes>) -> Result<(), h2::Error> {
        soon("bytes to be sent", send(&mut self.stream, bytes.into())).await
    }

    /// Ends the body, unless the stream has ended.
    pub fn try_finish(&mut self) {
        let _ = self.stream.send_data(Bytes::new(), true);
    }

    pub fn finish(&mut self) {
        self.stream.send_data(Bytes::new(), true).expect("the stream is open");
    }

    pub fn finish_with_trailers(&mut self, trailers: HeaderMap) {
        self.stream.send_trailers(trailers).expect("the stream is open");
    }

    /// Ends the stream before its body did.
    pub fn reset(mut self) {
        self.stream.send_reset(Reason::CANCEL);
    }

    /// The next piece of the answer, while the request still goes on.
    pub async fn receive(&mut self) -> Bytes {
        let piece = async {
            if self.begun.is_none() {
                self.begun = Some((&mut self.response).await?.into_parts());
            }
            let (_, stream) = self.begun.as_mut().expect("it has begun above");
            let piece = stream.data().await.transpose()?.unwrap_or_default();
            stream.flow_control().release_capacity(piece.len())?;
            Ok::<_, h2::Error>(piece)
        };
        soon("a piece of the answer", piece).await.expect("the stream is open")
    }

    /// The answer, or what is left of it.
    pub async fn answer(self) -> H2Answer {
        self.maybe_answer().await.expect("an answer")
    }

    /// The answer, if the stream or connection does not end instead.
    pub async fn maybe_answer(self) -> Result<H2Answer, h2::Error> {
        soon("an answer", async {
            let (parts, mut stream) = match self.begun {
                Some(begun) => begun,
                None => self.response.await?.into_parts(),
            };
            let mut answer = H2Answer {
                status: parts.status.as_u16(),
                headers: parts.headers,
                is_head_alone: stream.is_end_stream(),
                body: Body::default(),
                trailers: Vec::new(),
                error: None,
            };
            while let Some(chunk) = stream.data().await {
                match chunk {
                    Ok(chunk) => {
                        stream.flow_control().release_capacity(chunk.len())?;
                        answer.body.push(&chunk);
                    }
                    Err(error) => {
                        answer.error = Some(error);
                        return Ok(answer);
                    }
                }
            }
            match stream.trailers().await {
                Ok(trailers) => answer.trailers = trailers.as_ref().map(pairs).unwrap_or_default(),
                Err(error) => answer.error = Some(error),
            }
            Ok(answer)
        })
        .await
    }
}
