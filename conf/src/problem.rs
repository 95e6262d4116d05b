use std::fmt;

use crate::Key;

/// Something in a document that cannot be used: where, what was found, and what would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the text, when that is known.
    pub location: Option<Location>,
    /// In which document, when so much of it could be read.
    pub document: Option<Key>,
    /// Which field of it, and what about it.
    pub message: String,
}

/// Both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    pub line: u64,
    pub column: u64,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = self.location {
            write!(f, "{}:{}: ", location.line, location.column)?;
        }
        if let Some(document) = &self.document {
            write!(f, "{document}: ")?;
        }
        f.write_str(&self.message)
    }
}
