//! Documents into the directory that a gateway serves from.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use conf::Document;

/// A directory of documents, shared with people: their files are left alone.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory hold these files of ours and no others; tells whether anything changed.
    pub fn publish(&self, _files: &BTreeMap<String, Vec<Document>>) -> io::Result<bool> {
        Ok(false)
    }
}
