//! Sparse bodies: a batch's records of which some payloads are not shown (section 4 of the format).
//!
//! ```text
//! sparse body: per record  i64 time ‖ u8 source ‖ u8 flags ‖ u32 payload_len ‖ u8 form
//!              ‖ (form 0: payload | form 1: content[32])
//! ```
//!
//! The links over a sparse body are those over the whole one, because a link takes the payload's digest only.

use crate::batch::{Commitment, MAX_BATCH_RECORDS};
use crate::bytes::{DecodeError, Put, Reader};
use crate::digest::Digest;
use crate::record::{Record, RecordHeader, Records, content, link};

/// What is shown of a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown<'a> {
    /// The payload.
    Payload(&'a [u8]),
    /// Its content digest only.
    Content(Digest),
}

/// A record of a sparse body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SparseRecord<'a> {
    /// Everything but the payload.
    pub header: RecordHeader,
    /// The payload, or its digest.
    pub shown: Shown<'a>,
}

impl SparseRecord<'_> {
    fn content(&self) -> Digest {
        match &self.shown {
            Shown::Payload(payload) => content(payload),
            Shown::Content(content) => *content,
        }
    }

    /// Appends the record to a sparse body.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.put(&self.header.encode());
        match &self.shown {
            Shown::Payload(payload) => {
                out.put(&[0]);
                out.put(payload);
            }
            Shown::Content(content) => {
                out.put(&[1]);
                out.put(content.as_bytes());
            }
        }
    }
}

/// A sparse body that shows the record at `shown` of a canonical body only.
pub fn show_one(body: &[u8], shown: u32) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    for (n, record) in (0u32..).zip(Records::new(body)) {
        let record: Record<'_> = record?;
        let payload = if n == shown { Shown::Payload(record.payload) } else { Shown::Content(record.content()) };
        SparseRecord { header: record.header(), shown: payload }.encode_into(&mut out);
    }
    Ok(out)
}

/// Reads a sparse body: at most [`MAX_BATCH_RECORDS`] records, nothing else.
pub fn decode(body: &[u8]) -> Result<Vec<SparseRecord<'_>>, DecodeError> {
    let mut reader = Reader::new(body);
    let mut records = Vec::new();
    while !reader.rest().is_empty() {
        if records.len() == MAX_BATCH_RECORDS as usize {
            let (value, limit) = (u64::from(MAX_BATCH_RECORDS) + 1, MAX_BATCH_RECORDS.into());
            return Err(DecodeError::TooLarge { what: "sparse body records", value, limit });
        }
        let header = RecordHeader::decode_from(&mut reader)?;
        let shown = match reader.u8("sparse record form")? {
            0 => Shown::Payload(reader.take("sparse record payload", header.payload_len as usize)?),
            1 => Shown::Content(reader.digest("sparse record content")?),
            value => return Err(DecodeError::Unknown { what: "sparse record form", value: value.into() }),
        };
        records.push(SparseRecord { header, shown });
    }
    Ok(records)
}

/// Whether the links over a sparse body lead from the commitment's `prev_link` to its `last_link`, with its count,
/// times and body length.
pub fn matches(commitment: &Commitment, records: &[SparseRecord<'_>]) -> bool {
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return false };
    let mut head = commitment.head_before();
    let mut body_len = 0;
    for record in records {
        head.link = link(commitment.chain, head, &record.header, &record.content());
        head.next_seq = head.next_seq.plus(1);
        body_len += crate::record::RECORD_HEADER_BYTES as u64 + u64::from(record.header.payload_len);
    }
    head == commitment.head_after()
        && first.header.time == commitment.first_time
        && last.header.time == commitment.last_time
        && body_len == u64::from(commitment.body_len)
}
