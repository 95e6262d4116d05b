//! Inputs that nobody thought of, for as long as there is time.

use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

/// Tries values of the strategy for `DOPPEL_FUZZ_SECONDS`, by default a few; one that fails is made
/// as small as can be, and told.
#[track_caller]
pub fn fuzz<S: Strategy>(strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let seconds = std::env::var("DOPPEL_FUZZ_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"));
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(DEFAULT_SECONDS));
    // Each run goes on with the random numbers of the one before.
    let config = Config { cases: 4, max_shrink_time: 60_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let mut tried = 0;
    while tried == 0 || Instant::now() < end {
        match runner.run(&strategy, &test) {
            Ok(()) => tried += 4,
            Err(TestError::Fail(reason, value)) => panic!("{reason}\nafter {tried} others, with {value:#?}"),
            Err(TestError::Abort(reason)) => panic!("{reason}"),
        }
    }
}

const DEFAULT_SECONDS: u64 = 3;
