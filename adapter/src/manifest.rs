//! Objects as text: YAML or JSON, any number of documents, lists included.

use serde_json::Value;

use crate::api::{Object, Unusable};

/// What a text holds: every object that can be used, and everything that cannot.
#[derive(Debug, Default)]
pub struct Manifests {
    /// Each with the line that its document begins at.
    pub objects: Vec<(u64, Object)>,
    /// Each concerns one object alone.
    pub warnings: Vec<Warning>,
    /// Objects of kinds that no translation reads.
    pub notes: Vec<Warning>,
}

/// Something in a text that was not used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Counts from 1.
    pub line: u64,
    pub message: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

/// JSON is YAML, so one reader does.
pub fn parse(text: &str) -> Manifests {
    let mut manifests = Manifests::default();
    for (first_line, part) in documents(text) {
        let line = first_line + blank_lines(part);
        let options = serde_saphyr::options! {
            with_snippet: false,
            budget: serde_saphyr::budget! { max_nodes: 10_000_000, max_events: 20_000_000 },
        };
        match serde_saphyr::from_str_with_options::<Value>(part, options) {
            Ok(Value::Null) => {}
            Ok(value) => manifests.take(line, value),
            Err(error) => {
                let line = error.location().map_or(line, |at| first_line + at.line() - 1);
                let message = error.without_snippet().to_string();
                manifests.warnings.push(Warning { line, message: format!("not YAML: {}", without_place(&message)) });
            }
        }
    }
    manifests
}

impl Manifests {
    /// One document: an object, or a list of them.
    fn take(&mut self, line: u64, mut value: Value) {
        let is_list = value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
        match value.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) if is_list => items.into_iter().for_each(|item| self.take(line, item)),
            Some(items) if !is_list => {
                value["items"] = items;
                self.object(line, value);
            }
            None if !is_list => self.object(line, value),
            _ => self.warnings.push(Warning { line, message: "a list without items".to_owned() }),
        }
    }

    fn object(&mut self, line: u64, value: Value) {
        let name = named(&value);
        match Object::read(value) {
            Ok(object) => self.objects.push((line, object)),
            Err(error @ Unusable::Irrelevant { .. }) => {
                self.notes.push(Warning { line, message: error.to_string() });
            }
            Err(Unusable::Malformed(message)) => {
                self.warnings.push(Warning { line, message: format!("{name}: {message}") });
            }
        }
    }
}

/// What an object that cannot be read calls itself, for people.
fn named(value: &Value) -> String {
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
    let kind = text("/kind").unwrap_or("object");
    let name = text("/metadata/name").unwrap_or("without name");
    match text("/metadata/namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// The library ends its messages with the place, with which ours begin, and with advice for callers.
fn without_place(message: &str) -> &str {
    let message = message.split(" at line ").next().unwrap_or(message);
    message.split(", set DuplicateKeyPolicy").next().unwrap_or(message)
}

/// The parts between lines that begin with `---`, each with the number of its first line.
fn documents(text: &str) -> Vec<(u64, &str)> {
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

fn blank_lines(part: &str) -> u64 {
    part.lines().take_while(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#')).count() as u64
}
