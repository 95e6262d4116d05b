//! Calls of gRPC, as far as they are HTTP/2.

use bytes::Bytes;

use crate::{H2Client, H2Upload, Reply, ReplyBody};

/// A message as it is on the wire: not compressed, with its length before it.
pub fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).expect("tests send short messages");
    [&[0], &length.to_be_bytes()[..], text.as_bytes()].concat().into()
}

impl Reply {
    /// The messages, and after them the status 0 in the trailers.
    pub fn messages(texts: &[&str]) -> Self {
        let body = ReplyBody::Chunked(texts.iter().map(|text| message(text)).collect());
        let trailers = vec![("grpc-status".to_owned(), "0".to_owned())];
        Self { body, trailers, ..Self::status(200) }.header("content-type", "application/grpc")
    }
}

impl H2Client {
    /// Begins a call of a method, `/service/method`, with metadata.
    pub async fn call(&mut self, method: &str, metadata: &[(&str, &str)]) -> H2Upload {
        let request = Self::request("POST", method).header("content-type", "application/grpc").header("te", "trailers");
        let request = metadata.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.start(request, false).await
    }
}
