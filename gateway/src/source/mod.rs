//! The configuration as files: what is in use, and what changed since the last look.
//!
//! Files are read again only if their inode, size or times differ. A document that cannot be used
//! keeps its last good version, and so does all of a file that cannot be read; only a file that is
//! gone takes its documents with it. This module knows nothing of what is done with documents.

mod file;
mod problem;
#[cfg(test)]
mod tests;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conf::{Document, Key, Kind, Location, Name};

use file::{File, Placed, State};
pub use problem::Problem;

/// What was read from a file or a directory of files.
pub(crate) struct Source {
    path: PathBuf,
    /// By path. `Path` compares component by component, which for many files takes longer than anything
    /// else that a look needs.
    files: BTreeMap<Arc<OsStr>, File>,
    live: HashMap<Key, Live>,
    duplicates: Vec<Problem>,
}

/// A document that is in use, and the file it is from.
struct Live {
    file: Arc<OsStr>,
    placed: Placed,
}

/// Why nothing could be read at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {cause}", path.display())]
pub(crate) struct ReadError {
    pub(crate) path: PathBuf,
    cause: io::Error,
}

/// One document that is new, or different, or gone.
pub(crate) type Change = (Key, Option<Arc<Document>>);

/// How often to look again for files that change while others are read.
const ROUNDS: usize = 5;

impl Source {
    /// `path` is a file, or a directory whose `.yaml` and `.yml` files are read, but not those that
    /// are hidden or in directories below it.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, files: BTreeMap::new(), live: HashMap::new(), duplicates: Vec::new() }
    }

    /// Reads what changed. An error means that nothing did.
    ///
    /// Writers replace files one by one, and say last which revision they are. For that to mean
    /// that all of the revision was read, files are looked at until none has changed.
    pub(crate) fn read(&mut self) -> Result<Vec<Change>, ReadError> {
        let error = |cause| ReadError { path: self.path.clone(), cause };
        let mut found = list(&self.path).map_err(error)?;
        let mut is_stale: fn(&File, Option<State>) -> bool = File::is_stale;
        for _ in 0..ROUNDS {
            let gone = self.files.len();
            self.files.retain(|path, _| found.contains_key(path));
            let mut changed = self.files.len() < gone;
            for (path, state) in &found {
                let before = self.files.get(path);
                if before.is_some_and(|file| !is_stale(file, *state)) {
                    continue;
                }
                let last_good = |key: &Key| self.live.get(key).map(|live| live.placed.clone());
                let file = File::read(path.as_ref().as_ref(), before, last_good);
                self.files.insert(path.clone(), file);
                changed = true;
            }
            if !changed {
                break;
            }
            is_stale = File::differs;
            found = list(&self.path).map_err(error)?;
        }
        Ok(self.merge())
    }

    /// Makes all that was read live, and tells what is different.
    fn merge(&mut self) -> Vec<Change> {
        let mut live: HashMap<Key, Live> = HashMap::with_capacity(self.live.len());
        self.duplicates.clear();
        for (path, file) in &self.files {
            for placed in &file.documents {
                match live.entry(placed.key.clone()) {
                    Entry::Vacant(entry) => {
                        entry.insert(Live { file: path.clone(), placed: placed.clone() });
                    }
                    Entry::Occupied(first) => self.duplicates.push(duplicate(path, placed, first.get())),
                }
            }
        }
        for (path, file) in &self.files {
            for placed in &file.kept {
                let kept = || Live { file: path.clone(), placed: placed.clone() };
                live.entry(placed.key.clone()).or_insert_with(kept);
            }
        }
        let gone = self.live.keys().filter(|key| !live.contains_key(key)).map(|key| (key.clone(), None));
        let changed = live.iter().filter(|(key, now)| {
            self.live.get(key).is_none_or(|before| !Arc::ptr_eq(&before.placed.document, &now.placed.document))
        });
        let changed = changed.map(|(key, now)| (key.clone(), Some(now.placed.document.clone())));
        let mut changes: Vec<Change> = gone.chain(changed).collect();
        changes.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.live = live;
        changes
    }

    /// Everything that keeps a document, or the newest version of one, from being used.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let of_file = |(path, file): (&Arc<OsStr>, &File)| {
            let problem = |problem: &conf::Problem| Problem { file: shared(path), problem: problem.clone() };
            file.problems.iter().map(problem).collect::<Vec<_>>()
        };
        let problems = self.files.iter().flat_map(of_file);
        sorted(problems.chain(self.duplicates.iter().cloned()).collect())
    }

    /// References to documents that do not exist.
    pub(crate) fn dangling(&self) -> Vec<Problem> {
        self.locate(conf::dangling(self.documents()))
    }

    /// Problems of documents that are in use, with the place of each.
    pub(crate) fn locate(&self, problems: impl IntoIterator<Item = conf::Problem>) -> Vec<Problem> {
        let locate = |mut problem: conf::Problem| {
            let live = problem.document.as_ref().and_then(|key| self.live.get(key));
            problem.location = problem.location.or(live.map(|live| live.placed.location));
            Problem { file: live.map_or_else(|| self.path.as_path().into(), |live| shared(&live.file)), problem }
        };
        sorted(problems.into_iter().map(locate).collect())
    }

    pub(crate) fn documents(&self) -> impl Iterator<Item = &Document> + Clone {
        self.live.values().map(|live| &*live.placed.document)
    }

    /// The live revision of each writer.
    pub(crate) fn revisions(&self) -> BTreeMap<Name, String> {
        let revision = |document: &Document| match document {
            Document::Revision(revision) => Some((revision.name.clone(), revision.revision.clone())),
            _ => None,
        };
        self.documents().filter_map(revision).collect()
    }

    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.live.keys().filter(|key| key.kind == kind).count()
    }

    /// The listeners of an address.
    pub(crate) fn listeners_of(&self, address: SocketAddr) -> impl Iterator<Item = Key> {
        self.documents().filter_map(move |document| match document {
            Document::Listener(listener) if listener.address == address => Some(document.key()),
            _ => None,
        })
    }
}

/// The files to read, and in which state they are; none for those whose state cannot be told.
fn list(path: &Path) -> io::Result<BTreeMap<Arc<OsStr>, Option<State>>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_dir() {
        return Ok(BTreeMap::from([(path.as_os_str().into(), Some(State::of(&metadata)))]));
    }
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if !is_document_file(&path) {
            continue;
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                files.insert(path.into_os_string().into(), Some(State::of(&metadata)))
            }
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => files.insert(path.into_os_string().into(), None),
        };
    }
    Ok(files)
}

fn is_document_file(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !is_hidden && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn duplicate(path: &OsStr, placed: &Placed, first: &Live) -> Problem {
    let Location { line, .. } = first.placed.location;
    let message =
        format!("is also in {}:{line}, and that one is used; rename or remove one of them", first.file.display());
    let location = Some(placed.location);
    Problem { file: shared(path), problem: conf::Problem { location, document: Some(placed.key.clone()), message } }
}

fn shared(path: &OsStr) -> Arc<Path> {
    Path::new(path).into()
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|a, b| (&a.file, a.problem.location).cmp(&(&b.file, b.problem.location)));
    problems
}
