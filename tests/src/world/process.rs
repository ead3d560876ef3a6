//! One child process, bounded in memory, ended when dropped.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Most memory of a process under test, in KiB of address space. Static binaries with few threads need little.
const MEMORY_KIB: u32 = 4 << 20;

/// A binary of this workspace, beside the test that is running.
pub fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let found = test.ancestors().skip(1).take(3).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not built: `cargo build --workspace` builds it"))
}

/// A process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts a program; its output goes to `<dir>/<name>.stdout` and, appended, to `<dir>/<name>.stderr`.
    pub fn start(name: &str, dir: &Path, program: &Path, args: &[OsString], env: &[(&str, &str)]) -> Result<Self> {
        let stdout = dir.join(format!("{name}.stdout"));
        let stderr = dir.join(format!("{name}.stderr"));
        let child = Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("ulimit -v {MEMORY_KIB} && ulimit -c 0 && exec \"$0\" \"$@\""))
            .arg(program)
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::options().create(true).append(true).open(&stderr)?)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { name: name.into(), child, stdout, stderr })
    }

    /// What it printed.
    pub fn stdout(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.stdout)?)
    }

    /// What it said, in this run and earlier ones of the same name.
    pub fn stderr(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.stderr)?).into_owned())
    }

    /// The most memory that it had resident so far, in KiB.
    pub fn peak_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a process has a peak")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, once it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a child's id is positive")?;
        Ok(kill_process(pid, signal)?)
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + bound;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("{} did not end within {bound:?}; it said:\n{}", self.name, self.stderr()?);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it would catch SIGTERM: just after its start it would not, and would die of it.
    fn catches_term(&self) -> Result<bool> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).context("no SigCgt in its status")?;
        Ok(u64::from_str_radix(mask.trim(), 16)? >> (Signal::TERM.as_raw() - 1) & 1 == 1)
    }

    /// SIGTERM, if it would catch it by now. Whether it was sent.
    pub fn ask_to_end(&self) -> Result<bool> {
        let asks = self.catches_term()?;
        if asks {
            self.signal(Signal::TERM)?;
        }
        Ok(asks)
    }

    /// SIGTERM, and waits until it has ended with exit code 0.
    pub fn terminate(&mut self, bound: Duration) -> Result<()> {
        super::eventually("it catches SIGTERM", bound, || {
            Ok((self.ended()?.is_some() || self.catches_term()?).then_some(()))
        })?;
        self.signal(Signal::TERM)?;
        let status = self.wait(bound)?;
        if !status.success() {
            bail!("{} ended with {status}; it said:\n{}", self.name, self.stderr()?);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is fine; there is nobody to tell otherwise.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
