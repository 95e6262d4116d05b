//! Filters of rules and of backend references: one conversion for both.

use std::fmt::Display;

use conf::{Cors, Header, HeaderModifier, Hostname, Mirror, PathModifier, Redirect, Rewrite, Scheme, Target, nearest};
use http::{HeaderName, HeaderValue};

use crate::api::http_route::{self as api, BackendRef, Filter};

/// The filter in the gateway's terms, or why there is none. A filter is never left out: whoever
/// gets an error here answers 500. `types` are those that may stand here. `target` follows the
/// reference of a mirror; one that leads nowhere spoils the mirror alone.
pub(super) fn filter(
    filter: &Filter,
    types: &[&str],
    target: impl FnOnce(&BackendRef) -> Target,
) -> Result<conf::Filter, String> {
    match filter.kind.as_str() {
        "" => Err(format!("type is missing; it should be one of {}", types.join(", "))),
        "ExtensionRef" => {
            let name = filter.extension_ref.as_ref().map(|r| format!(" {} {} ({})", r.kind, r.name, r.group));
            let name = name.unwrap_or_default();
            Err(format!("extensionRef{name} cannot be resolved: this controller has no extension filters; remove it"))
        }
        kind if !types.contains(&kind) => Err(unsupported(kind, types)),
        "RequestHeaderModifier" => {
            let modifier = given(filter.request_header_modifier.as_ref(), "requestHeaderModifier")?;
            header_modifier(modifier).map(conf::Filter::RequestHeaderModifier)
        }
        "ResponseHeaderModifier" => {
            let modifier = given(filter.response_header_modifier.as_ref(), "responseHeaderModifier")?;
            header_modifier(modifier).map(conf::Filter::ResponseHeaderModifier)
        }
        "RequestRedirect" => {
            redirect(given(filter.request_redirect.as_ref(), "requestRedirect")?).map(conf::Filter::RequestRedirect)
        }
        "URLRewrite" => rewrite(given(filter.url_rewrite.as_ref(), "urlRewrite")?).map(conf::Filter::UrlRewrite),
        "RequestMirror" => {
            let given = given(filter.request_mirror.as_ref(), "requestMirror")?;
            let target = target(&given.backend_ref);
            Ok(conf::Filter::RequestMirror(Mirror { target, fraction: fraction(given)? }))
        }
        "CORS" => cors(given(filter.cors.as_ref(), "cors")?).map(conf::Filter::Cors),
        kind => Err(unsupported(kind, types)),
    }
}

/// Those of HTTPRoutes.
pub(super) const OF_HTTP: [&str; 6] =
    ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "RequestMirror", "CORS"];

/// Those of GRPCRoutes.
pub(super) const OF_GRPC: [&str; 3] = ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror"];

fn unsupported(kind: &str, types: &[&str]) -> String {
    if OF_HTTP.contains(&kind) {
        return format!("type {kind} is for HTTPRoutes alone; remove the filter");
    }
    match nearest(kind, types.iter().copied()) {
        Some(near) => format!("type {kind} is not supported; is {near} meant?"),
        None => format!("type {kind} is not supported by this controller; remove the filter"),
    }
}

fn given<'f, T>(field: Option<&'f T>, name: &str) -> Result<&'f T, String> {
    field.ok_or_else(|| format!("{name} is missing, which the filter's type demands"))
}

/// An error with the field it concerns before it.
fn within<T, E: Display>(field: &str, result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| format!("{field}: {error}"))
}

fn header_modifier(modifier: &api::HeaderModifier) -> Result<HeaderModifier, String> {
    let headers = |headers: &[api::Header]| headers.iter().map(header).collect::<Result<_, _>>();
    Ok(HeaderModifier {
        set: headers(&modifier.set)?,
        add: headers(&modifier.add)?,
        remove: modifier.remove.iter().map(|name| header_name(name)).collect::<Result<_, _>>()?,
    })
}

fn header(header: &api::Header) -> Result<Header, String> {
    let value = HeaderValue::from_str(&header.value)
        .map_err(|_| format!("header {}: its value has control characters", header.name))?;
    Ok(Header { name: header_name(&header.name)?, value })
}

pub(super) fn header_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is not a header name"))
}

