//! The configuration as files: what is in use, and what changed since the last look.
//!
//! What a look costs is a matter of what changed, not of how much there is. A document that cannot be
//! used keeps its last good version, and so does all of a file that cannot be read; only a file that
//! is gone takes its documents with it. This module knows nothing of what is done with documents.

mod claims;
mod directory;
mod file;
mod problem;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conf::{Document, Key, Kind, Name};

use claims::{Claim, Claims};
use directory::{Directory, Seen};
use file::{File, Placed};
pub use problem::Problem;
use tally::Tally;

/// What was read from a file or a directory of files.
pub(crate) struct Source {
    directory: Directory,
    /// The boxes are for the tree, whose nodes are half empty.
    files: BTreeMap<Arc<OsStr>, Box<File>>,
    /// The files that have any.
    with_problems: BTreeSet<Arc<OsStr>>,
    claims: Claims,
    tally: Tally,
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

/// The versions that were in use when a look began, of all documents that it came upon.
type Before = BTreeMap<Key, Option<Placed>>;

impl Source {
    /// `path` is a file, or a directory whose `.yaml` and `.yml` files are read, but not those that
    /// are hidden or in directories below it.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            directory: Directory::new(path),
            files: BTreeMap::new(),
            with_problems: BTreeSet::new(),
            claims: Claims::default(),
            tally: Tally::default(),
        }
    }

    /// Reads what changed. An error means that nothing did.
    ///
    /// Writers replace files one by one, and say last which revision they are. For that to mean
    /// that all of the revision was read, files are looked at until none has changed.
    pub(crate) fn read(&mut self) -> Result<Vec<Change>, ReadError> {
        let mut before = Before::new();
        for round in 0..ROUNDS {
            let look = match self.directory.look(self.files.keys()) {
                Ok(look) => look,
                Err(cause) if round == 0 => return Err(ReadError { path: self.directory.path().to_owned(), cause }),
                // The next reload tells what there is.
                Err(_) => break,
            };
            let is_stale = if round == 0 { File::is_stale } else { File::differs };
            let mut is_changed = false;
            for (path, seen) in look {
                let known = self.files.get(&path);
                let file = match seen {
                    Seen::Gone if known.is_none() => continue,
                    Seen::There(state) if known.is_some_and(|file| !is_stale(file, state)) => continue,
                    Seen::Gone => None,
                    Seen::Touched | Seen::There(_) => Some(File::read(path.as_ref().as_ref(), known.map(Box::as_ref))),
                };
                self.replace(path, file, &mut before);
                is_changed = true;
            }
            if !is_changed {
                break;
            }
        }
        self.keep_last_good(&before);
        Ok(self.changes_since(before))
    }

    /// Puts a file in the place of its version before, and notes what was in use of what either holds.
    fn replace(&mut self, path: Arc<OsStr>, file: Option<File>, before: &mut Before) {
        for placed in self.files.get(&path).map(Box::as_ref).into_iter().chain(&file).flat_map(File::all) {
            if !before.contains_key(&placed.key) {
                before.insert(placed.key.clone(), self.live(&placed.key).cloned());
            }
        }
        if let Some(former) = self.files.remove(&path) {
            for (key, claim) in former.claims(&path) {
                self.claims.withdraw(key, claim);
            }
            self.with_problems.remove(&path);
        }
        let Some(file) = file else { return };
        for (key, claim) in file.claims(&path) {
            self.claims.add(key, claim);
        }
        if !file.problems.is_empty() {
            self.with_problems.insert(path.clone());
        }
        self.files.insert(path, Box::new(file));
    }

    /// Whatever file says what cannot be used of a document, and wherever its last good version was.
    fn keep_last_good(&mut self, before: &Before) {
        for path in &self.with_problems {
            let file = self.files.get_mut(path).expect("it is taken off this list before it goes");
            for key in file.problems.iter().filter_map(|problem| problem.document.as_ref()) {
                if let Some(Some(placed)) = before.get(key)
                    && self.claims.get(key).is_none()
                {
                    self.claims.add(key, Claim { is_kept: true, file: path.clone(), index: file.kept.len() });
                    file.kept.push(placed.clone());
                }
            }
        }
    }

    fn changes_since(&mut self, before: Before) -> Vec<Change> {
        let mut changes = Vec::new();
        for (key, before) in before {
            let (before, now) = (before.map(|placed| placed.document), self.live(&key).map(|placed| &placed.document));
            if before.as_ref().map(Arc::as_ptr) == now.map(Arc::as_ptr) {
                continue;
            }
            let now = now.cloned();
            self.tally.replace(&key, before.as_deref(), now.as_deref(), &self.claims);
            changes.push((key, now));
        }
        changes
    }

    /// The version of a document that is in use.
    fn live(&self, key: &Key) -> Option<&Placed> {
        self.claims.get(key).map(|claim| self.placed(claim))
    }

    fn placed(&self, Claim { is_kept, file, index }: &Claim) -> &Placed {
        let file = self.files.get(file).expect("a file's claims are withdrawn before it goes");
        if *is_kept { &file.kept[*index] } else { &file.documents[*index] }
    }

    /// Everything that keeps a document, or the newest version of one, from being used.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let of_file = |path: &Arc<OsStr>| {
            let problem = |problem: &conf::Problem| Problem { file: shared(path), problem: problem.clone() };
            self.files[path].problems.iter().map(problem).collect::<Vec<_>>()
        };
        let duplicate =
            |(claim, first): (&Claim, &Claim)| duplicate(claim, self.placed(claim), first, self.placed(first));
        let problems = self.with_problems.iter().flat_map(of_file);
        sorted(problems.chain(self.claims.duplicates().map(duplicate)).collect())
    }

    /// References to documents that do not exist.
    pub(crate) fn dangling(&self) -> Vec<Problem> {
        if self.tally.is_complete() { Vec::new() } else { self.locate(conf::dangling(self.documents())) }
    }

    /// Problems of documents that are in use, with the place of each.
    pub(crate) fn locate(&self, problems: impl IntoIterator<Item = conf::Problem>) -> Vec<Problem> {
        let locate = |mut problem: conf::Problem| {
            let claim = problem.document.as_ref().and_then(|key| self.claims.get(key));
            problem.location = problem.location.or(claim.map(|claim| self.placed(claim).location));
            let file = claim.map_or_else(|| self.directory.path().into(), |claim| shared(&claim.file));
            Problem { file, problem }
        };
        sorted(problems.into_iter().map(locate).collect())
    }

    pub(crate) fn documents(&self) -> impl Iterator<Item = &Document> + Clone {
        self.claims.live().map(|claim| &*self.placed(claim).document)
    }

    /// The live revision of each writer.
    pub(crate) fn revisions(&self) -> BTreeMap<Name, String> {
        self.tally.revisions().clone()
    }

    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.tally.count(kind)
    }

    /// The listeners of an address.
    pub(crate) fn listeners_of(&self, address: SocketAddr) -> impl Iterator<Item = Key> {
        self.documents().filter_map(move |document| match document {
            Document::Listener(listener) if listener.address == address => Some(document.key()),
            _ => None,
        })
    }
}

fn duplicate(claim: &Claim, placed: &Placed, first: &Claim, used: &Placed) -> Problem {
    let (file, line) = (first.file.display(), used.location.line);
    let message = format!("is also in {file}:{line}, and that one is used; rename or remove one of them");
    let document = Some(placed.key.clone());
    let problem = conf::Problem { location: Some(placed.location), document, message };
    Problem { file: shared(&claim.file), problem }
}

fn shared(path: &OsStr) -> Arc<Path> {
    Path::new(path).into()
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|a, b| (&a.file, a.problem.location).cmp(&(&b.file, b.problem.location)));
    problems
}
