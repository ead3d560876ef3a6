//! A peer's run: its sender, which reads the pod's log files, and receivers that keep lines, behind a Service.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{Counted, Ground, POOL, Plan, strike, tally};
use crate::soak::disk::Disk;
use crate::soak::faults::SmallDisk;
use crate::soak::mortal::{Body, Fate, Mortal};
use crate::soak::pods::{self, Generator};
use crate::soak::program::Program;
use crate::soak::proxy::Proxy;
use crate::soak::run::{ON_SMALL_DISK, STEP};
use crate::soak::window::{Histogram, Kind};
use crate::tamper::Rng;
use crate::world::{binary, eventually};

/// How long it may take until everything has come to rest.
const REST: Duration = Duration::from_mins(15);
/// How long a sender may take to end by itself; a kubelet gives 30 s.
const END: Duration = Duration::from_secs(30);
/// How long a receiver may take until it listens.
const LISTENS: Duration = Duration::from_secs(20);
/// The small disk: lines are kept as they are, and all of them may be one receiver's.
const SMALL_DISK_MIB: u64 = 2 << 10;

/// A peer's run.
#[derive(Debug)]
pub struct Peer<'a> {
    /// Its name, as `peer --name` has it.
    pub name: &'a str,
    /// What it speaks, as `receiver --protocol` has it.
    pub protocol: &'a str,
    /// What lines follow from.
    pub seed: u64,
    /// The faults.
    pub plan: Plan,
    /// Bytes that are printed a second.
    pub pace: u64,
    /// Nothing has moved for so long: everything is delivered.
    pub still: Duration,
    /// Whether a small disk is mounted.
    pub small_disks: bool,
    /// Set to end it before its time.
    pub stop: Arc<AtomicBool>,
}

/// Everything that runs.
struct Stage<'a> {
    peer: &'a Peer<'a>,
    rng: Rng,
    histogram: Histogram,
    generator: Generator,
    sender: Mortal,
    receivers: Vec<Mortal>,
    disk: Option<SmallDisk>,
    files: Vec<PathBuf>,
    _runtime: Runtime,
    // Last: it goes when all processes are gone.
    _dir: TempDir,
}

/// Runs a peer and counts; who is not installed is left out.
pub fn run(peer: &Peer<'_>) -> Result<Counted> {
    let version = Command::new(binary("peer")?).args(["--name", peer.name, "--version-only"]).output()?;
    if !version.status.success() {
        let said = String::from_utf8_lossy(&version.stderr);
        ensure!(version.status.code() == Some(1), "peer: {said}");
        return Ok(Counted::left_out(peer.name, said.trim().trim_start_matches("Error: ")));
    }
    let version = String::from_utf8(version.stdout)?.trim().to_owned();
    let mut stage = Stage::set(peer).with_context(|| format!("setting up {}", peer.name))?;
    strike(&mut stage, &peer.plan)?;
    let mut notes = stage.calm()?;
    if !peer.small_disks {
        notes.push("no disk was full".into());
    }
    let (script, printed) = stage.generator.end()?;
    let printed = printed.last().map_or(0, |file| file.next);
    let tally = Some(tally::count(&script, printed, &stage.files)?);
    Ok(Counted { subject: peer.name.into(), version, tally, note: notes.join("; ") })
}

impl<'a> Stage<'a> {
    fn set(peer: &'a Peer<'a>) -> Result<Self> {
        let dir = TempDir::with_prefix("indelible-row11-")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (mut disk, mut receivers, mut files, mut addresses) = (None, Vec::new(), Vec::new(), Vec::new());
        for n in 0..POOL {
            let place = dir.path().join(format!("receiver-{n}"));
            std::fs::create_dir_all(&place)?;
            if n == ON_SMALL_DISK && peer.small_disks {
                disk = Some(SmallDisk::new(Disk::mount(&place, SMALL_DISK_MIB)?, &[0]));
            }
            let (receiver, address) = receiver(peer, dir.path(), n, &place)?;
            receivers.push(Mortal::new(&format!("receiver-{n}"), Body::Program(receiver), Fate::Lives, &[]));
            files.push(place.join("lines"));
            addresses.push(address);
        }
        let service = Proxy::start(&runtime, peer.seed)?;
        service.serve(addresses);
        let spec = pods::row11(peer.pace);
        let logs = dir.path().join("logs").join(spec.identity(peer.seed).directory());
        let sender = sender(peer, dir.path(), &logs.join("app"), service.port())?;
        let generator = Generator::start(&spec, &logs, peer.seed)?;
        let sender = Mortal::new(peer.name, Body::Program(sender), Fate::Lives, &[]);
        let (rng, histogram) = (Rng::new(peer.seed, 0), Histogram::default());
        Ok(Self { peer, rng, histogram, generator, sender, receivers, disk, files, _runtime: runtime, _dir: dir })
    }

