use std::fmt::Display;
use std::str::FromStr;

use http::{HeaderName, Method};
use serde::{Deserialize, Serialize};

use crate::value::Origin;
use crate::{Duration, check};

/// Which pages of other origins may use what a rule serves, and how: what the gateway tells their
/// browsers, which ask before they send what is out of the ordinary (CORS).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Cors {
    #[serde(default, skip_serializing_if = "Allowed::is_none")]
    pub allow_origins: Allowed<Origin>,
    /// Whether requests may carry cookies and the like.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_credentials: bool,
    /// Beside GET, HEAD and POST, which pages may use in any case.
    #[serde(default, skip_serializing_if = "Allowed::is_none")]
    pub allow_methods: Allowed<Method>,
    #[serde(default, skip_serializing_if = "Allowed::is_none")]
    pub allow_headers: Allowed<HeaderName>,
    /// Those of answers.
    #[serde(default, skip_serializing_if = "Allowed::is_none")]
    pub expose_headers: Allowed<HeaderName>,
    /// How long browsers may remember what they were told, in whole seconds; what is finer is cut off.
    #[serde(default = "five_seconds")]
    pub max_age: Duration,
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            allow_origins: Allowed::default(),
            allow_credentials: false,
            allow_methods: Allowed::default(),
            allow_headers: Allowed::default(),
            expose_headers: Allowed::default(),
            max_age: five_seconds(),
        }
    }
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

/// What is allowed of something: all of it, which a list with `*` in it says, or what is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
#[serde(bound(serialize = "T: Clone + Display", deserialize = "T: Listed"))]
pub enum Allowed<T> {
    All,
    These(Vec<T>),
}

impl<T> Allowed<T> {
    pub fn is_none(&self) -> bool {
        matches!(self, Self::These(these) if these.is_empty())
    }
}

impl<T> Default for Allowed<T> {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl<T: Listed> TryFrom<Vec<String>> for Allowed<T> {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Self, String> {
        if texts.iter().any(|text| text == ALL) {
            return Ok(Self::All);
        }
        texts.iter().map(|text| T::listed(text)).collect::<Result<_, _>>().map(Self::These)
    }
}

impl<T: Display> From<Allowed<T>> for Vec<String> {
    fn from(allowed: Allowed<T>) -> Self {
        match allowed {
            Allowed::All => vec![ALL.to_owned()],
            Allowed::These(these) => these.iter().map(T::to_string).collect(),
        }
    }
}

const ALL: &str = "*";

/// What lists of [`Allowed`] are made of.
pub trait Listed: Sized {
    /// Reads one; an error quotes what it was given.
    fn listed(text: &str) -> Result<Self, String>;
}

impl Listed for Origin {
    fn listed(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: <Self as FromStr>::Err| error.to_string())
    }
}

impl Listed for Method {
    fn listed(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("{text:?} is not a method"))
    }
}

impl Listed for HeaderName {
    fn listed(text: &str) -> Result<Self, String> {
        check::header_name(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed<T: Listed>(texts: &[&str]) -> Result<Allowed<T>, String> {
        texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>().try_into()
    }

    #[test]
    fn a_star_covers_all_and_the_rest_of_its_list() {
        assert_eq!(allowed::<Method>(&["*"]), Ok(Allowed::All));
        assert_eq!(allowed::<HeaderName>(&["x-a", "*"]), Ok(Allowed::All));
        assert_eq!(allowed::<Origin>(&[]), Ok(Allowed::default()));
    }

    #[test]
    fn what_is_none_is_quoted() {
        let expected = r#""GE T" is not a method"#;
        assert_eq!(allowed::<Method>(&["PUT", "GE T"]), Err(expected.to_owned()));
        let expected = r#""x:" is not a header name"#;
        assert_eq!(allowed::<HeaderName>(&["x:"]), Err(expected.to_owned()));
    }
}
