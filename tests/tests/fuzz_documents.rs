//! Configuration text of any kind: what is wrong is told, with where it is, and what is right is
//! understood.

use std::path::Path;

use doppel_tests::{fuzz, mangled, texts};
use proptest::prelude::*;

#[test]
fn any_text_is_understood_or_told_about() {
    let examples = texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/examples"), "yaml");
    fuzz(mangled(examples), |text| {
        let parsed = conf::parse(&text);
        for problem in &parsed.problems {
            let location = problem.location.expect("a problem of a text has a place in it");
            let lines = text.lines().count() as u64;
            prop_assert!(location.line >= 1 && location.line <= lines + 1, "{problem} is beyond the {lines} lines");
            prop_assert!(location.column >= 1 && !problem.message.is_empty(), "{problem}");
        }
        for (_, document) in &parsed.documents {
            let rendered = conf::render(document);
            let again = conf::parse(&rendered);
            prop_assert_eq!(&again.problems, &[], "{}", rendered);
            prop_assert_eq!(&again.documents[0].1, document, "{}", rendered);
        }
        Ok(())
    });
}
