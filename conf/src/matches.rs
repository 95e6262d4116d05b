use http::{HeaderName, Method};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use crate::{Pattern, as_text, check};

/// Conditions on a request, all of which must hold. An empty match holds for every request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Match {
    /// Without one every path matches, like the prefix `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<MethodMatch>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<QueryMatch>,
}

/// Compared with the path as the client sent it, case and escapes included, without the query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathMatch {
    Exact(String),
    /// By path elements: `/v2` matches `/v2` and `/v2/a`, not `/v2a`. A slash at its end is ignored.
    Prefix(String),
    Regex(Pattern),
}

/// Case matters, as it does in HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodMatch(pub Method);

impl FromStr for MethodMatch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Method::from_bytes(text.as_bytes()).map(Self).map_err(|_| format!("{text:?} is not an HTTP method such as GET"))
    }
}

impl fmt::Display for MethodMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

as_text!(MethodMatch);

/// A header that must be there with such a value. Of several with the name any may match, or all of
/// them joined with commas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ValueText", into = "ValueText")]
pub struct HeaderMatch {
    pub name: HeaderName,
    pub value: StringMatch,
}

/// A query parameter that must be there with such a value. Of several with the name the first
/// counts, as the Gateway API recommends; names and values are compared after percent-decoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ValueText", into = "ValueText")]
pub struct QueryMatch {
    pub name: String,
    pub value: StringMatch,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringMatch {
    Exact(String),
    Regex(Pattern),
}

impl StringMatch {
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(expected) => value == expected,
            Self::Regex(pattern) => pattern.matches(value),
        }
    }
}

/// How the two are written: `{name: version, exact: two}`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ValueText {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exact: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    regex: Option<Pattern>,
}

impl ValueText {
    fn new(name: String, value: StringMatch) -> Self {
        match value {
            StringMatch::Exact(exact) => Self { name, exact: Some(exact), regex: None },
            StringMatch::Regex(regex) => Self { name, exact: None, regex: Some(regex) },
        }
    }

    fn split(self) -> Result<(String, StringMatch), String> {
        let value = check::exactly_one([
            ("exact", self.exact.map(StringMatch::Exact)),
            ("regex", self.regex.map(StringMatch::Regex)),
        ])?;
        Ok((self.name, value))
    }
}

impl TryFrom<ValueText> for HeaderMatch {
    type Error = String;

    fn try_from(text: ValueText) -> Result<Self, String> {
        let (name, value) = text.split()?;
        Ok(Self { name: check::header_name(&name)?, value })
    }
}

impl From<HeaderMatch> for ValueText {
    fn from(header: HeaderMatch) -> Self {
        Self::new(header.name.to_string(), header.value)
    }
}

impl TryFrom<ValueText> for QueryMatch {
    type Error = String;

    fn try_from(text: ValueText) -> Result<Self, String> {
        let (name, value) = text.split()?;
        Ok(Self { name, value })
    }
}

impl From<QueryMatch> for ValueText {
    fn from(query: QueryMatch) -> Self {
        Self::new(query.name, query.value)
    }
}
