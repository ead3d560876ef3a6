//! Why a write is refused: each reason with its status, its stable type and a text that names thing, limit and remedy.

use std::time::Duration;

use indelible_chain::batch::CheckError;
use indelible_chain::bytes::DecodeError;
use indelible_chain::id::{ChainId, SessionId};

use crate::limits::{MAX_CHAINS_PER_DAY, MAX_SESSIONS_PER_HOUR, MAX_STATEMENTS_PER_HOUR};

/// Why a write is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each is")]
pub enum Refusal {
    // 400, or 413 for what is over a limit of the format
    #[error("the body cannot be read: {0}")]
    Malformed(DecodeError),
    #[error("the path names {what} {path}, the body is {what} {body}")]
    OtherId { what: &'static str, path: String, body: String },
    // 403
    #[error("the token's {field} is {token:?}, the session's {session:?}: a pod writes only for itself")]
    OtherPod { field: &'static str, token: String, session: String },
    #[error("the session's cluster UID is {session:?}, here {served:?} is served (--cluster-uid)")]
    OtherCluster { session: String, served: String },
    #[error("chain {0} is of another pod than the session: a pod writes only into its own chains")]
    OtherChain(ChainId),
    #[error("namespace {0:?} is not opted in; label it, or stop its sidecars")]
    NamespaceClosed(String),
    #[error("the statement is by no authority that this collector knows (--authority), which a reader's token needs")]
    AuthorityUnknown,
    // 412
    #[error("session {0} is not introduced to this log; PUT /v1/sessions/{0} first")]
    SessionUnknown(SessionId),
    #[error("chain {0} is not introduced to this log; PUT /v1/chains/{0} first")]
    ChainUnknown(ChainId),
    // 422
    #[error("the session's key cannot be accepted: {0}")]
    WeakKey(DecodeError),
    #[error("the batch's body: {0}")]
    Body(DecodeError),
    #[error("the batch does not hold: {0}")]
    Batch(CheckError),
    #[error("the heartbeat's signature is not by the session's key")]
    HeartbeatSignature,
    #[error("the statement's signature is not by the authority whose key it names, or it is for another log")]
    StatementSignature,
    // 429
    #[error("pod {pod_uid} writes more than {limit} bytes of records a second, which is the AuditLog's limit here")]
    PodBytes { pod_uid: String, limit: u64, after: Duration },
    #[error(
        "namespace {namespace:?} has written {limit} bytes of records within a day, which is the AuditLog's limit here"
    )]
    NamespaceBytes { namespace: String, limit: u64, after: Duration },
    #[error("pod {0} has introduced {MAX_SESSIONS_PER_HOUR} sessions within an hour, which is the limit")]
    TooManySessions(String, Duration),
    #[error("pod {0} has introduced {MAX_CHAINS_PER_DAY} chains within a day, which is the limit")]
    TooManyChains(String, Duration),
    #[error("pod {0} has sent {MAX_STATEMENTS_PER_HOUR} statements within an hour, which is the limit")]
    TooManyStatements(String, Duration),
    // 503
    #[error("namespace {0:?} is not known to be opted in yet; try again")]
    NamespaceUnknown(String, Duration),
    #[error("what the log knows of it cannot be read now: {0}")]
    Unreadable(String),
}

impl Refusal {
    /// The status of the interface's table.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(DecodeError::TooLarge { .. }) => 413,
            Self::Malformed(_) | Self::OtherId { .. } => 400,
            Self::OtherPod { .. }
            | Self::OtherCluster { .. }
            | Self::OtherChain(_)
            | Self::NamespaceClosed(_)
            | Self::AuthorityUnknown => 403,
            Self::SessionUnknown(_) | Self::ChainUnknown(_) => 412,
            Self::WeakKey(_) | Self::Body(_) | Self::Batch(_) | Self::HeartbeatSignature | Self::StatementSignature => {
                422
            }
            Self::TooManySessions(..)
            | Self::TooManyChains(..)
            | Self::TooManyStatements(..)
            | Self::PodBytes { .. }
            | Self::NamespaceBytes { .. } => 429,
            Self::NamespaceUnknown(..) | Self::Unreadable(_) => 503,
        }
    }

    /// The last part of the problem's stable type.
    pub const fn slug(&self) -> &'static str {
        match self {
            Self::Malformed(DecodeError::TooLarge { .. }) => "too-large",
            Self::Malformed(_) => "malformed",
            Self::OtherId { .. } => "other-id",
            Self::OtherPod { .. } => "other-pod",
            Self::OtherCluster { .. } => "other-cluster",
            Self::OtherChain(_) => "other-chain",
            Self::NamespaceClosed(_) => "namespace-not-opted-in",
            Self::SessionUnknown(_) => "session-not-introduced",
            Self::ChainUnknown(_) => "chain-not-introduced",
            Self::WeakKey(_) => "weak-key",
            Self::Body(_) | Self::Batch(_) => "batch-does-not-hold",
            Self::HeartbeatSignature => "heartbeat-does-not-hold",
            Self::StatementSignature => "statement-does-not-hold",
            Self::AuthorityUnknown => "authority-not-known",
            Self::TooManySessions(..)
            | Self::TooManyChains(..)
            | Self::TooManyStatements(..)
            | Self::PodBytes { .. } => "pod-limit",
            Self::NamespaceBytes { .. } => "namespace-limit",
            Self::NamespaceUnknown(..) => "namespace-not-known",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// When to try again, where that may help.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManySessions(_, after)
            | Self::TooManyChains(_, after)
            | Self::TooManyStatements(_, after)
            | Self::PodBytes { after, .. }
            | Self::NamespaceBytes { after, .. }
            | Self::NamespaceUnknown(_, after) => Some(*after),
            Self::Unreadable(_) => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}
