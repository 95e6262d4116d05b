//! One copy on its way: connects, sends, reads the answer, and counts what came of it.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use log::{debug, log_enabled};
use tokio::time::{Instant, Sleep};

use super::budget::Chunk;
use super::connect::{Connection, Event, Sent};
use super::head::Head;
use super::queue::{Body, Piece};
use super::{Abort, Account, Class, Decline, Failure, Limits, Outcome, Receiver};
use crate::tls::Bond;

/// One copy of one request.
pub(super) struct Copy {
    entry: Entry,
    bond: Option<Bond>,
    head: Head,
}

impl Copy {
    pub(super) fn new(entry: Entry, bond: Option<Bond>, head: Head) -> Self {
        Self { entry, bond, head }
    }

    /// Sends the copy, in a task of its own that nobody waits for but [`super::Mirrors::drained`].
    pub(super) fn spawn(self, body: Body) {
        tokio::spawn(self.run(body));
    }

    async fn run(self, mut body: Body) {
        let Self { mut entry, bond, head } = self;
        let outcome = match exchange(&mut entry, bond.as_ref(), head, &mut body).await {
            Ok(status) => Outcome::Completed(Class::of(status)),
            Err(outcome) => outcome,
        };
        // What waits for a copy that has ended is given up before it is counted as ended.
        drop(body);
        entry.end(outcome);
    }
}

/// Sends the request and reads the answer: its status.
async fn exchange(entry: &mut Entry, bond: Option<&Bond>, head: Head, body: &mut Body) -> Result<u16, Outcome> {
    let receiver = entry.receiver.clone();
    let (limits, connectors) = (receiver.limits(), receiver.connectors());
    let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
    let mut timer = Timer(timer.as_mut());

    let connecting = pin!(connectors.connect(limits, entry.endpoint, bond, head));
    let mut connection = match timer.within(limits.connect, unless_aborted(body, connecting)).await {
        Some(connected) => connected?.map_err(|failure| entry.not_connected(failure))?,
        None => return Err(entry.not_connected(Failure::ConnectTimeout)),
    };
    if !connection.is_reused() {
        receiver.pauses.connected(entry.endpoint);
    }

    let mut answer = Answer::default();
    let sent = send(&mut connection, &mut answer, body, entry, limits, &mut timer).await;
    let answered = match sent {
        Ok(()) => head_of_answer(&mut connection, &mut answer, limits, &mut timer).await.map_err(Outcome::Failed),
        Err(outcome) => Err(outcome),
    };
    entry.status = answer.status;
    match answered {
        Ok(status) => {
            drain(&mut connection, &mut answer, entry.sent, limits, &mut timer).await;
            match answer.ended {
                true => connection.release(connectors, limits),
                false => connection.abandon(connectors, limits, false),
            }
            Ok(status)
        }
        Err(outcome) => {
            let is_stale = connection.is_reused()
                && answer.status.is_none()
                && matches!(outcome, Outcome::Failed(Failure::Send | Failure::NoAnswer));
            let is_stuck = matches!(outcome, Outcome::Failed(Failure::WriteIdle | Failure::AnswerTimeout));
            connection.abandon(connectors, limits, is_stuck);
            Err(if is_stale { Outcome::Failed(Failure::Stale) } else { outcome })
        }
    }
}

