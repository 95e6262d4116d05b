use std::sync::Arc;

use conf::{Allowed, Cors};
use http::Method;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};

use super::HeaderEdit;
use crate::table::Request;

/// Whether a browser asks if a page may send another request, which goes to no backend.
pub(crate) fn is_preflight(request: &Request<'_>) -> bool {
    request.method == Method::OPTIONS
        && request.headers.contains_key(ORIGIN)
        && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What the answer to one request tells its browser. To be made before filters change the request.
pub(crate) struct Sharing {
    cors: Arc<Cors>,
    /// What the answer names as allowed; none if the page that asks is not, or no page asks.
    origin: Option<HeaderValue>,
}

impl Sharing {
    pub(crate) fn new(cors: Arc<Cors>, request: &Request<'_>) -> Self {
        let asking = request.headers.get(ORIGIN);
        let origin = match &cors.allow_origins {
            // To one with credentials, a browser takes it for the name of an origin.
            Allowed::All if !cors.allow_credentials => asking.map(|_| ALL),
            Allowed::All => asking.cloned(),
            Allowed::These(origins) => {
                let covers = |asking: &&HeaderValue| {
                    asking.to_str().is_ok_and(|asking| origins.iter().any(|origin| origin.covers(asking)))
                };
                asking.filter(covers).cloned()
            }
        };
        Self { cors, origin }
    }

    /// Whether the page that asks is of an allowed origin.
    pub(crate) fn is_allowed(&self) -> bool {
        self.origin.is_some()
    }

    /// Makes an answer one that a page may see, or may not. What a backend says about that is
    /// replaced: two rules would be one too many for a browser, which refuses both.
    pub(crate) fn tell(&self, headers: &mut impl HeaderEdit) {
        for name in [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_EXPOSE_HEADERS] {
            headers.remove(&name);
        }
        if self.cors.allow_credentials || self.cors.allow_origins != Allowed::All {
            // Or a cache would show one page what another was told.
            headers.add(&VARY, &HeaderValue::from_name(ORIGIN));
        }
        let Some(origin) = &self.origin else { return };
        headers.set(&ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.cors.allow_credentials {
            headers.set(&ACCESS_CONTROL_ALLOW_CREDENTIALS, &TRUE);
        }
        let exposed = match &self.cors.expose_headers {
            // See above; and which headers a page wants to see is nowhere said.
            Allowed::All => Some(ALL).filter(|_| !self.cors.allow_credentials),
            Allowed::These(names) => list(names),
        };
        if let Some(exposed) = exposed {
            headers.set(&ACCESS_CONTROL_EXPOSE_HEADERS, &exposed);
        }
    }

    /// Says what a page of an allowed origin may send, in the answer to a preflight. Where all is
    /// allowed, it is what was asked for: a star would leave out `Authorization`.
    pub(crate) fn permit(&self, request: &Request<'_>, headers: &mut HeaderMap) {
        let methods = match &self.cors.allow_methods {
            Allowed::All => request.headers.get(ACCESS_CONTROL_REQUEST_METHOD).cloned(),
            Allowed::These(methods) => list(methods),
        };
        let names = match &self.cors.allow_headers {
            Allowed::All => request.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
            Allowed::These(names) => list(names),
        };
        headers.extend(methods.map(|methods| (ACCESS_CONTROL_ALLOW_METHODS, methods)));
        headers.extend(names.map(|names| (ACCESS_CONTROL_ALLOW_HEADERS, names)));
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.cors.max_age.as_std().as_secs().into());
    }
}

/// None where there is nothing to list.
fn list<T: AsRef<str>>(items: &[T]) -> Option<HeaderValue> {
    let text = items.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then(|| HeaderValue::try_from(text).expect("methods and names of headers are visible ASCII"))
}

const ALL: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn request_headers(origin: &str) -> HeaderMap {
        [
            (ORIGIN, origin),
            (ACCESS_CONTROL_REQUEST_METHOD, "PUT"),
            (ACCESS_CONTROL_REQUEST_HEADERS, "authorization, x-one"),
        ]
        .into_iter()
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
    }

    /// What a filter with these fields answers to a preflight from a page of this origin.
    fn answered(fields: &str, origin: &str) -> Vec<String> {
        let document = format!("route: {{name: r, listeners: [l], rules: [{{filters: [{{cors: {fields}}}]}}]}}");
        let Some((_, conf::Document::Route(route))) = conf::parse(&document).documents.pop() else {
            panic!("{:?}", conf::parse(&document).problems)
        };
        let conf::Filter::Cors(cors) = &route.rules[0].filters[0] else { panic!("{route:?}") };
        let headers = request_headers(origin);
        let request = Request { host: "a.com", method: &Method::OPTIONS, path: "/", query: None, headers: &headers };
        assert!(is_preflight(&request));
        let sharing = Sharing::new(Arc::new(cors.clone()), &request);
        let mut answer: HeaderMap =
            [(ACCESS_CONTROL_ALLOW_ORIGIN, "http://backend".parse().unwrap())].into_iter().collect();
        if sharing.is_allowed() {
            sharing.permit(&request, &mut answer);
        }
        sharing.tell(&mut answer);
        let short = |name: &HeaderName| name.as_str().trim_start_matches("access-control-").to_owned();
        let mut lines: Vec<_> =
            answer.iter().map(|(name, value)| format!("{}: {}", short(name), value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn what_is_listed_is_told_to_whom_it_concerns() {
        let fields = "{allowOrigins: ['https://a.com', 'https://*.b.com'], allowMethods: [GET, PUT], \
                       allowHeaders: [X-One, x-two], exposeHeaders: [x-three], allowCredentials: true, maxAge: 1h}";
        let expected = |origin: &str| {
            vec![
                "allow-credentials: true".to_owned(),
                "allow-headers: x-one, x-two".to_owned(),
                "allow-methods: GET, PUT".to_owned(),
                format!("allow-origin: {origin}"),
                "expose-headers: x-three".to_owned(),
                "max-age: 3600".to_owned(),
                "vary: origin".to_owned(),
            ]
        };
        for origin in ["https://a.com", "https://x.y.b.com"] {
            assert_eq!(answered(fields, origin), expected(origin));
        }
        for origin in ["https://b.com", "null"] {
            assert_eq!(answered(fields, origin), ["vary: origin"]);
        }
    }

    #[test]
    fn without_credentials_every_origin_gets_the_same_answer() {
        let fields = "{allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'], exposeHeaders: ['*']}";
        let expected = [
            "allow-headers: authorization, x-one",
            "allow-methods: PUT",
            "allow-origin: *",
            "expose-headers: *",
            "max-age: 5",
        ];
        for origin in ["https://a.com:8443", "null"] {
            assert_eq!(answered(fields, origin), expected);
        }
    }

    #[test]
    fn with_credentials_there_is_no_star() {
        let fields = "{allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'], exposeHeaders: ['*'], allowCredentials: true}";
        let expected = [
            "allow-credentials: true",
            "allow-headers: authorization, x-one",
            "allow-methods: PUT",
            "allow-origin: https://a.com",
            "max-age: 5",
            "vary: origin",
        ];
        assert_eq!(answered(fields, "https://a.com"), expected);
    }

    #[test]
    fn what_is_not_allowed_by_name_is_not_told() {
        assert_eq!(answered("{allowMethods: ['*']}", "https://a.com"), ["vary: origin"]);
        let expected = ["allow-origin: https://a.com", "max-age: 5", "vary: origin"];
        assert_eq!(answered("{allowOrigins: ['https://a.com']}", "https://a.com"), expected);
    }
}
