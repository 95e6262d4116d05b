//! The admin address: whether the program lives, whether it is ready, its metrics and its
//! configuration. Only for reading.

mod entrance;

use std::sync::Arc;

use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Response, StatusCode};
use log::error;
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use serde_json::{Value, json};

use crate::report::{Report, Status};
use crate::source::Problem;

pub(crate) use entrance::Entrance;

/// Answers the requests of operators and their tools.
pub(crate) struct Admin {
    status: Arc<Status>,
    registry: Registry,
}

const TEXT: &str = "text/plain; charset=utf-8";

const PATHS: &str = "\
/livez    200 as long as the program runs
/readyz   200 once a configuration is live, 503 before that and while draining
/metrics  metrics, for Prometheus
/config   live revisions, problems, sockets and counts of documents, as JSON
";

impl Admin {
    pub(crate) fn new(status: Arc<Status>, registry: Registry) -> Self {
        Self { status, registry }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Vec<u8>> {
        if method != Method::GET && method != Method::HEAD {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n".into());
            answer.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match path {
            "/livez" => text(StatusCode::OK, "ok\n".into()),
            "/readyz" => match self.status.ready() {
                Ok(()) => text(StatusCode::OK, "ok\n".into()),
                Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
            },
            "/metrics" => self.metrics(),
            "/config" => {
                let report = self.status.report().unwrap_or_default();
                let body = format!("{:#}\n", config(&report));
                answer(StatusCode::OK, "application/json", body)
            }
            _ => text(StatusCode::NOT_FOUND, format!("{path} is not here; these are:\n{PATHS}")),
        }
    }

    fn metrics(&self) -> Response<Vec<u8>> {
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(metrics) => answer(StatusCode::OK, TEXT_FORMAT, metrics),
            Err(error) => {
                error!("cannot write metrics: {error}");
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
            }
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Vec<u8>> {
    answer(status, TEXT, body)
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Vec<u8>> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .header(CONTENT_LENGTH, body.len())
        .body(body.into_bytes())
        .expect("status and headers are valid")
}

fn config(report: &Report) -> Value {
    let Report { revisions, problems, warnings, documents, sockets, live_since } = report;
    let revisions = revisions.iter().map(|(name, revision)| (name.to_string(), json!(revision)));
    let documents = documents.iter().map(|(kind, count)| (kind.to_string(), json!(count)));
    let sockets = sockets.iter().map(|(address, bound)| match bound {
        Ok(local) => json!({ "address": address, "bound": local }),
        Err(reason) => json!({ "address": address, "problem": reason }),
    });
    json!({
        "liveSince": format!("{live_since:.3}"),
        "revisions": revisions.collect::<serde_json::Map<_, _>>(),
        "problems": problems.iter().map(problem).collect::<Vec<_>>(),
        "warnings": warnings.iter().map(problem).collect::<Vec<_>>(),
        "documents": documents.collect::<serde_json::Map<_, _>>(),
        "sockets": sockets.collect::<Vec<_>>(),
    })
}

fn problem(Problem { file, problem }: &Problem) -> Value {
    json!({
        "file": file.to_string_lossy(),
        "line": problem.location.map(|location| location.line),
        "column": problem.location.map(|location| location.column),
        "document": problem.document.as_ref().map(ToString::to_string),
        "message": problem.message,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use conf::{Key, Kind, Location};
    use prometheus::IntCounter;

    use super::*;

    fn get(admin: &Admin, path: &str) -> (u16, String) {
        let answer = admin.answer(&Method::GET, path);
        assert_eq!(answer.headers()[CONTENT_LENGTH], answer.body().len().to_string());
        (answer.status().as_u16(), String::from_utf8(answer.into_body()).unwrap())
    }

    fn admin() -> Admin {
        Admin::new(Arc::default(), Registry::new())
    }

    #[test]
    fn it_is_alive_always_and_ready_while_a_configuration_is_live() {
        let admin = admin();
        assert_eq!(get(&admin, "/livez"), (200, "ok\n".into()));
        assert_eq!(get(&admin, "/readyz"), (503, "no configuration is live yet\n".into()));
        admin.status.publish(Arc::new(Report { documents: [(Kind::Listener, 1)].into(), ..Report::default() }));
        assert_eq!(get(&admin, "/readyz"), (200, "ok\n".into()));
        admin.status.drain();
        assert_eq!(get(&admin, "/readyz"), (503, "draining: the program is about to end\n".into()));
        assert_eq!(get(&admin, "/livez"), (200, "ok\n".into()));
    }

    #[test]
    fn metrics_are_those_of_the_registry() {
        let admin = admin();
        let counter = IntCounter::new("doppel_x_total", "x").unwrap();
        admin.registry.register(Box::new(counter.clone())).unwrap();
        counter.inc();
        assert_eq!(
            get(&admin, "/metrics").1,
            "# HELP doppel_x_total x\n# TYPE doppel_x_total counter\ndoppel_x_total 1\n"
        );
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let (status, body) = get(&admin(), "/config/");
        assert_eq!(status, 404);
        assert!(body.starts_with("/config/ is not here; these are:\n/livez "), "{body}");
        let answer = admin().answer(&Method::POST, "/livez");
        assert_eq!((answer.status().as_u16(), &answer.headers()[ALLOW]), (405, &"GET, HEAD".parse().unwrap()));
    }

    #[test]
    fn the_configuration_is_told_as_json() {
        let admin = admin();
        let problem = conf::Problem {
            location: Some(Location { line: 3, column: 5 }),
            document: Some(Key { kind: Kind::Route, name: "shop".parse().unwrap() }),
            message: "unknown field rule; is rules meant?".into(),
        };
        let bare = conf::Problem { location: None, document: None, message: "x".into() };
        let file = |name: &str| Arc::from(Path::new(name));
        admin.status.publish(Arc::new(Report {
            revisions: [("adapter".parse().unwrap(), "42".to_owned())].into(),
            problems: vec![Problem { file: file("a.yaml"), problem }],
            warnings: vec![Problem { file: file("b.yaml"), problem: bare }],
            documents: [(Kind::Listener, 2), (Kind::Route, 0)].into(),
            sockets: [
                ("127.0.0.1:0".parse().unwrap(), Ok("127.0.0.1:4000".parse().unwrap())),
                ("[::]:80".parse().unwrap(), Err("taken".to_owned())),
            ]
            .into(),
            live_since: "2026-11-25T22:07:10.1Z".parse().unwrap(),
        }));
        let value: Value = serde_json::from_str(&get(&admin, "/config").1).unwrap();
        assert_eq!(
            value,
            json!({
                "liveSince": "2026-11-25T22:07:10.100Z",
                "revisions": { "adapter": "42" },
                "problems": [{
                    "file": "a.yaml", "line": 3, "column": 5, "document": "route shop",
                    "message": "unknown field rule; is rules meant?",
                }],
                "warnings": [{ "file": "b.yaml", "line": null, "column": null, "document": null, "message": "x" }],
                "documents": { "listener": 2, "route": 0 },
                "sockets": [
                    { "address": "127.0.0.1:0", "bound": "127.0.0.1:4000" },
                    { "address": "[::]:80", "problem": "taken" },
                ],
            })
        );
    }
}
