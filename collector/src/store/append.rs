//! What can be appended, and what is answered.
//!
//! Owns the types of the way in. [`CheckedUpload`] can be made only from a batch that was checked, so that nothing
//! else reaches a segment as a batch.

use std::time::Duration;

use bytes::Bytes;
use indelible_chain::batch::{Batch, Checked, Commitment};
use indelible_chain::bytes::DecodeError;
use indelible_chain::digest::Digest;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, LeafIndex, SessionId, Time};
use indelible_chain::leaf::Attested;
use indelible_chain::session::Session;
use indelible_chain::statement::SignedStatement;
use indelible_chain::stored::{Codec, Stored};

use super::error::{Category, Fatal, ReadError};
use crate::limits;

/// A batch that was checked, with its body as it came: what [`Append::Batch`] takes.
#[derive(Clone, Debug)]
pub struct CheckedUpload {
    commitment: Commitment,
    codec: Codec,
    body: Bytes,
}

impl CheckedUpload {
    /// Takes a checked batch; `stored` is its body as it was sent, under `codec`.
    pub fn new(checked: &Batch<'_, Checked>, codec: Codec, stored: Bytes) -> Self {
        Self { commitment: *checked.commitment(), codec, body: stored }
    }

    /// What was signed.
    pub const fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// The body as it came.
    pub fn stored(&self) -> Stored<'_> {
        Stored { codec: self.codec, bytes: &self.body }
    }
}

/// What can be appended. The store appends statements 1, 2, 3, 4, 7 and 10 by itself.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "an item is moved a few times at most, into a box first")]
pub enum Append {
    /// A session, who vouches for it, and the compact JWT that did (empty without one).
    Session {
        /// The session.
        session: Session,
        /// Who vouches for it.
        attested: Attested,
        /// The frame's body.
        token: Bytes,
    },
    /// A chain.
    Genesis {
        /// The chain's genesis.
        genesis: Genesis,
        /// Who introduces it.
        session: SessionId,
    },
    /// A batch.
    Batch(CheckedUpload),
    /// A statement by someone else than the log.
    Authority(SignedStatement),
    /// Heartbeats, in any order, each session at most once, within the format's limit for one body.
    Liveness(Vec<(SessionId, Vec<u8>)>),
}

impl Append {
    /// What the item holds of the queue's bytes, roughly.
    pub fn weight(&self) -> usize {
        const LEAF: usize = 1024;
        LEAF + match self {
            Self::Session { token, .. } => token.len(),
            Self::Genesis { .. } | Self::Authority(_) => 0,
            Self::Batch(upload) => upload.body.len(),
            Self::Liveness(heartbeats) => heartbeats.iter().map(|(_, bytes)| 64 + bytes.len()).sum(),
        }
    }
}

/// Where an item stands in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// The leaf's index.
    pub index: LeafIndex,
    /// The leaf's hash.
    pub leaf_hash: Digest,
    /// When the log took it.
    pub received_at: Time,
    /// Whether this call stored it; false if it was known.
    pub fresh: bool,
    /// The leaf that this batch contradicts, or did when it was stored.
    pub conflict: Option<LeafIndex>,
}

/// Why an item was not appended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// Too much waits already (429 or 503); nothing was stored, try again.
    #[error(
        "the store's queue is full ({} requests or {} bytes): try again later",
        limits::QUEUED_APPENDS,
        limits::QUEUED_APPEND_BYTES
    )]
    Busy,
    /// The session is not in this log (412).
    #[error("session {0} is not introduced here")]
    SessionNotIntroduced(SessionId),
    /// The chain is not in this log (412).
    #[error("chain {0} is not introduced here")]
    ChainNotIntroduced(ChainId),
    /// Session and chain are not of one pod (403).
    #[error("chain {chain} is not of the pod of session {session}")]
    Foreign {
        /// The chain.
        chain: ChainId,
        /// The session.
        session: SessionId,
    },
    /// The session's token was over at the time that its leaf would have (503); nothing was stored.
    ///
    /// The log's time goes on when the clock steps back, and a group waits for the sync before it.
    #[error(
        "the token of session {0} ended before the log's time, which does not fall when the clock does: introduce it \
         with a newer token, or to another collector"
    )]
    TokenOver(SessionId),
    /// The batch contradicts a stored one, as too many before it did (409); nothing was stored.
    #[error(
        "chain {chain} has {} conflicts already: a batch that contradicts leaf {other} is not stored",
        limits::CONFLICTS_PER_CHAIN
    )]
    TooManyConflicts {
        /// The chain.
        chain: ChainId,
        /// The leaf that is contradicted.
        other: LeafIndex,
    },
    /// The item does not fit a leaf (400, 413).
    #[error("the item does not fit a leaf: {0}")]
    Leaf(#[from] DecodeError),
    /// What the decision needs could not be read (503); nothing was stored.
    #[error("cannot look up what is stored: {0}")]
    Read(#[from] ReadError),
    /// The volume has too little space left (507); what is stored can be read.
    #[error("the volume has {free} bytes free, under the limit of {limit}: free or add space")]
    NoSpace {
        /// Free bytes.
        free: u64,
        /// The limit.
        limit: u64,
    },
    /// The writer has been at one group for too long (503): the volume does not answer.
    #[error(
        "the volume has not answered a group of writes for {} s, over the limit of {} s: look at the volume",
        .0.as_secs(),
        limits::MAX_GROUP_TIME.as_secs()
    )]
    Stalled(Duration),
    /// The log is being sealed (503).
    #[error("the log is being sealed")]
    Sealed,
    /// A write or sync failed, now or earlier: whether the item is durable is not known, and the process must end.
    #[error(transparent)]
    Fatal(#[from] Fatal),
}

impl Category for AppendError {
    fn category(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::SessionNotIntroduced(_) | Self::ChainNotIntroduced(_) => "not-introduced",
            Self::Foreign { .. } => "foreign",
            Self::TokenOver(_) => "token-over",
            Self::TooManyConflicts { .. } => "conflicts",
            Self::Leaf(_) => "leaf",
            Self::Read(_) => "read",
            Self::NoSpace { .. } => "no-space",
            Self::Stalled(_) => "stalled",
            Self::Sealed => "sealed",
            Self::Fatal(_) => "fatal",
        }
    }
}

/// Whether the volume, of which so many bytes are free, has the space that new items need.
pub const fn space(free: u64, limit: u64) -> Result<(), AppendError> {
    if free < limit { Err(AppendError::NoSpace { free, limit }) } else { Ok(()) }
}
