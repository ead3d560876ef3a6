//! Programs that others use for what ours do: a module a peer, with its configuration beside it in `bench/peers/`.
//!
//! A [`Shipper`] reads a CRI log file and sends its lines to the [`sink`](crate::sink); a [`load::Store`] keeps what it is
//! given as entries. `make bench-deps` installs peers
//! into a cache; one that is not there is left out by name.

pub mod immudb;
pub mod load;
pub mod nats;
pub mod openssl;
pub mod otelcol;
pub mod rsyslog;
pub mod sender;
pub mod tessera;
pub mod zstd;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::process::{Core, Process, Spec};
use crate::settings::Settings;
use crate::sink::Sink;

/// A program that is there.
#[derive(Debug, Clone)]
pub struct Installed {
    /// Its place.
    pub program: PathBuf,
    /// What it says of its version.
    pub version: String,
}

/// Where a shipper reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The file that it reads.
    pub input: &'a Path,
    /// A directory of its own, empty at first.
    pub dir: &'a Path,
    /// What it sends to.
    pub sink: &'a Sink,
    /// The committed configurations.
    pub configurations: &'a Path,
}

/// A program that ships lines.
#[derive(Debug, Clone, Copy)]
pub struct Shipper {
    /// Its name.
    pub name: &'static str,
    /// Finds it.
    pub find: fn() -> Result<Installed>,
    /// How it is started.
    pub spec: fn(&Installed, &Job<'_>) -> Result<Spec>,
}

impl Shipper {
    /// Starts it on the measured core.
    pub fn start(&self, installed: &Installed, job: &Job<'_>) -> Result<Process> {
        Process::start(&(self.spec)(installed, job)?.on(Core::Measured), job.dir)
    }
}

/// A program in the cache, below the folder of its peer.
fn cached(peer: &str, path: &str) -> Result<PathBuf> {
    let program = Settings::cache().map(|cache| cache.join(peer).join(path));
    program.filter(|path| path.is_file()).with_context(|| format!("{peer} is not installed: make bench-deps"))
}

/// A program in the path.
fn in_path(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not installed"))
}

/// The first line that a program says when it is asked for its version.
fn version(program: &Path, flag: &str, environment: &[(&str, &OsStr)]) -> Result<String> {
    let mut command = std::process::Command::new(program);
    command.arg(flag).envs(environment.iter().copied());
    let output = command.output().with_context(|| format!("running {}", program.display()))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Ok(said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned())
}

/// A committed configuration with its `@NAME@`s replaced, written to the peer's directory.
fn configure(configurations: &Path, file: &str, values: &[(&str, &str)], dir: &Path) -> Result<PathBuf> {
    let path = configurations.join(file);
    let mut text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for (name, value) in values {
        text = text.replace(&format!("@{name}@"), value);
    }
    let name = path.file_name().context("a configuration has a name")?;
    let place = dir.join(name);
    std::fs::write(&place, text)?;
    Ok(place)
}
