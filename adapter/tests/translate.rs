//! Golden cases: `translate/<case>/input.yaml` in, `config.yaml`, `status.yaml` and, where there are
//! any, `objects.yaml` out. A case is named after the one behaviour that it shows. `UPDATE=1 cargo
//! test -p doppel-adapter` writes what comes out; read the difference before it is kept.
//!
//! GatewayClasses, whose statuses are long and alike, are shown by the cases that are about them.
//! Comments at the beginning of an input stand for flags: `# address: 192.0.2.1`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adapter::api::{Object, ObjectKey, ObjectRef};
use adapter::status::{Condition, Content, Status};
use adapter::translate::Bundle;
use adapter::{Addresses, Memo, Options, Snapshot, Translation, manifest, translate};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;

/// Every case with its name and input.
fn cases() -> Vec<(String, PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/translate");
    let mut cases: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let input = std::fs::read_to_string(path.join("input.yaml")).unwrap();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), path, input)
        })
        .collect();
    cases.sort();
    assert!(cases.len() >= 75, "only {} cases were found", cases.len());
    cases
}

fn options(input: &str) -> Options {
    let mut options = Options::default();
    let (mut known, mut service_type, mut gateway_service) = (Vec::new(), None, None);
    for line in input.lines().map_while(|line| line.strip_prefix("# ")) {
        match line.split_once(": ") {
            Some(("address", value)) => known.push(value.to_owned()),
            Some(("bundle-version", value)) => {
                options.bundle = Some(Bundle { version: value.to_owned(), is_experimental: true });
            }
            Some(("service-type", value)) => service_type = Some(value.parse().unwrap()),
            Some(("gateway-service", value)) => gateway_service = Some(key(value)),
            Some(("refused", value)) => {
                let (object, why) = value.split_once(": ").unwrap();
                let (kind, name) = object.split_once(' ').unwrap();
                let kind = ["Service", "EndpointSlice"].into_iter().find(|known| *known == kind).unwrap();
                options.refused.insert(ObjectRef::new(kind, &key(name)), why.to_owned());
            }
            _ => panic!("{line:?} is no flag"),
        }
    }
    options.addresses = match service_type {
        None => Addresses::Host { addresses: known, gateway_service },
        Some(service_type) => Addresses::Service { service_type, gateway_service: gateway_service.unwrap() },
    };
    options
}

fn key(name: &str) -> ObjectKey {
    let (namespace, name) = name.split_once('/').unwrap();
    ObjectKey::new(namespace, name)
}

