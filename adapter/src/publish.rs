//! Documents into the directory that a gateway serves from, and word to the gateway.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conf::{Document, Revision};
use rustix::process::{Pid, Signal, kill_process};

use crate::differences::differences;
use crate::hash::fnv1a;
use crate::translate::Files;

/// A directory of documents, shared with people: what does not begin with our mark is theirs.
///
/// It is looked through once. After that only what is published differently is touched, which makes
/// a change of one file among thousands cost one file.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// The files of ours that are there; none before the directory was looked through.
    files: Option<BTreeMap<Arc<str>, File>>,
    revision: String,
}

#[derive(Debug)]
struct File {
    documents: Vec<Arc<Document>>,
    /// Of its name and text.
    hash: u64,
}

/// What became of a publication.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Files that were written or removed.
    pub changed: Vec<PathBuf>,
    /// Files of somebody else that stand where ours should.
    pub in_the_way: Vec<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot update {}: {source}", path.display())]
pub struct PublishError {
    path: PathBuf,
    source: io::Error,
}

impl Directory {
    /// Made if it is not there.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, PublishError> {
        let path = path.into();
        std::fs::create_dir_all(&path).map_err(at(&path))?;
        Ok(Self { path, files: None, revision: String::new() })
    }

    /// The revision of what was published last.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Makes the next publication look through the directory again.
    pub fn forget(&mut self) {
        self.files = None;
    }

    /// Makes the directory hold these files of ours and no others. Each is replaced as a whole, and
    /// only if it differs; what is referred to comes before what refers to it and goes after it, and
    /// the revision is last.
    pub fn publish(&mut self, files: &Files) -> Result<Published, PublishError> {
        let mut published = Published::default();
        // With an error on the way nothing is known any more.
        let before = self.files.take();
        let is_known = before.is_some();
        let mut known = before.unwrap_or_default();
        // Mostly by pointers, and among thousands of files there is seldom more than one.
        let differing = differences(&known, files, |file, documents| file.documents == *documents);
        let differing: Vec<Arc<str>> = differing.into_iter().cloned().collect();
        let gone: Vec<Arc<str>> = match is_known {
            true => differing.iter().filter(|name| !files.contains_key(*name)).cloned().collect(),
            false => self.others(files)?,
        };
        for name in differing {
            let Some(documents) = files.get(&name) else { continue };
            let text = text(documents);
            let mode = if documents.iter().any(|document| is_secret(document)) { OWNER } else { EVERYBODY };
            if self.replace(&name, &text, mode, &mut published)? {
                let hash = fnv1a([name.as_bytes(), b"\0", text.as_bytes()].into_iter().flatten());
                known.insert(name, File { documents: documents.clone(), hash });
            } else {
                known.remove(&name);
            }
        }
        // Routes sort behind what they refer to.
        for name in gone.iter().rev() {
            let path = self.path.join(&**name);
            std::fs::remove_file(&path).map_err(at(&path))?;
            published.changed.push(path);
            known.remove(name);
        }
        if !is_known || !published.changed.is_empty() {
            self.revision = revision(&known);
            self.replace(REVISION_FILE, &text(&[Arc::new(self.revision_document())]), EVERYBODY, &mut published)?;
        }
        self.files = Some(known);
        Ok(published)
    }

    /// Whether the file is as it should be now; not if it is somebody else's.
    fn replace(&self, name: &str, text: &str, mode: u32, published: &mut Published) -> Result<bool, PublishError> {
        let path = self.path.join(name);
        let is_in_the_way = match std::fs::read_to_string(&path) {
            Ok(present) if present == text => return Ok(true),
            Ok(present) => !is_ours(&present),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            // What is no text is not ours.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => true,
            Err(error) => return Err(at(&path)(error)),
        };
        if is_in_the_way {
            published.in_the_way.push(path);
            return Ok(false);
        }
        let temporary = self.path.join(format!(".{name}{TEMPORARY}"));
        write_new(&temporary, text, mode).map_err(at(&temporary))?;
        std::fs::rename(&temporary, &path).map_err(at(&path))?;
        published.changed.push(path);
        Ok(true)
    }

    /// The files of ours that are there and should not be, sorted.
    fn others(&self, wanted: &Files) -> Result<Vec<Arc<str>>, PublishError> {
        let mut others = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(at(&self.path))? {
            let entry = entry.map_err(at(&self.path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_wanted = name == REVISION_FILE || wanted.contains_key(name.as_str());
            // A temporary file is what is left of one who was stopped while writing.
            let is_candidate = name.ends_with(".yaml") || name.ends_with(TEMPORARY);
            if !is_wanted && is_candidate && std::fs::read_to_string(entry.path()).is_ok_and(|text| is_ours(&text)) {
                others.push(name.into());
            }
        }
        others.sort();
        Ok(others)
    }

    fn revision_document(&self) -> Document {
        let name = "doppel-adapter".parse().expect("a word is a name");
        Document::Revision(Revision { name, revision: self.revision.clone() })
    }
}

/// Tells the gateway whose process id the file holds to read its configuration again.
pub fn notify(pid_file: &Path) -> Result<(), NotifyError> {
    let path = || pid_file.to_owned();
    let text = std::fs::read_to_string(pid_file).map_err(|source| NotifyError::Unreadable { path: path(), source })?;
    let pid = text.trim().parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| NotifyError::NoId { path: path(), text: text.trim().to_owned() })?;
    kill_process(pid, Signal::HUP).map_err(|error| NotifyError::Unreachable { path: path(), pid, source: error.into() })
}

