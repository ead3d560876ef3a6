//! All chains of the pod: which containers are captured, budgets over all of them, fairness between them.
//!
//! Owns the contract with forwarding: capture hands out [`Output`]s, forwarding reports receipted prefixes. Everything
//! is synchronous, does a bounded amount a call, and never blocks on the network.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use indelible_chain::batch::Commitment;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, Head, SessionId, Time};
use indelible_chain::key::PrivateKey;

/// A signed batch on its way. `upload` is the body of `POST /v1/batches`, made once, shared by all tries.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The chain.
    pub chain: ChainId,
    /// What was signed.
    pub commitment: Commitment,
    /// The bytes to send.
    pub upload: Bytes,
}

/// What capture wants from forwarding, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// A chain exists: it is introduced to each collector before its first batch there, and named in heartbeats.
    Introduce {
        /// Its id.
        chain: ChainId,
        /// What its id is the digest of.
        genesis: Genesis,
    },
    /// Does any collector know this chain? Answered with [`Capture::known`]; without an answer in 5 s it is not known.
    Ask {
        /// The container's name.
        container: String,
        /// The genesis that it would get, of incarnation 0.
        genesis: Genesis,
    },
    /// A batch to deliver.
    Batch(Sealed),
    /// The FINAL of this chain was receipted: nothing follows in it.
    Closed(ChainId),
}

/// Who signs: a session and its key, which lives only in memory.
#[derive(Debug)]
pub struct Signer {
    /// The session.
    pub session: SessionId,
    /// Its key.
    pub key: PrivateKey,
}

/// Whose output is captured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pod {
    /// UID of the `kube-system` namespace; empty outside a cluster.
    pub cluster_uid: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's UID.
    pub uid: String,
}

/// What capture needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The pod's log directory.
    pub logs: PathBuf,
    /// Where cursor and decisions are kept.
    pub state: PathBuf,
    /// Whose output it is.
    pub pod: Pod,
    /// The node's boot id, see [`crate::capture`].
    pub boot_id: String,
    /// Containers that are never captured, the sidecar's own among them.
    pub excluded: Vec<String>,
    /// How long a record waits for others before its batch is sealed.
    pub flush_interval: Duration,
    /// Batches are sealed at this many bytes of body.
    pub max_batch_bytes: usize,
    /// Bytes of files that are no longer live, from the cursors on, that may be held.
    pub max_held_bytes: u64,
    /// Held files are given up while less than this share of the node's log file system is free.
    pub min_node_free_percent: u8,
}

/// What there is to see of capture from outside, for metrics.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Containers that are captured.
    pub chains: u64,
    /// Records sealed since the start.
    pub records: u64,
    /// Bytes of their canonical bodies.
    pub bytes: u64,
    /// Of these, LATE records.
    pub late: u64,
    /// MALFORMED records.
    pub malformed: u64,
    /// Gaps declared.
    pub gaps: u64,
    /// Incarnations begun because a chain could not go on.
    pub resumed: u64,
    /// Bytes of bodies handed out or being built that are not receipted.
    pub unreceipted_bytes: u64,
    /// Bytes of files that are no longer live, from the cursors on.
    pub held_bytes: u64,
}

/// Why capture cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state directory cannot be used.
    #[error("--state {path}: {source}")]
    State {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The state directory belongs to another pod. Nothing in it was changed.
    #[error("--state {path} holds the state of another pod ({theirs}); give each pod its own directory")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        theirs: String,
    },
    /// Another sidecar runs on the state directory.
    #[error("--state {path} is in use by another process; stop it, or give another directory")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
}

/// All chains of the pod.
#[derive(Debug)]
pub struct Capture {
    _signer: Arc<Signer>,
}

impl Capture {
    /// Opens the state directory and takes up the chains that it knows. Lists nothing yet: [`work`](Self::work) does.
    pub fn open(_settings: Settings, signer: Arc<Signer>) -> Result<Self, OpenError> {
        Ok(Self { _signer: signer })
    }

    /// Lists, reads, links and seals, within the budgets. Never blocks on the network; a bounded amount a call.
    pub fn work(&mut self, _now: Time) -> Vec<Output> {
        Vec::new()
    }

    /// Everything of `chain` up to `head` is receipted everywhere: the cursor may move.
    pub fn receipted(&mut self, _chain: ChainId, _head: Head) {}

    /// The answer to [`Output::Ask`].
    pub fn known(&mut self, _container: &str, _known: bool) {}

    /// Two collectors answered 409 or 422: a new incarnation follows, now or when an hour has passed since the last.
    /// Batches of the chain that were handed out are to be dropped.
    pub fn rejected(&mut self, _chain: ChainId) {}

    /// Read to the end, then `end` and FINAL for every chain, in the calls of [`work`](Self::work) that follow.
    pub fn terminate(&mut self, _now: Time) {}

    /// Whether every chain's FINAL was receipted after [`terminate`](Self::terminate).
    pub fn is_closed(&self) -> bool {
        false
    }

    /// When [`work`](Self::work) is due although nothing happens (flush, watch, poll).
    pub fn next_work(&self) -> Option<Time> {
        None
    }

    /// Whether the log directory was listed and its files are open (`indelible-sidecar armed`).
    pub fn is_armed(&self) -> bool {
        false
    }

    /// For metrics.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}
