//! The file that tells others which process to send signals to.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process;

/// The file exists as long as this.
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Readers see the whole number or the file before, never a part of it.
    pub(crate) fn write(path: PathBuf) -> io::Result<Self> {
        let mut new = path.clone().into_os_string();
        new.push(format!(".{}", process::id()));
        fs::write(&new, format!("{}\n", process::id()))?;
        fs::rename(&new, &path)?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let is_ours = fs::read_to_string(&self.0).is_ok_and(|text| text.trim() == process::id().to_string());
        if is_ours {
            // What is left is a number of no process.
            let _ = fs::remove_file(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_there_as_long_as_it_is_ours() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let file = PidFile::write(path.clone()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", process::id()));
        drop(file);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);

        let file = PidFile::write(path.clone()).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }
}
