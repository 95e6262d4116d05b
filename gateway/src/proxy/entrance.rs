//! Where connections come in: what serves those that arrive alike.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderValue;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::ShutdownWatch;
use prometheus::IntCounter;
use tokio::time::sleep;

use super::exchange::{self, Exchange};
use super::{Proxy, headers};
use crate::alarm::Alarm;
use crate::listen::{Arrival, Protocol};

/// Serves connections that arrive in one way. All entrances share one proxy and so its connections to
/// backends.
///
/// Around every request it keeps what Pingora does not: a hard deadline, and an end to connections
/// that are idle when the listener goes away.
pub struct Entrance {
    arrival: Arc<Arrival>,
    /// As headers name it.
    client: HeaderValue,
    proxy: Arc<Proxy>,
    options: HttpServerOptions,
    limits: Limits,
    /// For an HTTP/1 connection, whose requests come one after the other.
    alarm: Mutex<Alarm>,
}

/// What clients may ask of the gateway.
#[derive(Clone)]
pub(super) struct Limits {
    /// Of the head of an HTTP/1 request: how long it may be, in bytes, and how long it may take.
    pub(super) head_bytes: usize,
    pub(super) head_timeout: Duration,
    /// How long an HTTP/1 connection may be idle between requests; zero for no limit.
    pub(super) client_idle_timeout: Duration,
    /// How long neither a request nor its answer may move on; zero for no limit.
    pub(super) idle_timeout: Duration,
    /// Counts requests that ended before they were understood.
    pub(super) malformed: IntCounter,
}

/// How much later than its deadline a request is dropped that could not be ended in order, because
/// its backend's connection is not its own (HTTP/2), or because its client does not take the answer.
const GRACE: Duration = Duration::from_millis(250);

/// How long an idle connection stays open once its listener goes away. One that is used within it is
/// closed in order, by the head of the answer; to close it at once would be to cut off requests that are
/// on their way already.
const LINGER: Duration = Duration::from_secs(2);

/// An HTTP/2 connection without streams is closed after this.
const H2_IDLE: Duration = Duration::from_secs(300);

/// Streams at once on one HTTP/2 connection.
const H2_STREAMS: u32 = 256;

/// How far a client may send ahead, in bytes: per stream, and per connection.
const H2_STREAM_WINDOW: u32 = 1 << 20;
const H2_CONNECTION_WINDOW: u32 = 4 << 20;

impl Entrance {
    pub(super) fn new(arrival: Arrival, proxy: Arc<Proxy>, limits: Limits) -> Self {
        let mut options = HttpServerOptions::default();
        // Whether it is by prior knowledge, or agreed on in a handshake.
        options.h2c = arrival.protocol == Protocol::Http2;
        options.h2_idle_timeout = Some(H2_IDLE);
        let client = headers::client(arrival.client.ip());
        Self { arrival: Arc::new(arrival), client, proxy, options, limits, alarm: Mutex::default() }
    }
}

#[async_trait]
impl HttpServerApp for Entrance {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let closes_when_idle = !session.is_http2();
        if closes_when_idle {
            self.arrival.head.expect(self.limits.head_bytes);
        }
        let (arrival, client) = (self.arrival.clone(), self.client.clone());
        let exchange = Exchange::new(arrival, client, shutdown.clone(), self.limits.idle_timeout);
        let request = exchange::CURRENT.scope(exchange.clone(), self.proxy.process_new_http(session, shutdown));
        let mut request = pin!(request);
        let mut stopped = pin!(async {
            exchange.stopped().await;
            sleep(LINGER).await;
        });
        let of_stream = Mutex::default();
        let alarm = if closes_when_idle { &self.alarm } else { &of_stream };

        std::future::poll_fn(|context| {
            loop {
                let served = request.as_mut().poll(context);
                exchange.poll_send(context);
                let is_amid_head = !exchange.is_active() && self.arrival.head.has_begun();
                if let Poll::Ready(reused) = served {
                    self.limits.malformed.inc_by(is_amid_head.into());
                    return Poll::Ready(reused);
                }
                // Only between requests: within one, the end of the listener does not matter.
                if !exchange.is_active() && closes_when_idle && stopped.as_mut().poll(context).is_ready() {
                    return Poll::Ready(None);
                }
                let expired = exchange.has_expired();
                let due = if exchange.is_active() {
                    exchange.deadline().map(|deadline| if expired { deadline + GRACE } else { deadline })
                } else if is_amid_head {
                    self.arrival.head.due(self.limits.head_timeout)
                } else {
                    exchange.idle_until(self.limits.client_idle_timeout).filter(|_| closes_when_idle)
                };
                let Some(due) = due else { return Poll::Pending };
                ready!(alarm.lock().unwrap_or_else(PoisonError::into_inner).poll(context, due));
                if expired || !exchange.is_active() {
                    self.limits.malformed.inc_by(is_amid_head.into());
                    return Poll::Ready(None);
                }
                // The request is polled again, and finds its backend gone.
                exchange.expire();
            }
        })
        .await
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options
            .max_concurrent_streams(H2_STREAMS)
            .initial_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}
