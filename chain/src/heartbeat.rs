//! Heartbeats: a session's signed sign of life (section 2 of the format).
//!
//! ```text
//! heartbeat  = u8 version(1) ‖ session_id[32] ‖ i64 time ‖ ca_digest[32] ‖ u16 n ‖ n × ( chain_id[32] ‖ u64 next_seq
//!              ‖ last_link[32] ) ‖ u16 m ‖ m × ( lp16 origin ‖ kept receipt[371] ) ‖ signature[64]
//!              signature = Ed25519( session key, H[indelible/heartbeat/v1](before it) )
//! ```
//!
//! States the newest receipted heads of the session's open chains, by chain id, and carries receipts of other logs
//! to a log that can be read when they cannot. A silent chain's head is 0 and its own id.

use crate::bytes::{DecodeError, Put, Reader, check_string};
use crate::digest::{Digest, Tag};
use crate::id::{ChainId, Head, Seq, SessionId, Time};
use crate::key::{PrivateKey, PublicKey, SIGNATURE_BYTES};
use crate::receipt::KeptReceipt;

/// Most chains of a heartbeat.
pub const MAX_HEADS: usize = 128;
/// Most kept receipts of a heartbeat.
pub const MAX_RECEIPTS: usize = 16;

/// A session's sign of life. The heads are in ascending order of chain id, each chain once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// Who speaks.
    pub session: SessionId,
    /// When, by the sidecar's clock.
    pub time: Time,
    /// SHA-256 of the CA bundle in use.
    pub ca_digest: Digest,
    /// The receipted heads, at most [`MAX_HEADS`].
    pub heads: Vec<(ChainId, Head)>,
    /// Receipts of other logs with their origins, at most [`MAX_RECEIPTS`].
    pub receipts: Vec<(String, KeptReceipt)>,
    /// The session's signature.
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Heartbeat {
    fn encode_signed(&self) -> Result<Vec<u8>, DecodeError> {
        self.check()?;
        let mut out = vec![1];
        out.put(self.session.as_bytes());
        out.put(&self.time.nanos().to_be_bytes());
        out.put(self.ca_digest.as_bytes());
        out.put(&count_u16(self.heads.len()).to_be_bytes());
        for (chain, head) in &self.heads {
            out.put(chain.as_bytes());
            out.put(&head.next_seq.get().to_be_bytes());
            out.put(head.link.as_bytes());
        }
        out.put(&count_u16(self.receipts.len()).to_be_bytes());
        for (origin, kept) in &self.receipts {
            out.put_lp16(origin.as_bytes());
            out.put(&kept.encode());
        }
        Ok(out)
    }

    fn check(&self) -> Result<(), DecodeError> {
        check_count("heartbeat heads", self.heads.len(), MAX_HEADS)?;
        check_count("heartbeat receipts", self.receipts.len(), MAX_RECEIPTS)?;
        if !self.heads.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(DecodeError::invalid("heartbeat heads", "not in ascending order of chain id"));
        }
        self.receipts.iter().try_for_each(|(origin, _)| check_string("heartbeat origin", origin))
    }

    /// Signs what has been filled in. Fails if a list or string is over its limit.
    pub fn sign(&mut self, key: &PrivateKey) -> Result<(), DecodeError> {
        self.signature = key.sign(Tag::Heartbeat.hash(&[&self.encode_signed()?]).as_bytes());
        Ok(())
    }

    /// The bytes, signature included.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let mut out = self.encode_signed()?;
        out.put(&self.signature);
        Ok(out)
    }

    /// Reads a whole heartbeat; the signature is not judged here.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        reader.version("heartbeat version")?;
        let session = SessionId::new(reader.digest("heartbeat session_id")?);
        let time = Time::from_nanos(reader.i64("heartbeat time")?);
        let ca_digest = reader.digest("heartbeat ca_digest")?;
        let n = usize::from(reader.u16("heartbeat heads")?);
        check_count("heartbeat heads", n, MAX_HEADS)?;
        let mut heads = Vec::with_capacity(n);
        for _ in 0..n {
            let chain = ChainId::new(reader.digest("heartbeat chain_id")?);
            let next_seq = Seq::new(reader.u64("heartbeat next_seq")?);
            heads.push((chain, Head { next_seq, link: reader.digest("heartbeat last_link")? }));
        }
        let m = usize::from(reader.u16("heartbeat receipts")?);
        check_count("heartbeat receipts", m, MAX_RECEIPTS)?;
        let mut receipts = Vec::with_capacity(m);
        for _ in 0..m {
            let origin = reader.string("heartbeat origin")?.to_owned();
            receipts.push((origin, KeptReceipt::decode_from(&mut reader)?));
        }
        let signature = reader.array("heartbeat signature")?;
        reader.end("heartbeat")?;
        let heartbeat = Self { session, time, ca_digest, heads, receipts, signature };
        heartbeat.check()?;
        Ok(heartbeat)
    }

    /// Whether the signature is by `key`.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.encode_signed()
            .is_ok_and(|signed| key.verifies(Tag::Heartbeat.hash(&[&signed]).as_bytes(), &self.signature))
    }
}

fn check_count(what: &'static str, count: usize, limit: usize) -> Result<(), DecodeError> {
    if count > limit {
        return Err(DecodeError::TooLarge { what, value: count as u64, limit: limit as u64 });
    }
    Ok(())
}

fn count_u16(count: usize) -> u16 {
    u16::try_from(count).expect("the counts were checked against their limits")
}
