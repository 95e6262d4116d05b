//! Which modules may know which, and what no module may do. The borders between crates are in `adapter/tests/dependencies.rs` and
//! in `deny.toml`.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn the_table_and_the_filters_know_neither_pingora_nor_tokio() {
    for part in ["table", "filter"] {
        let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/src").join(part));
        assert!(!files.is_empty());
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for foreign in ["pingora::", "pingora_", "tokio::"] {
                assert!(!text.contains(foreign), "{} uses {foreign}", file.display());
            }
        }
    }
}

/// A task that nobody joins could end, or never end, and nobody would know. So tasks live in a
/// `JoinSet`, whose owner does. Copies of requests are the exception: they are counted, and it is the
/// count that a drain waits for.
#[test]
fn no_task_is_detached() {
    for part in ["gateway", "adapter"] {
        let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(part).join("src"));
        assert!(!files.is_empty());
        let is_tested = |file: &PathBuf| !file.ends_with("mirror/copy.rs") && !file.iter().any(|part| part == "tests");
        for file in files.into_iter().filter(is_tested).filter(|file| !file.ends_with("tests.rs")) {
            let text = fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
                for detached in ["tokio::spawn(", "task::spawn(", "thread::spawn(", "Handle::current()"] {
                    assert!(!line.contains(detached), "{}: {line}", file.display());
                }
            }
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}
