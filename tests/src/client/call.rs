use std::fmt;

use bytes::Bytes;
use http::HeaderMap;

use super::{Client, H2Client};
use crate::{Body, eventually};

/// A request as a client makes it, whichever protocol it speaks.
#[derive(Clone, Default)]
pub struct Call {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    /// Without one, the head is all.
    body: Option<Vec<Bytes>>,
    /// What the head says of the body's length. Without it, HTTP/1.1 sends the body chunked.
    length: Option<u64>,
    trailers: Vec<(String, String)>,
    /// Bytes of HTTP/1.1 instead of all that.
    raw: Option<Vec<u8>>,
    ending: Ending,
}

/// How a client leaves off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// With the end of the request; then it waits for the answer.
    #[default]
    Whole,
    /// In the middle, with RST; over HTTP/2 with a reset of the stream.
    Reset,
    /// In the middle, with FIN; over HTTP/2 with the end of the connection.
    Close,
    /// In the middle, once it has the answer; then with FIN, or a reset.
    Answered,
}

/// What a call came to, as its client sees it. Equal for equal answers, whenever they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Of the answer; 0 if there was none.
    pub status: u16,
    /// Names in lower case, sorted.
    pub headers: Vec<(String, String)>,
    pub body: Body,
    pub trailers: Vec<(String, String)>,
    /// The status codes of interim answers.
    pub interim: Vec<u16>,
    /// The answer broke off.
    pub is_cut_off: bool,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(raw) = &self.raw {
            return String::from_utf8_lossy(raw).fmt(f);
        }
        let Self { method, target, headers, body, length, trailers, raw: _, ending } = self;
        let pieces = body.as_ref().map(|body| body.iter().map(Bytes::len).collect::<Vec<_>>());
        write!(f, "{method} {target} {headers:?}, length {length:?}, {pieces:?} {trailers:?}, {ending:?}")
    }
}

