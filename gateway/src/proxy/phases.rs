//! The phases of a request in the order in which Pingora calls them. What each does is decided in
//! the neighbouring files; here is only when.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{StatusCode, Version};
use pingora::http::ResponseHeader;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use super::answer::{self, Answer};
use super::context::{Context, Recorder};
use super::course;
use super::exchange::Exchange;
use super::retry::{self, Failure};
use super::{Settings, copies, headers, tunnel, upstream};
use crate::access_log::AccessLog;
use crate::limit::Limit;
use crate::metrics::Metrics;
use crate::table::Table;

pub(super) struct Phases {
    table: Arc<ArcSwap<Table>>,
    recorder: Arc<Recorder>,
    settings: Settings,
    tunnels: tunnel::Tunnels,
    /// How many may be under way.
    requests: Limit,
}

impl Phases {
    pub(super) fn new(
        table: Arc<ArcSwap<Table>>,
        metrics: &Metrics,
        access_log: AccessLog,
        settings: Settings,
        requests: Limit,
    ) -> Self {
        let recorder = Arc::new(Recorder { access_log, unrouted: metrics.unrouted() });
        Self { table, recorder, settings, tunnels: tunnel::Tunnels::new(), requests }
    }
}

/// The gateway's own answer to a request that goes nowhere; Pingora has nothing more to do with it.
async fn answer_instead(answer: Answer, session: &mut Session, context: &mut Context) -> Result<bool> {
    context.status = Some(answer.status);
    context.note_error(answer.why.clone());
    answer.send_instead(session).await?;
    Ok(true)
}