/// Sends the whole request. The client may take its time for the body, the mirror may not. The head
/// travels with what is there of the body, and does not wait for more.
async fn send(
    connection: &mut Connection,
    answer: &mut Answer,
    body: &mut Body,
    entry: &mut Entry,
    limits: &Limits,
    timer: &mut Timer<'_>,
) -> Result<(), Outcome> {
    let mut is_head_sent = false;
    loop {
        let most = limits.answer_bytes(entry.sent);
        let next = next_piece(connection, answer, body, is_head_sent, most);
        let next = match timer.within(limits.silence, next).await {
            Some(next) => next,
            None => {
                // From here on the copy has its place only until another wants it.
                let _silence = body.queue().map(|queue| entry.receiver.silent.begin(queue.clone()));
                next_piece(connection, answer, body, is_head_sent, most).await
            }
        };
        let Piece { chunk, last } = next?;
        is_head_sent = true;
        let length = chunk.as_ref().map_or(0, |chunk: &Chunk| chunk.as_ref().len() as u64);
        connection.load(chunk, last);
        loop {
            let progress = poll_fn(|context| {
                if let Poll::Ready(reason) = body.poll_aborted(context) {
                    return Poll::Ready(Err(Outcome::Aborted(reason)));
                }
                if let Poll::Ready(sent) = connection.poll_send(context) {
                    return Poll::Ready(sent.map_err(Outcome::Failed));
                }
                answer.watch(context, connection, limits.answer_bytes(entry.sent + length)).map_err(Outcome::Failed)
            });
            match timer.within(limits.write_idle, progress).await {
                Some(progress) if progress? == Sent::All => break,
                Some(_) => {}
                None => return Err(Outcome::Failed(Failure::WriteIdle)),
            }
        }
        entry.sent += length;
        entry.receiver.meter.sent_bytes.inc_by(length);
        if last {
            return Ok(());
        }
    }
}

/// Waits for what is to be sent next: the head, if nothing was sent yet, at once.
fn next_piece(
    connection: &mut Connection,
    answer: &mut Answer,
    body: &mut Body,
    is_head_sent: bool,
    most: u64,
) -> impl Future<Output = Result<Piece, Outcome>> + Unpin {
    poll_fn(move |context| {
        if let Poll::Ready(next) = body.poll_next(context) {
            return Poll::Ready(next.map_err(Outcome::Aborted));
        }
        if !is_head_sent {
            return Poll::Ready(Ok(Piece { chunk: None, last: false }));
        }
        answer.watch(context, connection, most).map_err(Outcome::Failed)
    })
}

/// Waits for the answer's head, from the end of the body on.
async fn head_of_answer(
    connection: &mut Connection,
    answer: &mut Answer,
    limits: &Limits,
    timer: &mut Timer<'_>,
) -> Result<u16, Failure> {
    if let Some(status) = answer.status {
        return Ok(status);
    }
    let head = pin!(async {
        loop {
            answer.read(connection).await?;
            if let Some(status) = answer.status {
                return Ok(status);
            }
        }
    });
    timer.within(limits.response_head, head).await.unwrap_or(Err(Failure::AnswerTimeout))
}

/// Reads the rest of the answer, if it is short and comes soon.
async fn drain(connection: &mut Connection, answer: &mut Answer, sent: u64, limits: &Limits, timer: &mut Timer<'_>) {
    let rest = pin!(async {
        while !answer.ended && answer.read <= limits.answer_bytes(sent) {
            if answer.read(connection).await.is_err() {
                return;
            }
        }
    });
    timer.within(limits.drain, rest).await;
}

/// What was read of a mirror's answer.
#[derive(Default)]
struct Answer {
    status: Option<u16>,
    read: u64,
    ended: bool,
}

impl Answer {
    fn note(&mut self, event: Event) {
        match event {
            Event::Head(status) => self.status = Some(status),
            Event::Data(read) => self.read += read as u64,
            Event::End => self.ended = true,
        }
    }

    async fn read(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let event = poll_fn(|context| connection.poll_answer(context)).await?;
        self.note(event);
        Ok(())
    }

