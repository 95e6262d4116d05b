//! Which files there are, and which of them may have changed since the last look.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::mem;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::debug;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC, statfs,
};

use super::file::State;

/// A directory whose `.yaml` and `.yml` files are read, but not those that are hidden or in
/// directories below it; or one file, whatever its name.
pub(super) struct Directory {
    path: PathBuf,
    /// None until the first look, and where the system cannot be asked.
    watch: Option<Watch>,
}

/// The files that may have changed, by path. `Path` compares component by component, which for many
/// files takes longer than anything else that a look needs.
pub(super) type Look = BTreeMap<Arc<OsStr>, Seen>;

/// What is known of a file that may have changed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen {
    Gone,
    /// Something was done to it.
    Touched,
    /// It is in this state, or in one that cannot be told.
    There(Option<State>),
}

/// What the system tells about a directory, so that a look costs as much as what changed, however
/// many files there are.
struct Watch {
    inotify: Inotify,
    /// The device and the inode: another directory may come to the same path.
    directory: (u64, u64),
    /// Files that may change without the directory being told, because they are or can be reached
    /// elsewhere: links, mounts. Each look is at all of them.
    elsewhere: BTreeSet<Arc<OsStr>>,
}

/// Where every change is told. Others, above all of networks, are changed by other machines too.
const TOLD_BY: [nix::sys::statfs::FsType; 6] =
    [BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC];

impl Directory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, watch: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// `known` are the files of the looks before.
    pub(super) fn look<'k>(&mut self, known: impl Iterator<Item = &'k Arc<OsStr>>) -> io::Result<Look> {
        let metadata = fs::metadata(&self.path)?;
        if !metadata.is_dir() {
            let seen = Seen::There(Some(State::of(&metadata)));
            return Ok(BTreeMap::from([(self.path.as_os_str().into(), seen)]));
        }
        if let Some(watch) = self.watch.as_mut().filter(|watch| watch.directory == identity(&metadata))
            && let Some(look) = watch.look(&self.path)
        {
            return Ok(look);
        }
        self.look_at_all(known, &metadata)
    }

    fn look_at_all<'k>(
        &mut self,
        known: impl Iterator<Item = &'k Arc<OsStr>>,
        metadata: &Metadata,
    ) -> io::Result<Look> {
        self.watch = None;
        // Before the files, so that what changes meanwhile is told.
        let mut watch = Watch::new(&self.path, metadata);
        let mut found = Look::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let path = entry.path();
            if is_document_file(&path) {
                let path: Arc<OsStr> = path.into_os_string().into();
                let (seen, is_elsewhere) = look_at(&path, Some(entry.ino()));
                if let Some(watch) = watch.as_mut().filter(|_| is_elsewhere) {
                    watch.elsewhere.insert(path.clone());
                }
                found.insert(path, seen);
            }
        }
        for path in known {
            if !found.contains_key(path) {
                found.insert(path.clone(), Seen::Gone);
            }
        }
        self.watch = watch;
        Ok(found)
    }

    /// So that the next look is at all files.
    #[cfg(test)]
    pub(super) fn forget(&mut self) {
        self.watch = None;
    }
}

impl Watch {
    /// None where the system cannot be asked or would not tell everything.
    fn new(path: &Path, metadata: &Metadata) -> Option<Self> {
        let untold = |error: Errno| debug!("{}: every reload looks at all files: {error}", path.display());
        if !TOLD_BY.contains(&statfs(path).map_err(untold).ok()?.filesystem_type()) {
            untold(Errno::EOPNOTSUPP);
            return None;
        }
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(untold).ok()?;
        let changes = AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE;
        let changes = changes | AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_MOVE;
        inotify.add_watch(path, changes | AddWatchFlags::IN_ONLYDIR).map_err(untold).ok()?;
        Some(Self { inotify, directory: identity(metadata), elsewhere: BTreeSet::new() })
    }

    /// None if that is not known any more.
    fn look(&mut self, directory: &Path) -> Option<Look> {
        let touched = self.touched(directory)?;
        let mut paths = mem::take(&mut self.elsewhere);
        paths.extend(touched.iter().cloned());
        let look = |path: Arc<OsStr>| {
            let (seen, is_elsewhere) = look_at(&path, None);
            if is_elsewhere {
                self.elsewhere.insert(path.clone());
            }
            let is_touched = touched.contains(&path) && !matches!(seen, Seen::Gone);
            (path, if is_touched { Seen::Touched } else { seen })
        };
        Some(paths.into_iter().map(look).collect())
    }

    fn touched(&self, directory: &Path) -> Option<BTreeSet<Arc<OsStr>>> {
        let mut touched = BTreeSet::new();
        loop {
            let events = match self.inotify.read_events() {
                Ok(events) => events,
                Err(Errno::EAGAIN) => return Some(touched),
                Err(_) => return None,
            };
            for event in events {
                // More than the system remembers, or the end of the directory.
                let lost = AddWatchFlags::IN_Q_OVERFLOW | AddWatchFlags::IN_IGNORED | AddWatchFlags::IN_UNMOUNT;
                if event.mask.intersects(lost) {
                    return None;
                }
                let path = event.name.map(|name| directory.join(name));
                touched.extend(path.filter(|path| is_document_file(path)).map(|path| path.into_os_string().into()));
            }
        }
    }
}

/// A file, and whether it is, or can be reached, elsewhere. `inode` is what the directory says; it
/// is another than the file's if the path leads on.
fn look_at(path: &OsStr, inode: Option<u64>) -> (Seen, bool) {
    let inode = inode.or_else(|| fs::symlink_metadata(path).ok().map(|metadata| metadata.ino()));
    match fs::metadata(path) {
        Ok(metadata) => {
            let seen = if metadata.is_file() { Seen::There(Some(State::of(&metadata))) } else { Seen::Gone };
            (seen, inode != Some(metadata.ino()) || metadata.nlink() > 1)
        }
        // A link that leads nowhere may lead somewhere later.
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Seen::Gone, inode.is_some()),
        Err(_) => (Seen::There(None), true),
    }
}

fn is_document_file(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !is_hidden && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
