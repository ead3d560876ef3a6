//! A collector: its data directory, its certificate and, while it runs, its process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::issuer::ISSUER;
use super::{Authority, Issuer, Metrics, Process, eventually, metrics};

/// How long a collector may take to start, or to stop.
const BOUND: Duration = Duration::from_secs(30);

/// A collector on loopback. Its port stays the same over restarts.
#[derive(Debug)]
pub struct Collector {
    dir: PathBuf,
    ordinal: usize,
    vkey: String,
    /// What its certificate must carry.
    uri: String,
    /// The program, behind a wrapper if it has one, and its flags.
    command: Vec<OsString>,
    url: String,
    process: Option<Process>,
}

impl Collector {
    /// Makes key and certificate and starts the process of this program, behind a wrapper and with more flags.
    pub fn start(
        dir: &Path,
        ordinal: usize,
        issuer: &Issuer,
        ca: &Authority,
        program: &Path,
        (wrapper, flags): (&[&str], &[&str]),
    ) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let data = dir.join("data");
        let origin = format!("test/c{ordinal}");
        let init = Command::new(program).args(["init", "--origin", &origin, "--data"]).arg(&data).output()?;
        let said = String::from_utf8_lossy(&init.stderr).into_owned();
        ensure!(init.status.success(), "indelible-collector init: {said}");
        let stdout = String::from_utf8(init.stdout)?;
        let word = |what: &str, test: fn(&str) -> bool| {
            let found = stdout.split_whitespace().find(|word| test(word)).map(str::to_owned);
            found.with_context(|| format!("init printed no {what}: {stdout}"))
        };
        let vkey = word("vkey", |word| word.starts_with("test/c"))?;
        let uri = word("URI", |word| word.contains("indelible:vkey:"))?;
        let uri = uri.strip_prefix("URI:").unwrap_or(&uri);
        let (cert, key) = ca.certify(dir, uri)?;
        let mut args: Vec<OsString> = wrapper.iter().map(OsString::from).collect();
        args.push(program.into());
        for (flag, value) in [("--data", data.as_path()), ("--tls-cert", &cert), ("--tls-key", &key)] {
            args.extend([flag.into(), value.into()]);
        }
        args.extend(["--jwks".into(), issuer.jwks().into()]);
        let fixed = ["--origin", &origin, "--issuer", ISSUER, "--metrics", "127.0.0.1:0"];
        args.extend(fixed.iter().chain(flags).map(OsString::from));
        let (dir, uri, url) = (dir.to_owned(), uri.to_owned(), String::new());
        let mut collector = Self { dir, ordinal, vkey, uri, command: args, url, process: None };
        collector.run("127.0.0.1:0", &[])?;
        Ok(collector)
    }

    /// Starts a second process on the same directory, which should not be: whatever becomes of it is told by the caller.
    pub fn second(&self) -> Result<Process> {
        let mut args = self.command.clone();
        let program = PathBuf::from(args.remove(0));
        args.extend(["--listen".into(), "127.0.0.1:0".into()]);
        Process::start(&format!("collector-{}-second", self.ordinal), &self.dir, &program, &args, &[])
    }

    /// Starts it on `<dir>/data`, another directory of its log, with its certificate, its flags and these, on another port.
    pub fn start_on(&self, dir: &Path, flags: &[&str]) -> Result<Self> {
        let mut command = self.command.clone();
        let at = command.iter().position(|word| word == "--data").context("a collector has a directory")?;
        command[at + 1] = dir.join("data").into();
        command.extend(flags.iter().map(OsString::from));
        let (vkey, uri) = (self.vkey.clone(), self.uri.clone());
        let (dir, url) = (dir.to_owned(), String::new());
        let mut collector = Self { dir, ordinal: self.ordinal, vkey, uri, command, url, process: None };
        collector.run("127.0.0.1:0", &[])?;
        Ok(collector)
    }

    fn spawn(&self, listen: &str, env: &[(&str, &str)]) -> Result<Process> {
        let mut args = self.command.clone();
        let program = PathBuf::from(args.remove(0));
        args.extend(["--listen".into(), listen.into()]);
        Process::start(&format!("collector-{}", self.ordinal), &self.dir, &program, &args, env)
    }

    fn run(&mut self, listen: &str, env: &[(&str, &str)]) -> Result<()> {
        let mut process = self.spawn(listen, env)?;
        self.url = eventually("a collector listens", BOUND, || {
            if let Some(status) = process.ended()? {
                anyhow::bail!("collector {} ended with {status}: {}", self.ordinal, process.stderr()?);
            }
            let stdout = process.stdout()?;
            let url = stdout.strip_prefix("listening ").and_then(|rest| rest.split_once('\n')).map(|(url, _)| url);
            Ok(url.map(str::to_owned))
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Where it listens, `https://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Its log's verifier key.
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// Its log's origin.
    pub fn origin(&self) -> &str {
        self.vkey.split('+').next().unwrap_or_default()
    }

    /// Its flags but for `--data`, as environment variables: for one that is started in another way, on any port.
    pub fn environment(&self) -> Vec<(String, OsString)> {
        let words: Vec<_> = self.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let pairs = words.windows(2).filter(|pair| pair[0].starts_with("--") && pair[0] != "--data");
        let variable =
            |flag: &str| format!("INDELIBLE_{}", flag.trim_start_matches("--").to_uppercase().replace('-', "_"));
        let listen = ("INDELIBLE_LISTEN".to_owned(), OsString::from("127.0.0.1:0"));
        pairs.map(|pair| (variable(&pair[0]), OsString::from(&pair[1]))).chain([listen]).collect()
    }

    /// Its process, if it runs.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the collector does not run")
    }

    /// What it prints at `/metrics`.
    pub fn metrics(&mut self) -> Result<Metrics> {
        let process = self.process()?;
        let address = eventually("a collector says where its metrics are", BOUND, || {
            Ok(metrics::address(&process.stderr()?, " metrics="))
        })?;
        Metrics::scrape(&address)
    }

    /// Gives it a certificate by another authority, which it reads again.
    pub fn certify(&self, authority: &Authority) -> Result<()> {
        authority.certify(&self.dir, &self.uri)?;
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process()?.kill()?;
        self.process = None;
        Ok(())
    }

    /// Starts it again on the same port, with more environment than the usual one.
    pub fn restart(&mut self, env: &[(&str, &str)]) -> Result<()> {
        let address = self.address()?.to_owned();
        self.run(&address, env)
    }

    /// The same, and does not wait until it listens: it may not come so far.
    pub fn begin(&mut self, env: &[(&str, &str)]) -> Result<()> {
        self.process = Some(self.spawn(self.address()?, env)?);
        Ok(())
    }

    /// Where it listens, `127.0.0.1:<port>`.
    pub fn address(&self) -> Result<&str> {
        self.url.strip_prefix("https://").context("a collector's URL is https")
    }

    /// From its next start on it is another program.
    pub fn becomes(&mut self, program: &Path) {
        for word in &mut self.command {
            if Path::new(word).file_name() == program.file_name() {
                *word = program.into();
            }
        }
    }

    /// From its next start on it runs without its wrapper.
    pub fn unwrapped(&mut self) {
        let is_program = |word: &OsString| Path::new(word).file_name() == Some("indelible-collector".as_ref());
        let at = self.command.iter().position(is_program).unwrap_or_default();
        self.command.drain(..at);
    }

    /// SIGTERM: drains, seals, exits 0.
    pub fn terminate(&mut self) -> Result<()> {
        self.process()?.terminate(BOUND)?;
        self.process = None;
        Ok(())
    }
}
