//! A stream of an HTTP/2 connection to a backend with TLS: Pingora's own, as its interface for protocols
//! of others wants it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use h2::SendStream;
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::Result;
use pingora_core::protocols::http::custom::client::Session;
use pingora_core::protocols::http::custom::{BodyWrite, CustomMessageWrite};
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::protocols::http::v2::write_body;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::{Digest, UniqueIDType};

use super::headers;

pub(super) struct Http2 {
    session: Http2Session,
    /// Whether the head was all of the request.
    bodiless: bool,
}

impl Http2 {
    pub(super) fn new(session: Http2Session) -> Self {
        Self { session, bodiless: false }
    }

    pub(super) fn into_inner(self) -> Http2Session {
        self.session
    }
}

#[async_trait]
impl Session for Http2 {
    async fn write_request_header(&mut self, mut head: Box<RequestHeader>, end: bool) -> Result<()> {
        headers::use_http2_form(&mut head)?;
        self.bodiless = end;
        self.session.write_request_header(head, end)
    }

    async fn write_request_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.session.write_request_body(data, end).await
    }

    async fn finish_request_body(&mut self) -> Result<()> {
        self.session.finish_request_body()
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.session.read_timeout = timeout;
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.session.write_timeout = timeout;
    }

    async fn read_response_header(&mut self) -> Result<()> {
        self.session.read_response_header().await
    }

    async fn read_response_body(&mut self) -> Result<Option<Bytes>> {
        self.session.read_response_body().await
    }

    fn response_finished(&self) -> bool {
        self.session.response_finished()
    }

    async fn shutdown(&mut self, _code: u32, _why: &str) {
        self.session.shutdown();
    }

    fn response_header(&self) -> Option<&ResponseHeader> {
        self.session.response_header()
    }

    fn was_upgraded(&self) -> bool {
        false
    }

    fn digest(&self) -> Option<&Digest> {
        self.session.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.session.digest_mut()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.session.server_addr()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.session.client_addr()
    }

    async fn read_trailers(&mut self) -> Result<Option<HeaderMap>> {
        self.session.read_trailers().await
    }

    fn fd(&self) -> UniqueIDType {
        self.session.fd()
    }

    async fn check_response_end_or_error(&mut self, _headers: bool) -> Result<bool> {
        self.session.check_response_end_or_error()
    }

    fn take_request_body_writer(&mut self) -> Option<Box<dyn BodyWrite>> {
        let stream = self.session.take_request_body_writer()?;
        Some(Box::new(Body { stream, ended: self.bodiless, limit: self.session.write_timeout }))
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    /// There are no messages beside the body.
    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn stream::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        Some(Box::new(stream::empty()))
    }

    async fn drain_custom_messages(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        Some(Box::new(()))
    }
}

/// Where the request's body is written to.
struct Body {
    stream: SendStream<Bytes>,
    ended: bool,
    limit: Option<Duration>,
}

impl Body {
    /// A backend may have heard enough: what it says of that is its answer, or the lack of one, which
    /// is read at the same time. A failure to write tells no more.
    async fn write(&mut self, data: Bytes, end: bool) {
        if !self.ended {
            self.ended = write_body(&mut self.stream, data, end, self.limit).await.is_err() || end;
        }
    }
}

#[async_trait]
impl BodyWrite for Body {
    async fn write_all_buf(&mut self, data: &mut Bytes) -> Result<()> {
        self.write(std::mem::take(data), false).await;
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        self.write(Bytes::new(), true).await;
        Ok(())
    }

    async fn cleanup(&mut self) -> Result<()> {
        Ok(())
    }

    fn upgrade_body_writer(&mut self) {}
}
