//! Which part may know which. deny.toml holds the same borders for dependencies of dependencies.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// The names of the crates that a crate of the workspace uses itself, tests aside.
fn dependencies(of: &str) -> BTreeSet<String> {
    let cargo = env::var_os("CARGO").expect("tests run under cargo");
    let arguments = ["metadata", "--format-version=1", "--no-deps", "--offline"];
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let package = metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == of).unwrap();
    let dependencies = package["dependencies"].as_array().unwrap().iter().filter(|used| used["kind"] != "dev");
    dependencies.map(|used| used["name"].as_str().unwrap().to_owned()).collect()
}

fn check_unknown(to: &str, parts: &[&str]) {
    let known = dependencies(to);
    assert!(!known.is_empty());
    let known: Vec<_> = known.iter().filter(|name| parts.iter().any(|part| name.starts_with(part))).collect();
    assert!(known.is_empty(), "{to} knows {known:?}");
}

const KUBERNETES: &[&str] = &["kube", "k8s-openapi", "gateway-api"];
const PINGORA: &[&str] = &["pingora"];
const RUNTIME: &[&str] = &["tokio", "async", "futures", "hyper"];

#[test]
fn the_configuration_knows_neither_kubernetes_nor_pingora_nor_io() {
    for parts in [KUBERNETES, PINGORA, RUNTIME, &["doppel"]] {
        check_unknown("doppel-conf", parts);
    }
}

#[test]
fn the_gateway_and_the_adapter_do_not_know_each_other() {
    check_unknown("doppel-gateway", &["doppel-adapter"]);
    check_unknown("doppel-gateway", KUBERNETES);
    check_unknown("doppel-adapter", &["doppel-gateway"]);
    check_unknown("doppel-adapter", PINGORA);
    for of in ["doppel-gateway", "doppel-adapter"] {
        assert!(dependencies(of).contains("doppel-conf"), "{of}");
    }
}

#[test]
fn the_table_and_the_filters_know_neither_pingora_nor_tokio() {
    for part in ["table", "filter"] {
        let files = sources(&root().join("gateway/src").join(part));
        assert!(!files.is_empty());
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for foreign in ["pingora::", "pingora_", "tokio::"] {
                assert!(!text.contains(foreign), "{} uses {foreign}", file.display());
            }
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}
