//! Manifests of any kind, objects as a cluster really holds them among them: a translation never
//! fails, and what it makes can be served.

use std::path::Path;
use std::sync::Arc;

use adapter::{Options, Snapshot, translate};
use doppel_tests::{fuzz, mangled, texts};
use proptest::prelude::*;

#[test]
fn any_manifests_are_translated_into_documents_that_can_be_read() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut manifests = texts(&here.join("../adapter/tests/translate"), "input.yaml");
    manifests.extend(texts(&here.join("../k8s/examples"), "yaml"));
    // Each as often as all the others of one folder together.
    let real = include_str!("cluster_objects.yaml");
    manifests.extend(std::iter::repeat_n(real.to_owned(), manifests.len() / 4));
    fuzz(mangled(manifests), |text| {
        let (snapshot, warnings) = Snapshot::from_manifests(&text);
        prop_assert!(warnings.iter().all(|warning| warning.line >= 1 && !warning.message.is_empty()), "{warnings:?}");
        let translation = translate(&snapshot, &Options::default());
        prop_assert_eq!(conf::dangling(translation.documents()), []);
        for documents in translation.files.values() {
            let rendered: Vec<String> = documents.iter().map(|document| conf::render(document)).collect();
            let again = conf::parse(&rendered.join("---\n"));
            prop_assert_eq!(&again.problems, &[], "{:?}", rendered);
            let again: Vec<_> = again.documents.into_iter().map(|(_, document)| Arc::new(document)).collect();
            prop_assert_eq!(&again, documents);
        }
        Ok(())
    });
}

#[test]
fn objects_of_a_real_cluster_are_understood() {
    let (snapshot, warnings) = Snapshot::from_manifests(include_str!("cluster_objects.yaml"));
    assert_eq!(warnings, []);
    let translation = translate(&snapshot, &Options::default());
    let text: String = translation.documents().map(conf::render).collect();
    for expected in ["10.244.1.7:8080", "10.244.2.4:8080", "requestMirror:", "shop.example.com"] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    // Neither ready nor what it was.
    assert!(!text.contains("10.244.3.9"), "{text}");
}
