//! A child process on a core of its own: what it used, how large it was, and its end.
//!
//! CPU seconds are user and system time of all its threads, as wait4 would tell them: read from `/proc/<pid>/stat` while
//! the process is there or has ended and is not yet waited for. A child is ended when its handle is dropped, and by the
//! kernel when this program is gone, where `setpriv` is there.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::limits::{END, MEMORY_KIB, POLL};

/// A core, or none in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Core {
    /// The one that what is measured runs on.
    Measured,
    /// The ones that generators, sinks and everything else run on.
    Others,
    /// Any.
    Any,
}

impl Core {
    fn set(self) -> CpuSet {
        let cores = std::thread::available_parallelism().map_or(1, usize::from).max(all_cores());
        let mut set = CpuSet::new();
        for core in 0..cores {
            let is_in = match self {
                // With a single core there is no other one.
                Self::Measured => core == 0,
                Self::Others => core > 0 || cores == 1,
                Self::Any => true,
            };
            if is_in {
                set.set(core);
            }
        }
        set
    }
}

fn all_cores() -> usize {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    online.trim().rsplit(['-', ',']).next().and_then(|last| last.parse::<usize>().ok()).map_or(1, |last| last + 1)
}

/// Binds this thread and those that it starts from now on.
pub fn bind(core: Core) -> Result<()> {
    Ok(sched_setaffinity(None, &core.set())?)
}

/// How a process is started.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name, for its output files.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// More environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it runs.
    pub core: Core,
}

impl Spec {
    /// A program without arguments, on any core.
    pub fn new(name: &str, program: &Path) -> Self {
        let (arguments, environment) = (Vec::new(), Vec::new());
        Self { name: name.into(), program: program.into(), arguments, environment, core: Core::Any }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().into()));
        self
    }

    /// One more variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().into()));
        self
    }

    /// Where it runs.
    #[must_use]
    pub fn on(mut self, core: Core) -> Self {
        self.core = core;
        self
    }
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads, and of children that it has waited for.
    pub cpu: Duration,
    /// The most memory that was resident, in bytes; 0 once it has ended.
    pub peak_bytes: u64,
    /// What is resident now; 0 once it has ended.
    pub resident_bytes: u64,
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
    /// Starts it; its output goes to `<dir>/<name>.stdout` and `.stderr`.
    pub fn start(spec: &Spec, dir: &Path) -> Result<Self> {
        let file = |kind: &str| dir.join(format!("{}.{kind}", spec.name));
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        // A shell becomes setpriv becomes the program: the same process all the way.
        let script = format!(
            "ulimit -v {MEMORY_KIB}; ulimit -c 0; command -v setpriv >/dev/null && \
             exec setpriv --pdeathsig KILL \"$0\" \"$@\"; exec \"$0\" \"$@\""
        );
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).arg(&spec.program).args(&spec.arguments);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("INDELIBLE_")) {
            command.env_remove(name);
        }
        command.envs(spec.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(File::create(&stdout)?);
        command.stderr(File::options().create(true).append(true).open(&stderr)?);
        // A child runs where the thread may run that starts it.
        let before = sched_getaffinity(None)?;
        bind(spec.core)?;
        let child = command.spawn().with_context(|| format!("starting {}", spec.program.display()));
        sched_setaffinity(None, &before)?;
        Ok(Self { name: spec.name.clone(), child: child?, stdout, stderr })
    }

    /// Runs a program to its end and gives its CPU time and what it printed; its exit code must be one of `codes`.
    pub fn run(spec: &Spec, dir: &Path, bound: Duration, codes: &[i32]) -> Result<(Usage, String)> {
        let mut process = Self::start(spec, dir)?;
        let usage = process.wait(bound, codes)?;
        Ok((usage, process.stdout()?))
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Result<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a child's id is positive")
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.id()));
        let (stat, status) = (read("stat")?, read("status")?);
        // Behind the name, which is in parentheses: fields 3 and following. CPU times are fields 14 to 17.
        let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
        let ticks = fields.split_whitespace().skip(11).take(4).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        let per_second = rustix::param::clock_ticks_per_second();
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or_default()
        };
        Ok(Usage {
            cpu: Duration::from_nanos(ticks * 1_000_000_000 / per_second),
            peak_bytes: kib("VmHWM:") * 1024,
            resident_bytes: kib("VmRSS:") * 1024,
        })
    }

    /// What it printed.
    pub fn stdout(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.stdout)?)
    }

    /// The last things that it said.
    pub fn last_words(&self) -> String {
        let said = std::fs::read(&self.stderr).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<_> = said.lines().rev().take(8).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Whether it has ended; it stays to be asked for its usage.
    pub fn has_ended(&self) -> Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(self.pid()?), options)?.is_some())
    }

    /// An error if it has ended although it should go on.
    pub fn goes_on(&self) -> Result<()> {
        ensure!(!self.has_ended()?, "{} has ended; it said:\n{}", self.name, self.last_words());
        Ok(())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }

    /// Waits until it ends by itself, with one of `codes`.
    pub fn wait(&mut self, bound: Duration, codes: &[i32]) -> Result<Usage> {
        let end = Instant::now() + bound;
        while !self.has_ended()? {
            ensure!(Instant::now() < end, "{} did not end within {bound:?}:\n{}", self.name, self.last_words());
            std::thread::sleep(POLL);
        }
        let usage = self.usage()?;
        let status = self.child.wait()?;
        if !status.code().is_some_and(|code| codes.contains(&code)) {
            bail!("{} ended with {status}; it said:\n{}", self.name, self.last_words());
        }
        Ok(usage)
    }

    /// SIGTERM, and waits for a good end.
    pub fn terminate(&mut self) -> Result<Usage> {
        self.signal(Signal::TERM)?;
        self.wait(END, &[0])
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
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

/// Waits until `condition` gives something, at most `bound`.
pub fn eventually<T>(what: &str, bound: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + bound;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        ensure!(Instant::now() < end, "{what}: not within {bound:?}");
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Spec {
        Spec::new("shell", Path::new("/bin/sh")).arg("-c").arg(script)
    }

    #[test]
    fn what_a_process_used_is_known_after_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let busy = shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done");
        let (usage, said) = Process::run(&busy, dir.path(), Duration::from_secs(50), &[0]).unwrap();
        assert_eq!(said, "done\n");
        assert!(usage.cpu > Duration::from_millis(20), "{usage:?}");
    }

    #[test]
    fn a_process_runs_on_the_core_that_it_is_bound_to() {
        let dir = tempfile::tempdir().unwrap();
        let ask = shell("grep Cpus_allowed_list /proc/self/status").on(Core::Measured);
        let (_, said) = Process::run(&ask, dir.path(), Duration::from_secs(50), &[0]).unwrap();
        assert_eq!(said.split_whitespace().last(), Some("0"));
    }

    #[test]
    fn a_process_that_ends_badly_is_told_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let failing = shell("echo no such thing >&2; exit 3");
        let error = Process::run(&failing, dir.path(), Duration::from_secs(50), &[0]).unwrap_err().to_string();
        assert!(error.contains("no such thing") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let process = Process::start(&shell("exec sleep 1000"), dir.path()).unwrap();
        let id = process.id();
        assert!(Path::new(&format!("/proc/{id}")).exists());
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
