//! The answers of the write interface: what a request becomes, or why it is refused.
//!
//! Pure: a function a row of the interface's table (section 5 of the format), of the body, the pod that its token
//! names, and what the log knows. Nothing here appends, signs or keeps time. What comes out has been checked to the
//! last link: the store never "fixes up" a batch, and a pod writes only into its own chains.
//!
//! What a pod may not write at all (403) is decided in [`rights`].

mod budget;
mod namespaces;
mod quota;
mod refusal;
mod rights;

use std::sync::Arc;

use bytes::Bytes;
use indelible_chain::batch::Batch;
use indelible_chain::bytes::{DecodeError, Reader};
use indelible_chain::frame::Upload;
use indelible_chain::genesis::Genesis;
use indelible_chain::heartbeat::Heartbeat;
use indelible_chain::id::{ChainId, SessionId};
use indelible_chain::leaf::{Attestation, Attested};
use indelible_chain::note::VerifierKey;
use indelible_chain::session::Session;
use indelible_chain::statement::SignedStatement;
use indelible_chain::stored::Packer;

use crate::store::{CheckedUpload, KnownChain, KnownSession, ReadError, Store};
use crate::token::PodToken;
pub use budget::{Budget, ByteLimits, Spending};
pub use namespaces::{ListError, NamespaceList, Namespaces, OptIn};
pub use quota::{Introduced, Quota};
pub use refusal::Refusal;
use rights::{of_cluster, of_pod, owned};

/// What has been introduced to this log. The store is one; tests have one in memory.
pub trait Index {
    /// A session that has a leaf here.
    fn session(&self, id: SessionId) -> Result<Option<Arc<KnownSession>>, ReadError>;
    /// A chain that has a leaf here.
    fn chain(&self, id: ChainId) -> Result<Option<KnownChain>, ReadError>;
}

impl Index for Store {
    fn session(&self, id: SessionId) -> Result<Option<Arc<KnownSession>>, ReadError> {
        Self::session(self, id)
    }

    fn chain(&self, id: ChainId) -> Result<Option<KnownChain>, ReadError> {
        Self::chain(self, id)
    }
}

/// `PUT /v1/sessions/{session_id}`: a session, attested by the pod's token.
pub fn session(id: SessionId, body: &[u8], pod: &PodToken, cluster_uid: &str) -> Result<(Session, Attested), Refusal> {
    let session = Session::decode(body)?;
    same_id("session", &id, &session.id()?)?;
    of_pod(&session, pod)?;
    of_cluster(&session, cluster_uid)?;
    let attested = Attested {
        attestation: Attestation::ServiceAccountToken,
        issuer: pod.issuer.clone(),
        subject: pod.subject.clone(),
        pod_uid: pod.pod_uid.clone(),
        token_id: pod.token_id.clone(),
        token_digest: pod.digest,
        token_expires: pod.expires,
    };
    Ok((session, attested))
}

/// `PUT /v1/chains/{chain_id}`: a chain of the pod of an introduced session.
pub fn chain(id: ChainId, body: &[u8], pod: &PodToken, index: &impl Index) -> Result<(Genesis, SessionId), Refusal> {
    let mut reader = Reader::new(body);
    let session_id = SessionId::new(reader.digest("chain session_id")?);
    let genesis = Genesis::decode(reader.rest())?;
    same_id("chain", &id, &genesis.chain_id()?)?;
    let known = introduced(session_id, pod, index)?;
    owned(&known.session, id, &genesis)?;
    Ok((genesis, session_id))
}