#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    #[error("{}: {source}; does the gateway run with this --pid-file?", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: {text:?} is not a process id", path.display())]
    NoId { path: PathBuf, text: String },
    #[error("{}: process {pid} cannot be signalled: {source}; has the gateway stopped?", path.display())]
    Unreachable { path: PathBuf, pid: Pid, source: io::Error },
}

/// Creates the file with its mode. What an interrupted write has left of it is removed first.
fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())
}

/// Whether a document holds what only the gateway should read.
fn is_secret(document: &Document) -> bool {
    matches!(document, Document::Certificate(_))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PublishError + use<> {
    let path = path.to_owned();
    move |source| PublishError { path, source }
}

fn text(documents: &[Arc<Document>]) -> String {
    let documents: Vec<_> = documents.iter().map(|document| conf::render(document)).collect();
    format!("{MARK}\n{}", documents.join("---\n"))
}

fn is_ours(text: &str) -> bool {
    text.lines().next() == Some(MARK)
}

/// The same for the same files, whoever wrote them and when.
fn revision(files: &BTreeMap<Arc<str>, File>) -> String {
    let hash = files.values().fold(0_u64, |hash, file| hash.wrapping_add(file.hash));
    format!("{hash:016x}")
}

const MARK: &str = "# Written by doppel-adapter, which replaces and removes this file.";
/// Who may read a file, as far as the process' mask allows it.
const EVERYBODY: u32 = 0o644;
const OWNER: u32 = 0o600;
const REVISION_FILE: &str = "revision.yaml";
const TEMPORARY: &str = ".doppel-tmp";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use conf::Kind;

    use super::*;

    fn documents(endpoint: &str) -> Vec<Arc<Document>> {
        let name = "default/pipy:8080".parse().unwrap();
        let endpoints = vec![endpoint.parse().unwrap()];
        vec![Arc::new(Document::Backend(conf::Backend { name, protocol: conf::Protocol::Http, endpoints, tls: None }))]
    }

    fn names(paths: &[PathBuf]) -> Vec<String> {
        paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn only_what_differs_is_written_and_the_revision_is_last() {
        let folder = tempfile::tempdir().unwrap();
        let mut directory = Directory::open(folder.path()).unwrap();
        let mut files = BTreeMap::from([
            ("backend-default_pipy.yaml".into(), documents("10.0.0.1:80")),
            ("backend-default_other.yaml".into(), documents("10.0.0.2:80")),
        ]);
        let mut publish = |files: &Files| names(&directory.publish(files).unwrap().changed);
        assert_eq!(publish(&files), ["backend-default_other.yaml", "backend-default_pipy.yaml", "revision.yaml"]);
        assert_eq!(publish(&files), [""; 0]);
        files.insert("backend-default_pipy.yaml".into(), documents("10.0.0.3:80"));
        assert_eq!(publish(&files), ["backend-default_pipy.yaml", "revision.yaml"]);
        files.remove("backend-default_other.yaml");
        assert_eq!(publish(&files), ["backend-default_other.yaml", "revision.yaml"]);
    }

    #[test]
    fn the_revision_is_that_of_the_files_and_not_of_the_way_there() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [mut one, mut other] = folders.each_ref().map(|folder| Directory::open(folder.path()).unwrap());
        let file = |name: &str, endpoint| (name.into(), documents(endpoint));
        let both = BTreeMap::from([file("backend-a.yaml", "10.0.0.1:80"), file("backend-b.yaml", "10.0.0.2:80")]);
        one.publish(&both).unwrap();
        let revision = one.revision().to_owned();
        other
            .publish(&BTreeMap::from([file("backend-a.yaml", "10.0.0.9:80"), file("backend-c.yaml", "10.0.0.2:80")]))
            .unwrap();
        assert_ne!(other.revision(), revision);
        other.publish(&both).unwrap();
        assert_eq!(other.revision(), revision);
        // One who starts in a directory that is as it should be comes to the same.
        let mut third = Directory::open(folders[0].path()).unwrap();
        assert_eq!(third.publish(&both).unwrap().changed, Vec::<PathBuf>::new());
        assert_eq!(third.revision(), revision);
    }

    #[test]
    fn what_others_did_to_the_directory_is_mended_when_it_is_looked_through() {
        let folder = tempfile::tempdir().unwrap();
        let mut directory = Directory::open(folder.path()).unwrap();
        let files = BTreeMap::from([("backend.yaml".into(), documents("10.0.0.1:80"))]);
        directory.publish(&files).unwrap();
        std::fs::remove_file(folder.path().join("backend.yaml")).unwrap();
        directory.forget();
        assert_eq!(names(&directory.publish(&files).unwrap().changed), ["backend.yaml"]);
    }

    #[test]
    fn what_is_published_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut directory = Directory::open(folder.path()).unwrap();
        directory.publish(&BTreeMap::from([("backend.yaml".into(), documents("10.0.0.1:80"))])).unwrap();
        let read = |name| conf::parse(&std::fs::read_to_string(folder.path().join(name)).unwrap());
        let parsed = read("backend.yaml");
        assert_eq!(parsed.problems, []);
        assert_eq!(
            parsed.documents.into_iter().map(|(_, document)| Arc::new(document)).collect::<Vec<_>>(),
            documents("10.0.0.1:80")
        );
        assert!(matches!(read(REVISION_FILE).documents[..], [(_, Document::Revision(_))]));
    }

    #[test]
    fn files_of_others_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut directory = Directory::open(folder.path()).unwrap();
        for name in ["mine.yaml", "backend.yaml", "notes.txt"] {
            std::fs::write(folder.path().join(name), "backend: {name: mine}\n").unwrap();
        }
        std::fs::write(folder.path().join("binary.yaml"), [0xff, 0xfe]).unwrap();
        std::fs::write(folder.path().join(".old.yaml.doppel-tmp"), format!("{MARK}\n")).unwrap();
        let files = BTreeMap::from([("backend.yaml".into(), documents("10.0.0.1:80"))]);
        let published = directory.publish(&files).unwrap();
        assert_eq!(names(&published.in_the_way), ["backend.yaml"]);
        assert_eq!(names(&published.changed), [".old.yaml.doppel-tmp", "revision.yaml"]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 5);
        assert_eq!(std::fs::read_to_string(folder.path().join("backend.yaml")).unwrap(), "backend: {name: mine}\n");
    }

    #[test]
    fn files_with_private_keys_are_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut directory = Directory::open(folder.path()).unwrap();
        let example = conf::parse(include_str!("../../conf/examples/tls.yaml")).documents;
        let certificates = example.into_iter().map(|(_, document)| document);
        let certificates = certificates.filter(|document| document.key().kind == Kind::Certificate);
        let certificates: Vec<_> = certificates.map(Arc::new).collect();
        assert!(!certificates.is_empty());
        let files = BTreeMap::from([
            ("backend.yaml".into(), documents("10.0.0.1:80")),
            ("certificate.yaml".into(), certificates),
        ]);
        // What is left of somebody who was stopped does not lend its mode.
        std::fs::write(folder.path().join(".certificate.yaml.doppel-tmp"), "").unwrap();
        directory.publish(&files).unwrap();
        let mode = |name| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o077;
        assert_eq!(mode("certificate.yaml"), 0);
        assert_ne!(mode("backend.yaml"), 0);
    }

    #[test]
    fn a_pid_file_that_is_no_use_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.pid");
        let message = || notify(&file).unwrap_err().to_string();
        assert!(message().contains("does the gateway run with this --pid-file?"), "{}", message());
        for text in ["", "x", "-1", "0"] {
            std::fs::write(&file, text).unwrap();
            assert!(message().contains("is not a process id"), "{}", message());
        }
        // No system gives out the largest number.
        std::fs::write(&file, i32::MAX.to_string()).unwrap();
        assert!(message().contains("has the gateway stopped?"), "{}", message());
    }
}
