//! Documents as text: YAML, any number of documents in one file.

use serde::{Deserialize, Serialize};
use serde_saphyr::Error;

use crate::{
    Authorities, Backend, Certificate, Document, Key, Kind, Listener, Location, Name, Problem, Revision, Route,
    as_text, check, nearest,
};

/// What a text holds: every document that can be used, and everything that cannot.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Each with where it begins.
    pub documents: Vec<(Location, Document)>,
    pub problems: Vec<Problem>,
}

/// Reads a text of documents separated by lines that begin with `---`. A document that cannot be
/// used does not spoil its neighbours.
pub fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    for (first_line, part) in split(text) {
        if is_blank(part) {
            continue;
        }
        match parse_one(part) {
            Ok(document) => {
                let location = Location { line: first_line + lines_before_content(part), column: 1 };
                let key = document.key();
                let problems = check::problems(&document);
                if problems.is_empty() {
                    parsed.documents.push((location, document));
                }
                parsed.problems.extend(problems.into_iter().map(|message| Problem {
                    location: Some(location),
                    document: Some(key.clone()),
                    message,
                }));
            }
            Err(mut problem) => {
                let location = problem.location.unwrap_or(Location { line: 1, column: 1 });
                problem.location = Some(Location { line: location.line + first_line - 1, ..location });
                parsed.problems.push(problem);
            }
        }
    }
    parsed
}

/// One document as text, without a separator. Reading it gives the document again.
pub fn render(document: &Document) -> String {
    let written = Written::from(document);
    serde_saphyr::to_string(&written).expect("documents are maps with text keys, which YAML can always hold")
}

/// How a document is written: the name of its kind is the only key beside the version.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    version: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener: Option<Listener>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<Route>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<Backend>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<Certificate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorities: Option<Authorities>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<Revision>,
}

impl From<&Document> for Written {
    fn from(document: &Document) -> Self {
        let mut written = Self::default();
        match document.clone() {
            Document::Listener(listener) => written.listener = Some(listener),
            Document::Route(route) => written.route = Some(route),
            Document::Backend(backend) => written.backend = Some(backend),
            Document::Certificate(certificate) => written.certificate = Some(certificate),
            Document::Authorities(authorities) => written.authorities = Some(authorities),
            Document::Revision(revision) => written.revision = Some(revision),
        }
        written
    }
}

impl Written {
    fn into_document(self) -> Result<Document, String> {
        let Self { version: Version, listener, route, backend, certificate, authorities, revision } = self;
        let mut found = [
            listener.map(Document::Listener),
            route.map(Document::Route),
            backend.map(Document::Backend),
            certificate.map(Document::Certificate),
            authorities.map(Document::Authorities),
            revision.map(Document::Revision),
        ]
        .into_iter()
        .flatten();
        match (found.next(), found.next()) {
            (Some(document), None) => Ok(document),
            (Some(first), Some(second)) => Err(format!(
                "{} and {} stand in one document; separate them with a line ---",
                first.key(),
                second.key()
            )),
            (None, _) => {
                let kinds = Kind::ALL.map(Kind::as_str).join(", ");
                Err(format!("the document is empty; it should hold one of {kinds}"))
            }
        }
    }
}

/// The version of this format. Absent means this one.
#[derive(Default)]
struct Version;

const VERSION: &str = "v1";

impl std::str::FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == VERSION {
            Ok(Self)
        } else {
            Err(format!("version {text:?} is not known; this program reads {VERSION}"))
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(VERSION)
    }
}

as_text!(Version);

fn parse_one(text: &str) -> Result<Document, Problem> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        // A Gateway API route holds up to 16 rules of 64 matches of 32 conditions.
        budget: serde_saphyr::budget! { max_nodes: 1_000_000, max_events: 2_000_000 },
    };
    let written: Written = serde_saphyr::from_str_with_options(text, options).map_err(|error| problem(text, &error))?;
    written.into_document().map_err(|message| Problem { location: None, document: None, message })
}

fn problem(text: &str, error: &Error) -> Problem {
    let location = error.location().map(|at| Location { line: at.line(), column: at.column() });
    Problem { location, document: named(text), message: message(error, kind(text)) }
}

