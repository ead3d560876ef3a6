//! One run of the recorded kubelet trace under real sidecars and collectors, with kills at chosen times.
//!
//! [`Run`] owns the world, the replay and the sidecars, one for each pod of the recording. When it is over,
//! [`Judgement`] compares the evidence with the oracle's second opinion.

mod judgement;
mod kills;
mod lives;
mod takeover;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::evidence;
use crate::oracle::{self, Ending};
use crate::trace::{Replay, Speed, Trace};
use crate::world::{PodIdentity, Sidecar, SidecarOptions, World};

pub use judgement::Judgement;
pub use kills::{Kills, Victim};
pub use lives::{Lives, Outage};

/// A run.
#[derive(Debug)]
pub struct Run {
    world: World,
    trace: Arc<Trace>,
    sidecars: Vec<Sidecar>,
    /// Of each sidecar.
    lives: Vec<Lives>,
    /// When each operation of the recording was done again.
    moments: Vec<Range<Timestamp>>,
}

impl Run {
    /// Collectors, and the log directories of pods that have not printed anything.
    ///
    /// # Panics
    /// If the world cannot be made: a failed test.
    pub fn prepare(collectors: usize) -> Self {
        let world = World::start(collectors).expect("starting a world");
        let trace = Arc::new(Trace::recorded().expect("reading the recorded trace"));
        for pod in trace.pods() {
            std::fs::create_dir_all(world.logs().join(&pod.directory)).expect("making a log directory");
        }
        Self { world, trace, sidecars: Vec::new(), lives: Vec::new(), moments: Vec::new() }
    }

    /// The same, with an armed sidecar for each pod.
    pub fn start(collectors: usize, options: &SidecarOptions) -> Self {
        let mut run = Self::prepare(collectors);
        run.start_sidecars(options);
        run
    }

    /// Starts a sidecar for each pod and waits until all are armed.
    ///
    /// # Panics
    /// If one does not start.
    pub fn start_sidecars(&mut self, options: &SidecarOptions) {
        for pod in self.trace.pods() {
            let sidecar = self.world.sidecar(&PodIdentity::from(pod), options).expect("starting a sidecar");
            sidecar.armed().expect("arming a sidecar");
            self.sidecars.push(sidecar);
            self.lives.push(Lives::default());
        }
    }

    /// The world, to do something to it.
    pub fn world(&mut self) -> &mut World {
        &mut self.world
    }

    /// The sidecars, in the order of the recording's pods.
    pub fn sidecars(&mut self) -> &mut [Sidecar] {
        &mut self.sidecars
    }

    /// Replays everything, killing on the way.
    ///
    /// # Panics
    /// If a step fails.
    pub fn replay(&mut self, speed: Speed, kills: &Kills) {
        let replay = Replay::start(&self.trace, self.world.logs(), speed);
        for (at, victim) in kills.iter() {
            replay.wait_until(*at);
            self.strike(*victim, *at).expect("killing and starting again");
        }
        self.moments = replay.join().expect("replaying").moments;
    }

    /// Replays everything, with all sidecars killed at one time of the recording and started again at another.
    ///
    /// # Panics
    /// If a step fails.
    pub fn replay_without_sidecars(&mut self, speed: Speed, away: Range<Duration>) {
        let replay = Replay::start(&self.trace, self.world.logs(), speed);
        replay.wait_until(away.start);
        for (lives, sidecar) in self.lives.iter_mut().zip(&mut self.sidecars) {
            lives.kill(sidecar).expect("killing a sidecar");
        }
        replay.wait_until(away.end);
        for (lives, sidecar) in self.lives.iter_mut().zip(&mut self.sidecars) {
            lives.restart(sidecar).expect("starting a sidecar again");
        }
        self.moments = replay.join().expect("replaying").moments;
    }

    /// Replays up to a time of the recording, and stops.
    ///
    /// # Panics
    /// If a step fails.
    pub fn replay_until(&mut self, speed: Speed, at: Duration) {
        let replay = Replay::start(&self.trace, self.world.logs(), speed);
        replay.wait_until(at);
        self.moments = replay.stop().expect("replaying").moments;
    }

    fn strike(&mut self, victim: Victim, at: Duration) -> Result<()> {
        match victim {
            Victim::Sidecar(n) => {
                // A sidecar ends with its pod: one whose pod was deleted is not started again, so it is not killed.
                let count = self.sidecars.len();
                let is_there = |n: &usize| self.trace.gone(&self.trace.pods()[*n]).is_none_or(|gone| at < gone);
                let n = (n..n + count).map(|n| n % count).find(is_there).context("all pods were deleted")?;
                self.lives[n].kill(&mut self.sidecars[n])?;
                self.lives[n].restart(&mut self.sidecars[n])
            }
            Victim::Collector(n) => {
                let collector = self.world.collectors.get_mut(n).context("no such collector")?;
                collector.kill()?;
                collector.restart(&[])
            }
        }
    }

    /// Ends the sidecars, which close their chains, and then the collectors, which seal their logs.
    ///
    /// # Panics
    /// If one does not end well.
    pub fn finish(&mut self) {
        for sidecar in &mut self.sidecars {
            sidecar.terminate().expect("ending a sidecar");
        }
        for (lives, sidecar) in self.lives.iter_mut().zip(&self.sidecars) {
            lives.end(sidecar);
        }
        self.world.seal().expect("sealing");
    }

    /// Reads and verifies what the collectors hold.
    ///
    /// # Panics
    /// If the evidence cannot be read, or holds a fork.
    pub fn judge(&self) -> Judgement {
        let directories: Vec<PathBuf> = self.world.collectors.iter().map(crate::world::Collector::data).collect();
        let chains = evidence::read(&directories).expect("reading the evidence");
        let answer = self.world.verify(&[]).expect("verifying");
        Judgement::new(&self.trace, chains.into_values().collect(), answer, (self.lives.clone(), self.moments.clone()))
    }

    /// Every kill of a sidecar.
    pub fn outages(&self) -> Vec<Outage> {
        self.lives.iter().flat_map(Lives::outages).collect()
    }

    /// For each container whose files are on the disk now: the lines in them, as the oracle reads them.
    ///
    /// # Panics
    /// If they cannot be read.
    pub fn files_there(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        let mut found = BTreeMap::new();
        for container in self.trace.heads().keys() {
            let Ok(entries) = std::fs::read_dir(self.world.logs().join(container)) else { continue };
            let files = entries.map(|entry| unpacked(&entry.expect("listing").path()).expect("reading a log file"));
            let records = oracle::records(&oracle::in_order(files.collect()), Ending::Closed);
            let lines = records.into_iter().filter(|record| record.source != oracle::CONTROL);
            found.insert(container.clone(), lines.map(|record| record.payload).collect());
        }
        found
    }
}

fn unpacked(path: &std::path::Path) -> Result<oracle::File> {
    let name = path.file_name().and_then(|name| name.to_str()).context("a log file has a name")?.to_owned();
    let mut bytes = std::fs::read(path)?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain)?;
        bytes = plain;
    }
    Ok(oracle::File { name, bytes })
}
