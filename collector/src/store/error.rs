//! Why a store does not open, does not read, or has stopped.
//!
//! Texts are for the person at the terminal: which file, which offset, which leaf, and what to do. Nothing here
//! decides; the conditions are found in `recover`, `directory` and `segment`.

use std::io;
use std::sync::Arc;

use indelible_chain::bytes::DecodeError;
use indelible_chain::frame::FrameError;
use indelible_chain::id::LeafIndex;

use crate::limits;

/// The format of the data directory that this collector reads and writes.
pub const FORMAT: u32 = 1;

const START_ANEW: &str = "keep the directory as evidence; to go on, make a new log in an empty directory \
    (`indelible-collector init`) and copy this one's `checkpoint` into it as `predecessor`";

/// Why a directory was not opened. Its files are as they were: nothing is changed before everything was understood.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file could not be read or written.
    #[error("cannot {what} in data directory {dir}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The data directory.
        dir: String,
        /// Why not.
        source: io::Error,
    },
    /// Another process has the log open.
    #[error("data directory {dir} is in use: one collector writes a log; stop the other one or choose another --data")]
    Locked {
        /// The data directory.
        dir: String,
    },
    /// The directory was made by a later version.
    #[error(
        "data directory {dir} has format {found}, this collector reads up to {FORMAT}: run {by} or a later one on it"
    )]
    Newer {
        /// The data directory.
        dir: String,
        /// Its format.
        found: u32,
        /// The software that wrote it.
        by: String,
    },
    /// The directory holds something else.
    #[error(
        "data directory {dir} holds `{name}` and is no log's: choose an empty or absent directory, or a log's, for --data"
    )]
    Foreign {
        /// The data directory.
        dir: String,
        /// What is in it.
        name: String,
    },
    /// The directory holds no log yet, and nobody said how to call one.
    #[error("data directory {dir} holds no log yet: give --origin NAME to make one")]
    OriginRequired {
        /// The data directory.
        dir: String,
    },
    /// There is no log to read.
    #[error("data directory {dir} holds no log: `indelible-collector init` makes one; await and --read-only only read")]
    NoLog {
        /// The data directory.
        dir: String,
    },
    /// The log is another.
    #[error(
        "data directory {dir} holds the log {kept}, --origin says {given}: a log keeps its name; correct one of them"
    )]
    OtherOrigin {
        /// The data directory.
        dir: String,
        /// Its log's origin, with the key's fingerprint.
        kept: String,
        /// What was asked for.
        given: String,
    },
    /// A file that every log has is absent or is not what it should be.
    #[error("`{name}` in data directory {dir} {why}: put it back from a copy; without it, {START_ANEW}")]
    Broken {
        /// The data directory.
        dir: String,
        /// The file.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// An option is out of its range, or the origin cannot be a name.
    #[error("{0}")]
    Option(String),
    /// Bytes that were durable are no longer what they were.
    #[error("{file} is damaged at offset {offset}, before leaf {index}, in what was durable: {why}; {START_ANEW}")]
    Corrupt {
        /// The segment.
        file: String,
        /// Where in it.
        offset: u64,
        /// The first leaf that cannot be read.
        index: LeafIndex,
        /// What is wrong.
        why: String,
    },
    /// Leaves that a checkpoint covers are gone.
    #[error(
        "the segments hold {found} leaves, `checkpoint` signed {signed}: leaves from {found} on are gone; {START_ANEW}"
    )]
    Shorter {
        /// Leaves that are there.
        found: u64,
        /// Leaves that were signed.
        signed: u64,
    },
    /// The leaves are not those that a checkpoint covers.
    #[error("the {size} leaves that `checkpoint` signed are not those in the segments: {why}; {START_ANEW}")]
    RootDiffers {
        /// Leaves that were signed.
        size: u64,
        /// What differs.
        why: String,
    },
    /// A stored tile is not that of the leaves.
    #[error("{path} is not the tile of the leaves that `checkpoint` signed: move it away, it is made again from them")]
    Tile {
        /// The tile.
        path: String,
    },
    /// The log could be read, but not gone on with.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log could be read, but the first write to it failed.
    #[error(transparent)]
    Fatal(#[from] Fatal),
}

/// Why something could not be read back. It says nothing of whether the item is stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("cannot read {file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        source: Arc<io::Error>,
    },
    /// Bytes of a segment are no frame.
    #[error("{file} is damaged at offset {offset}: {source}")]
    Frame {
        /// The segment.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        source: FrameError,
    },
    /// A frame holds no leaf.
    #[error("{file} holds a frame at offset {offset} that is no leaf: {source}")]
    Leaf {
        /// The segment.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        source: DecodeError,
    },
    /// Something is not where it should be.
    #[error("{file} does not hold {what}")]
    Absent {
        /// The file.
        file: String,
        /// What was looked for.
        what: String,
    },
}

impl ReadError {
    /// An I/O error with the file that it is of.
    pub fn io(file: &str, source: io::Error) -> Self {
        Self::Io { file: file.to_owned(), source: Arc::new(source) }
    }
}

/// Why the store has stopped for good; the process exits non-zero and recovers at its next start.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the store has stopped and acknowledges nothing more: {0}; the next start recovers what is durable")]
pub struct Fatal(Arc<str>);

impl Fatal {
    /// Stops for this reason.
    pub fn new(why: impl Into<Arc<str>>) -> Self {
        Self(why.into())
    }

    /// Stops because a step failed.
    pub fn io(what: &str, path: &str, source: &io::Error) -> Self {
        let remedy = match source.kind() {
            io::ErrorKind::StorageFull => " (the volume is full: free or add space)",
            _ => "",
        };
        Self::new(format!("cannot {what} {path}: {source}{remedy}"))
    }
}

/// A closed set of words for metrics and conditions.
pub trait Category {
    /// The word.
    fn category(&self) -> &'static str;
}

impl Category for OpenError {
    fn category(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::Locked { .. } => "locked",
            Self::Newer { .. } => "newer",
            Self::Foreign { .. }
            | Self::OriginRequired { .. }
            | Self::NoLog { .. }
            | Self::OtherOrigin { .. }
            | Self::Option(_) => "config",
            Self::Broken { .. } | Self::Tile { .. } => "broken",
            Self::Corrupt { .. } | Self::RootDiffers { .. } | Self::Read(_) => "corrupt",
            Self::Shorter { .. } => "shorter",
            Self::Fatal(_) => "fatal",
        }
    }
}

const _: () = assert!(limits::MAX_SEGMENT_BYTES <= u32::MAX as u64, "offsets in a segment have 32 bits");