/// `POST /v1/batches`: a batch of an introduced session, in an introduced chain of the same pod.
pub fn batch(body: &Bytes, pod: &PodToken, index: &impl Index, packer: &mut Packer) -> Result<CheckedUpload, Refusal> {
    let Upload { commitment, body: stored } = Upload::decode(body)?;
    let known = introduced(commitment.session, pod, index)?;
    let chain = index.chain(commitment.chain)?.ok_or(Refusal::ChainUnknown(commitment.chain))?;
    owned(&known.session, commitment.chain, &chain.genesis)?;
    // The length that was signed bounds what is unpacked, and a length over 1 MiB is not decoded in the first place.
    let unpacked = packer.unpack(stored, commitment.body_len as usize).map_err(Refusal::Body)?;
    let checked = Batch::new(commitment, unpacked).check(&known.session.public_key).map_err(Refusal::Batch)?;
    Ok(CheckedUpload::new(&checked, stored.codec, body.slice_ref(stored.bytes)))
}

/// A heartbeat that holds, with what the log knows of its session and chains.
#[derive(Debug)]
pub struct CheckedHeartbeat {
    /// The heartbeat.
    pub heartbeat: Heartbeat,
    /// Its session.
    pub session: Arc<KnownSession>,
    /// The container of each of its heads; `None` where this log does not know the chain.
    pub containers: Vec<Option<String>>,
}

/// `POST /v1/heartbeats`: a sign of life of an introduced session.
///
/// A chain that was not introduced here may be named: its batches may all have gone to other collectors.
pub fn heartbeat(body: &[u8], pod: &PodToken, index: &impl Index) -> Result<CheckedHeartbeat, Refusal> {
    let heartbeat = Heartbeat::decode(body)?;
    let session = introduced(heartbeat.session, pod, index)?;
    if !heartbeat.is_signed_by(&session.session.public_key) {
        return Err(Refusal::HeartbeatSignature);
    }
    let mut containers = Vec::with_capacity(heartbeat.heads.len());
    for (id, _) in &heartbeat.heads {
        let chain = index.chain(*id)?;
        if let Some(chain) = &chain {
            owned(&session.session, *id, &chain.genesis)?;
        }
        containers.push(chain.map(|chain| chain.genesis.container.clone()));
    }
    Ok(CheckedHeartbeat { heartbeat, session, containers })
}

/// `POST /v1/statements`: an authority speaks. Whose statements count is the verifier's to know; here the form is checked,
/// and the signature where the key is known. Gives whether it is.
pub fn statement(
    body: &[u8],
    authorities: &[VerifierKey],
    origin: &str,
) -> Result<(SignedStatement, Authority), Refusal> {
    let signed = SignedStatement::decode(body)?;
    let mut named = authorities.iter().filter(|key| *key.id().as_bytes() == signed.key_id).peekable();
    if named.peek().is_none() {
        return Ok((signed, Authority::Unknown));
    }
    if named.any(|key| signed.is_signed_by(key.public_key(), origin)) {
        return Ok((signed, Authority::Known));
    }
    Err(Refusal::StatementSignature)
}

/// Whether an authority's key is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// By `--authority`: its signature holds.
    Known,
    /// By nobody here.
    Unknown,
}

/// Bytes of records that a batch says it has, which is signed and checked later: what it is counted as before.
pub fn announced_bytes(body: &Bytes) -> Result<u32, Refusal> {
    Ok(Upload::decode(body)?.commitment.body_len)
}

fn introduced(id: SessionId, pod: &PodToken, index: &impl Index) -> Result<Arc<KnownSession>, Refusal> {
    let known = index.session(id)?.ok_or(Refusal::SessionUnknown(id))?;
    of_pod(&known.session, pod)?;
    Ok(known)
}

fn same_id<T: PartialEq + std::fmt::Display>(what: &'static str, path: &T, body: &T) -> Result<(), Refusal> {
    if path == body {
        return Ok(());
    }
    Err(Refusal::OtherId { what, path: path.to_string(), body: body.to_string() })
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        // The one decoding error that is no question of form: a key that must not be signed with.
        match error {
            DecodeError::Invalid { what: "Ed25519 public key", .. } => Self::WeakKey(error),
            _ => Self::Malformed(error),
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

#[cfg(test)]
mod tests;
