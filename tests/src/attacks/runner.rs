//! Plays attacks for seeds, each with its twin, and tells how it went.
//!
//! A seed's stage is made once and attacked by all attacks on copies; attacks with a world of their own run beside
//! them. What is told does not depend on the order in which they end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Attack, Play, Side, Stage, TABLE, another};

/// How one attack went under one seed.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What was not as its row says; empty if all was.
    pub wrong: Vec<String>,
    /// The sentence that was read.
    pub read: String,
    /// How long attack and twin took.
    pub took: Duration,
}

/// How attacks went, by their place in the table and by seed.
pub type Outcomes = BTreeMap<(usize, u64), Outcome>;

/// One thing that a worker does.
enum Job {
    /// All attacks on copies, of one seed.
    Copies(u64, Vec<usize>),
    /// An attack with a world of its own.
    World(u64, usize),
}

/// The rows whose names begin with one of these; all if there is none.
pub fn chosen(only: &[String]) -> Vec<usize> {
    let is_chosen = |attack: &Attack| {
        only.is_empty() || only.iter().any(|only| attack.name == only || attack.name.starts_with(&format!("{only}-")))
    };
    (0..TABLE.len()).filter(|at| is_chosen(&TABLE[*at])).collect()
}

/// What a row cannot be played without here, and is not there.
pub fn lacks(row: usize) -> Option<&'static str> {
    let has_strace = || Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    match TABLE[row].number() {
        15 => (!has_strace()).then_some("strace"),
        18 => another::lacks(),
        _ => None,
    }
}

/// Plays these rows for these seeds on `workers` threads.
pub fn play(rows: &[usize], seeds: &[u64], workers: usize) -> Outcomes {
    let is_on_copies = |row: &usize| !matches!(TABLE[*row].play, Play::World(_));
    let (copies, worlds): (Vec<usize>, Vec<usize>) = rows.iter().copied().partition(is_on_copies);
    let mut jobs: Vec<Job> = Vec::new();
    for seed in seeds {
        if !copies.is_empty() {
            jobs.push(Job::Copies(*seed, copies.clone()));
        }
        jobs.extend(worlds.iter().map(|row| Job::World(*seed, *row)));
    }
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Outcomes::new()));
    let all = rows.len() * seeds.len();
    let tell = |row: usize, seed: u64, outcome: Outcome| {
        let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.insert((row, seed), outcome);
        progress(outcomes.len(), all);
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match job {
                        Job::Copies(seed, rows) => on_copies(*seed, rows, &tell),
                        Job::World(seed, row) => tell(*row, *seed, one(*row, *seed, None)),
                    }
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn on_copies(seed: u64, rows: &[usize], tell: &impl Fn(usize, u64, Outcome)) {
    let stage = Stage::new(seed);
    for row in rows {
        let outcome = match &stage {
            Ok(stage) => one(*row, seed, Some(stage)),
            Err(error) => Outcome { wrong: vec![format!("the stage was not set: {error:#}")], ..Outcome::default() },
        };
        tell(*row, seed, outcome);
    }
}

/// An attack and its twin.
fn one(row: usize, seed: u64, stage: Option<&Stage>) -> Outcome {
    let (attack, start, mut outcome) = (&TABLE[row], Instant::now(), Outcome::default());
    for side in [Side::Attack, Side::Twin] {
        let trial = match (attack.play, stage) {
            (Play::Copies(play), Some(stage)) => play(stage, side),
            (Play::Against(play, kept), Some(stage)) => play(stage, side, kept),
            (Play::World(play), _) => play(seed, side),
            (_, None) => Err(anyhow::anyhow!("it needs a stage")),
        };
        let wrong = match trial {
            Ok(trial) => {
                let (wrong, read) = trial.check(attack, side);
                outcome.read.push_str(&read);
                wrong
            }
            Err(error) => vec![format!("it could not be played: {error:#}")],
        };
        outcome.wrong.extend(wrong.into_iter().map(|wrong| format!("{}: {wrong}", side.word())));
    }
    outcome.took = start.elapsed();
    outcome
}

fn progress(n: usize, count: usize) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        // Nobody is there to tell if this cannot be written.
        let _ = write!(stderr, "\r\x1b[K{}", if n < count { format!("attacks {n}/{count}") } else { String::new() });
    }
}

/// The table of how it went, as text, and whether all went as it must.
pub fn report(outcomes: &Outcomes, is_slow_told: bool) -> (String, bool) {
    let mut rows: BTreeMap<usize, Vec<(u64, &Outcome)>> = BTreeMap::new();
    for ((row, seed), outcome) in outcomes {
        rows.entry(*row).or_default().push((*seed, outcome));
    }
    let text = rows.iter().map(|(row, of)| told(&TABLE[*row], of, is_slow_told)).collect();
    (text, outcomes.values().all(|outcome| outcome.wrong.is_empty()))
}

/// A row's line, and below it what went wrong.
fn told(attack: &Attack, of: &[(u64, &Outcome)], is_slow_told: bool) -> String {
    let (good, wrong): (Vec<_>, Vec<_>) = of.iter().partition(|(_, outcome)| outcome.wrong.is_empty());
    let took: Duration = of.iter().map(|(_, outcome)| outcome.took).sum();
    let slow = if is_slow_told { format!("{:>6.1} s  ", took.as_secs_f64()) } else { String::new() };
    let read = of.iter().map(|(_, outcome)| &*outcome.read).find(|read| !read.is_empty()).unwrap_or("-");
    let (name, flips, exit, shows) = (attack.name, attack.flips(), attack.exit, attack.shows.words());
    let (good, all) = (good.len(), of.len());
    let mut text = format!("{name:<16} {good:>2}/{all:<2}  {slow}{flips:<34} exit {exit}  {shows:<15} {read}\n");
    for (seed, outcome) in wrong {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  seed {seed} failed; alone: make attacks ONLY={name} SEED={seed} SEEDS=1");
        for line in outcome.wrong.iter().flat_map(|wrong| wrong.lines()) {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}
