//! `make soak`: pods print, everything is killed, stopped, cut off and filled up for a while, and then nothing may be
//! missing.
//!
//! [`run()`] is one run of real processes under a seed; [`judge`] compares what was printed with what the evidence holds and
//! shares no code with the product; [`window`] counts where kills fell.

mod container;
mod disk;
mod faults;
pub mod judge;
mod line;
mod mortal;
mod pods;
mod program;
mod proxy;
mod replayer;
pub mod row11;
mod run;
pub mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::world::Answer;
use judge::Verdict;
use window::Histogram;

pub use run::run;

/// Most bytes that may be stored twice, in percent of what is stored once.
pub const MAX_TWICE: f64 = 3.0;

/// Kills that a long run has, at least.
const KILLS_A_MINUTE: u64 = 15;
/// Kills that each window of a long run has, at least.
const KILLS_A_WINDOW: u64 = 10;
/// Shorter runs kill so often for what is printed that the share of what is stored twice says nothing.
const LONG: Duration = Duration::from_mins(10);

/// What happens in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Everything, at random.
    Storm,
    /// The faults of the benchmark's row 11, one after the other.
    Row11,
}

/// What a run follows from.
#[derive(Debug)]
pub struct Options {
    /// What everything follows from, as far as it does not depend on how fast the machine is.
    pub seed: u64,
    /// How long there are faults.
    pub lasts: Duration,
    /// What happens.
    pub schedule: Schedule,
    /// Whether small disks are mounted: that needs root, and a mount namespace of its own.
    pub small_disks: bool,
    /// Whether the directory of a run in which something is wrong stays; what is on small disks does not.
    pub keep: bool,
    /// Set to end it before its time.
    pub stop: Arc<AtomicBool>,
}

impl Options {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// What happened.
    pub schedule: Schedule,
    /// How long there were faults.
    pub lasts: Duration,
    /// Where the kills fell.
    pub histogram: Histogram,
    /// What the judge found.
    pub verdict: Verdict,
    /// What the verifier answered.
    pub answer: Answer,
    /// Processes that ended by themselves, and badly.
    pub fell: Vec<String>,
    /// How often a process was stopped for a while.
    pub stops: u64,
    /// How many lives of collectors had a slow disk.
    pub slow: u64,
    /// How often the network changed.
    pub network: u64,
    /// How often a clock stepped.
    pub steps: u64,
    /// How often a disk was full.
    pub full: u64,
    /// How often a pod had no token.
    pub expired: u64,
    /// Pods that came and went.
    pub brief: usize,
    /// What happened to the pool.
    pub pool: Vec<String>,
    /// What collectors answered to what was sent again, by status; 0: nothing.
    pub again: BTreeMap<u16, u64>,
}

impl Outcome {
    /// What must not be, each as a sentence.
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = self.verdict.wrong.clone();
        wrong.extend(self.fell.iter().map(|text| format!("ended by itself: {text}")));
        if self.schedule == Schedule::Storm && self.lasts >= LONG {
            let (kills, due) = (self.histogram.kills(), self.lasts.as_secs() / 60 * KILLS_A_MINUTE);
            if self.verdict.twice_percent() > MAX_TWICE {
                wrong.push(format!("{:.2} % of the bytes are stored twice", self.verdict.twice_percent()));
            }
            if kills < due {
                wrong.push(format!("{kills} kills where {due} were due"));
            }
            let short = self.histogram.short(KILLS_A_WINDOW).into_iter();
            wrong.extend(short.map(|window| format!("less than {KILLS_A_WINDOW} kills fell into: {window}")));
        }
        // Stored before, not introduced there, too much at a time, none at all: anything else is a refusal of what was taken.
        let refused = self.again.iter().filter(|(status, _)| ![0, 200, 412, 429, 503, 507].contains(*status));
        wrong.extend(refused.map(|(status, times)| format!("{status} to {times} batches that were sent again")));
        for finding in &self.answer.findings {
            let chain = finding.chain_id.as_deref().unwrap_or_default();
            let is_right = match finding.class.as_str() {
                "resumed" => self.verdict.resumed.contains(chain),
                "declared-gap" => self.verdict.gaps.contains(chain),
                _ => false,
            };
            if !is_right {
                let (axis, level, class) = (&finding.axis, &finding.level, &finding.class);
                wrong.push(format!("a false finding, {axis} {level} {class}: {}", finding.text));
            }
        }
        let told = |class: &str, chain: &String| {
            self.answer
                .findings
                .iter()
                .any(|finding| finding.class == class && finding.chain_id.as_ref() == Some(chain))
        };
        let untold = self.verdict.resumed.iter().filter(|chain| !told("resumed", chain));
        wrong.extend(untold.map(|chain| format!("the verifier does not tell that chain {chain} took over")));
        wrong
    }

    /// A report for people.
    pub fn report(&self) -> String {
        let rows = [
            ("processes stopped for a while", self.stops.to_string()),
            ("lives with a slow disk", self.slow.to_string()),
            ("changes of the network", self.network.to_string()),
            ("steps of a clock", self.steps.to_string()),
            ("times that a disk was full", self.full.to_string()),
            ("times that a token had expired", self.expired.to_string()),
            ("pods that came and went", self.brief.to_string()),
            ("answers to requests sent again", format!("{:?}", self.again)),
            ("the verifier's exit code", self.answer.code.to_string()),
        ];
        let mut out = self.histogram.table() + "\n";
        out.extend(rows.iter().map(|(what, value)| format!("{what:34}{value}\n")));
        out.extend(self.pool.iter().map(|what| format!("{:34}{what}\n", "")));
        out + "\n" + &self.verdict.table()
    }
}
