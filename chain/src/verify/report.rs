//! What a verification says: four verdicts, the logs and chains they hold for, the findings, and the exit code.
//!
//! ```text
//! id = first 16 hex digits of SHA-256( lp16(class) ‖ lp16(log) ‖ lp16(chain) ‖ lp16(range) )
//!      class: its word · log: the origin, or empty · chain: 64 hex digits, or empty
//!      range: "<first_seq>-<last_seq>" where there is a chain range, else "#<batch_index>" where there is a leaf, else ""
//! ```
//!
//! The fields are those of `indelible verify --json`; times stay numbers here. Invariant: a verdict is the greatest
//! level among the findings on its axis that were not accepted, and the exit code follows from those levels alone.

use crate::bytes::Put;
use crate::digest::Digest;
use crate::id::{ChainId, LeafIndex, Seq, Time};

use super::class::{Axis, Class, Level};

/// The answer on one axis.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// Nothing was found.
    Pass,
    /// Something is to be looked at.
    Warn,
    /// Something is wrong.
    Fail,
    /// It could not be judged.
    Unknown,
}

impl Verdict {
    /// The word in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// The four answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the fields are the axes")]
pub struct Verdicts {
    pub integrity: Verdict,
    pub authenticity: Verdict,
    pub completeness: Verdict,
    pub freshness: Verdict,
}

impl Verdicts {
    /// The answer on an axis.
    pub const fn on(&self, axis: Axis) -> Verdict {
        match axis {
            Axis::Integrity => self.integrity,
            Axis::Authenticity => self.authenticity,
            Axis::Completeness => self.completeness,
            Axis::Freshness => self.freshness,
        }
    }
}

/// Something that a person has to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// 16 hex digits that name the finding from run to run; what `--accept` takes.
    pub id: String,
    /// What it is.
    pub class: Class,
    /// Which question it bears on.
    pub axis: Axis,
    /// How much it weighs.
    pub level: Level,
    /// Origin of the log that it is about, or that answers for it.
    pub log: Option<String>,
    /// The chain that it is about.
    pub chain_id: Option<ChainId>,
    /// The first position that it is about.
    pub first_seq: Option<Seq>,
    /// The last position that it is about.
    pub last_seq: Option<Seq>,
    /// The leaf that it is about, in `log`.
    pub batch_index: Option<LeafIndex>,
    /// For a person: what, where, who, and what to do.
    pub text: String,
    /// Why it does not count, if it was accepted.
    pub accepted: Option<String>,
}

/// The id of a finding, from what it is about.
pub fn finding_id(class: Class, log: &str, chain: Option<ChainId>, range: &str) -> String {
    let chain = chain.map(|chain| chain.to_string()).unwrap_or_default();
    let mut message = Vec::new();
    for part in [class.word(), log, &chain, range] {
        message.put_lp16(part.as_bytes());
    }
    let mut id = Digest::sha256(&message).to_string();
    id.truncate(16);
    id
}

/// A log as one source shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSummary {
    /// The log's name.
    pub origin: String,
    /// The source's label.
    pub source: String,
    /// Leaves under the largest checkpoint of the source.
    pub size: u64,
    /// The root that is signed for them.
    pub root: Digest,
    /// When the newest of them was received.
    pub newest_leaf_time: Option<Time>,
    /// Whether the log is sealed.
    pub sealed: bool,
    /// Witnesses of the policy that cosigned the largest checkpoint that meets it.
    pub witnesses: Vec<String>,
    /// What was kept of the log elsewhere and compared with it, for a person. With nothing, whoever has the log's key
    /// could have signed another history, and it would not show.
    pub bound_by: Vec<String>,
}

/// A chain as all sources together show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainSummary {
    /// The chain.
    pub chain_id: ChainId,
    /// The pod's namespace; empty if no log introduces the chain.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID.
    pub pod_uid: String,
    /// The container's name.
    pub container: String,
    /// Records that are in evidence.
    pub records: u64,
    /// The first of them.
    pub first_seq: Seq,
    /// The position after the last of them.
    pub next_seq: Seq,
    /// The link before `next_seq`.
    pub head: Digest,
    /// Whether it ended, or another chain took over.
    pub closed: bool,
    /// The earliest of the batches' times.
    pub first_time: Option<Time>,
    /// The latest of the batches' times.
    pub last_time: Option<Time>,
    /// How many findings name the chain.
    pub findings: u64,
}

/// What was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Records in evidence, each position once.
    pub records: u64,
    /// Batches that take part, repetitions included.
    pub batches: u64,
    /// Records stored more than once, each repetition counted.
    pub duplicates: u64,
    /// Bytes of canonical bodies that were checked.
    pub bytes: u64,
    /// Positions that are missing but may be on their way.
    pub pending: u64,
}

/// A batch that takes part in its chain: where to read it, and which of its records nobody before it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// The log as one source shows it.
    pub view: super::ViewId,
    /// The leaf.
    pub index: LeafIndex,
    /// The batch's first position.
    pub first_seq: Seq,
    /// The first position that no earlier stretch has.
    pub from_seq: Seq,
    /// The position after its last.
    pub next_seq: Seq,
}

