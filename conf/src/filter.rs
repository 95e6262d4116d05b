use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{Cors, Fraction, Hostname, Name, Target, check};

/// What happens to a request on its way, named as in the Gateway API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Filter {
    RequestHeaderModifier(HeaderModifier),
    ResponseHeaderModifier(HeaderModifier),
    RequestRedirect(Redirect),
    UrlRewrite(Rewrite),
    RequestMirror(Mirror),
    Cors(Cors),
}

/// Applied in this order: `set` replaces, `add` appends, `remove` deletes. What says how a message
/// is framed or concerns one connection is left alone: `Connection`, `Content-Length`, `Keep-Alive`,
/// `Proxy-Connection`, `TE`, `Trailer`, `Transfer-Encoding`, `Upgrade`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HeaderModifier {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<Header>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<Header>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "header_names")]
    pub remove: Vec<HeaderName>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "HeaderText", into = "HeaderText")]
pub struct Header {
    pub name: HeaderName,
    pub value: HeaderValue,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderText {
    name: String,
    value: String,
}

impl TryFrom<HeaderText> for Header {
    type Error = String;

    fn try_from(text: HeaderText) -> Result<Self, String> {
        let value = HeaderValue::from_str(&text.value)
            .map_err(|_| format!("{:?} is not a header value: it has control characters", text.value))?;
        Ok(Self { name: check::header_name(&text.name)?, value })
    }
}

impl From<Header> for HeaderText {
    fn from(header: Header) -> Self {
        let value = String::from_utf8_lossy(header.value.as_bytes()).into_owned();
        Self { name: header.name.to_string(), value }
    }
}

mod header_names {
    use http::HeaderName;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::check;

    pub(super) fn serialize<S: Serializer>(names: &[HeaderName], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(names.iter().map(HeaderName::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HeaderName>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names.iter().map(|name| check::header_name(name).map_err(D::Error::custom)).collect()
    }
}

/// The gateway answers itself, with a `Location` made from the request and what is given here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Redirect {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Hostname>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
    /// Without one: the well-known port of `scheme` if that is given, else the listener's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default)]
    pub status_code: RedirectStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub fn well_known_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// 301, 302, 303, 307 or 308; 302 unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct RedirectStatus(StatusCode);

impl RedirectStatus {
    pub fn code(self) -> StatusCode {
        self.0
    }
}

impl Default for RedirectStatus {
    fn default() -> Self {
        Self(StatusCode::FOUND)
    }
}

impl TryFrom<u16> for RedirectStatus {
    type Error = String;

    fn try_from(code: u16) -> Result<Self, String> {
        match (code, StatusCode::from_u16(code)) {
            (301..=303 | 307 | 308, Ok(status)) => Ok(Self(status)),
            _ => Err(format!("{code} is not one of the redirect codes 301, 302, 303, 307, 308")),
        }
    }
}

impl From<RedirectStatus> for u16 {
    fn from(status: RedirectStatus) -> u16 {
        status.0.as_u16()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathModifier {
    /// The whole path; the query stays.
    ReplaceFullPath(String),
    /// The elements that the rule's prefix match covered; what follows them stays.
    ReplacePrefixMatch(String),
}

/// The request as the backend sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rewrite {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Hostname>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
}

/// A copy of the request, sent to one endpoint of another backend; its answer is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "MirrorText", into = "MirrorText")]
pub struct Mirror {
    pub target: Target,
    /// Which share of the requests is copied.
    pub fraction: Fraction,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MirrorText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backend: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invalid: Option<String>,
    #[serde(default = "all", skip_serializing_if = "Fraction::is_all")]
    fraction: Fraction,
}

fn all() -> Fraction {
    Fraction::ALL
}

impl TryFrom<MirrorText> for Mirror {
    type Error = String;

    fn try_from(text: MirrorText) -> Result<Self, String> {
        let target = Target::from_fields(text.backend, text.invalid)?;
        Ok(Self { target, fraction: text.fraction })
    }
}

impl From<Mirror> for MirrorText {
    fn from(mirror: Mirror) -> Self {
        let (backend, invalid) = mirror.target.into_fields();
        Self { backend, invalid, fraction: mirror.fraction }
    }
}
