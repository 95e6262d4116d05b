//! One file of documents.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use conf::{Document, Key, Location, Match, Problem};

use super::claims::Claim;

/// What a file held when it was read, and what stays in use although it holds it no longer.
#[derive(Debug, Default)]
pub(super) struct File {
    /// In the order of the file.
    pub(super) documents: Box<[Placed]>,
    /// The last good versions of documents that cannot be used as they are now.
    pub(super) kept: Vec<Placed>,
    pub(super) problems: Vec<Problem>,
    state: Option<State>,
    /// Whether an equal state means equal contents; see [`SETTLING`].
    settled: bool,
}

/// A document and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) location: Location,
    pub(super) key: Key,
    pub(super) document: Arc<Document>,
}

/// What tells that a file was changed or replaced, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// No file of documents is this large; one that is would only fill the memory. In bytes.
const MAX_SIZE: u64 = 64 << 20;

/// Systems count a file's times in steps of up to 10 ms. A file that was changed so short before it
/// was read may be changed again without its times telling.
const SETTLING: Duration = Duration::from_millis(50);

impl File {
    /// Reads a file again.
    pub(super) fn read(path: &Path, before: Option<&Self>) -> Self {
        match Contents::read(path) {
            Ok(contents) => Self::parse(path, contents, before),
            Err(error) => Self {
                kept: before.map(Self::in_use).unwrap_or_default(),
                problems: vec![Problem { location: None, document: None, message: error.to_string() }],
                ..Self::default()
            },
        }
    }

    /// Whether it may have been changed since it was read.
    pub(super) fn is_stale(&self, state: Option<State>) -> bool {
        !self.settled || self.differs(state)
    }

    /// Whether it certainly has been changed since it was read.
    pub(super) fn differs(&self, state: Option<State>) -> bool {
        self.state != state
    }

    fn parse(path: &Path, contents: Contents, before: Option<&Self>) -> Self {
        let Contents { state, settled, text } = contents;
        // The last line of one that is written whole ends.
        let is_cut_off = text.as_ref().is_ok_and(|text| !text.ends_with('\n'));
        let (documents, problems): (Box<[Placed]>, _) = match text {
            Ok(text) if text.is_empty() && before.is_some_and(|before| !before.in_use().is_empty()) => {
                (Box::default(), vec![emptied()])
            }
            Ok(text) => {
                let conf::Parsed { documents, problems } = conf::parse(&text);
                // Of several with one name the first.
                let known = before.iter().flat_map(|file| &file.documents).rev();
                let known: HashMap<&Key, &Placed> = known.map(|placed| (&placed.key, placed)).collect();
                let placed = |(location, document)| placed(path, location, document, &known);
                (documents.into_iter().map(placed).collect(), problems)
            }
            Err(problem) => (Box::default(), vec![problem]),
        };
        // A problem without a document may be any of those that were here; what a file that is cut off
        // has lost may be all of them.
        let mut kept = Vec::new();
        if problems.iter().any(|problem| is_cut_off || problem.document.is_none()) {
            let found: HashSet<&Key> = documents.iter().map(|placed| &placed.key).collect();
            kept = before.map(Self::in_use).unwrap_or_default();
            kept.retain(|placed| !found.contains(&placed.key));
        }
        Self { documents, kept, problems, state: Some(state), settled }
    }

    /// What of it is in use, as far as no other file holds the same.
    fn in_use(&self) -> Vec<Placed> {
        let mut seen = HashSet::new();
        self.all().filter(|placed| seen.insert(&placed.key)).cloned().collect()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Placed> {
        self.documents.iter().chain(&self.kept)
    }

    pub(super) fn claims(&self, path: &Arc<OsStr>) -> impl Iterator<Item = (&Key, Claim)> {
        let documents = self.documents.iter().enumerate().map(|(index, placed)| (false, index, placed));
        let kept = self.kept.iter().enumerate().map(|(index, placed)| (true, index, placed));
        documents.chain(kept).map(|(is_kept, index, placed)| {
            let file = path.clone();
            (&placed.key, Claim { is_kept, file, index })
        })
    }
}

/// A file that somebody is about to write anew begins like this.
fn emptied() -> Problem {
    let message = "is empty, and what it said before stays in use; remove the file to remove its documents".to_owned();
    Problem { location: None, document: None, message }
}

impl State {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

struct Contents {
    state: State,
    settled: bool,
    text: Result<String, Problem>,
}

impl Contents {
    fn read(path: &Path) -> io::Result<Self> {
        let file = fs::File::open(path)?;
        // Before the contents: a change while they are read shows at the next look.
        let metadata = file.metadata()?;
        let mut bytes = Vec::with_capacity(metadata.len().min(MAX_SIZE) as usize);
        file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
        let text = if bytes.len() as u64 > MAX_SIZE {
            let message = format!("the file is larger than {} MiB", MAX_SIZE >> 20);
            Err(Problem { location: None, document: None, message })
        } else {
            String::from_utf8(bytes).map_err(|error| {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                Problem { location: Some(end_of(valid)), document: None, message: "the file is not UTF-8 text".into() }
            })
        };
        let age = metadata.modified().ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
        Ok(Self { state: State::of(&metadata), settled: age.is_some_and(|age| age > SETTLING), text })
    }
}

/// Equal to the version before, it is that version, so that it is known not to have changed.
fn placed(path: &Path, location: Location, mut document: Document, known: &HashMap<&Key, &Placed>) -> Placed {
    if let Document::Route(route) = &mut document
        && route.order.is_empty()
    {
        route.order = order(path, location).into();
    }
    let key = document.key();
    let same = known.get(&key).filter(|placed| *placed.document == document);
    let document = same.map_or_else(|| Arc::new(trimmed(&document)), |placed| placed.document.clone());
    Placed { location, key, document }
}

/// A copy, which has no room to spare, as what grew while it was read has much of.
fn trimmed(document: &Document) -> Document {
    let mut document = document.clone();
    if let Document::Route(route) = &mut document {
        for condition in route.rules.iter_mut().flat_map(|rule| &mut rule.matches) {
            *condition = Arc::new(Match::clone(condition));
        }
    }
    document
}

/// The order of documents as text: of files by name, and of documents in a file by place. The
/// space comes before all that is usual in names.
fn order(path: &Path, location: Location) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{name} {:08}", location.line)
}

fn end_of(text: &[u8]) -> Location {
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    let last = text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    Location { line: lines as u64 + 1, column: String::from_utf8_lossy(last).chars().count() as u64 + 1 }
}
