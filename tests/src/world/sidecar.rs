//! A sidecar: its state, its token and, while it runs, its process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::{Metrics, PodIdentity, Process, World, binary, eventually, metrics};

/// How long a sidecar may take to arm itself, or to stop.
const BOUND: Duration = Duration::from_mins(1);

/// What is special about a sidecar.
#[derive(Debug, Clone, Default)]
pub struct SidecarOptions {
    /// The collectors to begin with; empty: all of the world.
    pub collectors: Vec<String>,
    /// More flags.
    pub flags: Vec<String>,
    /// More environment.
    pub env: Vec<(String, String)>,
    /// Another build's program.
    pub program: Option<PathBuf>,
}

/// A sidecar of one pod. Its state stays over restarts.
#[derive(Debug)]
pub struct Sidecar {
    dir: PathBuf,
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    process: Option<Process>,
}

impl Sidecar {
    /// Mints the pod's token and starts the process.
    pub fn start(world: &World, pod: &PodIdentity, options: &SidecarOptions) -> Result<Self> {
        let name = format!("sidecar-{}", pod.name);
        let dir = world.dir().join(&name);
        std::fs::create_dir_all(dir.join("state"))?;
        let token = dir.join("token");
        std::fs::write(&token, world.issuer.pod_token(pod)?)?;
        let logs = world.logs().join(pod.directory());
        let collectors =
            if options.collectors.is_empty() { world.urls() } else { options.collectors.clone() }.join(",");
        let mut args: Vec<OsString> = Vec::new();
        for (flag, value) in [
            ("--logs", logs.as_path()),
            ("--state", &dir.join("state")),
            ("--ca", world.authority.ca()),
            ("--token", &token),
        ] {
            args.extend([flag.into(), value.into()]);
        }
        for (flag, value) in [
            ("--collectors", collectors.as_str()),
            ("--namespace", &pod.namespace),
            ("--pod-name", &pod.name),
            ("--pod-uid", &pod.uid),
            ("--node-name", "node-1"),
            ("--service-account", "default"),
            ("--audit-log", "audit/test"),
            // How full the disk of the machine is that tests run on is not what they are about.
            ("--min-node-free-percent", "0"),
        ] {
            args.extend([flag.into(), value.into()]);
        }
        args.extend(options.flags.iter().map(OsString::from));
        let program = options.program.clone().map_or_else(|| binary("indelible-sidecar"), Ok)?;
        let mut sidecar = Self { dir, name, program, args, env: options.env.clone(), process: None };
        sidecar.restart()?;
        Ok(sidecar)
    }

    /// Starts it again on its state.
    pub fn restart(&mut self) -> Result<()> {
        let env: Vec<_> = self.env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        self.process = Some(Process::start(&self.name, &self.dir, &self.program, &self.args, &env)?);
        Ok(())
    }

    /// From its next start on it is another program.
    pub fn becomes(&mut self, program: &Path) {
        self.program = program.into();
    }

    /// Changes its environment for the next start.
    pub fn set_env(&mut self, key: &str, value: &str) {
        self.env.retain(|(k, _)| k != key);
        self.env.push((key.into(), value.into()));
    }

    /// Its state directory.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Its folder: token, state, what it said.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its process, if it runs.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the sidecar does not run")
    }

    /// What it prints at `/metrics`, if its flags say so.
    pub fn metrics(&mut self) -> Result<Metrics> {
        let process = self.process()?;
        let address = eventually("a sidecar says where its metrics are", BOUND, || {
            Ok(metrics::address(&process.stderr()?, "metrics are served address="))
        })?;
        Metrics::scrape(&address)
    }

    /// Waits until `indelible-sidecar armed` says that the directory is listed and its files are open.
    pub fn armed(&self) -> Result<()> {
        eventually("the sidecar is armed", BOUND, || {
            let status = std::process::Command::new(&self.program)
                .args(["armed", "--state"])
                .arg(self.state())
                .stderr(std::process::Stdio::null())
                .status()?;
            Ok(status.success().then_some(()))
        })
    }

    /// When its newest process had listed the directory and opened its files, if it came to that.
    pub fn armed_at(&self) -> Option<Timestamp> {
        let sign = std::fs::metadata(self.state().join("armed")).ok()?;
        Timestamp::try_from(sign.modified().ok()?).ok()
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process()?.kill()?;
        self.process = None;
        Ok(())
    }

    /// SIGTERM: reads to the end, closes its chains, waits for receipts, exits 0.
    pub fn terminate(&mut self) -> Result<()> {
        self.process()?.terminate(BOUND)?;
        self.process = None;
        Ok(())
    }
}