    /// Nothing more is printed; what was is delivered, and everything ends. What is to be said of it.
    fn calm(&mut self) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        self.generator.stop();
        let begin = Instant::now();
        let (mut bytes, mut since) = (0, begin);
        while since.elapsed() < self.peer.still || !self.generator.is_over() {
            if begin.elapsed() > REST {
                notes.push(format!(
                    "still sent after {} min, what had not come by then counts as lost",
                    REST.as_secs() / 60
                ));
                break;
            }
            let now = self.bytes();
            if now != bytes {
                (bytes, since) = (now, Instant::now());
            }
            self.pass()?;
        }
        if notes.is_empty() {
            notes.push(format!("delivered {} s after the last line", since.duration_since(begin).as_secs()));
        }
        self.sender.fate = Fate::Ends;
        let asked = Instant::now();
        while !self.sender.has_ended() && asked.elapsed() < END {
            self.pass()?;
        }
        if !self.sender.has_ended() {
            notes.push(format!("did not end within {} s of SIGTERM", END.as_secs()));
            self.sender.fate = Fate::Away;
            self.kill_sender()?;
        }
        let fell = std::mem::take(&mut self.sender.fell);
        if let Some(last) = fell.last() {
            notes.push(format!("ended by itself {} times, the last time: {last}", fell.len()));
        }
        for receiver in &mut self.receivers {
            receiver.fate = Fate::Ends;
        }
        while !self.receivers.iter().all(Mortal::has_ended) {
            ensure!(asked.elapsed() < 2 * END, "receivers do not end");
            self.pass()?;
        }
        for receiver in &self.receivers {
            ensure!(receiver.fell.is_empty(), "a receiver ended by itself: {}", receiver.fell.join("; "));
        }
        Ok(notes)
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|path| std::fs::metadata(path).map_or(0, |metadata| metadata.len())).sum()
    }

    fn pass(&mut self) -> Result<()> {
        self.tick()?;
        std::thread::sleep(STEP);
        Ok(())
    }
}

impl Ground for Stage<'_> {
    fn kill_sender(&mut self) -> Result<()> {
        self.sender.kill(&mut self.rng, &mut self.histogram)
    }

    fn kill_receiver(&mut self, receiver: usize) -> Result<()> {
        self.receivers[receiver].kill(&mut self.rng, &mut self.histogram)
    }

    fn receivers(&mut self) -> &mut [Mortal] {
        &mut self.receivers
    }

    fn disk(&mut self) -> Option<&mut SmallDisk> {
        self.disk.as_mut()
    }

    fn tick(&mut self) -> Result<()> {
        ensure!(!self.peer.stop.load(Ordering::Relaxed), "ended before its time");
        for mortal in self.receivers.iter_mut().chain([&mut self.sender]) {
            mortal.tick(&mut self.rng, &mut self.histogram)?;
        }
        Ok(())
    }
}

/// A receiver that listens, and will again at the same address.
fn receiver(peer: &Peer<'_>, dir: &Path, n: usize, place: &Path) -> Result<(Program, String)> {
    let arguments = |listen: &str| -> Vec<OsString> {
        let mut arguments = ["--protocol", peer.protocol, "--listen", listen, "--dir"].map(OsString::from).to_vec();
        arguments.push(place.into());
        arguments
    };
    let mut receiver = Program {
        kind: Kind::Collector,
        name: format!("receiver-{n}"),
        dir: dir.to_owned(),
        path: binary("receiver")?,
        arguments: arguments("127.0.0.1:0"),
        process: None,
    };
    receiver.begin(&[])?;
    let address = eventually("a receiver listens", LISTENS, || {
        let said = receiver.process()?.stdout()?;
        Ok(said.strip_prefix("listening ").and_then(|rest| rest.strip_suffix('\n')).map(str::to_owned))
    })?;
    receiver.arguments = arguments(&address);
    Ok((receiver, address))
}

/// The peer itself.
fn sender(peer: &Peer<'_>, dir: &Path, logs: &Path, port: u16) -> Result<Program> {
    std::fs::create_dir_all(logs)?;
    let place = dir.join("sender");
    std::fs::create_dir_all(&place)?;
    let configurations = concat!(env!("CARGO_MANIFEST_DIR"), "/../bench/peers");
    let mut arguments: Vec<OsString> = ["--name", peer.name, "--port", &port.to_string()].map(OsString::from).to_vec();
    for (flag, value) in [("--logs", logs), ("--dir", &place), ("--configurations", Path::new(configurations))] {
        arguments.extend([flag.into(), value.into()]);
    }
    let mut sender = Program {
        kind: Kind::Sidecar,
        name: peer.name.into(),
        dir: dir.to_owned(),
        path: binary("peer")?,
        arguments,
        process: None,
    };
    sender.begin(&[])?;
    Ok(sender)
}
