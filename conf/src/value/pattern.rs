use std::fmt;
use std::str::FromStr;

use regex::{Regex, RegexBuilder};

/// A regular expression (RE2 syntax: no look-around, no back references, linear time) that must
/// match the whole of a value.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// Compiled programs beyond this are refused; in bytes.
const MAX_COMPILED: usize = 1 << 20;

impl Pattern {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn matches(&self, value: &str) -> bool {
        self.regex.is_match(value)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        // Parsed alone first: `a)(b` would be accepted inside the anchoring group.
        let build = |pattern: &str| RegexBuilder::new(pattern).size_limit(MAX_COMPILED).build();
        build(text)
            .and_then(|_| build(&format!("^(?:{text})$")))
            .map(|regex| Self { text: text.into(), regex })
            .map_err(|error| PatternError { text: text.into(), error: last_line(&error) })
    }
}

/// The library draws the expression over several lines; its last line says what is wrong.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

crate::as_text!(Pattern);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a regular expression: {error}")]
pub struct PatternError {
    text: String,
    error: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_value_must_match() {
        let pattern: Pattern = "v[0-9]+|beta".parse().unwrap();
        assert!(pattern.matches("v10") && pattern.matches("beta"));
        assert!(!pattern.matches("v1x") && !pattern.matches("xbeta"));
    }

    #[test]
    fn errors_name_the_expression_and_the_cause() {
        let error = "a(b".parse::<Pattern>().unwrap_err().to_string();
        assert_eq!(error, r#""a(b" is not a regular expression: unclosed group"#);
        assert!("a)(b".parse::<Pattern>().is_err());
    }
}
