//! Batches: contiguous runs of records of one chain, signed by a session (section 2 of the format).
//!
//! ```text
//! commitment = u8 version(1) ‖ u8 flags ‖ session_id[32] ‖ chain_id[32] ‖ u64 first_seq ‖ u32 count ‖ prev_link[32]
//!              ‖ last_link[32] ‖ i64 first_time ‖ i64 last_time ‖ u32 body_len ‖ signature[64]          (226 bytes)
//! signature  = Ed25519( session key, H[indelible/batch/v1](all of the commitment before the signature) )
//! ```
//!
//! Owns the builder that links and seals, and the check that collector and verifier share: a [`Batch`] becomes
//! [`Checked`] only in [`Batch::check`], where every link is recomputed from the body, never only the ends.

use std::marker::PhantomData;

use crate::bytes::{DecodeError, Reader};
use crate::control::is_end;
use crate::digest::{Digest, Tag};
use crate::id::{ChainId, Head, Seq, SessionId, Time};
use crate::key::{PrivateKey, PublicKey, SIGNATURE_BYTES};
use crate::record::{Record, Records};

/// Length of a commitment in bytes.
pub const COMMITMENT_BYTES: usize = 226;
/// Most records of a batch.
pub const MAX_BATCH_RECORDS: u32 = 4096;
/// Longest canonical body of a batch, in bytes.
pub const MAX_BODY_BYTES: usize = 1 << 20;

const SIGNED_BYTES: usize = COMMITMENT_BYTES - SIGNATURE_BYTES;
const FINAL: u8 = 1;

/// What a session signs of a batch; the leaf of the log holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commitment {
    /// FINAL: the last record is the chain's `end`.
    pub is_final: bool,
    /// Who signed.
    pub session: SessionId,
    /// The chain.
    pub chain: ChainId,
    /// Position of the first record.
    pub first_seq: Seq,
    /// Number of records, 1 to [`MAX_BATCH_RECORDS`].
    pub count: u32,
    /// The link before the first record.
    pub prev_link: Digest,
    /// The link of the last record.
    pub last_link: Digest,
    /// Time of the first record.
    pub first_time: Time,
    /// Time of the last record; may be before the first.
    pub last_time: Time,
    /// Length of the canonical body, at most [`MAX_BODY_BYTES`].
    pub body_len: u32,
    /// The session's signature.
    pub signature: [u8; SIGNATURE_BYTES],
}

impl Commitment {
    /// The position after the last record.
    pub const fn next_seq(&self) -> Seq {
        self.first_seq.plus(self.count as u64)
    }

    /// The chain's head before the batch.
    pub const fn head_before(&self) -> Head {
        Head { next_seq: self.first_seq, link: self.prev_link }
    }

    /// The chain's head after the batch.
    pub const fn head_after(&self) -> Head {
        Head { next_seq: self.next_seq(), link: self.last_link }
    }

    /// The 226 bytes.
    pub fn encode(&self) -> [u8; COMMITMENT_BYTES] {
        let mut out = [0; COMMITMENT_BYTES];
        out[..SIGNED_BYTES].copy_from_slice(&self.encode_signed());
        out[SIGNED_BYTES..].copy_from_slice(&self.signature);
        out
    }

    fn encode_signed(&self) -> [u8; SIGNED_BYTES] {
        let mut out = [0; SIGNED_BYTES];
        out[0] = 1;
        out[1] = if self.is_final { FINAL } else { 0 };
        out[2..34].copy_from_slice(self.session.as_bytes());
        out[34..66].copy_from_slice(self.chain.as_bytes());
        out[66..74].copy_from_slice(&self.first_seq.get().to_be_bytes());
        out[74..78].copy_from_slice(&self.count.to_be_bytes());
        out[78..110].copy_from_slice(self.prev_link.as_bytes());
        out[110..142].copy_from_slice(self.last_link.as_bytes());
        out[142..150].copy_from_slice(&self.first_time.nanos().to_be_bytes());
        out[150..158].copy_from_slice(&self.last_time.nanos().to_be_bytes());
        out[158..].copy_from_slice(&self.body_len.to_be_bytes());
        out
    }