/// What is wrong, without where, which [`Problem`] says.
fn message(error: &Error, kind: Option<Kind>) -> String {
    let unknown = |what: &str, name: &str, expected: &[&str]| {
        let hint = match nearest(name, expected.iter().copied()) {
            Some(near) => format!("is {near} meant?"),
            None => format!("expected one of {}", expected.join(", ")),
        };
        format!("unknown {what} {name}; {hint}")
    };
    // The library's messages may quote what they found, which may be a private key.
    let is_secret = kind == Some(Kind::Certificate);
    match error.without_snippet() {
        Error::SerdeUnknownField { field, expected, .. } if !is_secret || field.len() <= LONGEST_SLIP => {
            unknown("field", field, expected)
        }
        ours @ (Error::Message { .. } | Error::SerdeMissingField { .. }) => strip_location(&ours.to_string()),
        _ if is_secret => "a certificate has a name, a chain and a key, each a text".to_owned(),
        Error::SerdeUnknownVariant { variant, expected, .. } => unknown("value", variant, expected),
        other => strip_location(&other.to_string()),
    }
}

/// A longer word is no misspelt field of a certificate; lines of PEM are longer.
const LONGEST_SLIP: usize = 40;

/// The library ends its messages with the place; ours begin with it.
fn strip_location(message: &str) -> String {
    let end = message.find(" at line ").unwrap_or(message.len());
    message[..end].to_owned()
}

/// Which document a text that cannot be read may be, so that its last good version is kept and the
/// reader finds it: its first key and the first `name` below it.
fn named(text: &str) -> Option<Key> {
    let kind = kind(text)?;
    let mut lines = text.lines().skip_while(|line| kind_of(line) != Some(kind)).skip(1);
    let name = lines.find_map(|line| line.trim_start().strip_prefix("name:"))?;
    let name: Name = name.split(" #").next()?.trim().trim_matches(['"', '\'']).parse().ok()?;
    Some(Key { kind, name })
}

fn kind(text: &str) -> Option<Kind> {
    text.lines().find_map(kind_of)
}

/// The kind of the document, where the line is its first.
fn kind_of(line: &str) -> Option<Kind> {
    let word = line.split(':').next().unwrap_or_default();
    Kind::ALL.into_iter().find(|kind| kind.as_str() == word)
}

/// The parts between separators, each with the number of its first line.
fn split(text: &str) -> Vec<(u64, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 1, 0);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        offset += line.len();
        if line.trim_end() == "---" || line.starts_with("--- ") {
            parts.push((first_line, &text[start..offset - line.len()]));
            start = offset;
            first_line = number + 1;
        }
    }
    parts.push((first_line, &text[start..]));
    parts
}

fn is_blank(part: &str) -> bool {
    lines_before_content(part) == part.lines().count() as u64
}

