//! A collector: its data directory, its certificate and its process.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{ISSUER, World};
use crate::limits::{END, READY};
use crate::metrics;
use crate::process::{Core, Process, Spec, Usage, eventually};

/// A collector on loopback.
#[derive(Debug)]
pub struct Collector {
    dir: PathBuf,
    spec: Spec,
    vkey: String,
    url: String,
    metrics: SocketAddr,
    process: Option<Process>,
}

impl Collector {
    /// Makes key and certificate and starts the process, with more flags than the usual ones.
    pub(super) fn start(world: &World, ordinal: usize, core: Core, flags: &[&str]) -> Result<Self> {
        let program = world.program("indelible-collector")?;
        let dir = world.dir().join(format!("collector-{ordinal}"));
        std::fs::create_dir_all(&dir)?;
        let data = dir.join("data");
        let init =
            Spec::new("init", &program).args(["init", "--origin", &format!("bench/c{ordinal}"), "--data"]).arg(&data);
        let (_, said) = Process::run(&init, &dir, END, &[0])?;
        let word = |prefix: &str| {
            let found = said.split_whitespace().find_map(|word| word.strip_prefix(prefix).map(|_| word.to_owned()));
            found.with_context(|| format!("init printed no {prefix}: {said}"))
        };
        let (vkey, uri) = (word("bench/c")?, word("URI:")?);
        let (cert, key) = world.authority.certify(&dir, uri.trim_start_matches("URI:"))?;
        let metrics = free_address()?;
        let spec = Spec::new(&format!("collector-{ordinal}"), &program)
            .on(core)
            .arg("--data")
            .arg(&data)
            .arg("--tls-cert")
            .arg(cert)
            .arg("--tls-key")
            .arg(key)
            .arg("--jwks")
            .arg(world.issuer.jwks())
            .args(["--issuer", ISSUER, "--metrics", &metrics.to_string()])
            .args(flags);
        let mut collector = Self { dir, spec, vkey, url: String::new(), metrics, process: None };
        collector.listen("127.0.0.1:0")?;
        Ok(collector)
    }

    fn listen(&mut self, address: &str) -> Result<()> {
        let process = Process::start(&self.spec.clone().args(["--listen", address]), &self.dir)?;
        self.url = eventually("a collector listens", READY, || {
            process.goes_on()?;
            let said = process.stdout()?;
            Ok(said.strip_prefix("listening ").and_then(|rest| rest.split_once('\n')).map(|(url, _)| url.to_owned()))
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

    /// A number that its metrics tell.
    pub fn metric(&self, name: &str) -> Result<f64> {
        metrics::value(&metrics::scrape(self.metrics)?, name)
    }

    /// Its process.
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("the collector does not run")
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the collector does not run")?.kill()
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) -> Result<()> {
        let address = self.url.trim_start_matches("https://").to_owned();
        self.listen(&address)
    }

    /// SIGTERM: it seals its log.
    pub fn terminate(&mut self) -> Result<Usage> {
        self.process.take().context("the collector does not run")?.terminate()
    }
}

/// An address on loopback that is free now.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Bytes that the files below `dir` take on the disk, and of these the room that a segment has for more frames.
pub fn disk_bytes(dir: &Path) -> Result<(u64, u64)> {
    let (mut bytes, mut room) = (0, 0);
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            let (more, more_room) = disk_bytes(&entry.path())?;
            (bytes, room) = (bytes + more, room + more_room);
            continue;
        }
        bytes += blocks(&metadata);
        // Allocated behind the file's end, with a block that the end is in.
        room += blocks(&metadata).saturating_sub(metadata.len().next_multiple_of(metadata.blksize()));
    }
    Ok((bytes, room))
}

fn blocks(metadata: &std::fs::Metadata) -> u64 {
    metadata.blocks() * 512
}
