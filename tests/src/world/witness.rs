//! `indelible witness`: its data directory and, while it runs, its process; and a client that asks it by hand.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Process, World, binary, eventually};
use crate::tamper::wire::{hex, sha256};

/// How long a witness may take to start, or to stop, or to answer.
const BOUND: Duration = Duration::from_secs(30);

/// A witness on loopback. Its port stays the same over restarts.
#[derive(Debug)]
pub struct Witness {
    name: String,
    dir: PathBuf,
    /// What runs it as its child or becomes it.
    wrapper: Vec<String>,
    logs: Vec<String>,
    flags: Vec<String>,
    listen: String,
    url: String,
    vkey: String,
    process: Option<Process>,
}

impl Witness {
    /// Starts one in a directory of its own, for the logs with these verifier keys, with more flags than the usual ones.
    pub fn start(world: &World, name: &str, logs: &[&str], flags: &[&str]) -> Result<Self> {
        let dir = world.dir().join(name);
        std::fs::create_dir_all(&dir)?;
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let mut witness = Self {
            name: name.to_owned(),
            dir,
            wrapper: Vec::new(),
            logs: owned(logs),
            flags: owned(flags),
            listen: "127.0.0.1:0".to_owned(),
            url: String::new(),
            vkey: String::new(),
            process: None,
        };
        witness.restart()?;
        let vkey = std::fs::read_to_string(witness.data().join("vkey"))?;
        vkey.trim_end().clone_into(&mut witness.vkey);
        Ok(witness)
    }

    /// Starts it again on its directory and its port.
    pub fn restart(&mut self) -> Result<()> {
        let mut process = self.second()?;
        self.url = eventually("a witness listens", BOUND, || {
            if let Some(status) = process.ended()? {
                bail!("the witness {} ended with {status}: {}", self.name, process.stderr()?);
            }
            let stdout = process.stdout()?;
            let url = stdout.strip_prefix("listening ").and_then(|rest| rest.split_once('\n')).map(|(url, _)| url);
            Ok(url.map(str::to_owned))
        })?;
        self.listen = self.url.split_once("://").context("a URL")?.1.to_owned();
        self.process = Some(process);
        Ok(())
    }

    /// A process with its flags, of which the caller sees what becomes.
    pub fn second(&self) -> Result<Process> {
        let mut args: Vec<OsString> = self.wrapper.iter().map(OsString::from).collect();
        args.extend([binary("indelible")?.into(), "witness".into(), "--data".into(), self.data().into()]);
        args.extend(["--name", &self.name, "--listen", &self.listen].map(OsString::from));
        for log in &self.logs {
            args.extend(["--log".into(), log.into()]);
        }
        args.extend(self.flags.iter().map(OsString::from));
        let program = PathBuf::from(args.remove(0));
        Process::start(&self.name, &self.dir, &program, &args, &[])
    }

    /// From its next start on another program runs it, as its child or by becoming it; none if there are no words.
    pub fn runs_under(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
    }

    /// From its next start on it knows these logs, too.
    pub fn knows(&mut self, logs: &[&str]) {
        self.logs.extend(logs.iter().map(|log| (*log).to_owned()));
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Its verifier key.
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// As a collector's `--witness` has it.
    pub fn flag(&self) -> String {
        format!("{}={}", self.vkey, self.url)
    }

    /// Its line in a policy.
    pub fn line(&self) -> String {
        format!("witness {} {} {}", self.name, self.vkey, self.url)
    }

    /// Its process, if it runs.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the witness does not run")
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process()?.kill()?;
        self.process = None;
        Ok(())
    }

    /// SIGTERM: exits 0.
    pub fn terminate(&mut self) -> Result<()> {
        self.process()?.terminate(BOUND)?;
        self.process = None;
        Ok(())
    }

    /// Asks it to cosign a checkpoint, over HTTP/1.1: how large the tree was that it saw last, the proof, the note.
    pub fn add(&self, old: u64, proof: &[String], note: &str) -> Result<Asked> {
        let lines: Vec<&str> = proof.iter().flat_map(|hash| [hash.as_str(), "\n"]).collect();
        self.ask("POST", "/add-checkpoint", &format!("old {old}\n{}\n{note}", lines.concat()))
    }

    /// Has it cosign the first checkpoint that it sees of a log.
    pub fn cosign(&self, checkpoint: &[u8]) -> Result<()> {
        let asked = self.add(0, &[], std::str::from_utf8(checkpoint)?)?;
        ensure!(asked.status == 200, "the witness answers {}: {}", asked.status, asked.body);
        Ok(())
    }

    /// The newest checkpoint of a log that it cosigned.
    pub fn newest(&self, origin: &str) -> Result<Asked> {
        self.ask("GET", &format!("/{}/checkpoint", hex(&sha256(origin.as_bytes()))), "")
    }

    /// The size of that checkpoint; nothing if there is none.
    pub fn size(&self, origin: &str) -> Result<Option<u64>> {
        let asked = self.newest(origin)?;
        if asked.status == 404 {
            return Ok(None);
        }
        ensure!(asked.status == 200, "the witness answers {}: {}", asked.status, asked.body);
        Ok(Some(asked.body.lines().nth(1).context("a checkpoint has a size")?.parse()?))
    }

    /// Sends a request over HTTP/1.1, plain, and reads the whole answer.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Result<Asked> {
        let mut stream = TcpStream::connect(&self.listen)?;
        stream.set_read_timeout(Some(BOUND))?;
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: witness\r\nContent-Length: {length}\r\nConnection: close");
        // Of a body that is too long not all is read: what was answered counts.
        let _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes());
        Asked::read(&mut stream)
    }
}

/// An answer over HTTP/1.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its status.
    pub status: u16,
    /// Its head, in lower case.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl Asked {
    /// Reads one to the end of the connection.
    pub fn read(stream: &mut TcpStream) -> Result<Self> {
        let mut bytes = Vec::new();
        if let Err(error) = stream.read_to_end(&mut bytes) {
            // A peer that has unread bytes resets after it has answered.
            ensure!(error.kind() == std::io::ErrorKind::ConnectionReset && !bytes.is_empty(), error);
        }
        let text = String::from_utf8(bytes)?;
        let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no answer of HTTP/1.1: {text}"))?;
        let status = head.split(' ').nth(1).context("an answer has a status")?.parse()?;
        Ok(Self { status, head: head.to_lowercase(), body: body.to_owned() })
    }
}

/// A directory's bytes, by path.
pub fn files(dir: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push((path.clone(), std::fs::read(&path)?));
        }
    }
    found.sort();
    Ok(found)
}