    /// Reads the 226 bytes, limits included; the signature is not judged here.
    pub fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.version("commitment version")?;
        let flags = reader.u8("commitment flags")?;
        if flags & !FINAL != 0 {
            return Err(DecodeError::Unknown { what: "commitment flags", value: flags.into() });
        }
        let commitment = Self {
            is_final: flags == FINAL,
            session: SessionId::new(reader.digest("commitment session_id")?),
            chain: ChainId::new(reader.digest("commitment chain_id")?),
            first_seq: Seq::new(reader.u64("commitment first_seq")?),
            count: reader.u32("commitment count")?,
            prev_link: reader.digest("commitment prev_link")?,
            last_link: reader.digest("commitment last_link")?,
            first_time: Time::from_nanos(reader.i64("commitment first_time")?),
            last_time: Time::from_nanos(reader.i64("commitment last_time")?),
            body_len: reader.u32("commitment body_len")?,
            signature: reader.array("commitment signature")?,
        };
        commitment.check_limits()?;
        Ok(commitment)
    }

    fn check_limits(&self) -> Result<(), DecodeError> {
        let too_large = |what, value: u64, limit: u64| Err(DecodeError::TooLarge { what, value, limit });
        if self.count == 0 {
            return Err(DecodeError::invalid("commitment count", "a batch holds at least one record"));
        }
        if self.count > MAX_BATCH_RECORDS {
            return too_large("commitment count", self.count.into(), MAX_BATCH_RECORDS.into());
        }
        if self.body_len as usize > MAX_BODY_BYTES {
            return too_large("commitment body_len", self.body_len.into(), MAX_BODY_BYTES as u64);
        }
        let limit = i64::MAX.unsigned_abs();
        match self.first_seq.get().checked_add(self.count.into()) {
            Some(next) if next <= limit => Ok(()),
            next => too_large("commitment first_seq + count", next.unwrap_or(u64::MAX), limit),
        }
    }

    /// Whether the signature is by `key`.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let digest = Tag::Batch.hash(&[&self.encode_signed()]);
        key.verifies(digest.as_bytes(), &self.signature)
    }

    fn sign(&mut self, key: &PrivateKey) {
        self.signature = key.sign(Tag::Batch.hash(&[&self.encode_signed()]).as_bytes());
    }
}

/// A batch as it came: nothing of it is known to hold.
#[derive(Debug, Clone, Copy)]
pub enum Unchecked {}
/// A batch whose signature, links, times, count and length hold.
#[derive(Debug, Clone, Copy)]
pub enum Checked {}

/// A commitment with its canonical body.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a, State> {
    commitment: Commitment,
    body: &'a [u8],
    state: PhantomData<State>,
}

/// Why a batch does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// Not by the session's key.
    #[error("the signature is not by the session's key")]
    Signature,
    /// The body has another length.
    #[error("body_len is {stated}, the body has {found} bytes")]
    BodyLen {
        /// What was signed.
        stated: u32,
        /// What is there.
        found: usize,
    },
    /// The body has another number of records.
    #[error("count is {stated}, the body has {found} records")]
    Count {
        /// What was signed.
        stated: u32,
        /// What is there (counting stops one past what was stated).
        found: u32,
    },
    /// A record cannot be read.
    #[error("record {at}: {source}")]
    Record {
        /// Its position.
        at: Seq,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The first or last time is another.
    #[error("first_time or last_time is not that of the first or last record")]
    Times,
    /// The links do not lead from `prev_link` to `last_link`.
    #[error("the links over the body do not end in last_link")]
    Links,
    /// FINAL and the `end` record do not go together.
    #[error("FINAL is for the batch whose last record is the end, and no other record may be one")]
    Final,
    /// A chain does not begin with its own id.
    #[error("prev_link of record 0 is not the chain's id")]
    Start,
}

impl<'a> Batch<'a, Unchecked> {
    /// A batch from outside.
    pub const fn new(commitment: Commitment, body: &'a [u8]) -> Self {
        Self { commitment, body, state: PhantomData }
    }