fn lines_before_content(part: &str) -> u64 {
    let has_content = |line: &&str| !line.trim_start().is_empty() && !line.trim_start().starts_with('#');
    part.lines().take_while(|line| !has_content(line)).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        parse(text).problems.iter().map(ToString::to_string).collect()
    }

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(problems(text), expected, "{text}");
    }

    #[test]
    fn a_bad_document_does_not_spoil_its_neighbours() {
        let text = "backend:\n  name: a\n---\nbackend:\n  name: b\n  endpoint: []\n---\n# only a comment\n---\nbackend:\n  name: c\n";
        let parsed = parse(text);
        let names: Vec<_> = parsed.documents.iter().map(|(at, d)| (at.line, d.key().name.to_string())).collect();
        assert_eq!(names, [(1, "a".into()), (10, "c".into())]);
        check(text, &["6:3: backend b: unknown field endpoint; is endpoints meant?"]);
    }

    #[test]
    fn messages_say_where_what_and_what_instead() {
        check("backnd:\n  name: a\n", &["1:1: unknown field backnd; is backend meant?"]);
        check("version: v7\nbackend: {name: a}\n", &[r#"1:10: version "v7" is not known; this program reads v1"#]);
        check(
            "backend: {name: a}\nrevision: {name: b, revision: '1'}\n",
            &["1:1: backend a and revision b stand in one document; separate them with a line ---"],
        );
        check(
            "version: v1\n",
            &[
                "1:1: the document is empty; it should hold one of listener, route, backend, certificate, authorities, revision",
            ],
        );
        check("backend:\n  name: a\n  protocol: h2\n", &["3:13: backend a: unknown value h2; is h2c meant?"]);
        check(
            "listener:\n  name: a\n  address: localhost:80\n",
            &[
                r#"3:12: listener a: "localhost:80" is not an IP address with a port, such as 10.0.0.7:8080 or [::1]:8080; names are not looked up"#,
            ],
        );
        check(
            "backend:\n  name: a\n  endpoints: [10.0.0.7]\n",
            &[
                r#"3:15: backend a: "10.0.0.7" is not an IP address with a port, such as 10.0.0.7:8080 or [::1]:8080; names are not looked up"#,
            ],
        );
    }

    fn route(rules: &str) -> String {
        format!("route:\n  name: r\n  listeners: [l]\n  rules:\n{rules}")
    }

    #[test]
    fn values_that_cannot_be_used_are_named_with_their_place() {
        check(
            &route("  - filters:\n    - requestMirror: {backend: m, fraction: 12/10}\n"),
            &["6:45: route r: 12/10 is not between 0 and 1"],
        );
        check(
            &route("  - filters:\n    - requestRedirect: {statusCode: 418}\n"),
            &["6:37: route r: 418 is not one of the redirect codes 301, 302, 303, 307, 308"],
        );
        check(
            &route("  - matches:\n    - path: {regex: 'a('}\n"),
            &[r#"6:21: route r: "a(" is not a regular expression: unclosed group"#],
        );
    }

    #[test]
    fn fields_that_contradict_each_other_are_named_by_path() {
        check(
            &route(
                "  - backends:\n    - {backend: b, weight: 1000001}\n    timeouts: {request: 1s, backendRequest: 2s}\n    retry: {attempts: 0}\n",
            ),
            &[
                "1:1: route r: rules[0].backends[0].weight: 1000001 is not between 0 and 1000000",
                "1:1: route r: rules[0].timeouts.backendRequest: 2s is longer than the whole request's 1s",
                "1:1: route r: rules[0].retry.attempts: 0 is not between 1 and 15",
            ],
        );
        check(
            &route(
                "  - matches:\n    - path: {exact: a}\n    filters:\n    - urlRewrite: {path: {replacePrefixMatch: /x}}\n    - requestRedirect: {}\n",
            ),
            &[
                r#"1:1: route r: rules[0].matches[0].path: "a" does not begin with a slash"#,
                "1:1: route r: rules[0].filters[0].urlRewrite.path: replacePrefixMatch needs a rule whose matches all have a path prefix",
                "1:1: route r: rules[0].filters: requestRedirect and urlRewrite exclude each other",
            ],
        );
        check(
            &route("  - backends: [{backend: b, invalid: x}]\n"),
            &["5:16: route r: backend and invalid exclude each other"],
        );
    }

    /// Wherever a private key stands by mistake, no message repeats it.
    #[test]
    fn what_cannot_be_read_as_a_certificate_is_not_quoted() {
        let key = "-----BEGIN PRIVATE KEY-----SECRETSECRETSECRET";
        for text in [
            "certificate: KEY\n",
            "certificate: [KEY]\n",
            "certificate:\n  name: a\n  chain: [KEY]\n  key: x\n",
            "certificate:\n  name: a\n  chain: x\n  key: {KEY: KEY}\n",
            "certificate:\n  name: a\n  chain: x\n  key: !!int KEY\n",
            "certificate:\n  name: a\n  chain: x\n  key: KEY\n",
            "certificate:\n  name: a\n  chain: x\n  key: |\n  KEY\n",
            "certificate:\n  name: a\n  chain: x\n  key: *KEY\n",
            "certificate:\n  chain: x\n  KEY: x\n",
        ] {
            let problems = problems(&text.replace("KEY", key));
            assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.contains("SECRET")), "{problems:?}");
        }
    }
}
