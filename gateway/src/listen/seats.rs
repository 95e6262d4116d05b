//! Places of connections where few are enough, and one that nobody uses must not keep out another.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use crate::limit::Permit;

/// All places that are taken, by when their connections were last known to be of use: since then the
/// first has been silent for the longest.
#[derive(Default)]
pub(super) struct Seats(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    next: u64,
    places: VecDeque<Place>,
}

struct Place {
    number: u64,
    permit: Permit,
    /// What serves the connection.
    task: Option<AbortHandle>,
}

/// The place of one connection, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    number: u64,
}

impl Seats {
    pub(super) fn take(self: &Arc<Self>, permit: Permit) -> Arc<Seat> {
        let mut taken = self.lock();
        let number = taken.next;
        taken.next += 1;
        taken.places.push_back(Place { number, permit, task: None });
        Arc::new(Seat { seats: self.clone(), number })
    }

    /// Ends the connection that has been silent the longest, for its place.
    pub(super) fn vacate(&self) -> Option<Permit> {
        let mut taken = self.lock();
        let longest = taken.places.iter().position(|place| place.task.is_some())?;
        let Place { permit, task, .. } = taken.places.remove(longest)?;
        drop(taken);
        task?.abort();
        Some(permit)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn position(&self, number: u64) -> Option<usize> {
        self.places.iter().position(|place| place.number == number)
    }
}

impl Seat {
    /// To be told when the connection is served.
    pub(super) fn is_served_by(&self, task: AbortHandle) {
        let mut taken = self.seats.lock();
        if let Some(at) = taken.position(self.number) {
            taken.places[at].task = Some(task);
        }
    }

    /// The connection is of use just now.
    pub(super) fn heard(&self) {
        let mut taken = self.seats.lock();
        if let Some(place) = taken.position(self.number).and_then(|at| taken.places.remove(at)) {
            taken.places.push_back(place);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        // One that was vacated belongs to another.
        let place = taken.position(self.number).and_then(|at| taken.places.remove(at));
        drop(taken);
        drop(place);
    }
}

impl std::fmt::Debug for Seats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seats").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use prometheus::IntCounter;

    use super::*;
    use crate::limit::Limit;

    #[tokio::test]
    async fn the_longest_silence_gives_way() {
        let limit = Limit::new(3, IntCounter::new("refused", "refused").unwrap());
        let seats = Arc::<Seats>::default();
        let connections: [_; 3] = std::array::from_fn(|_| {
            let seat = seats.take(limit.take().unwrap());
            let task = tokio::spawn(pending::<()>());
            seat.is_served_by(task.abort_handle());
            (seat, task)
        });
        assert!(limit.take().is_none());
        let [(first, first_task), (second, second_task), (third, third_task)] = connections;
        first.heard();
        let permit = seats.vacate().unwrap();
        assert!(second_task.await.unwrap_err().is_cancelled());
        drop(second);
        assert!(limit.take().is_none(), "its place has another");
        drop(permit);
        assert!(limit.take().is_some());
        drop(third);
        assert!(seats.vacate().is_some());
        assert!(first_task.await.unwrap_err().is_cancelled());
        assert!(seats.vacate().is_none() && !third_task.is_finished());
        third_task.abort();
    }
}
