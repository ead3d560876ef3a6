//! Whole histories of a pool: pods print, sidecars seal and send, collectors take, some crash, some are sealed.
//!
//! Every history is legitimate: whatever happens in it is provided for by the format, and the verifier must raise
//! nothing. What a history holds follows from its seed and its [`Kind`].

mod pod;

use std::path::Path;

use anyhow::Result;

use super::actor::{Issuer, MINUTE, SECOND};
use super::image::Image;
use super::log::{Log, Tail};
use super::rng::Rng;
use pod::PodRun;

/// What is special about a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All chains have ended and all logs are sealed.
    Sealed,
    /// Everything still runs.
    Running,
    /// Collectors and sidecars were killed and came back; batches were sent again with other boundaries.
    Crash,
    /// A log was sealed for good, another one joined later, a third was sealed and opened again.
    Scale,
    /// Containers whose chains had ended were captured again.
    Resume,
    /// The directories were taken from machines that died: what was not acknowledged lies at the segments' ends.
    Dead,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Sealed, Self::Running, Self::Crash, Self::Scale, Self::Resume, Self::Dead];
}

/// A pool's evidence, and on whose word it is to be judged.
#[derive(Debug, Clone)]
pub struct History {
    /// What is special about it.
    pub kind: Kind,
    /// The data directories of the pool.
    pub directories: Vec<Image>,
    /// The logs' origins, in the same order.
    pub origins: Vec<String>,
    /// The data directory of a log that the policy does not name.
    pub stranger: Image,
    /// The policy.
    pub policy: String,
    /// The issuer's public keys.
    pub jwks: String,
    /// Checkpoints that were seen earlier.
    pub seen: Vec<String>,
    /// The moment to judge for, in nanoseconds.
    pub now: i64,
}

/// How many batches are sent in a history.
#[derive(Debug, Clone, Copy)]
pub struct Length(pub usize);

struct Sim {
    rng: Rng,
    issuer: Issuer,
    now: i64,
    pods: Vec<PodRun>,
    logs: Vec<Log>,
    last_liveness: Vec<i64>,
    /// Of each log: a checkpoint that somebody kept.
    seen: Vec<String>,
}

impl History {
    /// The `n`-th history under a seed.
    pub fn new(seed: u64, n: u64, kind: Kind, length: Length) -> Self {
        let mut rng = Rng::new(seed, n);
        let start = (1_790_000_000 + i64::try_from(rng.below(10_000_000)).expect("small")) * SECOND;
        let issuer = Issuer::new(&mut rng);
        let mut stranger = Sim::new(Rng::new(rng.number(), 0), issuer.clone(), start, 1);
        stranger.run(Kind::Sealed, length.0 / 6);
        let logs = if kind == Kind::Scale { 2 } else { 3 };
        let mut sim = Sim::new(rng, issuer, start, logs);
        sim.run(kind, length.0);
        sim.into_history(kind, stranger.logs[0].directory())
    }

    /// Writes the data directories, by number, and what they are to be judged with.
    pub fn write(&self, to: &Path) -> Result<()> {
        for (at, image) in self.directories.iter().enumerate() {
            image.write(&to.join(at.to_string()), None)?;
        }
        std::fs::write(to.join("policy"), &self.policy)?;
        std::fs::write(to.join("jwks.json"), &self.jwks)?;
        for (at, note) in self.seen.iter().enumerate() {
            std::fs::write(to.join(format!("seen-{at}")), note)?;
        }
        Ok(())
    }
}

impl Sim {
    fn new(mut rng: Rng, issuer: Issuer, now: i64, logs: usize) -> Self {
        let pods = rng.between(2, 4);
        let mut sim =
            Self { rng, issuer, now, pods: Vec::new(), logs: Vec::new(), last_liveness: Vec::new(), seen: Vec::new() };
        for _ in 0..logs {
            sim.join();
        }
        for ordinal in 0..pods {
            let pod = PodRun::new(&mut sim.rng, &sim.issuer, ordinal, now);
            sim.pods.push(pod);
        }
        sim
    }

    fn join(&mut self) {
        let name = format!("pool/c{}", self.logs.len());
        let roll = self.rng.between(24 << 10, 96 << 10);
        self.logs.push(Log::new(&mut self.rng, &name, roll, self.now));
        self.last_liveness.push(i64::MIN);
    }

    fn open_logs(&self) -> Vec<usize> {
        (0..self.logs.len()).filter(|log| !self.logs[*log].sealed).collect()
    }

    fn run(&mut self, kind: Kind, steps: usize) {
        for step in 0..steps {
            self.pass(4 * SECOND);
            self.special(kind, step, steps);
            let pod = self.rng.below(self.pods.len());
            self.send(pod);
            if self.rng.once_in(8) {
                self.tick();
            }
        }
        if !matches!(kind, Kind::Running | Kind::Dead) {
            self.finish();
        }
        self.tick();
    }

