//! The pods of a run: what each prints, how its kubelet rotates, and what may happen to its sidecar.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::container::{Container, Rotation, Written};
use super::line::Script;
use crate::tamper::Rng;
use crate::world::PodIdentity;

/// How often a generator prints, in milliseconds.
const STEP: u64 = 50;

/// How much a container prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volume {
    /// Lines a second.
    Steady(u64),
    /// Bytes a second, for a while of each round.
    Heavy {
        /// While it prints.
        per_second: u64,
        /// How long it prints.
        on: Duration,
        /// How long it does not.
        off: Duration,
    },
    /// At random: nothing for seconds, then up to so many lines at once.
    Bursts(usize),
    /// A line at the beginning and one at the end.
    Silent,
    /// Some lines, and it is over after this time.
    Brief(Duration),
}

/// What is special about a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trait {
    /// Nothing.
    Plain,
    /// Its node's clock steps.
    Clock,
    /// Its token lives for a minute, and sometimes none is to be had.
    Token,
    /// Its state is on a small disk, which fills up.
    FullDisk,
}

/// A pod that is to be.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// What its container prints.
    pub volume: Volume,
    /// The least and about the most bytes of a line.
    pub length: (usize, usize),
    /// How its kubelet rotates.
    pub rotation: Rotation,
    /// What is special.
    pub special: Trait,
}

impl Spec {
    fn new(name: &str, volume: Volume, length: (usize, usize), max_size: u64) -> Self {
        let rotation = Rotation { max_size, max_files: 5, every: Duration::from_millis(500), packs: false };
        Self { name: name.into(), volume, length, rotation, special: Trait::Plain }
    }

    fn keeps(mut self, max_files: usize, packs: bool) -> Self {
        (self.rotation.max_files, self.rotation.packs) = (max_files, packs);
        self
    }

    fn special(mut self, special: Trait) -> Self {
        self.special = special;
        // What has left the disk is told from times, which these pods' sidecars do not know.
        self.rotation.max_files = 1 << 20;
        self
    }

    /// Who it is.
    pub fn identity(&self, seed: u64) -> PodIdentity {
        PodIdentity::new("soak", &self.name, &format!("5eed{seed:08x}-{}", self.name))
    }
}

/// The pods that live as long as the run.
pub fn lasting() -> Vec<Spec> {
    let second = Duration::from_secs(1);
    let heavy = Volume::Heavy { per_second: 20_000_000, on: 3 * second, off: 17 * second };
    let mut pods = vec![
        Spec::new("heavy", heavy, (180, 260), 10 << 20),
        Spec::new("steady", Volume::Steady(200), (80, 400), 256 << 10).keeps(5, true),
        Spec::new("quick", Volume::Steady(400), (80, 200), 64 << 10).keeps(20, false),
        Spec::new("short-kept", Volume::Steady(300), (80, 200), 64 << 10).keeps(3, false),
        Spec::new("bursts", Volume::Bursts(4000), (80, 400), 256 << 10).keeps(8, true),
        Spec::new("gusts", Volume::Bursts(500), (80, 2000), 128 << 10).keeps(8, false),
        Spec::new("long-lines", Volume::Steady(10), (80, 60_000), 1 << 20).keeps(5, true),
        Spec::new("silent", Volume::Silent, (80, 400), 1 << 20),
        Spec::new("clock", Volume::Steady(40), (80, 300), 128 << 10).special(Trait::Clock),
        Spec::new("token", Volume::Steady(40), (80, 300), 128 << 10).special(Trait::Token),
        Spec::new("full-disk", Volume::Steady(40), (80, 300), 128 << 10).special(Trait::FullDisk),
    ];
    let trickles = (0..3).map(|n| Spec::new(&format!("trickle-{n}"), Volume::Steady(6), (80, 200), 32 << 10));
    pods.extend(trickles);
    pods
}

/// The pod of the benchmark's row 11: so many bytes a second, of which nothing leaves the disk.
pub fn row11(per_second: u64) -> Spec {
    let all = Duration::from_hours(1);
    let volume = Volume::Heavy { per_second, on: all, off: Duration::ZERO };
    Spec::new("row11", volume, (180, 260), 10 << 20).keeps(1 << 20, false)
}

/// The `n`-th of the pods that come and go.
pub fn brief(n: usize, rng: &mut Rng) -> Spec {
    let lasts = Duration::from_millis(rng.between(500, 6000) as u64);
    Spec::new(&format!("brief-{n}"), Volume::Brief(lasts), (80, 400), 64 << 10)
}

/// A container that prints, on a thread of its own.
#[derive(Debug)]
pub struct Generator {
    thread: Option<JoinHandle<Result<Vec<Written>>>>,
    script: Script,
    stop: Arc<AtomicBool>,
}

impl Generator {
    /// Starts it below a pod's log directory.
    pub fn start(spec: &Spec, pod: &Path, seed: u64) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let script = Script::new(seed, &spec.name, spec.length);
        let container = Container::start(pod, script.clone(), spec.rotation)?;
        let (volume, told, rng) = (spec.volume, Arc::clone(&stop), Rng::new(seed, spec.name.len() as u64));
        let thread = Some(std::thread::spawn(move || generate(container, volume, rng, &told)));
        Ok(Self { thread, script, stop })
    }

    /// Whether it prints no more.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// What it printed, once it is over.
    pub fn end(mut self) -> Result<(Script, Vec<Written>)> {
        let thread = self.thread.take().context("it is ended once")?;
        let files = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((self.script.clone(), files))
    }

    /// It is to print no more.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // What it printed was not asked for.
            let _ = thread.join();
        }
    }
}

fn generate(mut container: Container, volume: Volume, mut rng: Rng, stop: &AtomicBool) -> Result<Vec<Written>> {
    let start = Instant::now();
    let mut quiet_until = Duration::ZERO;
    let mut owed = 0;
    container.print(1, usize::MAX)?;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(STEP));
        let now = start.elapsed();
        let per_step = |per_second: u64| per_second * STEP / 1000;
        match volume {
            Volume::Steady(per_second) => {
                owed += per_second * STEP;
                container.print(owed / 1000, usize::MAX)?;
                owed %= 1000;
            }
            Volume::Heavy { per_second, on, off } => {
                let of_round = now.as_millis() % (on + off).as_millis();
                if of_round < on.as_millis() {
                    container.print(u64::MAX, usize::try_from(per_step(per_second))?)?;
                }
            }
            Volume::Bursts(most) if now >= quiet_until => {
                container.print(rng.between(1, most) as u64, usize::MAX)?;
                quiet_until = now + Duration::from_millis(rng.between(50, 6000) as u64);
            }
            Volume::Bursts(_) | Volume::Silent => {}
            Volume::Brief(lasts) => {
                if now >= lasts {
                    break;
                }
                container.print(rng.between(0, 20) as u64, usize::MAX)?;
            }
        }
        container.look()?;
    }
    container.print(1, usize::MAX)?;
    Ok(container.end())
}
