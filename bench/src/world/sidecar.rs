//! A sidecar: its state, its token and its process.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::collector::free_address;
use super::{Pod, World};
use crate::limits::{CASE, READY};
use crate::metrics;
use crate::process::{Core, Process, Spec, Usage, eventually};

/// A sidecar of one pod.
#[derive(Debug)]
pub struct Sidecar {
    state: PathBuf,
    metrics: SocketAddr,
    process: Process,
}

impl Sidecar {
    /// Mints the pod's token and starts the process.
    pub(super) fn start(world: &World, pod: &Pod, core: Core, flags: &[&str]) -> Result<Self> {
        let name = format!("sidecar-{}", pod.name);
        let dir = world.dir().join(&name);
        let (state, token, logs) = (dir.join("state"), dir.join("token"), world.logs(pod));
        std::fs::create_dir_all(&state)?;
        std::fs::create_dir_all(&logs)?;
        std::fs::write(&token, world.issuer.pod_token(pod)?)?;
        let metrics = free_address()?;
        let urls: Vec<_> = world.collectors.iter().map(super::Collector::url).collect();
        let spec = Spec::new(&name, &world.program("indelible-sidecar")?)
            .on(core)
            .arg("--logs")
            .arg(logs)
            .arg("--state")
            .arg(&state)
            .arg("--ca")
            .arg(world.authority.ca())
            .arg("--token")
            .arg(token)
            .args(["--collectors", &urls.join(","), "--metrics", &metrics.to_string()])
            .args(["--namespace", &pod.namespace, "--pod-name", &pod.name, "--pod-uid", &pod.uid])
            .args(["--node-name", "node-1", "--service-account", "default", "--audit-log", "audit/bench"])
            // How full this machine's disk is is not what is measured.
            .args(["--min-node-free-percent", "0", "--grace-period", "60s"])
            .args(flags);
        Ok(Self { state, metrics, process: Process::start(&spec, &dir)? })
    }

    /// Waits until it has listed its directory and opened its files.
    pub fn armed(&self) -> Result<()> {
        let sign = self.state.join("armed");
        eventually("a sidecar is armed", READY, || {
            self.process.goes_on()?;
            Ok(sign.exists().then_some(()))
        })
    }

    /// A number that its metrics tell; asking costs it a little CPU time.
    pub fn metric(&self, name: &str) -> Result<f64> {
        metrics::value(&metrics::scrape(self.metrics)?, name)
    }

    /// Where it serves its metrics.
    pub const fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// Its process.
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// SIGTERM: it reads to the end and closes its chains; it ends well once all of it is receipted.
    pub fn finish(mut self) -> Result<Usage> {
        self.process.signal(rustix::process::Signal::TERM)?;
        self.process.wait(CASE, &[0]).context("a sidecar has receipts for everything")
    }
}
