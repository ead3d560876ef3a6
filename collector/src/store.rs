//! The store: one log on one volume.
//!
//! Owns the data directory, its single writer and what is read back from it. It does not judge what it is given: who
//! may write what, signatures and links are checked before. Invariants: what was acknowledged is durable and never
//! changes; a [`Durable`] is made only after the fdatasync that covers it; a checkpoint is durable before anyone sees
//! it and covers only durable leaves; no call removes or changes a stored leaf.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use indelible_chain::batch::{Batch, Checked, Commitment};
use indelible_chain::bytes::DecodeError;
use indelible_chain::digest::Digest;
use indelible_chain::frame::WireFrame;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, LeafIndex, LogId, Seq, SessionId, Time};
use indelible_chain::key::PrivateKey;
use indelible_chain::leaf::Attested;
use indelible_chain::receipt::Receipt;
use indelible_chain::session::Session;
use indelible_chain::statement::SignedStatement;
use indelible_chain::stored::Codec;
use indelible_chain::tile::{BundleId, TileId};

use crate::limits;

pub use indelible_chain::statement::SealReason;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The log's name without its key's fingerprint; required for a directory that holds no log yet.
    pub origin: Option<String>,
    /// `<program>/<version>`, for statement 1.
    pub software: String,
    /// Size at which a segment is followed by the next.
    pub segment_bytes: u64,
    /// How often a checkpoint is made when there is something new.
    pub checkpoint_interval: Duration,
    /// Free bytes of the volume under which nothing new is taken.
    pub min_free_bytes: u64,
    /// For how long sessions and chains stay in memory after they were last written.
    pub remembered: Duration,
}

impl Options {
    /// The defaults for an existing log.
    pub fn new(software: &str) -> Self {
        Self {
            origin: None,
            software: software.to_owned(),
            segment_bytes: limits::SEGMENT_BYTES,
            checkpoint_interval: limits::CHECKPOINT_INTERVAL,
            min_free_bytes: limits::MIN_FREE_BYTES,
            remembered: limits::REMEMBERED,
        }
    }
}

/// Who a log is: its key and the names that follow from it.
#[derive(Debug)]
pub struct Identity {
    origin: String,
    vkey: String,
    log_id: LogId,
    key: PrivateKey,
}

impl Identity {
    /// `<--origin>-<8 hex digits of SHA-256(public key)>`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The verifier key, as signed notes write it.
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// SHA-256 of the origin.
    pub const fn log_id(&self) -> LogId {
        self.log_id
    }

    /// The log's key.
    pub const fn key(&self) -> &PrivateKey {
        &self.key
    }
}

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
}

/// What can be appended. The store appends statements 1, 2, 3, 4, 7 and 10 by itself.
#[derive(Clone, Debug)]
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
    /// The leaf that this batch contradicts.
    pub conflict: Option<LeafIndex>,
}

/// Something that is durable. Only the store's writer makes one, after the fdatasync that covers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Durable<T>(T);

impl<T> Durable<T> {
    /// What is durable.
    pub const fn get(&self) -> &T {
        &self.0
    }
}

impl Durable<Appended> {
    /// Signs the receipt: the only way to one.
    pub fn receipt(&self, identity: &Identity) -> Receipt {
        let Appended { index, leaf_hash, received_at, .. } = self.0;
        Receipt::sign(&identity.key, identity.log_id, index, leaf_hash, received_at)
    }
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
    /// The volume has too little space left (507); what is stored can be read.
    #[error("the volume has {free} bytes free, under the limit of {limit}: free or add space")]
    NoSpace {
        /// Free bytes.
        free: u64,
        /// The limit.
        limit: u64,
    },
    /// The log is being sealed (503).
    #[error("the log is being sealed")]
    Sealed,
    /// A write or sync failed, now or earlier: whether the item is durable is not known, and the process must end.
    #[error("the store has stopped: {0}")]
    Fatal(Fatal),
}

/// Why the store has stopped for good; the process exits non-zero and recovers at its next start.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(Arc<str>);

/// Why a directory was not opened. Nothing in it was changed, unless said otherwise.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// To be refined.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Why something could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// To be refined.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// A session that is in this log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownSession {
    /// The session.
    pub session: Session,
    /// Who vouched for it first.
    pub attested: Attested,
    /// Its leaf.
    pub index: LeafIndex,
    /// Its leaf's hash.
    pub leaf_hash: Digest,
    /// When it came.
    pub received_at: Time,
}