impl Call {
    fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), ..Self::default() }
    }

    /// Without a body.
    pub fn bodiless(method: &str, target: &str) -> Self {
        Self::new(method, target)
    }

    pub fn get(target: &str) -> Self {
        Self::bodiless("GET", target)
    }

    /// With a body of this length, told in the head.
    pub fn with_length(method: &str, target: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let length = body.len() as u64;
        Self { body: Some(vec![body]), length: Some(length), ..Self::new(method, target) }
    }

    /// With a body in these pieces, whose length nobody knows before its end.
    pub fn in_pieces(method: &str, target: &str, pieces: impl IntoIterator<Item = Bytes>) -> Self {
        Self { body: Some(pieces.into_iter().collect()), ..Self::new(method, target) }
    }

    /// Any bytes that begin with the line of a request, over HTTP/1.1.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { raw: Some(bytes.into()), ..Self::default() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Declares this length, whatever is sent.
    pub fn declared(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    /// Leaves off like this after the last piece.
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// Whether the client sends all that it promised.
    pub fn is_whole(&self) -> bool {
        self.ending == Ending::Whole
    }

    /// Whether only HTTP/1.1 can say it.
    pub fn is_raw(&self) -> bool {
        self.raw.is_some()
    }

    /// What the client sends of the body; unknown of raw bytes.
    pub fn body(&self) -> Option<Body> {
        if self.is_raw() {
            return None;
        }
        let mut body = Body::default();
        self.pieces().for_each(|piece| body.push(piece));
        Some(body)
    }

    fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        // An empty one would be the end of a chunked body.
        self.body.iter().flatten().filter(|piece| !piece.is_empty())
    }

    fn head(&self, number: usize) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            let end = raw.windows(2).position(|window| window == b"\r\n").expect("it begins with a line") + 2;
            return [&raw[..end], format!("{MARK}: {number}\r\n").as_bytes(), &raw[end..]].concat();
        }
        let Self { method, target, .. } = self;
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\n{MARK}: {number}\r\n");
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        match (&self.body, self.length) {
            (_, Some(length)) => head += &format!("Content-Length: {length}\r\n"),
            (Some(_), None) => head += "Transfer-Encoding: chunked\r\n",
            (None, None) => {}
        }
        (head + "\r\n").into_bytes()
    }

    /// Makes the call over HTTP/1.1, and says whether the connection can be used again. `arrived`
    /// tells whether what was sent before the client leaves off is where it should be.
    pub async fn over_http1(
        &self,
        mut client: Client,
        number: usize,
        arrived: impl AsyncFnMut() -> bool,
    ) -> (Outcome, Option<Client>) {
        let chunked = self.length.is_none();
        let mut out = self.head(number);
        // What cannot be sent finds a gateway that has answered before the end.
        for piece in self.pieces() {
            match chunked {
                true => out.extend([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()),
                false => out.extend_from_slice(piece),
            }
            let _ = client.try_send(&out).await;
            out.clear();
        }
        if self.body.is_some() && chunked && self.is_whole() {
            let trailers: String = self.trailers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            out.extend(format!("0\r\n{trailers}\r\n").into_bytes());
        }
        let _ = client.try_send(&out).await;
        if matches!(self.ending, Ending::Reset | Ending::Close) {
            wait_for(arrived).await;
            match self.ending {
                Ending::Reset => client.reset(),
                _ => client.close(),
            }
            return (Outcome::default(), None);
        }
        let answer = match self.method.as_str() {
            "HEAD" => Some(client.answer_to_head().await),
            _ => client.maybe_answer().await,
        };
        let Some(answer) = answer else { return (Outcome::default(), None) };
        let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let is_cut_off = answer.error.is_some();
        let outcome = Outcome {
            status: answer.status,
            headers: comparable(answer.head.headers()),
            body: answer.body,
            trailers: answer.trailers,
            interim: answer.interim,
            is_cut_off,
        };
        (outcome, (self.is_whole() && !closes && !is_cut_off).then_some(client))
    }

    /// Makes the call as a stream of HTTP/2, and says whether the connection can be used again.
    pub async fn over_http2(
        &self,
        mut client: H2Client,
        number: usize,
        arrived: impl AsyncFnMut() -> bool,
    ) -> (Outcome, Option<H2Client>) {
        assert!(!self.is_raw(), "raw bytes are HTTP/1.1");
        let mut request = H2Client::request(&self.method, &self.target).header(MARK, number);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(length) = self.length {
            request = request.header("content-length", length);
        }
        let mut upload = client.start(request, self.body.is_none()).await;
        for piece in self.pieces() {
            let _ = upload.try_send(piece.clone()).await;
        }
        match self.ending {
            Ending::Answered => {}
            Ending::Whole if self.body.is_none() => {}
            Ending::Whole if self.trailers.is_empty() => upload.try_finish(),
            Ending::Whole => upload.finish_with_trailers(self.trailer_map()),
            Ending::Reset => {
                wait_for(arrived).await;
                upload.reset();
                return (Outcome::default(), Some(client));
            }
            Ending::Close => {
                wait_for(arrived).await;
                client.abort();
                return (Outcome::default(), None);
            }
        }
        let Ok(answer) = upload.maybe_answer().await else { return (Outcome::default(), Some(client)) };
        let outcome = Outcome {
            status: answer.status,
            headers: comparable(crate::echo::pairs(&answer.headers)),
            body: answer.body,
            trailers: answer.trailers,
            interim: Vec::new(),
            is_cut_off: answer.error.is_some(),
        };
        (outcome, Some(client))
    }

    fn trailer_map(&self) -> HeaderMap {
        let pair = |(name, value): &(String, String)| {
            (name.parse().expect("a header name"), value.parse().expect("a header value"))
        };
        self.trailers.iter().map(pair).collect::<Vec<(http::HeaderName, http::HeaderValue)>>().into_iter().collect()
    }
}

/// The header that tells which call a request is of.
pub const MARK: &str = "x-call";

async fn wait_for(mut arrived: impl AsyncFnMut() -> bool) {
    eventually("what was sent to arrive", async || arrived().await.then_some(())).await;
}

fn comparable(headers: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut headers: Vec<_> = headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    // The one that tells the time.
    headers.retain(|(name, _)| name != "date");
    headers.sort();
    headers
}
