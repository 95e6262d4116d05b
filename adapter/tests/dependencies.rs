//! Which crate may know what: `tests` knows all, `gateway` and `adapter` know `conf` and not each
//! other, and each foreign world has one crate that knows it.

use std::collections::BTreeSet;
use std::process::Command;

/// The names of all crates that a crate of ours is built with, those for its tests aside.
fn known_to(name: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--offline", "--locked"])
        .args(["--package", name, "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn crates_know_only_what_they_may() {
    let kubernetes = ["kube", "kube-core", "kube-client", "k8s-openapi", "gateway-api"];
    let pingora = ["pingora", "pingora-core", "pingora-proxy", "pingora-http"];
    let check = |name: &str, knows: &[&str], knows_not: &[&[&str]]| {
        let found = known_to(name);
        // If it did not know what it should, the look-up would be at fault.
        assert!(knows.iter().all(|known| found.contains(*known)), "{name} should know all of {knows:?}");
        let known: Vec<_> = knows_not.iter().copied().flatten().filter(|other| found.contains(**other)).collect();
        assert!(known.is_empty(), "{name} knows {known:?}");
    };
    check("doppel-conf", &["serde", "http"], &[&kubernetes, &pingora, &["tokio", "doppel-gateway", "doppel-adapter"]]);
    check("doppel-gateway", &["doppel-conf", "pingora-proxy", "tokio"], &[&kubernetes, &["doppel-adapter"]]);
    check("doppel-adapter", &["doppel-conf", "kube", "k8s-openapi", "gateway-api"], &[&pingora, &["doppel-gateway"]]);
    check("doppel-tests", &["doppel-gateway", "doppel-adapter"], &[]);
}
