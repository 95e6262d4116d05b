use std::sync::Arc;

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{Duration, Filter, Hostname, Match, Name, Target};

/// Rules for the requests of some listeners and hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Route {
    pub name: Name,
    /// The listeners it serves on.
    pub listeners: Vec<Name>,
    /// Only requests for these hosts; without any, for all that its listeners serve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<Hostname>,
    /// Who goes first when matches of several routes are equally specific: the smaller text,
    /// compared byte by byte. Without one, the order of documents.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub order: Arc<str>,
    pub rules: Vec<Rule>,
}

/// The most specific matching rule of all routes answers a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Any of them; without any, every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Arc<Match>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
    /// One of them is chosen per request, by weight. Without any, and without a redirect, requests
    /// get 500.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<WeightedBackend>,
    #[serde(default, skip_serializing_if = "Timeouts::is_empty")]
    pub timeouts: Timeouts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WeightedText", into = "WeightedText")]
pub struct WeightedBackend {
    pub target: Target,
    /// Its share of the sum of all weights of the rule; 0 to [`WeightedBackend::MAX_WEIGHT`].
    pub weight: u32,
    /// For the requests that go to this backend, after those of the rule.
    pub filters: Vec<Filter>,
}

impl WeightedBackend {
    pub const MAX_WEIGHT: u32 = 1_000_000;
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WeightedText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backend: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invalid: Option<String>,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    weight: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    filters: Vec<Filter>,
}

fn one() -> u32 {
    1
}

fn is_one(weight: &u32) -> bool {
    *weight == 1
}

impl TryFrom<WeightedText> for WeightedBackend {
    type Error = String;

    fn try_from(text: WeightedText) -> Result<Self, String> {
        let target = Target::from_fields(text.backend, text.invalid)?;
        Ok(Self { target, weight: text.weight, filters: text.filters })
    }
}

impl From<WeightedBackend> for WeightedText {
    fn from(weighted: WeightedBackend) -> Self {
        let (backend, invalid) = weighted.target.into_fields();
        Self { backend, invalid, weight: weighted.weight, filters: weighted.filters }
    }
}

/// Hard limits; a request that exceeds one gets 504. `0s` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Timeouts {
    /// From the request's head to the end of the answer, retries included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// For each attempt at a backend, from its choice to the end of its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Duration>,
}

impl Timeouts {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// When a request is sent again: after a connection error, and after an answer with one of the
/// codes. Where this is, nothing else is sent again. Never once a byte of an answer went to the client, and never when the request's body is
/// longer than 64 KiB, of which the gateway keeps no more, or its backend has had its share of retries:
/// as many as a fifth of its requests within ten seconds, and a hundred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Retry {
    /// How often at most, beyond the first attempt; 1 to [`Retry::MAX_ATTEMPTS`].
    pub attempts: u8,
    /// 400 to 599.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "codes")]
    pub codes: Vec<StatusCode>,
    /// How long to wait before the first; doubled each time, up to 10 s or this if it is longer, and up
    /// to a quarter more, at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
}

impl Retry {
    pub const MAX_ATTEMPTS: u8 = 15;
}

mod codes {
    use http::StatusCode;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::check;

    pub(super) fn serialize<S: Serializer>(codes: &[StatusCode], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(codes.iter().map(StatusCode::as_u16))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<StatusCode>, D::Error> {
        let codes = Vec::<u16>::deserialize(deserializer)?;
        codes.into_iter().map(|code| check::error_code(code).map_err(D::Error::custom)).collect()
    }
}