    /// Checks everything that a batch says of itself: signature, length, count, times, every link, FINAL.
    pub fn check(self, key: &PublicKey) -> Result<Batch<'a, Checked>, CheckError> {
        if !self.commitment.is_signed_by(key) {
            return Err(CheckError::Signature);
        }
        self.check_body(|_, _| ())?;
        Ok(Batch { commitment: self.commitment, body: self.body, state: PhantomData })
    }

    /// All of [`check`](Self::check) but the signature; `see` gets each record with the head after it, before
    /// the whole is known to hold.
    pub fn check_body(&self, mut see: impl FnMut(&Record<'a>, Head)) -> Result<(), CheckError> {
        let c = &self.commitment;
        if self.body.len() != c.body_len as usize {
            return Err(CheckError::BodyLen { stated: c.body_len, found: self.body.len() });
        }
        if c.first_seq == Seq::ZERO && c.prev_link != *c.chain.digest() {
            return Err(CheckError::Start);
        }
        let mut head = c.head_before();
        let mut found = 0;
        let mut last: Option<Record<'a>> = None;
        for record in Records::new(self.body) {
            let record = record.map_err(|source| CheckError::Record { at: head.next_seq, source })?;
            if found == c.count {
                return Err(CheckError::Count { stated: c.count, found: found + 1 });
            }
            if last.is_none() && record.time != c.first_time {
                return Err(CheckError::Times);
            }
            if last.as_ref().is_some_and(is_end) {
                return Err(CheckError::Final);
            }
            head = record.link(c.chain, head);
            see(&record, head);
            found += 1;
            last = Some(record);
        }
        if found != c.count {
            return Err(CheckError::Count { stated: c.count, found });
        }
        if last.is_none_or(|last| last.time != c.last_time) {
            return Err(CheckError::Times);
        }
        if head.link != c.last_link {
            return Err(CheckError::Links);
        }
        if last.as_ref().is_some_and(is_end) == c.is_final { Ok(()) } else { Err(CheckError::Final) }
    }
}

impl<'a> Batch<'a, Checked> {
    /// The records with the head after each.
    pub fn records(&self) -> impl Iterator<Item = (Head, Record<'a>)> {
        let chain = self.commitment.chain;
        let mut head = self.commitment.head_before();
        Records::new(self.body).map_while(Result::ok).map(move |record| {
            head = record.link(chain, head);
            (head, record)
        })
    }
}

impl<'a, State> Batch<'a, State> {
    /// The commitment.
    pub const fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// The canonical body.
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// Links records and seals them. One allocation for many batches: [`BatchBuilder::clear`] keeps the buffer.
#[derive(Debug)]
pub struct BatchBuilder {
    chain: ChainId,
    start: Head,
    head: Head,
    count: u32,
    body: Vec<u8>,
    times: Option<(Time, Time)>,
    ended: bool,
}

impl BatchBuilder {
    /// Begins a batch at `head` of `chain`.
    pub const fn new(chain: ChainId, head: Head) -> Self {
        Self { chain, start: head, head, count: 0, body: Vec::new(), times: None, ended: false }
    }

    /// The chain.
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// The chain's head after what has been pushed.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Number of records.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether there are no records.
    pub const fn is_empty(&self) -> bool {
        self.times.is_none()
    }

    /// The canonical body so far.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether a record with a payload of `payload_len` bytes fits the format's limits for a batch.
    pub fn has_room_for(&self, payload_len: usize) -> bool {
        !self.ended
            && self.count() < MAX_BATCH_RECORDS
            && self.body.len() + crate::record::RECORD_HEADER_BYTES + payload_len <= MAX_BODY_BYTES
    }

    /// Links a record to the chain and adds it. The caller has asked [`has_room_for`](Self::has_room_for).
    pub fn push(&mut self, record: &Record<'_>) {
        debug_assert!(self.has_room_for(record.payload.len()), "the batch is full");
        self.head = record.link(self.chain, self.head);
        self.count += 1;
        record.encode_into(&mut self.body);
        let first = self.times.map_or(record.time, |(first, _)| first);
        self.times = Some((first, record.time));
        self.ended = is_end(record);
    }

    /// Signs what has been pushed; `None` if that is nothing.
    pub fn seal(&self, session: SessionId, key: &PrivateKey) -> Option<Commitment> {
        let (first_time, last_time) = self.times?;
        let mut commitment = Commitment {
            is_final: self.ended,
            session,
            chain: self.chain,
            first_seq: self.start.next_seq,
            count: self.count,
            prev_link: self.start.link,
            last_link: self.head.link,
            first_time,
            last_time,
            body_len: u32::try_from(self.body.len()).expect("has_room_for keeps the body under 1 MiB"),
            signature: [0; SIGNATURE_BYTES],
        };
        commitment.sign(key);
        Some(commitment)
    }

    /// Begins the next batch where this one ended, keeping the buffer.
    pub fn clear(&mut self) {
        self.start = self.head;
        self.count = 0;
        self.body.clear();
        self.times = None;
        self.ended = false;
    }
}
