use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::Abort;
use super::budget::{Chunk, Ledger};

/// The body of one copy on its way from the request to the copy's task. What it may hold is bounded
/// by the ledger its chunks are reserved in.
pub(super) struct Queue {
    pub(super) ledger: Arc<Ledger>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Chunk>,
    end: Option<Result<(), Abort>>,
    waker: Option<Waker>,
    /// Nobody will read any more.
    closed: bool,
}

impl Queue {
    pub(super) fn new(ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Self { ledger, state: Mutex::default() })
    }

    /// Adds a piece of the body, and its end if it is the `last`. False if the copy has ended, or is
    /// about to.
    pub(super) fn push(&self, chunk: Option<Chunk>, last: bool) -> bool {
        let mut state = self.lock();
        if state.closed || state.end.is_some() {
            return false;
        }
        state.chunks.extend(chunk);
        if last {
            state.end = Some(Ok(()));
        }
        wake(state);
        true
    }

    /// Ends the copy before the end of its body. What waits is given up at once. False if the copy
    /// has an end already.
    pub(super) fn abort(&self, reason: Abort) -> bool {
        let mut state = self.lock();
        if state.closed || state.end.is_some() {
            return false;
        }
        state.end = Some(Err(reason));
        let given_up = std::mem::take(&mut state.chunks);
        wake(state);
        drop(given_up);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// What a copy has for a body.
pub(super) enum Body {
    None,
    /// It comes piece by piece.
    Stream(Reader),
}

/// The copy's end of the queue.
pub(super) struct Reader(pub(super) Arc<Queue>);

/// A piece of a body.
pub(super) struct Piece {
    pub(super) chunk: Option<Chunk>,
    pub(super) last: bool,
}

impl Body {
    /// Where it comes from piece by piece.
    pub(super) fn queue(&self) -> Option<&Arc<Queue>> {
        match self {
            Self::None => None,
            Self::Stream(reader) => Some(&reader.0),
        }
    }

    /// The next piece. After the last one there is none.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Piece, Abort>> {
        let reader = match self {
            Self::None => return Poll::Ready(Ok(Piece { chunk: None, last: true })),
            Self::Stream(reader) => reader,
        };
        let mut state = reader.0.lock();
        if let Some(Err(reason)) = state.end {
            return Poll::Ready(Err(reason));
        }
        let chunk = state.chunks.pop_front();
        let last = state.end.is_some() && state.chunks.is_empty();
        if chunk.is_none() && !last {
            wait(&mut state, context);
            return Poll::Pending;
        }
        Poll::Ready(Ok(Piece { chunk, last }))
    }

    /// Ready once the copy is to be aborted.
    pub(super) fn poll_aborted(&self, context: &mut Context<'_>) -> Poll<Abort> {
        let Self::Stream(reader) = self else { return Poll::Pending };
        let mut state = reader.0.lock();
        if let Some(Err(reason)) = state.end {
            return Poll::Ready(reason);
        }
        wait(&mut state, context);
        Poll::Pending
    }
}

fn wait(state: &mut State, context: &Context<'_>) {
    if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
        state.waker = Some(context.waker().clone());
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        let unread = std::mem::take(&mut state.chunks);
        drop(state);
        drop(unread);
    }
}