#[async_trait]
impl ProxyHttp for Phases {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        let exchange = Exchange::current().expect("entrances scope every request");
        exchange.begin();
        Context::new(exchange, self.table.load_full(), self.recorder.clone())
    }

    /// No compression: what backends send is what clients get.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, context: &mut Context) -> Result<()> {
        session.set_pipelining_enabled(true);
        // A client may close its sending side and still wait for the answer.
        session.set_abort_on_close(false);
        // It would end connections over a 100 as well; see `response_filter`.
        session.set_close_on_response_before_downstream_finish(false);
        let is_old = session.req_header().version == Version::HTTP_10;
        session.set_ignore_info_resp(is_old);
        if session.get_keepalive().is_some() {
            // Without a limit: the entrance has its own.
            session.set_keepalive((!context.exchange.is_stopping()).then_some(0));
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        let local = session.server_addr().and_then(|address| address.as_inet()).copied();
        let local = local.unwrap_or(context.exchange.via().socket);
        context.note_request(session.req_header());

        context.permit = self.requests.take();
        if context.permit.is_none() {
            let answer = Answer::new(StatusCode::SERVICE_UNAVAILABLE, "as many requests as may be are under way");
            return answer_instead(answer, session, context).await;
        }
        headers::use_origin_form(session.req_header_mut())?;
        let decision = course::decide(&context.table, context.exchange.via(), local, session.req_header());
        (context.listener, context.rule) = decision.found.unzip();
        let course = match decision.course {
            Ok(course) => course,
            Err(answer) => {
                if let Some(rule) = &context.rule {
                    copies::skip_own_answer(rule);
                }
                return answer_instead(answer, session, context).await;
            }
        };

        let bodiless = session.as_mut().is_body_empty();
        let is_upgrade = tunnel::is_upgrade(session.req_header());
        course.apply(session.req_header_mut(), context.exchange.client_text(), local)?;
        if is_upgrade {
            copies::skip_upgrade(&course);
        } else {
            context.tee = copies::start(&context.table, &course, session.req_header(), bodiless);
        }
        if is_upgrade && tunnel::is_wanted(session.req_header(), bodiless) {
            context.course = Some(course);
            // In a box, because it is large, rare, and would take up its room in every request.
            Box::pin(self.tunnels.serve(session, context, &self.settings)).await?;
            return Ok(true);
        }
        // Pingora never answers it for HTTP/2 backends, and they would wait for each other.
        if course.backend.protocol == conf::Protocol::H2c && session.req_header_mut().remove_header(&EXPECT).is_some() {
            session.as_mut().write_continue_response().await?;
        }
        context.course = Some(course);
        Ok(false)
    }

    async fn upstream_peer(&self, _: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        let retry = context.rule.as_ref().and_then(|rule| rule.retry.as_ref());
        if let Some(wait) = retry.and_then(|retry| retry::backoff(retry, context.attempts)) {
            let wait = retry::scattered(wait);
            let left = context.request_deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
            tokio::time::sleep(left.map_or(wait, |left| left.min(wait))).await;
        }
        let left = context.begin_attempt();
        if left.is_some_and(|left| left.is_zero()) {
            return Error::e_explain(ErrorType::ReadTimedout, "no time is left for another attempt")
                .map_err(Error::into_up);
        }
        let course = context.course.as_ref().expect("only requests with a course come here");
        let backend = &course.backend;
        if course.rule.retry.is_some() && context.attempts == 1 {
            backend.retries.request(Instant::now());
        }
        let endpoint = backend.next_endpoint().expect("a course leads to a backend with endpoints");
        context.endpoint = Some(endpoint);
        let bond = course.bond(backend.protocol);
        let mut peer = upstream::peer(endpoint, backend.protocol, bond.as_ref(), &self.settings, left);
        if context.is_apart {
            upstream::keep_apart(&mut peer);
        }
        if let Some(bond) = bond {
            context.exchange.secure(bond);
        }
        Ok(Box::new(peer))
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _: &HttpPeer,
        context: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        context.exchange.end_attempt();
        let retry =
            retry::follows(session, context, Failure::NoAnswer) || retry::follows_refusal(session, context, &error);
        error.set_retry(retry);
        error
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _: bool,
        _: &HttpPeer,
        connection: RawFd,
        _: Option<&Digest>,
        context: &mut Context,
    ) -> Result<()> {
        // Streams of HTTP/2 share theirs.
        if context.course.as_ref().is_some_and(|course| course.backend.protocol == conf::Protocol::Http) {
            context.exchange.connected(connection);
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        context: &mut Context,
    ) -> Result<()> {
        context.exchange.touch();
        context.request_bytes += body.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if !context.tee.is_empty() && !session.was_upgraded() {
            context.tee.body(body.as_ref(), end);
            if context.tee.is_behind() {
                // The copy's task may share this thread, and then runs only once this one yields.
                tokio::task::yield_now().await;
            }
        }
        // Pingora writes a last piece that is empty, as HTTP/2 clients send it, as a chunk of its own,
        // which ends the body, and then the end once more: to the backend, the next request's begin.
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        if answer.status == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked for it: handshakes that are passed on go by way of tunnels.
            return Error::e_explain(ErrorType::InvalidHTTPHeader, "the backend switches protocols unasked")
                .map_err(Error::into_up);
        }
        if retry::follows(session, context, Failure::Status(answer.status)) {
            let mut error = Error::new_up(ErrorType::HTTPStatus(answer.status.as_u16()));
            error.set_retry(true);
            return Err(error);
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        context.exchange.touch();
        headers::remove_hop_by_hop(answer);
        if answer.status.is_informational() {
            return Ok(());
        }
        context.status = Some(answer.status);
        if answer.status == StatusCode::NO_CONTENT {
            // It has no body that could be framed: RFC 9110, 8.6, and RFC 9112, 6.1.
            answer.remove_header(&TRANSFER_ENCODING);
            answer.remove_header(&CONTENT_LENGTH);
        }
        if session.req_header().version == Version::HTTP_10 {
            // It is not understood there: the body ends with the connection.
            answer.remove_header(&TRANSFER_ENCODING);
        }
        if let Some(course) = &context.course {
            course.apply_to_answer(answer);
        }
        // A backend that did not wait for the end of the request does not want it.
        if context.exchange.is_stopping() || !session.as_mut().is_body_done() {
            session.set_keepalive(None);
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        context: &mut Context,
    ) -> Result<Option<Duration>> {
        context.exchange.touch();
        context.response_bytes += body.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        context: &mut Context,
        is_kept: bool,
    ) -> Box<Error> {
        context.exchange.end_attempt();
        let mut error = if context.exchange.has_expired() {
            Error::because(ErrorType::ReadTimedout, "the time for this attempt is over", error).into_up()
        } else {
            error
        };
        // An answer whose status asks for a retry has been decided about. And a body that the client
        // broke off must not look whole the second time.
        if !matches!(error.etype(), ErrorType::HTTPStatus(_)) {
            let retry =
                *error.esource() == ErrorSource::Upstream && retry::follows(session, context, Failure::NoAnswer);
            // The next connection is not to be one that is about to close as well.
            let is_kept = is_kept || context.exchange.is_on_kept_connection();
            context.is_apart = !retry && retry::follows_closing(session, context, &error, is_kept);
            error.set_retry(retry || context.is_apart);
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, context: &mut Context) -> FailToProxy {
        context.exchange.end_attempt();
        context.note_end(Some(error));
        let answer = Answer::to(error, context.asked_attempts()).filter(|_| !answer::is_begun(session));
        let sharing = context.course.as_ref().and_then(|course| course.sharing.as_ref());
        let answer = answer.map(|answer| answer.shared(sharing));
        if let Some(answer) = &answer {
            context.status = Some(answer.status);
            session.set_keepalive(None);
            // A failure means that the client is gone, which is as good.
            let _ = answer.send(session).await;
        }
        FailToProxy { error_code: answer.map_or(0, |answer| answer.status.as_u16()), can_reuse_downstream: false }
    }

    async fn logging(&self, _: &mut Session, error: Option<&Error>, context: &mut Context) {
        context.exchange.end_attempt();
        context.note_end(error);
    }

    /// The access log has a row for every request; Pingora's lines would say it again.
    fn suppress_error_log(&self, _: &Session, _: &Context, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Context, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}
