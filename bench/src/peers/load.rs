//! What the stores that others keep records in have in common: a file of entries, a program that loads them with it for a
//! while, and what that program says of it.

use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::Installed;
use crate::limits::{CASE, MAX_INPUT_BYTES};
use crate::process::{Core, Process, Spec};

/// What is handed to a store, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Load<'a> {
    /// The file of [`write_entries`].
    pub entries: &'a Path,
    /// How many wait for their acknowledgement at a time.
    pub in_flight: usize,
    /// Seconds before the window.
    pub warm_up: f64,
    /// Seconds of the window.
    pub window: f64,
    /// A directory of its own, empty at first.
    pub dir: &'a Path,
    /// The committed configurations.
    pub configurations: &'a Path,
}

/// What was acknowledged within the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub struct Acknowledged {
    /// Entries.
    pub acks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The window.
    pub seconds: f64,
}

/// A store of a peer: how it is found, and how it is loaded.
#[derive(Debug, Clone, Copy)]
pub struct Store {
    /// Its name.
    pub name: &'static str,
    /// Finds it.
    pub find: fn() -> Result<Installed>,
    /// Starts it on the measured core, loads it from the others, and ends it.
    pub load: fn(&Installed, &Load<'_>) -> Result<Acknowledged>,
}

/// Writes entries as loaders read them, each behind its length as a big-endian u32.
pub fn write_entries<E: AsRef<[u8]>>(path: &Path, entries: impl IntoIterator<Item = E>) -> Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    let mut bytes = 0;
    for entry in entries {
        let entry = entry.as_ref();
        bytes += 4 + entry.len() as u64;
        ensure!(bytes <= MAX_INPUT_BYTES, "the entries are more than {MAX_INPUT_BYTES} bytes");
        file.write_all(&u32::try_from(entry.len())?.to_be_bytes())?;
        file.write_all(entry)?;
    }
    Ok(file.flush()?)
}

/// Runs a loader with what all of them take, and what this one does.
pub(super) fn run(program: &Path, load: &Load<'_>, core: Core, more: &[&str]) -> Result<Acknowledged> {
    let spec = Spec::new("load", program)
        .on(core)
        .arg("-entries")
        .arg(load.entries)
        .args(["-in-flight", &load.in_flight.to_string()])
        .args(["-warm", &load.warm_up.to_string(), "-seconds", &load.window.to_string()])
        .args(more);
    let (_, said) = Process::run(&spec, load.dir, CASE, &[0])?;
    let acknowledged: Acknowledged = said
        .lines()
        .find_map(|line| serde_json::from_str(line).ok())
        .with_context(|| format!("a loader said {said}"))?;
    ensure!(acknowledged.acks > 0, "nothing was acknowledged within the window");
    Ok(acknowledged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_behind_their_lengths() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("entries");
        write_entries(&path, [&b"one"[..], b"", b"three"]).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"\0\0\0\x03one\0\0\0\0\0\0\0\x05three");
    }
}
