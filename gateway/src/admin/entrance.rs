use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, Response};
use pingora_core::apps::http_app::{HttpServer, ServeHttp};
use pingora_core::apps::{HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;

use super::Admin;
use crate::alarm::Alarm;
use crate::listen::Head;

/// Where one connection to the admin address comes in. The heads of its requests are held to the same
/// bounds as those of clients.
pub(crate) struct Entrance {
    server: Arc<HttpServer<Desk>>,
    head: Arc<Head>,
    head_bytes: usize,
    head_timeout: Duration,
}

/// What answers on one connection.
struct Desk {
    admin: Arc<Admin>,
    head: Arc<Head>,
}

impl Entrance {
    pub(crate) fn new(admin: Arc<Admin>, head: Arc<Head>, head_bytes: usize, head_timeout: Duration) -> Self {
        let server = Arc::new(HttpServer::new_app(Desk { admin, head: head.clone() }));
        Self { server, head, head_bytes, head_timeout }
    }
}

#[async_trait]
impl HttpServerApp for Entrance {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.head.expect(self.head_bytes);
        let mut serving = pin!(self.server.process_new_http(session, shutdown));
        let mut alarm = Alarm::default();
        std::future::poll_fn(|context| {
            if let Poll::Ready(reused) = serving.as_mut().poll(context) {
                return Poll::Ready(reused);
            }
            match self.head.due(self.head_timeout) {
                Some(due) => alarm.poll(context, due).map(|()| None),
                None => Poll::Pending,
            }
        })
        .await
    }
}

#[async_trait]
impl ServeHttp for Desk {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        self.head.arrived();
        let request = session.req_header();
        let mut answer = self.admin.answer(&request.method, request.uri.path());
        if request.method == Method::HEAD {
            answer.body_mut().clear();
        }
        answer
    }
}
