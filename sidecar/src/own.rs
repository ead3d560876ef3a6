//! Can logs be read here at all? Our own log file tells: it is there before we are.
//!
//! The runtime opens a container's log file before it starts the container, so a sidecar that does not find its own, or may not
//! read it, would find no other's either: the kubelet keeps logs elsewhere, a security module or the file's mode forbids
//! it, or the file is a link to a place that is not mounted. Without this a pod whose logs cannot be read would look like one
//! that prints nothing.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use crate::limits::MAX_FILES;

/// Why logs cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Our own directory is not there.
    #[error(
        "{0} is not there: the kubelet keeps the logs of pods in another directory (podLogsDir) than the one that is mounted"
    )]
    Elsewhere(PathBuf),
    /// There is our directory, but no file.
    #[error("{0} has no log file: this runtime does not write logs to files (is another logging driver in use?)")]
    NoFile(PathBuf),
    /// The file is a link to what is not mounted.
    #[error(
        "{0} is a link to what cannot be seen here: this runtime keeps logs elsewhere; containerd and CRI-O do not"
    )]
    Dangling(PathBuf),
    /// It may not be read.
    #[error(
        "{0} may not be read: it is for its owner alone, or SELinux forbids it; see sidecar.runAsGroup and sidecar.seLinuxOptions of the AuditLog"
    )]
    Denied(PathBuf),
    /// Anything else.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Looks for the log file of container `own` in a pod's log directory, and reads from it.
pub fn look(logs: &Path, own: &str) -> Result<(), Unreadable> {
    let directory = logs.join(own);
    let listed = fs::read_dir(&directory).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Unreadable::Elsewhere(directory.clone()),
        _ => told(&directory, error),
    })?;
    let mut newest = None;
    for entry in listed.take(MAX_FILES) {
        let name = entry.map_err(|error| told(&directory, error))?.file_name();
        let restart = name.to_str().and_then(|name| name.strip_suffix(".log")?.parse::<u64>().ok());
        newest = newest.max(restart);
    }
    let Some(newest) = newest else { return Err(Unreadable::NoFile(directory)) };
    let path = directory.join(format!("{newest}.log"));
    // Nothing may be in it yet, which is as good.
    match File::open(&path).and_then(|mut file| file.read(&mut [0; 1])) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound && path.is_symlink() => Err(Unreadable::Dangling(path)),
        Err(error) => Err(told(&path, error)),
    }
}

fn told(path: &Path, source: io::Error) -> Unreadable {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::PermissionDenied => Unreadable::Denied(path),
        _ => Unreadable::Io { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("indelible-sidecar");
        fs::create_dir(&own).unwrap();
        (dir, own)
    }

    fn seen(dir: &tempfile::TempDir) -> Result<(), Unreadable> {
        look(dir.path(), "indelible-sidecar")
    }

    #[test]
    fn our_own_file_is_enough_also_an_empty_one_and_after_a_restart() {
        let (dir, own) = logs();
        fs::write(own.join("0.log"), "").unwrap();
        seen(&dir).unwrap();
        fs::rename(own.join("0.log"), own.join("0.log.20261127-120000")).unwrap();
        fs::write(own.join("12.log"), "x").unwrap();
        std::os::unix::fs::symlink("/nowhere", own.join("3.log")).unwrap();
        seen(&dir).unwrap();
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        let (dir, own) = logs();
        assert!(matches!(seen(&dir), Err(Unreadable::NoFile(_))));
        std::os::unix::fs::symlink("/var/lib/docker/containers/x-json.log", own.join("0.log")).unwrap();
        assert!(matches!(seen(&dir), Err(Unreadable::Dangling(_))));
        fs::create_dir(own.join("1.log")).unwrap();
        assert!(matches!(seen(&dir), Err(Unreadable::Io { .. })));
        fs::remove_dir_all(&own).unwrap();
        let error = seen(&dir).unwrap_err();
        assert!(matches!(error, Unreadable::Elsewhere(_)) && error.to_string().contains("podLogsDir"), "{error}");
    }
}
