//! Journals in a directory: the edge behind [`Store`].
//!
//! Owns the layout that [`crate::journal`] documents, the lock, and whose state it is. A directory of another pod, or
//! one that another process uses, is refused and stays as it is.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use indelible_chain::digest::Digest;
use indelible_chain::id::SessionId;
use rustix::fs::{FlockOperation, flock};

use crate::capture::{OpenError, Pod};
use crate::journal::{Store, Sync};
use crate::limits::MAX_ASKED;
use crate::metrics::spread::Spread;

const SUFFIX: &str = ".journal";
const ASKED: &str = ".asked";

/// A state directory that this process owns.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Held as long as this lives.
    _lock: File,
    open: HashMap<String, File>,
    syncs: Spread,
}

impl StateDir {
    /// Opens the directory of `pod`, creating it if it is absent.
    pub fn open(path: &Path, pod: &Pod) -> Result<Self, OpenError> {
        let state = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::State { path, source }
        };
        let named = path.join("pod");
        let ours = identity(pod);
        let check = || match std::fs::read(&named) {
            Ok(theirs) if theirs == ours.as_bytes() => Ok(true),
            Ok(theirs) => Err(OpenError::Foreign { path: path.to_owned(), theirs: summary(&theirs) }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(state(&named)(e)),
        };
        // Before anything is created: another pod's directory stays as it is.
        check()?;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(state(path))?;
        let lock_path = path.join("LOCK");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(&lock_path).map_err(state(&lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::Locked { path: path.to_owned() }),
            Err(e) => return Err(state(&lock_path)(e.into())),
        }
        let mut dir = Self { path: path.to_owned(), _lock: lock, open: HashMap::new(), syncs: Spread::default() };
        if !check()? {
            // A crash before the rename leaves a directory of nobody, one after it ours.
            dir.put("pod", ours.as_bytes()).map_err(state(&named))?;
        }
        Ok(dir)
    }

    fn journal(&self, container: &str) -> PathBuf {
        self.path.join(format!("{container}{SUFFIX}"))
    }

    /// Temp, fdatasync, rename, fsync of the directory: after a crash the old content or the new.
    fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temp = self.path.join(format!("{name}.new"));
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temp)?;
        file.write_all(bytes)?;
        let since = Instant::now();
        file.sync_data()?;
        std::fs::rename(&temp, self.path.join(name))?;
        File::open(&self.path)?.sync_all()?;
        self.syncs.observe(since.elapsed());
        Ok(())
    }
}

