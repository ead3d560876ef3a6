//! Receipts: a log's signed promise that a leaf is durable at an index (section 3 of the format).
//!
//! ```text
//! receipt      = u8 version(1) ‖ log_id[32] ‖ u64 index ‖ leaf_hash[32] ‖ i64 received_at ‖ signature[64]  (145 bytes)
//!                signature = Ed25519( log key, H[indelible/receipt/v1](before it) )
//! kept receipt = receipt ‖ commitment[226]                                                                (371 bytes)
//! ```
//!
//! The batch leaf follows from both halves of a kept receipt, so it convicts a log that no longer has the leaf.

use crate::batch::{COMMITMENT_BYTES, Commitment};
use crate::bytes::{DecodeError, Reader};
use crate::digest::{Digest, Tag};
use crate::id::{LeafIndex, LogId, Time};
use crate::key::{PrivateKey, PublicKey, SIGNATURE_BYTES};
use crate::leaf::Leaf;

/// Length of a receipt in bytes.
pub const RECEIPT_BYTES: usize = 145;
/// Length of a kept receipt in bytes.
pub const KEPT_RECEIPT_BYTES: usize = RECEIPT_BYTES + COMMITMENT_BYTES;

/// A log's promise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// The log.
    pub log: LogId,
    /// Where the leaf is.
    pub index: LeafIndex,
    /// The leaf's RFC 6962 hash.
    pub leaf_hash: Digest,
    /// When the log took it.
    pub received_at: Time,
    /// The log's signature.
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Receipt {
    /// Signs a receipt. The leaf must be durable.
    pub fn sign(key: &PrivateKey, log: LogId, index: LeafIndex, leaf_hash: Digest, received_at: Time) -> Self {
        let mut receipt = Self { log, index, leaf_hash, received_at, signature: [0; SIGNATURE_BYTES] };
        receipt.signature = key.sign(receipt.signed_digest().as_bytes());
        receipt
    }

    fn encode_signed(&self) -> [u8; RECEIPT_BYTES - SIGNATURE_BYTES] {
        let mut out = [0; RECEIPT_BYTES - SIGNATURE_BYTES];
        out[0] = 1;
        out[1..33].copy_from_slice(self.log.as_bytes());
        out[33..41].copy_from_slice(&self.index.get().to_be_bytes());
        out[41..73].copy_from_slice(self.leaf_hash.as_bytes());
        out[73..].copy_from_slice(&self.received_at.nanos().to_be_bytes());
        out
    }

    fn signed_digest(&self) -> Digest {
        Tag::Receipt.hash(&[&self.encode_signed()])
    }

    /// The 145 bytes.
    pub fn encode(&self) -> [u8; RECEIPT_BYTES] {
        let mut out = [0; RECEIPT_BYTES];
        out[..RECEIPT_BYTES - SIGNATURE_BYTES].copy_from_slice(&self.encode_signed());
        out[RECEIPT_BYTES - SIGNATURE_BYTES..].copy_from_slice(&self.signature);
        out
    }

    /// Reads a whole receipt; the signature is not judged here.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let receipt = Self::decode_from(&mut reader)?;
        reader.end("receipt")?;
        Ok(receipt)
    }

    /// Reads a receipt that is followed by other things.
    pub fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.version("receipt version")?;
        Ok(Self {
            log: LogId::new(reader.digest("receipt log_id")?),
            index: LeafIndex::new(reader.u64("receipt index")?),
            leaf_hash: reader.digest("receipt leaf_hash")?,
            received_at: Time::from_nanos(reader.i64("receipt received_at")?),
            signature: reader.array("receipt signature")?,
        })
    }

    /// Whether the signature is by `key`.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.verifies(self.signed_digest().as_bytes(), &self.signature)
    }
}

/// A receipt with the commitment that it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeptReceipt {
    /// The promise.
    pub receipt: Receipt,
    /// What was promised to be kept.
    pub commitment: Commitment,
}

impl KeptReceipt {
    /// The 371 bytes.
    pub fn encode(&self) -> [u8; KEPT_RECEIPT_BYTES] {
        let mut out = [0; KEPT_RECEIPT_BYTES];
        out[..RECEIPT_BYTES].copy_from_slice(&self.receipt.encode());
        out[RECEIPT_BYTES..].copy_from_slice(&self.commitment.encode());
        out
    }

    /// Reads a whole kept receipt.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kept = Self::decode_from(&mut reader)?;
        reader.end("kept receipt")?;
        Ok(kept)
    }

    /// Reads a kept receipt that is followed by other things.
    pub fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { receipt: Receipt::decode_from(reader)?, commitment: Commitment::decode_from(reader)? })
    }

    /// The leaf that the log promised to keep, as bytes.
    pub fn leaf(&self) -> Vec<u8> {
        let leaf = Leaf::Batch { commitment: self.commitment, received_at: self.receipt.received_at };
        leaf.encode().expect("a batch leaf has a fixed length within the limits")
    }

    /// Whether both halves belong together: the receipt's leaf hash is that of the batch leaf.
    pub fn is_consistent(&self) -> bool {
        crate::merkle::leaf_hash(&self.leaf()) == self.receipt.leaf_hash
    }
}
