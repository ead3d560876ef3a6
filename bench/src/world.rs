//! Our side: an issuer of tokens, an authority for certificates, collectors and sidecars, in a temporary directory.
//!
//! Processes are the ones that users run, built with optimisation. Sidecars run on the measured core, collectors on the
//! others, unless a row says otherwise.

mod collector;
mod issuer;
mod sidecar;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::process::Core;
use crate::settings::Settings;

pub use collector::{Collector, disk_bytes, free_address};
pub use issuer::{Authority, ISSUER, Issuer};
pub use sidecar::Sidecar;

/// The pod that a sidecar runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Pod {
    /// The pod with this number.
    pub fn numbered(n: usize) -> Self {
        Self {
            namespace: "shop".into(),
            name: format!("checkout-{n}"),
            uid: format!("7d3f1c52-8a44-4a55-b8f6-{n:012x}"),
        }
    }

    /// The name of its log directory.
    pub fn directory(&self) -> String {
        format!("{}_{}_{}", self.namespace, self.name, self.uid)
    }
}

/// A pool of collectors and who they trust.
#[derive(Debug)]
pub struct World {
    dir: tempfile::TempDir,
    settings: Settings,
    /// Who mints tokens.
    pub issuer: Issuer,
    /// Who signs certificates.
    pub authority: Authority,
    /// The pool.
    pub collectors: Vec<Collector>,
}

impl World {
    /// Starts a pool of `collectors` on this core, with more flags than the usual ones.
    pub fn start(settings: &Settings, collectors: usize, core: Core, flags: &[&str]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("indelible-bench-").tempdir()?;
        let (issuer, authority) = (Issuer::new(dir.path())?, Authority::new(dir.path())?);
        let mut world = Self { dir, settings: settings.clone(), issuer, authority, collectors: Vec::new() };
        for ordinal in 0..collectors {
            let collector = Collector::start(&world, ordinal, core, flags)?;
            world.collectors.push(collector);
        }
        Ok(world)
    }

    /// The directory that everything is in; it goes with the world.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// One of our programs.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        self.settings.program(name)
    }

    /// The log directory of a container of a pod, made if it is not there.
    pub fn container(&self, pod: &Pod, container: &str) -> Result<PathBuf> {
        let dir = self.logs(pod).join(container);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    fn logs(&self, pod: &Pod) -> PathBuf {
        self.dir().join("pods").join(pod.directory())
    }

    /// Starts the sidecar of a pod on the measured core, with more flags than the usual ones.
    pub fn sidecar(&self, pod: &Pod, flags: &[&str]) -> Result<Sidecar> {
        Sidecar::start(self, pod, Core::Measured, flags)
    }

    /// Records that all collectors have stored, those that sidecars say themselves among them.
    pub fn stored(&self) -> Result<u64> {
        let each = |collector: &Collector| collector.metric("indelible_collector_appended_records_total");
        self.collectors.iter().map(each).sum::<Result<f64>>().map(crate::metrics::whole)
    }
}

/// `<program> --version`, its last word but for the commit.
pub fn version(settings: &Settings, program: &str) -> Result<String> {
    let output = std::process::Command::new(settings.program(program)?).arg("--version").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
