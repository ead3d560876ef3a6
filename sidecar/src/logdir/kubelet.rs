//! A pod's log directory on disk, as the kubelet lays it out.
//!
//! Everything is opened relative to the directory with `O_NOFOLLOW`, so that no link leads out of it, and without
//! blocking, so that a pipe under a log's name cannot hang the sidecar.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use indelible_chain::id::Time;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use crate::limits::MAX_LISTINGS;
use crate::logdir::{Inode, Listed, LogDir, LogFile, Names, Stat};

/// The directory.
#[derive(Debug)]
pub struct Kubelet {
    path: PathBuf,
    /// What was logged as ignored, so that it is said once.
    ignored: BTreeSet<String>,
}

const MAX_IGNORED: usize = 1024;

impl Kubelet {
    /// A pod's log directory; it need not exist yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), ignored: BTreeSet::new() }
    }

    fn ignore(&mut self, name: String, why: &'static str) {
        if self.ignored.len() < MAX_IGNORED && !self.ignored.contains(&name) {
            tracing::warn!(name, "ignored in the log directory: {why}");
            self.ignored.insert(name);
        }
    }

    fn open_container(&self, container: &str) -> io::Result<OwnedFd> {
        let pod = rustix::fs::open(&self.path, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty())?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        Ok(rustix::fs::openat(pod, container, flags, Mode::empty())?)
    }

    /// Lists a container's directory; `None` if a file in it was renamed or removed meanwhile. A renamed one may be
    /// under neither name then, and what is missing from a listing is taken for gone.
    fn list_unless_renamed(&mut self, container: &str) -> io::Result<Option<Vec<Listed>>> {
        let dir = match self.open_container(container) {
            Ok(dir) => dir,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Some(Vec::new())),
            Err(e) => return Err(e),
        };
        let mut listed = Vec::new();
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                self.ignore(format!("{container}/{:?}", entry.file_name()), "not a log file's name");
                continue;
            };
            if matches!(name, "." | "..") {
                continue;
            }
            let stat = match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(rustix::io::Errno::NOENT) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                self.ignore(format!("{container}/{name}"), "not a regular file");
                continue;
            }
            let inode = Inode { device: stat.st_dev, number: stat.st_ino };
            listed.push(Listed { name: name.into(), inode, size: u64::try_from(stat.st_size).unwrap_or(0) });
        }
        Ok(Some(listed))
    }
}

impl LogDir for Kubelet {
    fn containers(&mut self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            match name.to_str() {
                Some(name) if is_container_name(name) && entry.file_type()?.is_dir() => names.push(name.to_owned()),
                _ => self.ignore(name.to_string_lossy().into(), "not a container's directory"),
            }
        }
        names.sort();
        Ok(names)
    }

    fn list(&mut self, container: &str) -> io::Result<Vec<Listed>> {
        for _ in 0..MAX_LISTINGS {
            if let Some(listed) = self.list_unless_renamed(container)? {
                return Ok(listed);
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "files are renamed faster than they are listed"))
    }

    fn open(&mut self, container: &str, name: &str) -> io::Result<Rc<dyn LogFile>> {
        let dir = self.open_container(container)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Rc::new(OpenFile(file)))
    }

    fn free_percent(&mut self) -> io::Result<u8> {
        let stat = rustix::fs::statvfs(&self.path)?;
        // What is free to those who are not root: what the node's own pressure signals count.
        let percent = u128::from(stat.f_bavail) * 100 / u128::from(stat.f_blocks.max(1));
        Ok(u8::try_from(percent.min(100)).expect("at most 100"))
    }
}

/// A container's name becomes a file's name in the state directory, so it may not lead anywhere else.
fn is_container_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=200).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed)
}

#[derive(Debug)]
struct OpenFile(File);

impl LogFile for OpenFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(&self.0, buf, offset)
    }

    fn stat(&self) -> io::Result<Stat> {
        let meta = self.0.metadata()?;
        let names = if meta.nlink() == 0 { Names::None } else { Names::Some };
        let born = meta.created().ok().and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok());
        let born = born.and_then(|born| i64::try_from(born.as_nanos()).ok()).map(Time::from_nanos);
        Ok(Stat { inode: Inode { device: meta.dev(), number: meta.ino() }, born, size: meta.len(), names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_pipes_and_directories_are_not_log_files() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("app");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("0.log"), "x").unwrap();
        std::fs::write(temp.path().join("secret"), "y").unwrap();
        std::os::unix::fs::symlink("../secret", dir.join("1.log")).unwrap();
        std::os::unix::fs::symlink("app", temp.path().join("linked")).unwrap();
        std::fs::create_dir(dir.join("2.log")).unwrap();
        let pipe = std::process::Command::new("mkfifo").arg(dir.join("3.log")).status().unwrap();
        assert!(pipe.success());
        let mut logs = Kubelet::new(temp.path());
        assert_eq!(logs.containers().unwrap(), ["app"]);
        let names: Vec<_> = logs.list("app").unwrap().into_iter().map(|l| l.name).collect();
        assert_eq!(names, ["0.log"]);
        for name in ["1.log", "2.log", "3.log"] {
            assert!(logs.open("app", name).is_err(), "{name}");
        }
        assert!(logs.list("linked").is_err());
    }

    #[test]
    fn a_file_is_in_each_listing_though_it_is_renamed_meanwhile() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("app");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("0.log"), "x").unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        let mut logs = Kubelet::new(temp.path());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    std::fs::rename(dir.join("0.log"), dir.join("0.log.1")).unwrap();
                    std::fs::rename(dir.join("0.log.1"), dir.join("0.log")).unwrap();
                }
            });
            for _ in 0..2000 {
                match logs.list("app") {
                    Ok(listed) => assert_eq!(listed.len(), 1),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::ResourceBusy),
                }
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn a_directory_that_is_not_there_is_empty() {
        let temp = tempfile::tempdir().unwrap();
        let mut logs = Kubelet::new(&temp.path().join("absent"));
        assert_eq!(logs.containers().unwrap(), Vec::<String>::new());
        assert_eq!(logs.list("app").unwrap(), Vec::<Listed>::new());
    }

    #[test]
    fn a_file_is_read_on_after_it_was_renamed_and_removed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("app");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("0.log"), "hello").unwrap();
        let mut logs = Kubelet::new(temp.path());
        let file = logs.open("app", "0.log").unwrap();
        assert_eq!(file.stat().unwrap().inode, logs.list("app").unwrap()[0].inode);
        std::fs::rename(dir.join("0.log"), dir.join("0.log.1")).unwrap();
        assert_eq!(file.stat().unwrap().names, Names::Some);
        std::fs::remove_file(dir.join("0.log.1")).unwrap();
        assert_eq!(file.stat().unwrap().names, Names::None);
        let mut buf = [0; 10];
        assert_eq!(file.read_at(1, &mut buf).unwrap(), 4);
        assert_eq!(&buf[..4], b"ello");
    }
}
