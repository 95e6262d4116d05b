//! Which modules may know which. The borders between crates are in `adapter/tests/dependencies.rs` and
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

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}
