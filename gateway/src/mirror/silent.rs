use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Abort;
use super::queue::Queue;

/// The copies to one mirror whose clients have sent nothing for a while, the longest silence first.
/// Each has its place only until a new copy wants it.
///
/// A copy comes here once it is silent, and a new one looks here once there is no place: between
/// clients that speak and a mirror that has room, nobody does.
#[derive(Default)]
pub(super) struct Silent(Mutex<VecDeque<Arc<Queue>>>);

/// One silence, over when dropped.
pub(super) struct Silence<'a> {
    silent: &'a Silent,
    queue: Arc<Queue>,
}

impl Silent {
    pub(super) fn begin(&self, queue: Arc<Queue>) -> Silence<'_> {
        self.lock().push_back(queue.clone());
        Silence { silent: self, queue }
    }

    /// Breaks off the copy that has been silent the longest. False if there is none.
    pub(super) fn break_one_off(&self) -> bool {
        let longest = || self.lock().pop_front();
        // One that has just come to its end keeps its place for the answer.
        std::iter::from_fn(longest).any(|queue| queue.abort(Abort::GaveWay))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Queue>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        self.silent.lock().retain(|queue| !Arc::ptr_eq(queue, &self.queue));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::Limits;
    use crate::mirror::budget::Ledger;
    use crate::mirror::queue::{Body, Reader};
    use crate::mirror::receiver::tests::mirrors;

    /// Why the copy is broken off, if it is.
    fn broken_off(body: &Body) -> Option<Abort> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match body.poll_aborted(&mut context) {
            std::task::Poll::Ready(reason) => Some(reason),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn the_longest_silence_gives_way_first_and_one_that_is_over_does_not() {
        let receiver = mirrors(Limits::default()).receiver(&"m".parse().unwrap());
        let queues: [_; 4] = std::array::from_fn(|_| Queue::new(Ledger::new(receiver.clone())));
        let bodies = queues.clone().map(|queue| Body::Stream(Reader(queue)));
        let silent = Silent::default();
        let [first, second, third, fourth] = queues.clone().map(|queue| silent.begin(queue));
        drop(second);
        assert!(queues[2].push(None, true));
        let mut given_way = Vec::new();
        while silent.break_one_off() {
            given_way.push(bodies.each_ref().map(broken_off));
        }
        let why = Some(Abort::GaveWay);
        assert_eq!(given_way, [[why, None, None, None], [why, None, None, why]]);
        drop((first, third, fourth));
        assert!(silent.lock().is_empty());
    }
}
