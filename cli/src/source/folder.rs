//! A directory of someone else's, read without trust and without a trace.
//!
//! Files are opened relative to their directory, never through a symbolic link, and only if they are regular: a copy
//! from a hostile machine must not make the reader open a pipe, a device or a file of its own machine. Nothing is ever
//! created, locked or touched. Sizes and numbers of entries are bounded by the caller's limit.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use crate::limits::MAX_DIRECTORY_ENTRIES;

/// An open directory.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    handle: OwnedFd,
}

/// Why a file or directory of a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system says so.
    #[error("{path}: {source}")]
    Io {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Nothing says what the directory is.
    #[error("{path}: not there; every data directory has it, with its format: name a data directory, whole")]
    NoFormat {
        /// What is missing.
        path: PathBuf,
    },
    /// Another format.
    #[error("{path}: the directory has format {found}, format {read} is read here: use the version that wrote it")]
    Format {
        /// What says so.
        path: PathBuf,
        /// The format that it says.
        found: String,
        /// The format that is read.
        read: &'static str,
    },
    /// A link, a pipe, a device.
    #[error("{path}: not a regular file; a data directory holds nothing else, links are not followed")]
    Special {
        /// What it is.
        path: PathBuf,
    },
    /// Over the limit.
    #[error("{path}: more than {limit} {unit}, which is the most that is read")]
    TooLarge {
        /// What it is.
        path: PathBuf,
        /// The limit.
        limit: usize,
        /// Of what.
        unit: &'static str,
    },
}

impl ReadError {
    /// Whether it is simply not there.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
// NONBLOCK: opening a pipe would wait for its writer otherwise, before it could be seen that it is one.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);

impl Folder {
    /// Opens the directory that the user named; that one may be reached through links.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let io = |source: rustix::io::Errno| ReadError::Io { path: path.to_owned(), source: source.into() };
        Ok(Self { path: path.to_owned(), handle: rustix::fs::open(path, DIRECTORY, Mode::empty()).map_err(io)? })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory in it; `None` if there is none of that name.
    pub fn folder(&self, name: &str) -> Result<Option<Self>, ReadError> {
        let path = self.path.join(name);
        match rustix::fs::openat(&self.handle, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(handle) => Ok(Some(Self { path, handle })),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => Err(ReadError::Special { path }),
            Err(source) => Err(ReadError::Io { path, source: source.into() }),
        }
    }

    /// Opens a regular file in it.
    pub fn file(&self, name: &str) -> Result<File, ReadError> {
        let path = self.path.join(name);
        let handle = match rustix::fs::openat(&self.handle, name, FILE, Mode::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => return Err(ReadError::Special { path }),
            Err(source) => return Err(ReadError::Io { path, source: source.into() }),
        };
        let file = File::from(handle);
        let regular = file.metadata().map_err(|source| ReadError::Io { path: path.clone(), source })?.is_file();
        if regular { Ok(file) } else { Err(ReadError::Special { path }) }
    }

    /// Reads a whole file of at most `limit` bytes.
    pub fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, ReadError> {
        let file = self.file(name)?;
        let mut bytes = Vec::new();
        let read = file.take(limit as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|source| ReadError::Io { path: self.path.join(name), source })?;
        if bytes.len() > limit {
            return Err(ReadError::TooLarge { path: self.path.join(name), limit, unit: "bytes" });
        }
        Ok(bytes)
    }

    /// The same, of a file in a directory in it: none of the directories on the way may be a link either.
    pub fn read_path(&self, path: &str, limit: usize) -> Result<Vec<u8>, ReadError> {
        let Some((first, mut rest)) = path.split_once('/') else { return self.read(path, limit) };
        let absent = || ReadError::Io { path: self.path.join(path), source: io::ErrorKind::NotFound.into() };
        let mut folder = self.folder(first)?.ok_or_else(absent)?;
        while let Some((next, after)) = rest.split_once('/') {
            folder = folder.folder(next)?.ok_or_else(absent)?;
            rest = after;
        }
        folder.read(rest, limit)
    }

    /// The names in it, sorted, with whether each is a directory. Names that are not UTF-8 are not the product's.
    pub fn list(&self) -> Result<Vec<(String, bool)>, ReadError> {
        let io = |source: rustix::io::Errno| ReadError::Io { path: self.path.clone(), source: source.into() };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.handle).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let Some(name) = name.to_str().filter(|name| *name != "." && *name != "..") else { continue };
            if names.len() == MAX_DIRECTORY_ENTRIES {
                let path = self.path.clone();
                return Err(ReadError::TooLarge { path, limit: MAX_DIRECTORY_ENTRIES, unit: "entries" });
            }
            names.push((name.to_owned(), entry.file_type() == FileType::Directory));
        }
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_pipes_are_refused_and_large_files_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("plain"), "12345").unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::os::unix::fs::symlink("plain", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("sub", dir.path().join("linked")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        assert_eq!(folder.read("plain", 5).unwrap(), b"12345");
        std::fs::write(dir.path().join("sub/below"), "67").unwrap();
        assert_eq!(folder.read_path("sub/below", 5).unwrap(), b"67");
        assert!(matches!(folder.read_path("linked/below", 5), Err(ReadError::Special { .. })));
        assert!(folder.read_path("nothing/below", 5).unwrap_err().is_absence());
        assert!(matches!(folder.read("plain", 4), Err(ReadError::TooLarge { limit: 4, .. })));
        for special in ["link", "pipe", "sub"] {
            assert!(matches!(folder.read(special, 5), Err(ReadError::Special { .. })), "{special}");
        }
        assert!(matches!(folder.folder("linked"), Err(ReadError::Special { .. })));
        assert!(matches!(folder.folder("plain"), Err(ReadError::Special { .. })));
        assert!(folder.folder("nothing").unwrap().is_none());
        assert!(folder.read("nothing", 1).unwrap_err().is_absence());
        let names: Vec<_> = folder.list().unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["link", "linked", "pipe", "plain", "sub"]);
    }
}
