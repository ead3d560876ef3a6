//! The fault run of the benchmark's row 11 (workload W7): one pod prints 10 MB/s while what sends its lines is killed three
//! times, one of three receivers once, all of them are away for a minute, a disk is full, each is restarted, one is slow.
//!
//! A [`Plan`] is drawn from the seed before anything runs, and is the same for every subject: our sidecar and collectors
//! ([`super::run()`]), and [`peer`]s with receivers that keep lines. [`tally`] counts what became of the lines of these.

mod peer;
mod table;
mod tally;

use std::time::{Duration, Instant};

use anyhow::Result;

use super::faults::SmallDisk;
use super::mortal::{Fate, Mortal};
use super::run::{ON_SMALL_DISK, STEP};
use crate::tamper::Rng;

pub use peer::{Peer, run as run_peer};
pub use table::{Counted, table};
pub use tally::Tally;

/// Bytes that the pod prints a second.
pub const PACE: u64 = 10_000_000;
/// Receivers that are in the pool.
pub const POOL: usize = 3;
/// How long a receiver may take to end.
const RESTART: Duration = Duration::from_secs(30);

/// When each fault comes, and whom it meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How long is waited before each kill of the sender.
    before_kills: [Duration; 3],
    before_victim: Duration,
    victim: usize,
    before_away: Duration,
    /// How long there is no receiver.
    away: Duration,
    after_away: Duration,
    /// How long a disk is full.
    full: Duration,
    before_restarts: [Duration; POOL],
    before_slow: Duration,
    slow_one: usize,
    /// How long one is slow.
    slow: Duration,
    at_last: Duration,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64) -> Self {
        Self::scaled(seed, 1000)
    }

    /// The same in a fraction of the time, for a test.
    pub fn short(seed: u64) -> Self {
        Self::scaled(seed, 40)
    }

    /// With this many milliseconds for each second.
    fn scaled(seed: u64, second: usize) -> Self {
        let mut rng = Rng::new(seed, 11);
        let exactly = |seconds: usize| Duration::from_millis((seconds * second) as u64);
        let mut about = |seconds: usize| {
            let share = rng.between(700, 1300);
            Duration::from_millis((seconds * second * share / 1000) as u64)
        };
        let (before_kills, before_victim) = ([about(3), about(3), about(3)], about(3));
        let (before_away, after_away) = (about(5), about(15));
        let (before_restarts, before_slow, at_last) = ([about(2), about(2), about(2)], about(5), about(5));
        Self {
            before_kills,
            before_victim,
            victim: rng.below(POOL),
            before_away,
            away: exactly(60),
            after_away,
            full: exactly(10),
            before_restarts,
            before_slow,
            slow_one: rng.below(POOL),
            slow: exactly(15),
            at_last,
        }
    }
}

/// What a plan is carried out on.
pub trait Ground {
    /// Kills what reads and sends; it is started again as a kubelet does.
    fn kill_sender(&mut self) -> Result<()>;
    /// Kills a receiver; what comes then is its fate.
    fn kill_receiver(&mut self, receiver: usize) -> Result<()>;
    /// The receivers, those of the pool first.
    fn receivers(&mut self) -> &mut [Mortal];
    /// The disk of the receiver on a small one, if it has one.
    fn disk(&mut self) -> Option<&mut SmallDisk>;
    /// Does what is due; an error if the run is to end.
    fn tick(&mut self) -> Result<()>;
}

/// Does it all.
pub fn strike(ground: &mut impl Ground, plan: &Plan) -> Result<()> {
    for before in plan.before_kills {
        wait(ground, before)?;
        ground.kill_sender()?;
    }
    wait(ground, plan.before_victim)?;
    ground.kill_receiver(plan.victim)?;
    wait(ground, plan.before_away)?;
    for receiver in 0..ground.receivers().len() {
        ground.receivers()[receiver].fate = Fate::Away;
        ground.kill_receiver(receiver)?;
    }
    wait(ground, plan.away)?;
    for receiver in ground.receivers() {
        receiver.fate = Fate::Lives;
    }
    wait(ground, plan.after_away)?;
    if let Some(disk) = ground.disk() {
        disk.fill(0)?;
        wait(ground, plan.full)?;
    }
    if let Some(disk) = ground.disk() {
        disk.free()?;
    }
    ground.receivers()[ON_SMALL_DISK].again();
    for (receiver, before) in plan.before_restarts.into_iter().enumerate() {
        wait(ground, before)?;
        restart(ground, receiver)?;
    }
    wait(ground, plan.before_slow)?;
    ground.receivers()[plan.slow_one].set_env("INDELIBLE_SLOW", "commit-sync:500");
    ground.kill_receiver(plan.slow_one)?;
    wait(ground, plan.slow)?;
    ground.receivers()[plan.slow_one].set_env("INDELIBLE_SLOW", "none:0");
    ground.kill_receiver(plan.slow_one)?;
    wait(ground, plan.at_last)
}

/// Tells a receiver to end, and starts it again once it has.
fn restart(ground: &mut impl Ground, receiver: usize) -> Result<()> {
    ground.receivers()[receiver].fate = Fate::Ends;
    let since = Instant::now();
    while !ground.receivers()[receiver].has_ended() {
        anyhow::ensure!(since.elapsed() < RESTART, "receiver {receiver} does not end");
        ground.tick()?;
        std::thread::sleep(STEP);
    }
    ground.receivers()[receiver].again();
    Ok(())
}

/// Lets everything run for a while.
fn wait(ground: &mut impl Ground, time: Duration) -> Result<()> {
    let since = Instant::now();
    loop {
        ground.tick()?;
        if since.elapsed() >= time {
            return Ok(());
        }
        std::thread::sleep(STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_plan_and_another_seed_another() {
        assert_eq!(Plan::draw(1), Plan::draw(1));
        assert_ne!(Plan::draw(1), Plan::draw(2));
        let (long, short) = (Plan::draw(1), Plan::short(1));
        assert_eq!((long.victim, long.slow_one), (short.victim, short.slow_one));
        assert_eq!((long.away, short.away), (Duration::from_mins(1), Duration::from_millis(2400)));
    }
}