/// A chain that is in this log, and what this log has of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownChain {
    /// The chain.
    pub chain: ChainId,
    /// Its genesis.
    pub genesis: Genesis,
    /// Who introduced it.
    pub session: SessionId,
    /// The genesis' leaf.
    pub index: LeafIndex,
    /// The genesis leaf's hash.
    pub leaf_hash: Digest,
    /// When the genesis came.
    pub received_at: Time,
    /// What this log has of its records; `None` before the first batch.
    pub extent: Option<Extent>,
}

/// What a log has of a chain's records, first to last, holes not counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The lowest position.
    pub first_seq: Seq,
    /// The position after the highest.
    pub next_seq: Seq,
    /// The earliest time.
    pub first_time: Time,
    /// The latest time.
    pub last_time: Time,
    /// Whether a FINAL batch is here.
    pub closed: bool,
}

/// A checkpoint that is durable and public.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// Leaves that it covers.
    pub size: u64,
    /// The tree's root.
    pub root: Digest,
    /// The signed note.
    pub note: Bytes,
}

/// An open log. Calls may come from any thread; those that read may read from disk and say so.
#[derive(Debug)]
pub struct Store {
    identity: Arc<Identity>,
}

impl Store {
    /// Makes key and vkey in a new directory, or gives those of an existing one; does not append.
    pub fn init(_dir: &Path, _options: &Options) -> Result<Arc<Identity>, OpenError> {
        todo!()
    }

    /// Opens a log, new or not: locks it, recovers it, says so in it, and makes a checkpoint of it.
    pub fn open(_dir: &Path, _options: Options) -> Result<Self, OpenError> {
        todo!()
    }

    /// Who this log is.
    pub const fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Appends an item; answers only after it is durable.
    pub async fn append(&self, _item: Append) -> Result<Durable<Appended>, AppendError> {
        todo!()
    }

    /// A session of this log. May read from disk.
    pub fn session(&self, _id: SessionId) -> Result<Option<Arc<KnownSession>>, ReadError> {
        todo!()
    }

    /// A chain of this log. May read from disk.
    pub fn chain(&self, _id: ChainId) -> Result<Option<KnownChain>, ReadError> {
        todo!()
    }

    /// All chains of this log with an id above `after`, by id, until `visit` breaks. Reads from disk.
    pub fn chains(
        &self,
        _after: Option<ChainId>,
        _visit: &mut dyn FnMut(KnownChain) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        todo!()
    }

    /// The durable leaves `[from, to)` with their bodies as stored, as many as there are now.
    pub fn frames(&self, _from: LeafIndex, _to: LeafIndex) -> FrameReader {
        todo!()
    }

    /// The durable batches of a chain that have a record in `[from, to)`, in log order.
    pub fn batches(&self, _chain: ChainId, _from: Seq, _to: Seq) -> FrameReader {
        todo!()
    }

    /// Durable leaves now; the receiver sees each change, for `wait=`.
    pub fn size(&self) -> tokio::sync::watch::Receiver<u64> {
        todo!()
    }

    /// The newest checkpoint.
    pub fn checkpoint(&self) -> Arc<Published> {
        todo!()
    }

    /// Sizes above `after` whose checkpoints are kept, ascending.
    pub fn kept_checkpoints(&self, _after: u64, _limit: usize) -> Vec<u64> {
        todo!()
    }

    /// A kept checkpoint's note. Reads from disk.
    pub fn kept_checkpoint(&self, _size: u64) -> Result<Option<Bytes>, ReadError> {
        todo!()
    }

    /// A tile of the published tree, exactly as wide as asked for; `None` if it has not that many hashes (404).
    /// May read from disk.
    pub fn tile(&self, _id: TileId) -> Result<Option<Bytes>, ReadError> {
        todo!()
    }

    /// A bundle of the published tree, exactly as wide as asked for. Reads from disk.
    pub fn entries(&self, _id: BundleId) -> Result<Option<Bytes>, ReadError> {
        todo!()
    }

    /// Whether new items are taken: not while the volume is short of space, being sealed, or stopped. For readiness.
    pub fn writable(&self) -> Result<(), AppendError> {
        todo!()
    }

    /// Ends only when the store has stopped for good: the process must then exit non-zero within a second.
    pub async fn failed(&self) -> Fatal {
        todo!()
    }

    /// Takes nothing new, answers what waits, appends statement 4, signs the last checkpoint, closes the files.
    pub async fn seal(&self, _reason: SealReason) -> Result<(), Fatal> {
        todo!()
    }
}

/// Reads frames from segment files. Each call may read from disk.
#[derive(Debug)]
pub struct FrameReader {}

impl FrameReader {
    /// The next frame; `None` at the end.
    pub fn next_frame(&mut self) -> Result<Option<WireFrame<'_>>, ReadError> {
        todo!()
    }
}
