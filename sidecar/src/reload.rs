//! Has a file changed since it was last looked at?
//!
//! Kubernetes replaces projected files by renaming a link to their directory, so the path is looked up anew each
//! time; device, inode, length and time of change tell one content from the next. Looked at when the process is awake anyway,
//! never by a timer of its own: an idle sidecar sleeps.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A file that is read again when it changes.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    seen: Option<Stamp>,
    /// What could not be used, so that it is told once.
    failed: Option<Stamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    file: (u64, u64),
    len: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            len: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Watched {
    /// Takes the file as it is now for the one that is known: to be called before it is read.
    pub fn new(path: &Path) -> Self {
        let mut watched = Self { path: path.to_owned(), seen: None, failed: None };
        watched.has_changed();
        watched
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is another one than last time. A file that is not there (for a moment, while it is replaced) is no
    /// change.
    pub fn has_changed(&mut self) -> bool {
        let Ok(metadata) = std::fs::metadata(&self.path) else { return false };
        let stamp = Some(Stamp::of(&metadata));
        let changed = self.seen != stamp;
        self.seen = stamp;
        changed
    }

    /// What it holds now could not be used: it counts as changed until it could. Whether that is to be told, which it
    /// is once for each content.
    pub fn failed(&mut self) -> bool {
        let Some(seen) = self.seen.take() else { return false };
        self.failed.replace(seen) != Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_seen_once_and_a_missing_one_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "a").unwrap();
        let mut watched = Watched::new(&path);
        assert!(!watched.has_changed());
        std::fs::write(dir.path().join("new"), "b").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(watched.has_changed() && !watched.has_changed());
        std::fs::remove_file(&path).unwrap();
        assert!(!watched.has_changed());
    }

    #[test]
    fn a_file_that_could_not_be_used_is_read_again_until_it_can_be_and_told_of_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "a").unwrap();
        let mut watched = Watched::new(&path);
        assert!(watched.failed(), "the first time");
        assert!(watched.has_changed() && !watched.failed(), "told already");
        assert!(watched.has_changed(), "it may be readable now");
        assert!(!watched.has_changed(), "it was");
        std::fs::write(dir.path().join("new"), "b").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(watched.has_changed() && watched.failed(), "another content");
        std::fs::remove_file(&path).unwrap();
        assert!(!watched.has_changed() && !watched.failed());
    }
}