fn redirect(redirect: &api::Redirect) -> Result<Redirect, String> {
    let port = |port: i64| {
        u16::try_from(port).ok().filter(|port| *port != 0).ok_or(format!("{port} is not between 1 and 65535"))
    };
    let status_code = |code: i64| u16::try_from(code).map_err(|_| format!("{code} is no status code"))?.try_into();
    Ok(Redirect {
        scheme: redirect.scheme.as_deref().map(|scheme| within("scheme", self::scheme(scheme))).transpose()?,
        hostname: redirect.hostname.as_deref().map(precise_hostname).transpose()?,
        path: redirect.path.as_ref().map(|path| within("path", path_modifier(path))).transpose()?,
        port: redirect.port.map(|number| within("port", port(number))).transpose()?,
        status_code: redirect
            .status_code
            .map(|code| within("statusCode", status_code(code)))
            .transpose()?
            .unwrap_or_default(),
    })
}

fn scheme(scheme: &str) -> Result<Scheme, String> {
    match scheme {
        "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        other => Err(format!("{other} is not supported; use http or https")),
    }
}

fn rewrite(rewrite: &api::Rewrite) -> Result<Rewrite, String> {
    Ok(Rewrite {
        hostname: rewrite.hostname.as_deref().map(precise_hostname).transpose()?,
        path: rewrite.path.as_ref().map(|path| within("path", path_modifier(path))).transpose()?,
    })
}

/// One host, where a wildcard would say nothing.
fn precise_hostname(text: &str) -> Result<Hostname, String> {
    let hostname: Hostname = within("hostname", text.parse())?;
    match hostname.wildcard_domain() {
        Some(_) => Err(format!("hostname: {text} has a wildcard; name one host")),
        None => Ok(hostname),
    }
}

fn path_modifier(modifier: &api::PathModifier) -> Result<PathModifier, String> {
    match modifier.kind.as_str() {
        "ReplaceFullPath" => {
            let path = given(modifier.replace_full_path.as_ref(), "replaceFullPath")?;
            Ok(PathModifier::ReplaceFullPath(path.clone()))
        }
        "ReplacePrefixMatch" => {
            let prefix = given(modifier.replace_prefix_match.as_ref(), "replacePrefixMatch")?;
            Ok(PathModifier::ReplacePrefixMatch(prefix.clone()))
        }
        other => Err(format!("type {other} is not supported; use ReplaceFullPath or ReplacePrefixMatch")),
    }
}

fn cors(cors: &api::Cors) -> Result<Cors, String> {
    let api::Cors { allow_origins, allow_credentials, allow_methods, allow_headers, expose_headers, max_age } = cors;
    let seconds = u32::try_from(*max_age).ok().filter(|seconds| *seconds > 0);
    let seconds = seconds.ok_or_else(|| format!("maxAge: {max_age} is not a number of seconds from 1"))?;
    Ok(Cors {
        allow_origins: within("allowOrigins", allow_origins.clone().try_into())?,
        allow_credentials: *allow_credentials,
        allow_methods: within("allowMethods", allow_methods.clone().try_into())?,
        allow_headers: within("allowHeaders", allow_headers.clone().try_into())?,
        expose_headers: within("exposeHeaders", expose_headers.clone().try_into())?,
        max_age: conf::Duration::from_secs(seconds.min(MOST_SECONDS)),
    })
}

/// The longest that a document can say, eleven years. Browsers remember for a day at most.
const MOST_SECONDS: u32 = 99_999 * 3600;

fn fraction(mirror: &api::Mirror) -> Result<conf::Fraction, String> {
    let share = |numerator: i64, denominator: i64| {
        let error = || format!("{numerator}/{denominator} is not between 0 and 1");
        let number = |n: i64| u32::try_from(n).map_err(|_| error());
        conf::Fraction::new(number(numerator)?, number(denominator)?).map_err(|_| error())
    };
    match (mirror.percent, &mirror.fraction) {
        (None, None) => Ok(conf::Fraction::ALL),
        (Some(percent), None) if (0..=100).contains(&percent) => within("percent", share(percent, 100)),
        (Some(percent), None) => Err(format!("percent: {percent} is not between 0 and 100")),
        (None, Some(fraction)) => within("fraction", share(fraction.numerator, fraction.denominator)),
        (Some(_), Some(_)) => Err("percent and fraction exclude each other; keep one".to_owned()),
    }
}
