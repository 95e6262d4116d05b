use std::fmt;

/// Which rule answers a request and why; who lost and why.
#[derive(Debug)]
pub struct Explanation;

impl fmt::Display for Explanation {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}