impl Store for StateDir {
    fn containers(&mut self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            if let Some(name) = entry?.file_name().to_str().and_then(|name| name.strip_suffix(SUFFIX)) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn load(&mut self, container: &str) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.journal(container)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn append(&mut self, container: &str, bytes: &[u8], sync: Sync) -> io::Result<()> {
        if !self.open.contains_key(container) {
            let file = OpenOptions::new().append(true).open(self.journal(container))?;
            self.open.insert(container.to_owned(), file);
        }
        let file = self.open.get_mut(container).expect("it was opened above");
        file.write_all(bytes)?;
        match sync {
            // An error here is never tried again on the same file: the journal is written anew.
            Sync::Yes => {
                let since = Instant::now();
                file.sync_data()?;
                self.syncs.observe(since.elapsed());
            }
            Sync::No => {}
        }
        Ok(())
    }

    fn replace(&mut self, container: &str, bytes: &[u8]) -> io::Result<()> {
        self.open.remove(container);
        self.put(&format!("{container}{SUFFIX}"), bytes)?;
        match std::fs::remove_file(self.path.join(format!("{container}{ASKED}"))) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn asked(&mut self, container: &str) -> io::Result<Vec<SessionId>> {
        let mut bytes = Vec::new();
        match File::open(self.path.join(format!("{container}{ASKED}"))) {
            Ok(file) => file.take((MAX_ASKED * Digest::LEN) as u64).read_to_end(&mut bytes)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
        let ids = bytes.as_chunks::<{ Digest::LEN }>().0;
        Ok(ids.iter().map(|id| SessionId::new(Digest::new(*id))).collect())
    }

    fn ask(&mut self, container: &str, sessions: &[SessionId]) -> io::Result<()> {
        let bytes: Vec<u8> = sessions.iter().flat_map(SessionId::as_bytes).copied().collect();
        self.put(&format!("{container}{ASKED}"), &bytes)
    }

    fn syncs(&self) -> Spread {
        self.syncs
    }

    fn set_aside(&mut self, container: &str) -> io::Result<()> {
        self.open.remove(container);
        let path = self.journal(container);
        std::fs::copy(&path, path.with_extension("journal.bad")).map(drop)
    }
}

fn identity(pod: &Pod) -> String {
    let Pod { cluster_uid, namespace, name, uid } = pod;
    format!(
        "indelible sidecar state, version 1\nnamespace {namespace:?}\npod {name:?}\nuid {uid:?}\ncluster {cluster_uid:?}\n"
    )
}

fn summary(theirs: &[u8]) -> String {
    let text = String::from_utf8_lossy(&theirs[..theirs.len().min(1024)]);
    text.lines().skip(1).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str) -> Pod {
        Pod { cluster_uid: String::new(), namespace: "ns".into(), name: "p".into(), uid: uid.into() }
    }

    #[test]
    fn a_state_directory_of_another_pod_is_refused_and_stays_as_it_is() {
        let temp = tempfile::tempdir().unwrap();
        drop(StateDir::open(temp.path(), &pod("one")).unwrap());
        std::fs::remove_file(temp.path().join("LOCK")).unwrap();
        let error = StateDir::open(temp.path(), &pod("two")).unwrap_err();
        assert!(matches!(&error, OpenError::Foreign { theirs, .. } if theirs.contains("one")), "{error}");
        assert!(!temp.path().join("LOCK").exists());
        StateDir::open(temp.path(), &pod("one")).unwrap();
    }

    #[test]
    fn two_sidecars_on_one_state_directory_are_one_too_many() {
        let temp = tempfile::tempdir().unwrap();
        let first = StateDir::open(temp.path(), &pod("one")).unwrap();
        assert!(matches!(StateDir::open(temp.path(), &pod("one")), Err(OpenError::Locked { .. })));
        drop(first);
        // A process that another test starts has the lock's file for a moment, between its fork and its exec.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while matches!(StateDir::open(temp.path(), &pod("one")), Err(OpenError::Locked { .. })) {
            assert!(std::time::Instant::now() < end, "the lock is not free");
            std::thread::yield_now();
        }
        StateDir::open(temp.path(), &pod("one")).unwrap();
    }

    #[test]
    fn who_asked_is_known_until_there_is_a_journal() {
        let temp = tempfile::tempdir().unwrap();
        let mut dir = StateDir::open(temp.path(), &pod("one")).unwrap();
        let ids: Vec<SessionId> = (0..=MAX_ASKED).map(|n| SessionId::new(Digest::sha256(&n.to_be_bytes()))).collect();
        assert_eq!(dir.asked("app").unwrap(), []);
        dir.ask("app", &ids[..2]).unwrap();
        assert_eq!(dir.asked("app").unwrap(), ids[..2]);
        assert_eq!(dir.containers().unwrap(), [""; 0]);
        // Longer than it is ever written, or cut off.
        dir.ask("app", &ids).unwrap();
        assert_eq!(dir.asked("app").unwrap(), ids[..MAX_ASKED]);
        std::fs::write(temp.path().join("app.asked"), [1; 40]).unwrap();
        assert_eq!(dir.asked("app").unwrap().len(), 1);
        dir.replace("app", b"one").unwrap();
        assert_eq!(dir.asked("app").unwrap(), []);
        dir.replace("app", b"two").unwrap();
    }

    #[test]
    fn a_journal_is_appended_replaced_and_set_aside() {
        let temp = tempfile::tempdir().unwrap();
        let mut dir = StateDir::open(temp.path(), &pod("one")).unwrap();
        assert_eq!(dir.load("app").unwrap(), None);
        assert!(dir.append("app", b"x", Sync::No).is_err(), "a journal begins with replace");
        dir.replace("app", b"one").unwrap();
        dir.append("app", b"two", Sync::Yes).unwrap();
        dir.append("app", b"three", Sync::No).unwrap();
        assert_eq!(dir.load("app").unwrap().unwrap(), b"onetwothree");
        dir.replace("app", b"four").unwrap();
        dir.append("app", b"five", Sync::Yes).unwrap();
        assert_eq!(dir.load("app").unwrap().unwrap(), b"fourfive");
        assert_eq!(dir.containers().unwrap(), ["app"]);
        dir.set_aside("app").unwrap();
        assert_eq!(dir.load("app").unwrap().unwrap(), b"fourfive");
        assert_eq!(dir.containers().unwrap(), ["app"]);
        assert_eq!(std::fs::read(temp.path().join("app.journal.bad")).unwrap(), b"fourfive");
    }
}
