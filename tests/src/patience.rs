//! How long a test waits for what must happen.

use std::future::Future;
use std::time::Duration;

/// Far longer than anything takes, even on a busy machine: what needs more hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The value of the future, which must come within [`PATIENCE`].
#[track_caller]
pub fn soon<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(value) => value,
            Err(_) => panic!("{caller}: waited {PATIENCE:?} for {what}"),
        }
    }
}

/// Asks until there is an answer. For conditions that nobody tells of, such as numbers on a metrics
/// page.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        let mut pause = tokio::time::interval(Duration::from_millis(5));
        loop {
            pause.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    soon(what, asking).await
}
