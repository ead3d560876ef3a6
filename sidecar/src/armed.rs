//! The sign that capture is armed, for an exec probe.
//!
//! A file `armed` in the state directory says that the log directory was listed and its files are open. It is removed
//! when the process starts, so it never speaks for an earlier run of the same container; it is no evidence, so it is
//! not synced. With `--fail-open` it is also set after a fatal error, and when the log directory cannot be listed in
//! time: the pod's containers wait for the probe, and they must start all the same. Only a state directory that is known to
//! be another pod's or process's is left as it is, for the sign in it is theirs.

use std::io;
use std::path::{Path, PathBuf};

fn path(state: &Path) -> PathBuf {
    state.join("armed")
}

/// Takes an earlier run's sign away.
pub fn clear(state: &Path) -> io::Result<()> {
    match std::fs::remove_file(path(state)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Sets the sign.
pub fn set(state: &Path) -> io::Result<()> {
    std::fs::write(path(state), b"")
}

/// Whether the sign is there.
pub fn is_set(state: &Path) -> bool {
    path(state).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sign_speaks_only_for_the_run_that_set_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_set(dir.path()));
        clear(dir.path()).unwrap();
        set(dir.path()).unwrap();
        assert!(is_set(dir.path()));
        clear(dir.path()).unwrap();
        assert!(!is_set(dir.path()));
    }
}
