//! The judge: what was printed, against what data directories hold.
//!
//! It shares no code with the verifier, the collector or the sidecar: segments are read by [`segments`], links computed
//! by what [`crate::tamper::wire`] has, and what a container printed is made again by its [`Script`] or, of the recorded
//! kubelet, by [`crate::oracle`]. Of a run it believes only when files left the disk and when sidecars died or were stopped.

mod chains;
mod lines;
pub mod segments;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::container::Written;
use super::line::Script;
use crate::oracle::Record;
use crate::tamper::wire::{Digest, hex};

use chains::Chain;
use segments::Log;

/// The source number of the records in which a sidecar itself speaks.
const CONTROL: u8 = 3;

/// What a container printed.
#[derive(Debug)]
pub enum Printed {
    /// Lines of a script, in these files.
    Script {
        /// Which lines.
        script: Script,
        /// Where they were.
        files: Vec<Written>,
    },
    /// Recorded lines.
    Recorded {
        /// The lines in their order.
        lines: Vec<Record>,
        /// When each had left the disk.
        gone: Vec<Option<Timestamp>>,
    },
}

/// A container of the run.
#[derive(Debug)]
pub struct Container {
    /// `<namespace>_<pod>_<uid>/<container>`.
    pub name: String,
    /// What it printed.
    pub printed: Printed,
    /// When its sidecar was killed, and until the next one began.
    pub deaths: Vec<Range<Timestamp>>,
    /// When its sidecar was stopped, and until when.
    pub stops: Vec<Range<Timestamp>>,
}

/// A run that is over.
#[derive(Debug)]
pub struct Case {
    /// The collectors' data directories.
    pub data: Vec<PathBuf>,
    /// Everything that printed.
    pub containers: Vec<Container>,
    /// Batches that were sent to another log on purpose: the directory, and the commitment's digest.
    pub repeated: BTreeSet<(usize, Digest)>,
}

/// What the judge found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What must not be, each as a sentence.
    pub wrong: Vec<String>,
    /// Lines that were printed.
    pub printed: u64,
    /// Their bytes.
    pub printed_bytes: u64,
    /// Lines that the evidence holds.
    pub held: u64,
    /// Lines that had left the disk before anyone could read them, and are declared.
    pub declared: u64,
    /// Their bytes.
    pub declared_bytes: u64,
    /// Lines that are missing and were not declared, or could have been read.
    pub lost: u64,
    /// Lines that the joined chains hold twice.
    pub duplicated: u64,
    /// Records that are no line that was printed.
    pub garbled: u64,
    /// Positions with two links.
    pub forks: u64,
    /// Bytes of bodies that the logs hold.
    pub stored_bytes: u64,
    /// Of these, bytes of positions that were stored before.
    pub twice_bytes: u64,
    /// Of these, bytes that a second client has sent again to another log.
    pub repeated_bytes: u64,
    /// Chains that took over from another, hex: the verifier has to tell of each.
    pub resumed: BTreeSet<String>,
    /// Of these, chains that say that a state was lost, although nothing had been printed that was in it.
    pub cautious: u64,
    /// Chains that declare a gap, hex.
    pub gaps: BTreeSet<String>,
    /// Chains.
    pub chains: u64,
    /// Batches.
    pub batches: u64,
}

/// Judges a run.
pub fn judge(case: &Case) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut logs = Vec::new();
    for (at, directory) in case.data.iter().enumerate() {
        logs.push(Log::read(at, directory).with_context(|| directory.display().to_string())?);
    }
    let mut chains: BTreeMap<Digest, Chain> = BTreeMap::new();
    for log in &logs {
        for (id, genesis) in &log.chains {
            chains.entry(*id).or_insert_with(|| Chain::new(*id, genesis.clone()));
        }
    }
    for log in &mut logs {
        let mut seen = BTreeSet::new();
        for batch in log.batches.drain(..) {
            verdict.batches += 1;
            verdict.stored_bytes += batch.body_len;
            if !seen.insert(batch.digest) {
                verdict.wrong.push(format!("log {} holds the same batch twice, at leaf {}", batch.log, batch.index));
            }
            match chains.get_mut(&batch.chain) {
                Some(chain) => chain.batches.push(batch),
                None => {
                    verdict.wrong.push(format!("log {} holds a batch of no chain, at leaf {}", batch.log, batch.index));
                }
            }
        }
    }
    let mut by_container: BTreeMap<String, Vec<Chain>> = BTreeMap::new();
    for chain in chains.into_values() {
        verdict.chains += 1;
        by_container.entry(chain.genesis.container()).or_default().push(chain);
    }
    for container in &case.containers {
        let mut chains = by_container.remove(&container.name).unwrap_or_default();
        chains.sort_by_key(|chain| chain.genesis.incarnation);
        let takeovers = chains.iter().map(|chain| chain.takes_over(&logs)).collect::<Result<Vec<_>>>()?;
        for (from, next) in takeovers.into_iter().flatten() {
            match chains.iter_mut().find(|chain| hex(&chain.id) == from) {
                Some(chain) => chain.until = Some(chain.until.map_or(next, |until| until.min(next))),
                None => {
                    verdict
                        .wrong
                        .push(format!("{}: a chain took over from {from}, which is not there", container.name));
                }
            }
        }
        lines::compare(case, &logs, container, &chains, &mut verdict)
            .with_context(|| format!("container {}", container.name))?;
    }
    for name in by_container.keys() {
        verdict.wrong.push(format!("{name} has a chain and printed nothing"));
    }
    Ok(verdict)
}

impl Verdict {
    /// The share of what is stored that was stored before, in percent; what was sent again on purpose is not counted.
    #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
    pub fn twice_percent(&self) -> f64 {
        let once = self.stored_bytes.saturating_sub(self.twice_bytes).max(1);
        self.twice_bytes.saturating_sub(self.repeated_bytes) as f64 * 100.0 / once as f64
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let mega = |bytes: u64| format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10);
        let rows = [
            ("lines printed", format!("{} ({})", self.printed, mega(self.printed_bytes))),
            ("lines held", self.held.to_string()),
            ("lost", self.lost.to_string()),
            ("duplicated in the joined chains", self.duplicated.to_string()),
            ("forks", self.forks.to_string()),
            ("declared: had left the disk", format!("{} ({})", self.declared, mega(self.declared_bytes))),
            ("chains that took over", self.resumed.len().to_string()),
            ("of these, for caution", self.cautious.to_string()),
            ("bytes stored twice", format!("{:.2} % of {}", self.twice_percent(), mega(self.stored_bytes))),
            ("sent again by a second client", mega(self.repeated_bytes)),
            ("chains, batches", format!("{}, {}", self.chains, self.batches)),
        ];
        rows.map(|(what, value)| format!("{what:34}{value}\n")).concat()
    }
}

fn short(id: &Digest) -> String {
    hex(id)[..12].to_owned()
}
