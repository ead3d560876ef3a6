//! What stands on the demo's stage: the directory, collectors, sidecars, and how they come and go.
//!
//! ```text
//! data/<collector>/            data directories            logs/, written/     what pods print, and a copy of every byte
//! policy jwks.json ca.pem      for the verifier            seen/*.checkpoint   checkpoints kept aside
//! tls/ tokens/ state/ run/     what processes use and say  tampered/           copies that were tampered with
//! ```

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use indelible_chain::id::Time;
use indelible_chain::note::VerifierKey;
use rustix::process::Signal;

use super::issuer::{Issuer, Pod};
use super::pods::directory;
use super::process::{Process, Programs, arguments, run};
use crate::clock;

/// How long tokens are valid.
const TOKEN_SECONDS: i64 = 3600;
/// How long sidecars may take to deliver everything.
const GRACE: &str = "10s";
const GRACE_TIMEOUT: Duration = Duration::from_secs(12);
/// How long a collector may take to seal.
const SEAL_TIMEOUT: Duration = Duration::from_secs(10);

/// A collector and its place.
#[derive(Debug)]
pub struct OnStage {
    /// `c0`, `c1`, …
    pub name: String,
    /// Where it listens.
    pub url: String,
    /// Its log's name.
    pub origin: String,
    vkey: String,
    process: Option<Process>,
}

/// The stage.
#[derive(Debug)]
pub struct Stage {
    /// Where everything is.
    pub dir: PathBuf,
    /// What is run.
    pub programs: Programs,
    /// The pool.
    pub collectors: Vec<OnStage>,
    issuer: Issuer,
    sidecars: Vec<Process>,
    killed: usize,
}

impl Stage {
    /// Makes the directories and the issuer's files.
    pub fn set(dir: &Path, programs: Programs) -> Result<Self> {
        for name in ["data", "logs", "written", "seen", "tampered", "tls", "tokens", "state", "run"] {
            fs::create_dir(dir.join(name)).with_context(|| format!("{}/{name}", dir.display()))?;
        }
        let issuer = Issuer::new()?;
        fs::write(dir.join("jwks.json"), issuer.jwks())?;
        fs::write(dir.join("ca.pem"), issuer.ca())?;
        Ok(Self { dir: dir.to_owned(), programs, collectors: Vec::new(), issuer, sidecars: Vec::new(), killed: 0 })
    }

    /// All data directories.
    pub fn data(&self) -> Vec<PathBuf> {
        self.collectors.iter().map(|collector| self.dir.join("data").join(&collector.name)).collect()
    }

    /// Makes a log and starts its collector on a port of its own.
    pub async fn add_collector(&mut self, n: u8) -> Result<&OnStage> {
        let name = format!("c{n}");
        let data = self.dir.join("data").join(&name);
        let origin = format!("demo/{name}");
        let init = arguments([&"init", &"--data", &data, &"--origin", &origin]);
        let (code, _) = run(&self.programs.collector, &init).await?;
        ensure!(code == 0, "indelible-collector init ended with {code}");
        let vkey = fs::read_to_string(data.join("vkey")).context("the vkey that init made")?.trim().to_owned();
        let key: VerifierKey = vkey.parse().context("the vkey that init made")?;
        let tls = self.issuer.certificate(&vkey)?;
        fs::write(self.dir.join(format!("tls/{name}.crt")), tls.certificate)?;
        write_private(&self.dir.join(format!("tls/{name}.key")), &tls.key)?;
        let (process, url) = self.start_collector(&name, "127.0.0.1:0").await?;
        let origin = key.name().to_string();
        self.collectors.push(OnStage { name, url, origin, vkey, process: Some(process) });
        self.collectors.last().context("a collector was just added")
    }

    async fn start_collector(&self, name: &str, listen: &str) -> Result<(Process, String)> {
        let path = |file: String| self.dir.join(file);
        let (data, origin) = (path(format!("data/{name}")), format!("demo/{name}"));
        let (cert, key, jwks) =
            (path(format!("tls/{name}.crt")), path(format!("tls/{name}.key")), path("jwks.json".into()));
        let arguments = arguments([
            &"--data",
            &data,
            &"--origin",
            &origin,
            &"--listen",
            &listen,
            &"--tls-cert",
            &cert,
            &"--tls-key",
            &key,
            &"--issuer",
            &Issuer::URL,
            &"--jwks",
            &jwks,
            &"--readers",
            &"none",
            &"--metrics",
            &"127.0.0.1:0",
        ]);
        let mut process = Process::start(name, &self.programs.collector, &arguments, &self.dir.join("run"))?;
        let url = process.listening().await?;
        Ok((process, url))
    }

