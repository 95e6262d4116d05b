use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A problem of the configuration, with the file that it is in: `routes.yaml:3:5: route shop: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: Arc<Path>,
    pub problem: conf::Problem,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, problem } = self;
        let space = if problem.location.is_some() { "" } else { " " };
        write!(f, "{}:{space}{problem}", file.display())
    }
}
