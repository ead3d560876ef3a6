//! What a tlog-proof of one record carries beside the inclusion proof (section 4 of the format).
//!
//! ```text
//! extra = u8 version(1) ‖ leaf[236] ‖ lp16 genesis ‖ lp16 session ‖ u32 n (which record of the batch) ‖ sparse body
//! ```
//!
//! It shows that the session signed the record and that the log holds the batch. Whose pod the session was is
//! shown by the tlog-proof of the session's leaf beside it, whose `extra` is that leaf.

use crate::batch::{COMMITMENT_BYTES, Commitment};
use crate::bytes::{DecodeError, Put, Reader};
use crate::digest::Digest;
use crate::genesis::Genesis;
use crate::id::{Seq, Time};
use crate::leaf::Leaf;
use crate::record::RecordHeader;
use crate::session::Session;
use crate::sparse::{self, Shown};

/// Length of a batch leaf in bytes.
pub const BATCH_LEAF_BYTES: usize = 2 + COMMITMENT_BYTES + 8;

/// The `extra` of one record's proof.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordProof {
    /// The batch.
    pub commitment: Commitment,
    /// When the log took it.
    pub received_at: Time,
    /// The chain.
    pub genesis: Genesis,
    /// Who signed.
    pub session: Session,
    /// Which record of the batch is shown, from 0.
    pub n: u32,
    /// The batch's sparse body.
    pub sparse_body: Vec<u8>,
}

/// A record that was proved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProvedRecord<'a> {
    /// Its position.
    pub seq: Seq,
    /// Everything but the payload.
    pub header: RecordHeader,
    /// The payload.
    pub payload: &'a [u8],
}

/// Why a proof of a record does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveRecordError {
    /// The genesis is not that of the batch's chain.
    #[error("the genesis is of another chain than the batch")]
    Chain,
    /// The session is not the one that signed the batch.
    #[error("the session is another than the batch names")]
    Session,
    /// The session is not of the chain's pod.
    #[error("the session is of another pod than the chain")]
    Foreign,
    /// The signature does not hold.
    #[error("the batch is not signed by the session's key")]
    Signature,
    /// The links do not hold.
    #[error("the links over the records shown do not end in the batch's last_link")]
    Links,
    /// The record named is not shown.
    #[error("record {0} of the batch is not there, or its payload is not shown")]
    NotShown(u32),
    /// A part cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl RecordProof {
    /// The bytes of `extra`.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let mut out = vec![1];
        out.put(&self.leaf());
        out.put_lp16(&self.genesis.encode()?);
        out.put_lp16(&self.session.encode()?);
        out.put(&self.n.to_be_bytes());
        out.put(&self.sparse_body);
        Ok(out)
    }

    /// Reads the bytes of `extra`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version("record proof version")?;
        let leaf = Leaf::decode(reader.take("record proof leaf", BATCH_LEAF_BYTES)?)?;
        let Leaf::Batch { commitment, received_at } = leaf else {
            return Err(DecodeError::invalid("record proof leaf", "not a batch"));
        };
        Ok(Self {
            commitment,
            received_at,
            genesis: Genesis::decode(reader.lp16("record proof genesis")?)?,
            session: Session::decode(reader.lp16("record proof session")?)?,
            n: reader.u32("record proof n")?,
            sparse_body: reader.rest().to_vec(),
        })
    }

    /// The leaf whose inclusion is to be proved.
    pub fn leaf(&self) -> Vec<u8> {
        let leaf = Leaf::Batch { commitment: self.commitment, received_at: self.received_at };
        leaf.encode().expect("a batch leaf has a fixed length within the limits")
    }

    /// The leaf's hash.
    pub fn leaf_hash(&self) -> Digest {
        crate::merkle::leaf_hash(&self.leaf())
    }

    /// Checks everything but inclusion, and gives the record.
    pub fn check(&self) -> Result<ProvedRecord<'_>, ProveRecordError> {
        if self.genesis.chain_id()? != self.commitment.chain {
            return Err(ProveRecordError::Chain);
        }
        if self.session.id()? != self.commitment.session {
            return Err(ProveRecordError::Session);
        }
        if !self.session.owns(&self.genesis) {
            return Err(ProveRecordError::Foreign);
        }
        if !self.commitment.is_signed_by(&self.session.public_key) {
            return Err(ProveRecordError::Signature);
        }
        let records = sparse::decode(&self.sparse_body)?;
        if !sparse::matches(&self.commitment, &records) {
            return Err(ProveRecordError::Links);
        }
        let seq = self.commitment.first_seq.plus(self.n.into());
        match records.get(self.n as usize) {
            Some(sparse::SparseRecord { header, shown: Shown::Payload(payload) }) => {
                Ok(ProvedRecord { seq, header: *header, payload })
            }
            _ => Err(ProveRecordError::NotShown(self.n)),
        }
    }
}
