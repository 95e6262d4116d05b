use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a document, unique among documents of its kind: `server/pipy:8080`.
///
/// Names appear in log lines and as metric labels. They are opaque to the gateway; the adapter
/// makes them from namespaces, names and ports. Cloning one is cheap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// A namespace and a name of 253 characters each, a section of as many and some separators fit.
const MAX_LENGTH: usize = 1024;

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(NameError::TooLong(text.len()));
        }
        match text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            Some(c) => Err(NameError::Character(text.into(), c)),
            None => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::as_text!(Name);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name may not be empty")]
    Empty,
    #[error("a name of {0} bytes is longer than {MAX_LENGTH}")]
    TooLong(usize),
    #[error("name {0:?} contains {1:?}; names have no white space or control characters")]
    Character(String, char),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_white_space_are_valid() {
        assert_eq!("server/pipy:8080".parse::<Name>().unwrap().as_str(), "server/pipy:8080");
        assert_eq!("".parse::<Name>(), Err(NameError::Empty));
        assert_eq!("a b".parse::<Name>(), Err(NameError::Character("a b".into(), ' ')));
        assert_eq!("x".repeat(1025).parse::<Name>(), Err(NameError::TooLong(1025)));
    }
}
