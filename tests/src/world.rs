//! A small world of real processes: an issuer of tokens, collectors, sidecars, and the verifier.
//!
//! [`World`] owns a temporary directory and everything in it. Every process is started from the binaries that this
//! build made, is bounded in memory, talks over loopback only, and is ended, by its own id, when its handle is
//! dropped. Nothing here waits for a time: [`eventually`] waits for a condition, with a bound.

mod collector;
mod issuer;
mod metrics;
mod process;
mod sidecar;
mod verify;
mod witness;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

pub use collector::Collector;
pub use issuer::{Authority, Issuer};
pub use metrics::Metrics;
pub use process::{Process, binary};
pub use sidecar::{Sidecar, SidecarOptions};
pub use verify::{Answer, Finding, verify};
pub use witness::{Asked, Witness, files};

/// The pod that a sidecar runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodIdentity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl PodIdentity {
    /// A pod.
    pub fn new(namespace: &str, name: &str, uid: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into(), uid: uid.into() }
    }

    /// The name of its log directory.
    pub fn directory(&self) -> String {
        format!("{}_{}_{}", self.namespace, self.name, self.uid)
    }
}

impl From<&crate::trace::Pod> for PodIdentity {
    fn from(pod: &crate::trace::Pod) -> Self {
        Self::new(&pod.namespace, &pod.pod, &pod.uid)
    }
}

/// An issuer, a certificate authority and a pool of collectors in one temporary directory.
#[derive(Debug)]
pub struct World {
    dir: tempfile::TempDir,
    /// Who mints pod tokens.
    pub issuer: Issuer,
    /// Who signs the collectors' certificates.
    pub authority: Authority,
    /// The pool.
    pub collectors: Vec<Collector>,
}

impl World {
    /// Starts a pool of `collectors`.
    pub fn start(collectors: usize) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("indelible-test-").tempdir()?;
        let issuer = Issuer::new(dir.path())?;
        let authority = Authority::new(dir.path())?;
        let mut world = Self { dir, issuer, authority, collectors: Vec::new() };
        for _ in 0..collectors {
            world.add_collector(&[])?;
        }
        Ok(world)
    }

    /// Starts one more collector, with more flags than the usual ones.
    pub fn add_collector(&mut self, flags: &[&str]) -> Result<&mut Collector> {
        self.add_collector_under(&[], flags)
    }

    /// The same, of another build's program.
    pub fn add_collector_of(&mut self, program: &Path, flags: &[&str]) -> Result<&mut Collector> {
        self.start_collector(program, &[], flags)
    }

    /// The same, started by another program that runs it as its child or becomes it.
    pub fn add_collector_under(&mut self, wrapper: &[&str], flags: &[&str]) -> Result<&mut Collector> {
        self.start_collector(&binary("indelible-collector")?, wrapper, flags)
    }

    fn start_collector(&mut self, program: &Path, wrapper: &[&str], flags: &[&str]) -> Result<&mut Collector> {
        let ordinal = self.collectors.len();
        let dir = self.dir.path().join(format!("collector-{ordinal}"));
        let collector = Collector::start(&dir, ordinal, &self.issuer, &self.authority, program, (wrapper, flags))?;
        self.collectors.push(collector);
        self.collectors.last_mut().context("a collector was just added")
    }

    /// The directory that everything is in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves the directory where it is, and says where.
    pub fn keep(&mut self) -> PathBuf {
        self.dir.disable_cleanup(true);
        self.dir.path().to_owned()
    }

    /// Where pods' log directories are.
    pub fn logs(&self) -> PathBuf {
        self.dir.path().join("pods")
    }

    /// The addresses of all collectors.
    pub fn urls(&self) -> Vec<String> {
        self.collectors.iter().map(|collector| collector.url().to_owned()).collect()
    }

    /// Starts the sidecar of a pod whose log directory is below [`logs`](Self::logs).
    pub fn sidecar(&self, pod: &PodIdentity, options: &SidecarOptions) -> Result<Sidecar> {
        Sidecar::start(self, pod, options)
    }

    /// A policy that names the logs of all collectors, quorum none.
    pub fn policy(&self) -> Result<PathBuf> {
        use std::fmt::Write as _;
        let mut text = String::new();
        for collector in &self.collectors {
            writeln!(text, "log {}", collector.vkey())?;
        }
        text.push_str("quorum none\n");
        let path = self.dir.path().join("policy");
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// `indelible verify --json` over all data directories, with the policy of [`policy`](Self::policy).
    pub fn verify(&self, flags: &[&str]) -> Result<Answer> {
        let directories: Vec<_> = self.collectors.iter().map(Collector::data).collect();
        self.verify_sources(&directories, flags)
    }

    /// The same over these sources.
    pub fn verify_sources(&self, sources: &[PathBuf], flags: &[&str]) -> Result<Answer> {
        self.verify_by(&binary("indelible")?, sources, flags)
    }

    /// The same by another build's program.
    pub fn verify_by(&self, program: &Path, sources: &[PathBuf], flags: &[&str]) -> Result<Answer> {
        let policy = self.policy()?;
        let jwks = self.issuer.jwks();
        let flags: Vec<&std::ffi::OsStr> = flags.iter().map(AsRef::as_ref).collect();
        let mut all = vec!["--policy".as_ref(), policy.as_os_str(), "--issuer-keys".as_ref(), jwks.as_os_str()];
        all.extend(flags);
        verify::verify_by(program, sources, &all)
    }

    /// Ends all collectors with SIGTERM, so that their logs are sealed.
    pub fn seal(&mut self) -> Result<()> {
        for collector in &mut self.collectors {
            collector.terminate()?;
        }
        Ok(())
    }
}

/// Waits until `condition` gives something, at most `bound`.
pub fn eventually<T>(what: &str, bound: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + bound;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() > end {
            bail!("{what}: not within {bound:?}");
        }
        // The step of the poll, not a guess at how long the thing takes.
        std::thread::sleep(Duration::from_millis(10));
    }
}
