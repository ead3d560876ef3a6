//! What does not follow from the bytes of the log files, as values (format 1.1 and 1.2).
//!
//! A decision is written to the state and synced before anything that depends on it is sent, so that a crash repeats it
//! and never contradicts it: the chain's incarnation ([`Origin`]), where each file was left or given up ([`FileEnd`]),
//! what was written to a file behind that ([`Late`]), and the end ([`End`]).

use indelible_chain::control::{Control, GapReason, ResumeReason};
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, Head, Seq, Time};
use indelible_chain::record::{Flags, Record, Source};

use crate::files::{FileId, Place};

/// Where reading of a file ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileEnd {
    /// It was read to here after its successor was seen to hold a byte, or when the chain ended.
    Left {
        /// Bytes behind it are LATE.
        offset: u64,
    },
    /// What is behind was given up.
    GivenUp(GivenUp),
}

impl FileEnd {
    /// The offset at which reading ends.
    pub const fn offset(&self) -> u64 {
        match self {
            Self::Left { offset } | Self::GivenUp(GivenUp { offset, .. }) => *offset,
        }
    }
}

/// Bytes that will not be read: a gap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenUp {
    /// From where on.
    pub offset: u64,
    /// How many, if that is known.
    pub bytes: Option<u64>,
    /// Why.
    pub reason: GapReason,
    /// The file's name at that time.
    pub file: String,
    /// When.
    pub time: Time,
}

impl GivenUp {
    /// What the chain says of it.
    pub fn control(&self) -> Control {
        Control::Gap { reason: self.reason, file: self.file.clone(), bytes: self.bytes }
    }
}

/// A record of bytes that were written to a file after it had been left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Late {
    /// Its position in the chain.
    pub seq: Seq,
    /// The file.
    pub file: FileId,
    /// The file's bytes up to here are in this record or earlier ones; where it begins, if its line goes on.
    pub to: u64,
    /// How far reading had come: bytes before it must be there for the record to be said again.
    pub place: Place,
    /// As in the record.
    pub time: Time,
    /// As in the record.
    pub source: Source,
    /// As in the record.
    pub flags: Flags,
    /// As in the record.
    pub payload: Vec<u8>,
}

impl Late {
    /// The record.
    pub fn record(&self) -> Record<'_> {
        Record { time: self.time, source: self.source, flags: self.flags, payload: &self.payload }
    }
}

/// The chain ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// The time of its `end`.
    pub time: Time,
}

/// Where a chain comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Its genesis.
    pub genesis: Genesis,
    /// The boot of the node in which it was written last.
    pub boot_id: String,
    /// What its record 0 says, if it took over from another.
    pub resumed: Option<Resumed>,
    /// When a chain of this container was last replaced because it was rejected.
    pub rejected_at: Option<Time>,
}

/// Why and from what a chain took over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resumed {
    /// Why.
    pub reason: ResumeReason,
    /// The chain that it replaces with its last receipted head, if they are known.
    pub from: Option<(ChainId, Head)>,
}

impl Resumed {
    /// What the chain says of it.
    pub const fn control(&self) -> Control {
        Control::Resumed { reason: self.reason, from: self.from }
    }
}
