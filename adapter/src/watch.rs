//! A folder of manifests, and what of it is in force.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::api::{Object, ObjectRef};
use crate::manifest;
use crate::snapshot::Snapshot;

/// The manifests below a path: a folder's files `*.yaml`, `*.yml` and `*.json`, or one file.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    files: BTreeMap<PathBuf, File>,
}

#[derive(Debug)]
struct File {
    stamp: Stamp,
    objects: Vec<Object>,
}

/// A file whose stamp is unchanged is taken to be unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
    inode: u64,
}

/// What a look at the folder found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    pub changed: bool,
    /// What cannot be used, each with file and line.
    pub warnings: Vec<String>,
    /// What is not meant for us.
    pub notes: Vec<String>,
}

impl Folder {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), files: BTreeMap::new() }
    }

    /// Reads the files that changed since the last time.
    ///
    /// While something in a file cannot be read, no object goes that was in it: nobody can tell
    /// whether it is the one that cannot be read, and a slip of the pen should not stop traffic.
    pub fn refresh(&mut self) -> io::Result<Refreshed> {
        let mut refreshed = Refreshed::default();
        let mut present = BTreeMap::new();
        for path in self.paths()? {
            // A file that went away since it was listed is as good as never listed.
            match std::fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => drop(present.insert(path, Stamp::of(&metadata)?)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let before = self.files.len();
        self.files.retain(|path, _| present.contains_key(path));
        refreshed.changed = self.files.len() != before;
        for (path, stamp) in present {
            if self.files.get(&path).is_some_and(|file| file.stamp == stamp) {
                continue;
            }
            refreshed.changed = true;
            let previous = self.files.remove(&path).map(|file| file.objects).unwrap_or_default();
            let objects = match std::fs::read(&path) {
                Ok(bytes) => read(&path, &String::from_utf8_lossy(&bytes), previous, &mut refreshed),
                Err(error) => {
                    refreshed.warnings.push(format!("{}: {error}", path.display()));
                    previous
                }
            };
            self.files.insert(path, File { stamp, objects });
        }
        if refreshed.changed {
            refreshed.warnings.extend(self.duplicates());
        }
        Ok(refreshed)
    }

    /// Makes the next look read every file.
    pub fn forget_stamps(&mut self) {
        for file in self.files.values_mut() {
            file.stamp = Stamp { modified: SystemTime::UNIX_EPOCH, length: 0, inode: 0 };
        }
    }

    /// All objects; of several with one name that of the last file.
    pub fn snapshot(&self) -> Snapshot {
        self.files.values().flat_map(|file| file.objects.iter().cloned()).collect()
    }

    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        if !std::fs::metadata(&self.path)?.is_dir() {
            return Ok(vec![self.path.clone()]);
        }
        let entries = std::fs::read_dir(&self.path)?.map(|entry| Ok(entry?.path()));
        let paths: Vec<PathBuf> = entries.collect::<io::Result<_>>()?;
        Ok(paths.into_iter().filter(|path| is_manifest(path)).collect())
    }

    fn duplicates(&self) -> Vec<String> {
        let mut seen: BTreeMap<ObjectRef, &Path> = BTreeMap::new();
        let mut warnings = Vec::new();
        for (path, file) in &self.files {
            for reference in file.objects.iter().map(Object::reference) {
                if let Some(first) = seen.insert(reference.clone(), path) {
                    let (first, path) = (first.display(), path.display());
                    warnings.push(format!("{path}: {reference} is in {first} too; this one counts"));
                }
            }
        }
        warnings
    }
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> io::Result<Self> {
        Ok(Self { modified: metadata.modified()?, length: metadata.len(), inode: metadata.ino() })
    }
}

