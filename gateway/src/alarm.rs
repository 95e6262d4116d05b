//! One timer for everything that is to be over by some time, one after the other.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// Rings at the time that it is asked for last. As long as that only moves on, as it does from request
/// to request, the timer beneath is left alone until it goes off, and then set anew.
#[derive(Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready from `due` on.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, due: Instant) -> Poll<()> {
        let due = due.into();
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(context).is_ready() {
            if timer.deadline() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_time_asked_for_last() {
        let (mut alarm, start) = (Alarm::default(), Instant::now());
        let at = |seconds: u32| (start + seconds * SECOND).into_std();
        let ask =
            |alarm: &mut Alarm, seconds| alarm.poll(&mut Context::from_waker(std::task::Waker::noop()), at(seconds));
        assert!(ask(&mut alarm, 2).is_pending());
        poll_fn(|context| alarm.poll(context, at(9))).await;
        assert_eq!(start.elapsed().as_secs(), 9, "later than before");
        assert!(ask(&mut alarm, 20).is_pending());
        poll_fn(|context| alarm.poll(context, at(12))).await;
        assert_eq!(start.elapsed().as_secs(), 12, "sooner than before");
        assert!(ask(&mut alarm, 12).is_ready() && ask(&mut alarm, 5).is_ready(), "and stays so");
        assert!(ask(&mut alarm, 13).is_pending());
    }
}