    /// The verifier's policy: these logs, no witness.
    pub fn write_policy(&self) -> Result<()> {
        let mut text = String::new();
        for OnStage { vkey, url, .. } in &self.collectors {
            let _ = writeln!(text, "log {vkey} {url}"); // a String takes everything
        }
        text.push_str("quorum none\n");
        fs::write(self.dir.join("policy"), text).context("the policy")
    }

    /// Gives a pod its token and starts its sidecar.
    pub fn add_sidecar(&mut self, pod: &Pod) -> Result<()> {
        let path = |file: String| self.dir.join(file);
        let token = path(format!("tokens/{}", pod.name));
        let now = clock::now();
        // A second ago: the log must receive it no earlier than it was issued, whole seconds being all a token has.
        let issued = now.plus_nanos(-Time::SECOND);
        write_private(&token, &self.issuer.token(pod, issued, now.plus_nanos(TOKEN_SECONDS * Time::SECOND))?)?;
        let (logs, state) = (path(format!("logs/{}", directory(pod))), path(format!("state/{}", pod.name)));
        let ca = path("ca.pem".into());
        let urls: Vec<&str> = self.collectors.iter().map(|collector| collector.url.as_str()).collect();
        let arguments = arguments([
            &"--logs",
            &logs,
            &"--state",
            &state,
            &"--collectors",
            &urls.join(","),
            &"--ca",
            &ca,
            &"--token",
            &token,
            &"--namespace",
            &pod.namespace,
            &"--pod-name",
            &pod.name,
            &"--pod-uid",
            &pod.uid,
            &"--node-name",
            &pod.node,
            &"--service-account",
            &pod.service_account,
            &"--audit-log",
            &"demo/demo",
            &"--grace-period",
            &GRACE,
            &"--min-node-free-percent",
            &"0",
        ]);
        let name = format!("sidecar-{}", pod.name);
        let sidecar = Process::start(&name, &self.programs.sidecar, &arguments, &self.dir.join("run"))?;
        self.sidecars.push(sidecar);
        Ok(())
    }

    /// Kills the collector that was written to most; gives its name.
    pub async fn kill_collector(&mut self) -> Result<String> {
        let size = |n: &usize| {
            let note = fs::read_to_string(self.dir.join(format!("data/{}/checkpoint", self.collectors[*n].name)));
            note.ok().and_then(|note| note.lines().nth(1)?.parse::<u64>().ok())
        };
        self.killed = (0..self.collectors.len()).max_by_key(size).context("there are collectors")?;
        let collector = &mut self.collectors[self.killed];
        let mut process = collector.process.take().context("the collector runs")?;
        process.signal(Signal::KILL)?;
        process.end(SEAL_TIMEOUT).await?;
        Ok(collector.name.clone())
    }

    /// Starts the collector that was killed again, where it was.
    pub async fn restart_collector(&mut self) -> Result<&OnStage> {
        let collector = self.collectors.get(self.killed).context("there are collectors")?;
        let (name, listen) = (collector.name.clone(), collector.url.trim_start_matches("https://").to_owned());
        let (process, _) = self.start_collector(&name, &listen).await?;
        let collector = self.collectors.get_mut(self.killed).context("there are collectors")?;
        collector.process = Some(process);
        Ok(collector)
    }

    /// The pods end: every sidecar delivers what it has, and leaves well.
    pub async fn end_sidecars(&mut self) -> Result<()> {
        for sidecar in &self.sidecars {
            sidecar.signal(Signal::TERM)?;
        }
        for mut sidecar in self.sidecars.drain(..) {
            sidecar.end_well(GRACE_TIMEOUT).await?;
        }
        Ok(())
    }

    /// Ends all collectors: each seals its log.
    pub async fn end_collectors(&mut self) -> Result<()> {
        for collector in &self.collectors {
            if let Some(process) = &collector.process {
                process.signal(Signal::TERM)?;
            }
        }
        for collector in &mut self.collectors {
            if let Some(mut process) = collector.process.take() {
                process.end_well(SEAL_TIMEOUT).await?;
            }
        }
        Ok(())
    }

    /// Keeps each log's newest checkpoint aside, as someone would who has looked at it.
    pub fn keep_checkpoints(&self) -> Result<()> {
        for collector in &self.collectors {
            let seen = self.dir.join(format!("seen/{}.checkpoint", collector.name));
            let newest = self.dir.join("data").join(&collector.name).join("checkpoint");
            fs::copy(&newest, &seen).with_context(|| newest.display().to_string())?;
        }
        Ok(())
    }
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).with_context(|| path.display().to_string())
}