    /// Reads what has come already, while the request is on its way: a mirror may answer as it
    /// reads, and stop reading when nobody listens. One that answers much more than it was sent is
    /// not listened to. Pending unless the connection is broken.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        connection: &mut Connection,
        limit: u64,
    ) -> Poll<Result<T, Failure>> {
        while !self.ended && self.read <= limit {
            match connection.poll_answer(context) {
                Poll::Ready(Ok(event)) => self.note(event),
                Poll::Ready(Err(Failure::NoAnswer)) => return Poll::Ready(Err(Failure::Send)),
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }
}

/// Ends a future early when the client's side aborts the copy.
fn unless_aborted<T>(
    body: &Body,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> impl Future<Output = Result<T, Outcome>> + Unpin {
    poll_fn(move |context| match body.poll_aborted(context) {
        Poll::Ready(reason) => Poll::Ready(Err(Outcome::Aborted(reason))),
        Poll::Pending => future.as_mut().poll(context).map(Ok),
    })
}

/// The one timer of a copy. It is armed only once something is really waited for.
struct Timer<'a>(Pin<&'a mut Sleep>);

impl Timer<'_> {
    /// None if the future takes longer.
    fn within<T>(
        &mut self,
        limit: Duration,
        mut future: impl Future<Output = T> + Unpin,
    ) -> impl Future<Output = Option<T>> {
        let mut armed = false;
        poll_fn(move |context| {
            if let Poll::Ready(output) = Pin::new(&mut future).poll(context) {
                return Poll::Ready(Some(output));
            }
            if !armed {
                self.0.as_mut().reset(Instant::now() + limit);
                armed = true;
            }
            self.0.as_mut().poll(context).map(|()| None)
        })
    }
}

/// A copy that is in flight. However it ends, it is counted once: one that is dropped, with its task
/// and the whole program, as aborted.
pub(super) struct Entry {
    receiver: Arc<Receiver>,
    account: Arc<Account>,
    endpoint: SocketAddr,
    outcome: Outcome,
    started: Instant,
    /// Bytes of the body.
    sent: u64,
    status: Option<u16>,
}

impl Entry {
    /// Begins a copy, or counts it as dropped.
    pub(super) fn begin(receiver: Arc<Receiver>, account: Arc<Account>, endpoint: SocketAddr) -> Option<Self> {
        if let Err(reason) = receiver.enter(endpoint) {
            account.book(Outcome::Dropped(reason));
            if reason == Decline::InFlight {
                receiver.trouble(endpoint, Outcome::Dropped(reason));
            }
            return None;
        }
        account.book(Outcome::Started);
        let outcome = Outcome::Aborted(Abort::Shutdown);
        Some(Self { receiver, account, endpoint, outcome, started: Instant::now(), sent: 0, status: None })
    }

    pub(super) fn receiver(&self) -> &Arc<Receiver> {
        &self.receiver
    }

    pub(super) fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    fn not_connected(&self, failure: Failure) -> Outcome {
        self.receiver.pauses.failed(self.endpoint);
        Outcome::Failed(failure)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Self { receiver, account, endpoint, outcome, started, sent, status } = self;
        let duration = started.elapsed();
        account.book(*outcome);
        if let Outcome::Completed(_) = outcome {
            receiver.meter.duration.observe(duration.as_secs_f64());
        }
        if outcome.is_trouble() {
            receiver.trouble(*endpoint, *outcome);
        }
        if log_enabled!(log::Level::Debug) {
            let (outcome, reason) = outcome.labels();
            let (route, mirror) = (account.route().as_str(), receiver.name().as_str());
            let (endpoint, ms) = (endpoint.to_string(), duration.as_millis() as u64);
            debug!(
                route, mirror, endpoint = endpoint.as_str(), outcome, reason, status:? = *status, bytes = *sent, ms;
                "copy"
            );
        }
        receiver.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::head::Heads;
    use crate::mirror::receiver::tests::mirrors;

    #[test]
    fn the_task_of_a_copy_is_small() {
        let mirrors = mirrors(Limits::default());
        let (receiver, account) =
            (mirrors.receiver(&"m".parse().unwrap()), mirrors.account(&"r".parse().unwrap(), &"m".parse().unwrap()));
        let entry = Entry::begin(receiver, account, ([127, 0, 0, 1], 1).into()).unwrap();
        let mut head = pingora::http::RequestHeader::build("GET", b"/", None).unwrap();
        head.insert_header("Host", "h").unwrap();
        let head = Heads::new(&head, true).speaking(conf::Protocol::Http).unwrap();
        let size = size_of_val(&Copy::new(entry, None, head).run(Body::None));
        assert!(size < 2 << 10, "{size} bytes are allocated for each copy");
    }
}