/// Hidden files are editors' own.
fn is_manifest(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !is_hidden
        && path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

/// The objects of a text, with those it had before where it cannot be read.
fn read(path: &Path, text: &str, previous: Vec<Object>, refreshed: &mut Refreshed) -> Vec<Object> {
    let manifests = manifest::parse(text);
    let mut objects: Vec<Object> = manifests.objects.into_iter().map(|(_, object)| object).collect();
    if !manifests.warnings.is_empty() {
        let kept = previous.into_iter().filter(|old| objects.iter().all(|new| new.reference() != old.reference()));
        objects = kept.chain(objects.iter().cloned()).collect();
    }
    let path = path.display();
    refreshed.warnings.extend(manifests.warnings.iter().map(|warning| format!("{path}:{warning}")));
    refreshed.notes.extend(manifests.notes.iter().map(|note| format!("{path}:{note}")));
    objects
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> String {
        format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n")
    }

    /// A folder, what it is looked at with, and the names of the Services in force.
    struct Desk {
        directory: tempfile::TempDir,
        folder: Folder,
    }

    impl Desk {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let folder = Folder::new(directory.path());
            Self { directory, folder }
        }

        /// A new file in place of the old one has another inode, whatever the clock says.
        fn write(&self, name: &str, text: &str) {
            let temporary = self.directory.path().join("temporary");
            std::fs::write(&temporary, text).unwrap();
            std::fs::rename(temporary, self.directory.path().join(name)).unwrap();
        }

        fn look(&mut self) -> (Refreshed, Vec<String>) {
            let refreshed = self.folder.refresh().unwrap();
            (refreshed, self.folder.snapshot().services.into_keys().map(|key| key.name).collect())
        }
    }

    #[test]
    fn changes_are_seen_once() {
        let mut desk = Desk::new();
        desk.write("a.yaml", &service("a"));
        desk.write("b.json", r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}}"#);
        desk.write("c.txt", &service("c"));
        desk.write(".d.yaml", &service("d"));
        let (refreshed, names) = desk.look();
        assert!(refreshed.changed && refreshed.warnings.is_empty(), "{refreshed:?}");
        assert_eq!(names, ["a", "b"]);
        assert_eq!(desk.look().0, Refreshed::default());
        desk.folder.forget_stamps();
        assert!(desk.look().0.changed);
        std::fs::remove_file(desk.directory.path().join("a.yaml")).unwrap();
        let (refreshed, names) = desk.look();
        assert!(refreshed.changed);
        assert_eq!(names, ["b"]);
    }

    #[test]
    fn nothing_goes_while_something_cannot_be_read() {
        let mut desk = Desk::new();
        desk.write("all.yaml", &[service("a"), service("b")].join("---\n"));
        desk.look();
        desk.write("all.yaml", &[service("a"), "kind: [\n".to_owned(), service("c")].join("---\n"));
        let (refreshed, names) = desk.look();
        assert_eq!(names, ["a", "b", "c"]);
        let file = desk.directory.path().join("all.yaml");
        let [warning] = &refreshed.warnings[..] else { panic!("{refreshed:?}") };
        assert!(warning.starts_with(&format!("{}:", file.display())), "{warning}");
        desk.write("all.yaml", &service("c"));
        assert_eq!(desk.look().1, ["c"]);
    }

    #[test]
    fn of_two_with_one_name_the_last_file_counts() {
        let mut desk = Desk::new();
        desk.write("1.yaml", &service("a"));
        desk.write("2.yaml", &(service("a") + "  labels: {from: second}\n"));
        let (refreshed, _) = desk.look();
        assert_eq!(refreshed.warnings.len(), 1, "{refreshed:?}");
        let service = desk.folder.snapshot().services.into_values().next().unwrap();
        assert_eq!(service.metadata.labels.as_ref().unwrap()["from"], "second");
    }

    #[test]
    fn other_kinds_are_noted_and_a_missing_folder_is_an_error() {
        let mut desk = Desk::new();
        desk.write("a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n");
        let (refreshed, _) = desk.look();
        assert_eq!((refreshed.warnings.len(), refreshed.notes.len()), (0, 1), "{refreshed:?}");
        assert!(Folder::new(desk.directory.path().join("nowhere")).refresh().is_err());
    }
}