/// A chain's batches in the order of its positions, each position once; a fork's second branch is left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The chain.
    pub chain_id: ChainId,
    /// Its batches.
    pub stretches: Vec<Stretch>,
}

/// The whole answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The four verdicts.
    pub verdicts: Verdicts,
    /// The logs, in the order of the sources.
    pub logs: Vec<LogSummary>,
    /// The chains in scope, by namespace, pod, container and incarnation.
    pub chains: Vec<ChainSummary>,
    /// The findings, the gravest first.
    pub findings: Vec<Finding>,
    /// What was looked at.
    pub counts: Counts,
    /// 1, 2, 4, 3 or 0, as [`exit_code`] says.
    pub exit: u8,
    /// Where the records of the chains in scope can be read; not part of the JSON.
    pub routes: Vec<Route>,
}

/// The first that applies: 1 integrity or authenticity fails · 2 completeness fails · 4 something could not be judged,
/// or there was nothing to · 3 freshness warns or fails · 0. (5, wrong usage, is the caller's.)
pub fn exit_code(verdicts: &Verdicts, anything: bool, unknown: bool) -> u8 {
    let fails = |verdict| verdict == Verdict::Fail;
    if fails(verdicts.integrity) || fails(verdicts.authenticity) {
        1
    } else if fails(verdicts.completeness) {
        2
    } else if unknown || !anything {
        4
    } else if matches!(verdicts.freshness, Verdict::Warn | Verdict::Fail) {
        3
    } else {
        0
    }
}

/// The verdicts that follow from the findings that count.
pub fn verdicts(findings: &[Finding], anything: bool) -> Verdicts {
    let blind = |finding: &Finding| {
        let is_source = matches!(finding.class, Class::Unreadable | Class::UnknownKey) && finding.chain_id.is_none();
        is_source && finding.axis == Axis::Integrity
    };
    let on = |axis| {
        let level = (findings.iter())
            .filter(|finding| finding.accepted.is_none())
            // A source that cannot be read may hold what is missing elsewhere, on every axis.
            .filter(|finding| finding.axis == axis || blind(finding))
            .map(|finding| finding.level)
            .max();
        match level {
            Some(Level::Fail) => Verdict::Fail,
            _ if !anything => Verdict::Unknown,
            Some(Level::Unknown) => Verdict::Unknown,
            Some(Level::Warn) => Verdict::Warn,
            None => Verdict::Pass,
        }
    };
    Verdicts {
        integrity: on(Axis::Integrity),
        authenticity: on(Axis::Authenticity),
        completeness: on(Axis::Completeness),
        freshness: on(Axis::Freshness),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(class: Class, axis: Axis, level: Level) -> Finding {
        Finding {
            id: String::new(),
            class,
            axis,
            level,
            log: None,
            chain_id: None,
            first_seq: None,
            last_seq: None,
            batch_index: None,
            text: String::new(),
            accepted: None,
        }
    }

    fn exit(findings: &[Finding]) -> u8 {
        let unknown = findings.iter().any(|f| f.level == Level::Unknown && f.accepted.is_none());
        exit_code(&verdicts(findings, true), true, unknown)
    }

    #[test]
    fn the_exit_code_is_the_first_that_applies() {
        let tampered = finding(Class::BadBody, Axis::Integrity, Level::Fail);
        let invented = finding(Class::Foreign, Axis::Authenticity, Level::Fail);
        let missing = finding(Class::Gap, Axis::Completeness, Level::Fail);
        let unread = finding(Class::Unreadable, Axis::Integrity, Level::Unknown);
        let stale = finding(Class::Stale, Axis::Freshness, Level::Warn);
        let all = [stale, unread, missing, invented, tampered];
        assert_eq!([1, 2, 3, 4, 5].map(|n| exit(&all[..n])), [3, 4, 2, 1, 1]);
        assert_eq!(exit(&[]), 0);
        let none = verdicts(&[], false);
        assert_eq!(Axis::ALL.map(|axis| none.on(axis)), [Verdict::Unknown; 4]);
        assert_eq!(exit_code(&none, false, false), 4);
    }

    #[test]
    fn an_accepted_finding_is_shown_and_not_counted() {
        let mut gap = finding(Class::Gap, Axis::Completeness, Level::Fail);
        assert_eq!(exit(std::slice::from_ref(&gap)), 2);
        gap.accepted = Some("known outage".into());
        assert_eq!(exit(std::slice::from_ref(&gap)), 0);
        assert_eq!(verdicts(&[gap], true).completeness, Verdict::Pass);
    }

    #[test]
    fn an_id_follows_from_class_log_chain_and_range() {
        let chain = Some(ChainId::new(Digest::sha256(b"chain")));
        let id = finding_id(Class::Gap, "", chain, "10-19");
        let hex = Digest::sha256(b"chain").to_string();
        let message = [b"\0\x03gap\0\0\0\x40", hex.as_bytes(), b"\0\x0510-19"].concat();
        assert_eq!(id, Digest::sha256(&message).to_string()[..16]);
        assert_ne!(id, finding_id(Class::Gap, "", chain, "10-20"));
        assert_ne!(id, finding_id(Class::Gap, "log", chain, "10-19"));
    }
}
