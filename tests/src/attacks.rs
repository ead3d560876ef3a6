//! The attacks of the threat model, as programs: who does what, what holds against it, and what a person reads of it.
//!
//! [`TABLE`] is the data; [`runner`] plays each row for each seed with the real collectors, sidecars and
//! `indelible verify`, once with the attack and once without it. What forges here speaks the format by the tests' own
//! implementation of it ([`crate::tamper`], [`crate::insider`], [`crate::peer`]): no crate of the product is linked
//! (`tests/architecture.rs` says so).

mod another;
mod bytes;
mod forged;
mod index;
mod keys;
mod life;
mod older;
pub mod page;
mod pods;
pub mod runner;
pub mod sentence;
pub mod stage;
mod table;
pub mod trial;

pub use stage::Stage;
pub use table::TABLE;
pub use trial::{Side, Trial};

pub use crate::tamper::model::Verdict;

/// Who attacks: a row of the threat model's first table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Writes to a collector's volume, without its log's key.
    Volume,
    /// Has a collector's volume and its log's key.
    Collector,
    /// Has a pod's token and so a session: its sidecar, or whoever took its place.
    Sidecar,
    /// Sits between sidecar and collector.
    Network,
    /// Chooses what the reader is given.
    Reader,
    /// Prints, floods, is silent.
    Application,
    /// Deletes pods, keeps sidecars out.
    Namespace,
    /// Nobody: a machine fails.
    Failure,
}

impl Who {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Volume => "who writes to a collector's volume",
            Self::Collector => "who has a collector's volume and its log's key",
            Self::Sidecar => "a sidecar, or who has its pod's token",
            Self::Network => "the network between sidecar and collector",
            Self::Reader => "who chooses what a reader is given",
            Self::Application => "the application",
            Self::Namespace => "who administers the namespace",
            Self::Failure => "nobody: a machine fails",
        }
    }
}

/// The axes in the order of [`Attack::verdicts`].
pub const AXES: [&str; 4] = ["integrity", "authenticity", "completeness", "freshness"];

/// Where the sentence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// In a finding of this class; findings of the other classes may stand beside it.
    Finding(&'static str, &'static [&'static str]),
    /// In a collector's refusal with this status.
    Refusal(u16),
    /// In what a program says that ends with this code.
    Exit(i32),
    /// In the report of the records that are shown.
    Report,
}

impl Shows {
    /// As the tables show it.
    pub fn words(self) -> String {
        match self {
            Self::Finding(class, _) => class.to_owned(),
            Self::Refusal(status) => format!("HTTP {status}"),
            Self::Exit(code) => format!("exit code {code}"),
            Self::Report => "the report".to_owned(),
        }
    }
}

/// What is kept of a log outside its attacker's reach: the one mechanism that an attack is judged with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// A witness has cosigned its checkpoint.
    Witness,
    /// The receipts of all batches.
    Receipts,
    /// What `--state` remembers of an earlier verification.
    State,
    /// Nothing.
    Nothing,
}

/// How an attack is played.
#[derive(Debug, Clone, Copy)]
pub enum Play {
    /// On copies of the evidence of its seed's stage.
    Copies(fn(&Stage, Side) -> anyhow::Result<Trial>),
    /// The same, judged with what was kept of the honest log.
    Against(fn(&Stage, Side, Kept) -> anyhow::Result<Trial>, Kept),
    /// In a world of its own; gets the seed.
    World(fn(u64, Side) -> anyhow::Result<Trial>),
}

/// An attack.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// Its number in the threat model, and which way of it: `A2-receipt`.
    pub name: &'static str,
    /// Who does it.
    pub who: Who,
    /// What they do.
    pub does: &'static str,
    /// What holds against it.
    pub by: &'static str,
    /// The verdicts, in the order of [`AXES`].
    pub verdicts: [Verdict; 4],
    /// The exit code of `indelible verify`.
    pub exit: i32,
    /// Where the sentence stands.
    pub shows: Shows,
    /// What a person reads ([`sentence`]).
    pub sentence: &'static str,
    /// The attack itself.
    pub play: Play,
}

impl Attack {
    /// Its number: 2 of `A2-receipt`.
    pub fn number(&self) -> u32 {
        let digits = self.name.trim_start_matches('A').split('-').next().unwrap_or_default();
        digits.parse().unwrap_or_default()
    }

    /// The verdicts that are not a pass, in words.
    pub fn flips(&self) -> String {
        let flipped = AXES.iter().zip(self.verdicts).filter(|(_, verdict)| *verdict != Verdict::Pass);
        let flipped: Vec<_> = flipped.map(|(axis, verdict)| format!("{axis} {}", verdict.word())).collect();
        if flipped.is_empty() { "all pass".to_owned() } else { flipped.join(", ") }
    }
}
