//! The examples say what the documents may say, so they must be true and leave nothing out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use conf::{Document, Parsed};

/// Every example with its name, as text, and that of the README.
fn examples() -> Vec<(String, String)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut examples: Vec<_> = fs::read_dir(here.join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    examples.sort();
    assert!(!examples.is_empty());
    let readme = fs::read_to_string(here.join("../README.md")).unwrap();
    let (_, example) = readme.split_once("```yaml\nlistener:").expect("the README has a configuration by hand");
    let (example, _) = example.split_once("```").expect("it ends");
    examples.push(("README.md".to_owned(), format!("listener:{example}")));
    examples
}

/// The documents of a text that has no problems.
fn documents(name: &str, text: &str) -> Vec<Document> {
    let Parsed { documents, problems } = conf::parse(text);
    let problems: Vec<_> = problems.iter().map(|problem| format!("{name}:{problem}")).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    documents.into_iter().map(|(_, document)| document).collect()
}

#[test]
fn each_is_read_without_problems_and_its_references_lead_somewhere() {
    for (name, text) in examples() {
        let documents = documents(&name, &text);
        assert!(!documents.is_empty(), "{name}");
        assert_eq!(conf::dangling(&documents), [], "{name}");
        let keys: BTreeSet<_> = documents.iter().map(Document::key).collect();
        assert_eq!(keys.len(), documents.len(), "{name} names a document twice");
    }
}

#[test]
fn each_is_the_same_when_written_and_read_again() {
    for (name, text) in examples() {
        let documents = documents(&name, &text);
        let written: Vec<_> = documents.iter().map(conf::render).collect();
        assert_eq!(self::documents(&name, &written.join("---\n")), documents, "{name}");
    }
}

/// A key that nobody knows is refused by name wherever it stands, and the message lists what the
/// model knows there. So the messages of all places together say what the examples must show.
#[test]
fn together_they_show_every_field_and_in_no_place_would_another_do() {
    let (mut shown, mut known) = (BTreeSet::new(), BTreeSet::new());
    for (name, text) in examples() {
        for document in documents(&name, &text) {
            let rendered = conf::render(&document);
            for (number, line) in rendered.lines().enumerate() {
                let Some(key) = key(line) else { continue };
                shown.insert(key.to_owned());
                let mut lines: Vec<_> = rendered.lines().map(str::to_owned).collect();
                lines[number] = line.replacen(key, UNKNOWN, 1);
                let misspelt = lines.join("\n");
                let problem = only_problem(&misspelt);
                let expected = problem.split_once(&format!("unknown field {UNKNOWN}; expected one of "));
                let expected = expected.or(problem.split_once(&format!("unknown value {UNKNOWN}; expected one of ")));
                let (_, expected) = expected.unwrap_or_else(|| panic!("{problem}\n{misspelt}"));
                known.extend(expected.split(", ").map(str::to_owned));
            }
        }
    }
    assert_eq!(shown, known);
}

#[test]
fn another_version_is_refused_by_name() {
    for (name, text) in examples() {
        for document in documents(&name, &text) {
            let problem = only_problem(&conf::render(&document).replacen("version: v1", "version: v9", 1));
            let expected = format!(r#"1:10: {}: version "v9" is not known; this program reads v1"#, document.key());
            assert_eq!(problem, expected);
        }
    }
}

/// A word that is near to no key.
const UNKNOWN: &str = "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq";

fn only_problem(text: &str) -> String {
    let Parsed { documents, problems } = conf::parse(text);
    assert_eq!(documents, [], "{text}");
    assert_eq!(problems.len(), 1, "{text}");
    problems[0].to_string()
}

/// The key that a line of rendered YAML begins with.
fn key(line: &str) -> Option<&str> {
    let (key, value) = line.trim_start_matches([' ', '-']).split_once(':')?;
    // Anything else after the colon is part of a value.
    let is_key = matches!(value.chars().next(), None | Some(' ')) && key.chars().all(|c| c.is_ascii_alphabetic());
    is_key.then_some(key)
}
