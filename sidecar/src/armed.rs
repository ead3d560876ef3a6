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

/// Why it is not set, for whoever asks.
fn reason(state: &Path) -> PathBuf {
    state.join("not-armed")
}

/// Takes an earlier run's sign away.
pub fn clear(state: &Path) -> io::Result<()> {
    for path in [path(state), reason(state)] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Says why the sign is not set.
pub fn explain(state: &Path, why: &str) -> io::Result<()> {
    std::fs::write(reason(state), why)
}

/// Why the sign is not set, if the running sidecar knows.
pub fn why_not(state: &Path) -> Option<String> {
    std::fs::read_to_string(reason(state)).ok()
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
        explain(dir.path(), "no logs").unwrap();
        assert!(is_set(dir.path()));
        assert_eq!(why_not(dir.path()).as_deref(), Some("no logs"));
        clear(dir.path()).unwrap();
        assert!(!is_set(dir.path()) && why_not(dir.path()).is_none());
    }
}