    fn pass(&mut self, most: i64) {
        self.now += i64::try_from(self.rng.below(usize::try_from(most).expect("positive"))).expect("below an i64");
    }

    fn special(&mut self, kind: Kind, step: usize, steps: usize) {
        match kind {
            Kind::Sealed | Kind::Running | Kind::Dead => (),
            Kind::Crash => {
                if self.rng.once_in(40) {
                    let log = self.rng.below(self.logs.len());
                    let tail = *self.rng.pick(&[Tail::Garbage, Tail::Torn, Tail::Zeros]);
                    self.logs[log].crash(&mut self.rng, tail, self.now);
                }
                if self.rng.once_in(30) {
                    let pod = self.rng.below(self.pods.len());
                    self.pods[pod].restart(&mut self.rng, &self.issuer, self.now);
                }
            }
            Kind::Scale if step == steps / 4 => self.join(),
            Kind::Scale if step == steps / 3 => self.logs[0].seal("shutdown", self.now),
            Kind::Scale if step == steps / 3 + 10 => self.logs[0].reopen(self.now),
            Kind::Scale if step == steps / 2 => self.logs[1].seal("scale-down", self.now),
            Kind::Scale => {}
            Kind::Resume => {
                if self.rng.once_in(40) {
                    let pod = self.rng.below(self.pods.len());
                    self.close(pod);
                    self.pass(20 * MINUTE / 60);
                    self.pods[pod].resume(&mut self.rng, &self.issuer, self.now);
                }
            }
        }
    }

    /// A pod prints, and its sidecar seals and sends.
    fn send(&mut self, pod: usize) {
        let open = self.open_logs();
        self.pods[pod].print(&mut self.rng, self.now);
        self.pods[pod].deliver(&mut self.rng, &mut self.logs, &open, self.now);
    }

    /// What collectors do by themselves: signs of life each minute, checkpoints each second.
    fn tick(&mut self) {
        for log in self.open_logs() {
            if self.now.saturating_sub(self.last_liveness[log]) >= MINUTE {
                self.last_liveness[log] = self.now;
                let origins: Vec<_> = self.logs.iter().map(|log| log.origin.clone()).collect();
                let beats: Vec<_> =
                    self.pods.iter_mut().filter_map(|pod| pod.heartbeat(log, &origins, self.now)).collect();
                self.logs[log].group();
                if beats.is_empty() {
                    self.logs[log].say(10, r#"{"offset_ms":0}"#, self.now);
                } else {
                    self.logs[log].liveness(beats, self.now);
                }
            }
            self.logs[log].checkpoint(self.now);
            if self.rng.once_in(60) {
                let size = self.logs[log].size();
                self.seen.push(self.logs[log].note(size));
            }
        }
    }

    /// Every chain of a pod ends.
    fn close(&mut self, pod: usize) {
        let open = self.open_logs();
        self.pods[pod].end(self.now);
        self.pods[pod].deliver(&mut self.rng, &mut self.logs, &open, self.now);
    }

    fn finish(&mut self) {
        for pod in 0..self.pods.len() {
            self.close(pod);
        }
        self.pass(SECOND);
        for log in self.open_logs() {
            self.logs[log].seal("shutdown", self.now);
        }
    }

    fn into_history(mut self, kind: Kind, stranger: Image) -> History {
        let directories = match kind {
            Kind::Dead => {
                let tails = [Tail::Garbage, Tail::Zeros, Tail::Torn];
                let rng = &mut self.rng;
                self.logs.iter_mut().zip(tails).map(|(log, tail)| dead(rng, log, tail, self.now)).collect()
            }
            _ => self.logs.iter().map(Log::directory).collect(),
        };
        let open = matches!(kind, Kind::Running | Kind::Dead);
        self.pass(if open { MINUTE } else { 3 * 24 * 60 * MINUTE });
        let policy: Vec<_> = self.logs.iter().map(|log| format!("log {}", log.vkey)).collect();
        History {
            kind,
            directories,
            origins: self.logs.iter().map(|log| log.origin.clone()).collect(),
            stranger,
            policy: format!("{}\nquorum none\n", policy.join("\n")),
            jwks: self.issuer.jwks(),
            seen: self.seen,
            now: self.now,
        }
    }
}

/// Frames that no checkpoint covers yet, and then what power loss left.
fn dead(rng: &mut Rng, log: &mut Log, tail: Tail, now: i64) -> Image {
    log.group();
    for _ in 0..rng.below(3) {
        log.say(10, r#"{"offset_ms":null}"#, now);
    }
    log.crashed(rng, tail)
}
