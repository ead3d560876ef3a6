//! Records and their links (section 1 of the format).
//!
//! ```text
//! content  = H[indelible/content/v1]( u8 salt_len ‖ salt ‖ payload )            salt_len is 0 in this version
//! link[i]  = H[indelible/link/v1]( chain_id[32] ‖ u64 seq ‖ link[i-1][32] ‖ i64 time ‖ u8 source ‖ u8 flags
//!            ‖ u32 payload_len ‖ content[32] )                                  link[-1] = chain_id, first seq 0
//! body     = for each record: i64 time ‖ u8 source ‖ u8 flags ‖ u32 payload_len ‖ payload
//! ```
//!
//! The two levels let a payload be removed while the chain still verifies, and let a link be shown without its
//! payload. Without a salt the digest of a guessable line can be guessed.
//! Owns the canonical body of a run of records; knows nothing of where the records came from.

use crate::bytes::{DecodeError, Reader};
use crate::digest::{Digest, Tag};
use crate::id::{ChainId, Head, Time};

/// Longest payload of a record, in bytes.
pub const MAX_RECORD_BYTES: usize = 262_144;

/// Bytes of a record in a body beside its payload.
pub const RECORD_HEADER_BYTES: usize = 14;

/// Where a record's bytes came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Source {
    /// The container's standard output.
    Stdout = 1,
    /// The container's standard error.
    Stderr = 2,
    /// The sidecar speaks; see [`crate::control`].
    Control = 3,
    /// A plain file.
    File = 4,
    /// An API.
    Api = 5,
}

impl Source {
    /// Reads the code of the format.
    pub const fn from_code(code: u8) -> Result<Self, DecodeError> {
        match code {
            1 => Ok(Self::Stdout),
            2 => Ok(Self::Stderr),
            3 => Ok(Self::Control),
            4 => Ok(Self::File),
            5 => Ok(Self::Api),
            _ => Err(DecodeError::Unknown { what: "record source", value: code as u64 }),
        }
    }

    /// The code of the format.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// What is special about a record. A set of bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Flags(u8);

impl Flags {
    /// Nothing special: a whole line.
    pub const NONE: Self = Self(0);
    /// The line goes on in the next record of the same source with the same MALFORMED and LATE flags.
    pub const CONTINUES: Self = Self(1);
    /// The stream ended inside the line.
    pub const UNTERMINATED: Self = Self(2);
    /// The bytes were written to a file after it had been left.
    pub const LATE: Self = Self(4);
    /// Bytes of the file that are no line of its format.
    pub const MALFORMED: Self = Self(8);
    // 16 SALTED is reserved: an error in this version.
    const KNOWN: u8 = 15;

    /// Reads the bits of the format; reserved ones are an error.
    pub const fn from_bits(bits: u8) -> Result<Self, DecodeError> {
        if bits & !Self::KNOWN == 0 {
            Ok(Self(bits))
        } else {
            Err(DecodeError::Unknown { what: "record flags", value: bits as u64 })
        }
    }

    /// The bits of the format.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One record: a captured line, or a control statement of the sidecar.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Record<'a> {
    /// When the line was printed; for a joined line, when its first part was.
    pub time: Time,
    /// Where it came from.
    pub source: Source,
    /// What is special about it.
    pub flags: Flags,
    /// The line without its newline, never re-encoded; at most [`MAX_RECORD_BYTES`].
    pub payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// The content digest of the payload.
    pub fn content(&self) -> Digest {
        content(self.payload)
    }

    /// The head of `chain` after this record, if `head` was its head before.
    pub fn link(&self, chain: ChainId, head: Head) -> Head {
        let link = link(chain, head, &self.header(), &self.content());
        Head { next_seq: head.next_seq.plus(1), link }
    }

    /// Everything but the payload.
    pub fn header(&self) -> RecordHeader {
        let payload_len = u32::try_from(self.payload.len()).expect("a payload is at most MAX_RECORD_BYTES");
        RecordHeader { time: self.time, source: self.source, flags: self.flags, payload_len }
    }

    /// Bytes that this record takes in a body.
    pub const fn body_len(&self) -> usize {
        RECORD_HEADER_BYTES + self.payload.len()
    }

    /// Appends the record to a body.
    pub fn encode_into(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(&self.header().encode());
        body.extend_from_slice(self.payload);
    }

    /// Takes the next record from a body.
    pub fn decode_from(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let RecordHeader { time, source, flags, payload_len } = RecordHeader::decode_from(reader)?;
        let payload = reader.take("record payload", payload_len as usize)?;
        Ok(Self { time, source, flags, payload })
    }
}

/// A record without its payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RecordHeader {
    /// As in [`Record`].
    pub time: Time,
    /// As in [`Record`].
    pub source: Source,
    /// As in [`Record`].
    pub flags: Flags,
    /// Length of the payload in bytes.
    pub payload_len: u32,
}

impl RecordHeader {
    /// `i64 time ‖ u8 source ‖ u8 flags ‖ u32 payload_len`.
    pub fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut out = [0; RECORD_HEADER_BYTES];
        out[..8].copy_from_slice(&self.time.nanos().to_be_bytes());
        out[8] = self.source.code();
        out[9] = self.flags.bits();
        out[10..].copy_from_slice(&self.payload_len.to_be_bytes());
        out
    }

    /// Reads what [`encode`](Self::encode) writes; a payload over the limit is an error.
    pub fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let time = Time::from_nanos(reader.i64("record time")?);
        let source = Source::from_code(reader.u8("record source")?)?;
        let flags = Flags::from_bits(reader.u8("record flags")?)?;
        let payload_len = reader.u32("record payload length")?;
        if payload_len as usize > MAX_RECORD_BYTES {
            let (value, limit) = (payload_len.into(), MAX_RECORD_BYTES as u64);
            return Err(DecodeError::TooLarge { what: "record payload length", value, limit });
        }
        Ok(Self { time, source, flags, payload_len })
    }
}

/// The content digest of a payload.
///
/// ```
/// # use indelible_chain::record::content;
/// assert_eq!(content(b"hello").to_string(), "acecd78f92f1c0857fc8d739918bdce80d7b19766f8e1b4007b3f867dda8f470");
/// ```
pub fn content(payload: &[u8]) -> Digest {
    Tag::Content.hash(&[&[0], payload])
}

/// The link of a record whose content digest is known; `head` is the chain's head before it.
pub fn link(chain: ChainId, head: Head, header: &RecordHeader, content: &Digest) -> Digest {
    // One buffer, one update: 32 + 8 + 32 + 14 + 32 bytes.
    let mut preimage = [0; 118];
    preimage[..32].copy_from_slice(chain.as_bytes());
    preimage[32..40].copy_from_slice(&head.next_seq.get().to_be_bytes());
    preimage[40..72].copy_from_slice(head.link.as_bytes());
    preimage[72..86].copy_from_slice(&header.encode());
    preimage[86..].copy_from_slice(content.as_bytes());
    Tag::Link.hash(&[&preimage])
}

/// The records of a canonical body, in order. Stops after the first error.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    reader: Reader<'a>,
}

impl<'a> Records<'a> {
    /// Reads `body` from its start.
    pub const fn new(body: &'a [u8]) -> Self {
        Self { reader: Reader::new(body) }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.rest().is_empty() {
            return None;
        }
        let record = Record::decode_from(&mut self.reader);
        if record.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(record)
    }
}