#[test]
fn every_case_comes_out_as_written() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut differences = String::new();
    for (name, path, input) in cases() {
        let (snapshot, warnings) = Snapshot::from_manifests(&input);
        let mut translation = translate(&snapshot, &options(&input));
        if !name.starts_with("class_") {
            translation.statuses.retain(|status| status.object.kind != "GatewayClass");
        }
        let warnings: String = warnings.iter().map(|warning| format!("# input.yaml:{warning}\n")).collect();
        let outputs = [
            ("config.yaml", config(&translation)),
            ("status.yaml", warnings + &statuses(&translation)),
            ("objects.yaml", objects(&translation)),
        ];
        for (file, actual) in outputs {
            // Most cases ask for no objects, and say so by having no file of them.
            let is_none = file == "objects.yaml" && actual.is_empty();
            let file = path.join(file);
            if update && is_none && file.exists() {
                std::fs::remove_file(&file).unwrap();
            } else if update && !is_none {
                std::fs::write(&file, &actual).unwrap();
            }
            let expected = std::fs::read_to_string(&file).unwrap_or_default();
            if actual != expected {
                writeln!(differences, "== {name}: {}\n-- written\n{expected}\n-- came out\n{actual}", file.display())
                    .unwrap();
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

fn config(translation: &Translation) -> String {
    let file = |(name, documents): (&Arc<str>, &Vec<Arc<conf::Document>>)| {
        let documents: Vec<_> = documents.iter().map(|document| conf::render(document)).collect();
        format!("# {name}\n{}", documents.join("---\n"))
    };
    translation.files.iter().map(file).collect::<Vec<_>>().join("---\n")
}

fn statuses(translation: &Translation) -> String {
    translation.statuses.iter().map(Status::to_yaml).collect::<Vec<_>>().join("---\n")
}

fn objects(translation: &Translation) -> String {
    let services = translation.objects.services.values().map(|service| serde_saphyr::to_string(service).unwrap());
    let slices = translation.objects.slices.values().map(|slice| serde_saphyr::to_string(slice).unwrap());
    services.chain(slices).collect::<Vec<_>>().join("---\n")
}

#[test]
fn the_order_of_arrival_changes_nothing() {
    for (name, _, input) in cases() {
        let objects: Vec<Object> = manifest::parse(&input).objects.into_iter().map(|(_, object)| object).collect();
        let translate_all = |objects: &[Object]| translate(&objects.iter().cloned().collect(), &options(&input));
        let expected = translate_all(&objects);
        let mut runner = TestRunner::new(Config { cases: 16, failure_persistence: None, ..Config::default() });
        runner
            .run(&Just(objects).prop_shuffle(), |objects| {
                prop_assert_eq!(&translate_all(&objects), &expected, "{}", name);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn what_comes_out_keeps_its_promises() {
    for (name, _, input) in cases() {
        let (snapshot, _) = Snapshot::from_manifests(&input);
        check_promises(&name, &translate(&snapshot, &options(&input)));
    }
}

/// What holds for every translation of anything.
fn check_promises(name: &str, translation: &Translation) {
    let documents: Vec<_> = translation.documents().collect();
    assert_eq!(conf::dangling(documents.iter().copied()), [], "{name}");
    for (file, documents) in &translation.files {
        let text = documents.iter().map(|document| conf::render(document)).collect::<Vec<_>>().join("---\n");
        let parsed = conf::parse(&text);
        assert_eq!(parsed.problems, [], "{name}: {file}");
        let read: Vec<_> = parsed.documents.into_iter().map(|(_, document)| Arc::new(document)).collect();
        assert_eq!(&read, documents, "{name}: {file}");
    }
    let mut keys: Vec<_> = documents.iter().map(|document| document.key()).collect();
    keys.sort();
    assert!(keys.is_sorted_by(|a, b| a < b), "{name}: two documents have one name: {keys:?}");
    for status in &translation.statuses {
        for condition in conditions(status) {
            assert!(condition.message.len() > 10, "{name}: {}: {} says nothing", status.object, condition.kind);
            assert!(condition.observed_generation.is_some(), "{name}: {}: {}", status.object, condition.kind);
        }
    }
}

fn conditions(status: &Status) -> Vec<&Condition> {
    match &*status.content {
        Content::GatewayClass(class) => class.conditions.iter().collect(),
        Content::Gateway(gateway) => {
            let listeners = gateway.listeners.iter().flat_map(|listener| &listener.conditions);
            gateway.conditions.iter().chain(listeners).collect()
        }
        Content::ListenerSet(set) => {
            let listeners = set.listeners.iter().flat_map(|listener| &listener.conditions);
            set.conditions.iter().chain(listeners).collect()
        }
        Content::Route(route) => route.parents.iter().flat_map(|parent| &parent.conditions).collect(),
        Content::Policy(policy) => policy.ancestors.iter().flat_map(|ancestor| &ancestor.conditions).collect(),
    }
}

/// Whatever becomes of the manifests of the cases, a translation keeps its promises: fields vanish,
/// change their place or hold something else.
#[test]
fn no_manifest_is_too_odd() {
    let cases = cases();
    let mut runner = TestRunner::new_with_rng(
        Config { cases: 2000, failure_persistence: None, ..Config::default() },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let slips = prop::collection::vec((any::<prop::sample::Index>(), slip()), 1..6);
    runner
        .run(&(0..cases.len(), slips), |(case, slips)| {
            let (name, _, input) = &cases[case];
            let objects = manifest::parse(input).objects.into_iter().map(|(_, object)| as_value(&object));
            let mut objects = Value::Array(objects.collect());
            for (place, slip) in slips {
                let paths = paths(&objects);
                if !paths.is_empty() {
                    let path: &String = place.get(&paths);
                    slip.apply(&mut objects, path);
                }
            }
            let Value::Array(objects) = objects else { return Ok(()) };
            let snapshot = objects.into_iter().filter_map(|object| Object::read(object).ok()).collect();
            check_promises(name, &translate(&snapshot, &Options::default()));
            Ok(())
        })
        .unwrap();
}

/// One after the other or anew, translations are the same, whatever comes, goes and changes between
/// them.
#[test]
fn what_was_translated_before_makes_no_difference() {
    let cases = cases();
    let mut runner = TestRunner::new_with_rng(
        Config { cases: 200, failure_persistence: None, ..Config::default() },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let edits = prop::collection::vec((any::<prop::sample::Index>(), edit()), 1..24);
    // What one case defines meets what another refers to.
    runner
        .run(&(0..cases.len(), 0..cases.len(), edits), |(one, other, edits)| {
            let inputs = [one, other].map(|case| cases[case].2.as_str());
            let objects = inputs.iter().flat_map(|input| manifest::parse(input).objects).map(|(_, object)| object);
            let objects: Vec<Object> = objects.collect();
            let options = options(inputs[0]);
            let mut snapshot: Snapshot = objects.iter().cloned().collect();
            let mut memo = Memo::default();
            prop_assert_eq!(memo.translate(&snapshot, &options), translate(&snapshot, &options));
            for (object, edit) in edits {
                edit.apply(&mut snapshot, object.get(&objects));
                prop_assert_eq!(memo.translate(&snapshot, &options), translate(&snapshot, &options), "{:?}", edit);
            }
            Ok(())
        })
        .unwrap();
}

/// What becomes of an object.
#[derive(Clone, Debug)]
enum Edit {
    Delete,
    Restore,
    Slip(prop::sample::Index, Slip),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        1 => Just(Edit::Delete),
        1 => Just(Edit::Restore),
        2 => (any::<prop::sample::Index>(), slip()).prop_map(|(place, slip)| Edit::Slip(place, slip)),
    ]
}

impl Edit {
    fn apply(&self, snapshot: &mut Snapshot, object: &Object) {
        match self {
            Self::Delete => drop(snapshot.remove(&object.reference())),
            Self::Restore => drop(snapshot.insert(object.clone())),
            Self::Slip(place, slip) => {
                let mut value = as_value(object);
                let paths = paths(&value);
                let path: &String = place.get(&paths);
                slip.apply(&mut value, path);
                if let Ok(object) = Object::read(value) {
                    snapshot.insert(object);
                }
            }
        }
    }
}

fn as_value(object: &Object) -> Value {
    match object {
        Object::GatewayClass(object) => serde_json::to_value(object),
        Object::Gateway(object) => serde_json::to_value(object),
        Object::ListenerSet(object) => serde_json::to_value(object),
        Object::HttpRoute(object) => serde_json::to_value(object),
        Object::GrpcRoute(object) => serde_json::to_value(object),
        Object::ReferenceGrant(object) => serde_json::to_value(object),
        Object::Namespace(object) => serde_json::to_value(object),
        Object::Service(object) => serde_json::to_value(object),
        Object::EndpointSlice(object) => serde_json::to_value(object),
        Object::Secret(object) => serde_json::to_value(object),
        Object::BackendTlsPolicy(object) => serde_json::to_value(object),
        Object::ConfigMap(object) => serde_json::to_value(object),
    }
    .unwrap()
}

#[derive(Clone, Debug)]
enum Slip {
    Delete,
    Become(Value),
    /// Stands twice, where it is in a list.
    Double,
}

fn slip() -> impl Strategy<Value = Slip> {
    let numbers = [i64::MIN, -1, 0, 1, 80, 65536, 1_000_001, i64::MAX];
    let texts =
        ["", " ", "/", "x", "*.", "*.a.example", "a b", "HTTP", "(", "10s", "99999h", "%2f?#", "Service", "é\u{0}\n"];
    prop_oneof![
        3 => Just(Slip::Delete),
        1 => Just(Slip::Double),
        3 => prop::sample::select(numbers.to_vec()).prop_map(|number| Slip::Become(number.into())).boxed(),
        3 => prop::sample::select(texts.to_vec()).prop_map(|text| Slip::Become(text.into())).boxed(),
        1 => Just(Slip::Become(Value::Null)),
        1 => Just(Slip::Become(Value::Array(vec![]))),
        1 => Just(Slip::Become(serde_json::json!({}))),
    ]
}

impl Slip {
    fn apply(&self, root: &mut Value, path: &str) {
        let Some((parent, last)) = path.rsplit_once('/') else { return };
        match (root.pointer_mut(parent), self) {
            (Some(Value::Object(fields)), Self::Delete) => drop(fields.remove(last)),
            (Some(Value::Array(items)), Self::Delete) => drop(items.remove(last.parse::<usize>().unwrap())),
            (Some(Value::Array(items)), Self::Double) => items.push(items[last.parse::<usize>().unwrap()].clone()),
            (_, Self::Become(value)) => *root.pointer_mut(path).unwrap() = value.clone(),
            _ => {}
        }
    }
}

/// JSON pointers to everything below a value.
fn paths(value: &Value) -> Vec<String> {
    let below = |key: &str, child: &Value| {
        let key = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
        std::iter::once(key.clone())
            .chain(paths(child).into_iter().map(move |path| format!("{key}{path}")))
            .collect::<Vec<_>>()
    };
    match value {
        Value::Object(fields) => fields.iter().flat_map(|(key, child)| below(key, child)).collect(),
        Value::Array(items) => items.iter().enumerate().flat_map(|(i, child)| below(&i.to_string(), child)).collect(),
        _ => Vec::new(),
    }
}
