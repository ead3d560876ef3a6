//! The demo's processes: real ones, started from the directory that this program is in.
//!
//! Each has a file for what it says on stderr. Whatever way the demo ends, its processes end with it: a handle that is
//! dropped kills its process. They are in process groups of their own, so that Ctrl-C reaches the demo alone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a collector may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The programs of the product.
#[derive(Debug, Clone)]
pub struct Programs {
    /// This program.
    pub indelible: PathBuf,
    /// The server.
    pub collector: PathBuf,
    /// The sidecar.
    pub sidecar: PathBuf,
}

impl Programs {
    /// Finds them beside this one.
    pub fn find() -> Result<Self> {
        let indelible = std::env::current_exe().context("where this program is")?;
        let beside = |name: &str| {
            let path = indelible.with_file_name(name);
            if path.is_file() {
                return Ok(path);
            }
            bail!(
                "{} is missing: the demo runs the programs beside this one; build all with make build",
                path.display()
            )
        };
        Ok(Self { collector: beside("indelible-collector")?, sidecar: beside("indelible-sidecar")?, indelible })
    }
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    said: PathBuf,
}

/// The arguments of a program.
pub fn arguments<const N: usize>(arguments: [&dyn AsRef<std::ffi::OsStr>; N]) -> Vec<OsString> {
    arguments.map(|argument| argument.as_ref().to_owned()).into()
}

impl Process {
    /// Starts a program that goes on; `run` is where its stderr goes.
    pub fn start(name: &str, program: &Path, arguments: &[OsString], run: &Path) -> Result<Self> {
        let said = run.join(format!("{name}.log"));
        let stderr = std::fs::OpenOptions::new().create(true).append(true).open(&said);
        let child = command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr.with_context(|| said.display().to_string())?)
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, said })
    }

    /// Waits for a collector's one line on stdout and gives the URL in it.
    pub async fn listening(&mut self) -> Result<String> {
        let stdout = self.child.stdout.take().context("a collector's stdout is read once")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(START_TIMEOUT, lines.next_line()).await;
        match line {
            Ok(Ok(Some(line))) if line.starts_with("listening https://") => {
                Ok(line.trim_start_matches("listening ").to_owned())
            }
            _ => bail!("{} does not listen: {}", self.name, self.last_words()),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.with_context(|| format!("{} has ended already: {}", self.name, self.last_words()))?;
        rustix::process::kill_process(pid, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// Waits for its end.
    pub async fn end(&mut self, within: Duration) -> Result<ExitStatus> {
        match timeout(within, self.child.wait()).await {
            Ok(status) => status.with_context(|| self.name.clone()),
            Err(_) => bail!("{} has not ended within {} s: {}", self.name, within.as_secs(), self.last_words()),
        }
    }

    /// The same, and it must have ended well.
    pub async fn end_well(&mut self, within: Duration) -> Result<()> {
        let status = self.end(within).await?;
        if !status.success() {
            bail!("{} ended with {status}: {}", self.name, self.last_words());
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let said = std::fs::read_to_string(&self.said).unwrap_or_default();
        said.lines().last().unwrap_or("it said nothing").to_owned()
    }
}

/// Runs a program to its end and gives its exit code and stdout.
pub async fn run(program: &Path, arguments: &[OsString]) -> Result<(i32, String)> {
    let command = command(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).process_group(0).output();
    let output = command.await.with_context(|| format!("running {}", program.display()))?;
    let code = output.status.code().with_context(|| format!("{} was killed", program.display()))?;
    let stdout = String::from_utf8(output.stdout).context("what it prints is UTF-8")?;
    if code > 4 || (code != 0 && stdout.is_empty()) {
        bail!("{} ended with {code}: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok((code, stdout))
}

/// A command without the product's environment variables: they would change what the demo tells.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("INDELIBLE_")) {
        command.env_remove(name);
    }
    command
}
