//! Statements: what a collector, or an authority, says for the record (section 3 of the format).
//!
//! | kind | JSON |
//! | --- | --- |
//! | 1 started | `{"software":s}` |
//! | 2 recovered | `{"bytes":n,"sha256":hex}`: the torn tail that was set aside |
//! | 3 successor-of | `{"origin":s,"size":n,"root":hex}`: the log this one continues and its last known checkpoint |
//! | 4 sealed | `{"reason":"scale-down\|shutdown"}`: after the last 5; nothing follows until a 1, which is followed by 2 or 3 where they apply |
//! | 5 archived | `{"manifest":n,"sha256":hex}` |
//! | 6 pruned | `{"from":index,"to":index,"retention":s,"by":s}`: bodies removed |
//! | 7 conflict | `{"chain":hex,"seq":n,"first":index,"second":index}` |
//! | 8 hold | `{"set":bool,"by":s,"reason":s}` |
//! | 9 verified | `{"report":hex,"integrity":s,"authenticity":s,"completeness":s,"freshness":s}` |
//! | 10 clock | `{"offset_ms":n}` (null if unknown): also the sign of life of a log without a leaf for 60 s |
//! | 11 ended | `{"pod_uid":s,"reason":"Deleted\|Evicted\|NodeLost\|Forced","at":n}`: for every audited pod that is gone |
//! | 12 redacted | `{"chain":hex,"seq":n,"by":s,"reason":s}` |
//! | 13 accepted | `{"finding":id,"by":s,"reason":s}` |
//!
//! Each kind has one canonical JSON text ([`crate::json`]). Kinds that this version does not know are tolerated:
//! hashed, counted, and a warning. Kinds 8, 9, 11, 12 and 13 count only from an authority.

use crate::bytes::{DecodeError, Put, Reader};
use crate::digest::{Digest, Tag};
use crate::id::{ChainId, LeafIndex, Seq, Time};
use crate::json::{JsonReader, JsonWriter};
use crate::key::{PrivateKey, PublicKey, SIGNATURE_BYTES};

/// Longest JSON of a statement, in bytes.
pub const MAX_STATEMENT_BYTES: usize = 16 * 1024;

/// A statement. Field names and order are those of the format.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the fields are the format's own, explained at each variant")]
pub enum Statement {
    /// 1: a collector started on this log.
    Started { software: String },
    /// 2: a torn tail was set aside: its length and digest.
    Recovered { bytes: u64, sha256: Digest },
    /// 3: the log that this one continues, and its last known checkpoint.
    SuccessorOf { origin: String, size: u64, root: Digest },
    /// 4: nothing follows until the next 1.
    Sealed { reason: SealReason },
    /// 5: segments were archived under a manifest.
    Archived { manifest: u64, sha256: Digest },
    /// 6: bodies were removed.
    Pruned { from: LeafIndex, to: LeafIndex, retention: String, by: String },
    /// 7: two batches contradict each other.
    Conflict { chain: ChainId, seq: Seq, first: LeafIndex, second: LeafIndex },
    /// 8: legal hold.
    Hold { set: bool, by: String, reason: String },
    /// 9: a verification and its verdicts.
    Verified { report: Digest, integrity: String, authenticity: String, completeness: String, freshness: String },
    /// 10: the clock's offset in milliseconds; also the sign of life of a log without a leaf for 60 s.
    Clock { offset_ms: Option<i64> },
    /// 11: an audited pod is gone.
    Ended { pod_uid: String, reason: EndReason, at: Time },
    /// 12: a payload was removed by law.
    Redacted { chain: ChainId, seq: Seq, by: String, reason: String },
    /// 13: a finding was accepted.
    Accepted { finding: String, by: String, reason: String },
    /// A kind that this version does not know.
    Unknown(UnknownStatement),
}

/// A statement of a kind that this version does not know. Only [`Statement::decode`] makes one, so that it never encodes
/// like a statement of a kind that is known.
///
/// ```compile_fail
/// use indelible_chain::statement::{Statement, UnknownStatement};
/// let disguised = Statement::Unknown(UnknownStatement { kind: 4, json: r#"{"reason":"shutdown"}"#.into() });
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct UnknownStatement {
    kind: u16,
    json: String,
}

/// Why a log was sealed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SealReason {
    /// The pool shrinks.
    ScaleDown,
    /// The collector stops.
    Shutdown,
}

/// Why a pod is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the words are Kubernetes' own")]
pub enum EndReason {
    Deleted,
    Evicted,
    NodeLost,
    Forced,
}

const WHAT: &str = "statement";

impl Statement {
    /// The kind's number.
    pub const fn kind(&self) -> u16 {
        match self {
            Self::Started { .. } => 1,
            Self::Recovered { .. } => 2,
            Self::SuccessorOf { .. } => 3,
            Self::Sealed { .. } => 4,
            Self::Archived { .. } => 5,
            Self::Pruned { .. } => 6,
            Self::Conflict { .. } => 7,
            Self::Hold { .. } => 8,
            Self::Verified { .. } => 9,
            Self::Clock { .. } => 10,
            Self::Ended { .. } => 11,
            Self::Redacted { .. } => 12,
            Self::Accepted { .. } => 13,
            Self::Unknown(unknown) => unknown.kind,
        }
    }

    /// Whether this kind counts only from an authority.
    pub const fn needs_authority(&self) -> bool {
        matches!(self.kind(), 8 | 9 | 11 | 12 | 13)
    }

    /// The canonical JSON.
    pub fn json(&self) -> String {
        let o = JsonWriter::new();
        match self {
            Self::Started { software } => o.string("software", software),
            Self::Recovered { bytes, sha256 } => o.number("bytes", *bytes).string("sha256", &sha256.to_string()),
            Self::SuccessorOf { origin, size, root } => {
                o.string("origin", origin).number("size", *size).string("root", &root.to_string())
            }
            Self::Sealed { reason } => o.string("reason", reason.word()),
            Self::Archived { manifest, sha256 } => {
                o.number("manifest", *manifest).string("sha256", &sha256.to_string())
            }
            Self::Pruned { from, to, retention, by } => {
                o.number("from", from.get()).number("to", to.get()).string("retention", retention).string("by", by)
            }
            Self::Conflict { chain, seq, first, second } => o
                .string("chain", &chain.to_string())
                .number("seq", seq.get())
                .number("first", first.get())
                .number("second", second.get()),
            Self::Hold { set, by, reason } => o.boolean("set", *set).string("by", by).string("reason", reason),
            Self::Verified { report, integrity, authenticity, completeness, freshness } => o
                .string("report", &report.to_string())
                .string("integrity", integrity)
                .string("authenticity", authenticity)
                .string("completeness", completeness)
                .string("freshness", freshness),
            Self::Clock { offset_ms } => o.optional("offset_ms", *offset_ms),
            Self::Ended { pod_uid, reason, at } => {
                o.string("pod_uid", pod_uid).string("reason", reason.word()).number("at", at.nanos())
            }
            Self::Redacted { chain, seq, by, reason } => {
                o.string("chain", &chain.to_string()).number("seq", seq.get()).string("by", by).string("reason", reason)
            }
            Self::Accepted { finding, by, reason } => {
                o.string("finding", finding).string("by", by).string("reason", reason)
            }
            Self::Unknown(unknown) => return unknown.json.clone(),
        }
        .end()
    }

    /// Reads a statement; of a kind that is known, only its canonical text.
    pub fn decode(kind: u16, json: &str) -> Result<Self, DecodeError> {
        if json.len() > MAX_STATEMENT_BYTES {
            let (value, limit) = (json.len() as u64, MAX_STATEMENT_BYTES as u64);
            return Err(DecodeError::TooLarge { what: WHAT, value, limit });
        }
        if !(1..=13).contains(&kind) {
            return Ok(Self::Unknown(UnknownStatement { kind, json: json.to_owned() }));
        }
        let mut o = JsonReader::new(WHAT, json)?;
        let statement = Self::decode_fields(kind, &mut o)?;
        o.end()?;
        Ok(statement)
    }

    fn decode_fields(kind: u16, o: &mut JsonReader<'_>) -> Result<Self, DecodeError> {
        Ok(match kind {
            1 => Self::Started { software: o.string("software")? },
            2 => Self::Recovered { bytes: o.number("bytes")?, sha256: digest(&o.string("sha256")?)? },
            3 => Self::SuccessorOf {
                origin: o.string("origin")?,
                size: o.number("size")?,
                root: digest(&o.string("root")?)?,
            },
            4 => Self::Sealed { reason: SealReason::from_word(&o.string("reason")?)? },
            5 => Self::Archived { manifest: o.number("manifest")?, sha256: digest(&o.string("sha256")?)? },
            6 => Self::Pruned {
                from: LeafIndex::new(o.number("from")?),
                to: LeafIndex::new(o.number("to")?),
                retention: o.string("retention")?,
                by: o.string("by")?,
            },
            7 => Self::Conflict {
                chain: ChainId::new(digest(&o.string("chain")?)?),
                seq: Seq::new(o.number("seq")?),
                first: LeafIndex::new(o.number("first")?),
                second: LeafIndex::new(o.number("second")?),
            },
            8 => Self::Hold { set: o.boolean("set")?, by: o.string("by")?, reason: o.string("reason")? },
            9 => Self::Verified {
                report: digest(&o.string("report")?)?,
                integrity: o.string("integrity")?,
                authenticity: o.string("authenticity")?,
                completeness: o.string("completeness")?,
                freshness: o.string("freshness")?,
            },
            10 => Self::Clock { offset_ms: o.optional("offset_ms")? },
            11 => Self::Ended {
                pod_uid: o.string("pod_uid")?,
                reason: EndReason::from_word(&o.string("reason")?)?,
                at: Time::from_nanos(o.number("at")?),
            },
            12 => Self::Redacted {
                chain: ChainId::new(digest(&o.string("chain")?)?),
                seq: Seq::new(o.number("seq")?),
                by: o.string("by")?,
                reason: o.string("reason")?,
            },
            13 => Self::Accepted { finding: o.string("finding")?, by: o.string("by")?, reason: o.string("reason")? },
            _ => return Err(DecodeError::Unknown { what: WHAT, value: kind.into() }),
        })
    }
}

fn digest(hex: &str) -> Result<Digest, DecodeError> {
    hex.parse().map_err(|_| DecodeError::invalid(WHAT, "a digest is 64 lower-case hex digits"))
}

impl SealReason {
    /// The word of the format.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ScaleDown => "scale-down",
            Self::Shutdown => "shutdown",
        }
    }

    fn from_word(word: &str) -> Result<Self, DecodeError> {
        [Self::ScaleDown, Self::Shutdown]
            .into_iter()
            .find(|reason| reason.word() == word)
            .ok_or(DecodeError::invalid(WHAT, "unknown reason to seal"))
    }
}

impl EndReason {
    /// The word of the format.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deleted => "Deleted",
            Self::Evicted => "Evicted",
            Self::NodeLost => "NodeLost",
            Self::Forced => "Forced",
        }
    }

    fn from_word(word: &str) -> Result<Self, DecodeError> {
        [Self::Deleted, Self::Evicted, Self::NodeLost, Self::Forced]
            .into_iter()
            .find(|reason| reason.word() == word)
            .ok_or(DecodeError::invalid(WHAT, "unknown reason for a pod's end"))
    }
}

/// A statement by someone else than the log, as it is sent to a collector:
/// `u16 kind ‖ lp32 JSON ‖ key_id[4] ‖ signature[64]`.
///
/// The signature is over `H[indelible/statement/v1]( lp16 origin ‖ u16 kind ‖ lp32 JSON )`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedStatement {
    /// What is said.
    pub statement: Statement,
    /// The id of the authority's key, as in its verifier key.
    pub key_id: [u8; 4],
    /// The authority's signature.
    pub signature: [u8; SIGNATURE_BYTES],
}

impl SignedStatement {
    /// Signs a statement for the log with this origin.
    pub fn sign(key: &PrivateKey, key_id: [u8; 4], origin: &str, statement: Statement) -> Self {
        let signature = key.sign(Self::digest(origin, &statement).as_bytes());
        Self { statement, key_id, signature }
    }

    /// Whether the signature is by `key` and for the log with this origin.
    pub fn is_signed_by(&self, key: &PublicKey, origin: &str) -> bool {
        key.verifies(Self::digest(origin, &self.statement).as_bytes(), &self.signature)
    }

    fn digest(origin: &str, statement: &Statement) -> Digest {
        let mut message = Vec::new();
        message.put_lp16(origin.as_bytes());
        put_statement(&mut message, statement);
        Tag::Statement.hash(&[&message])
    }

    /// Appends the bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        put_statement(out, &self.statement);
        out.put(&self.key_id);
        out.put(&self.signature);
    }

    /// Reads a whole signed statement.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let signed = Self::decode_from(&mut reader)?;
        reader.end("signed statement")?;
        Ok(signed)
    }

    /// Reads a signed statement that is followed by other things.
    pub fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            statement: take_statement(reader)?,
            key_id: reader.array("statement key_id")?,
            signature: reader.array("statement signature")?,
        })
    }
}

/// Appends `u16 kind ‖ lp32 JSON`.
pub(crate) fn put_statement(out: &mut Vec<u8>, statement: &Statement) {
    out.put(&statement.kind().to_be_bytes());
    out.put_lp32(statement.json().as_bytes());
}

/// Reads `u16 kind ‖ lp32 JSON`.
pub(crate) fn take_statement(reader: &mut Reader<'_>) -> Result<Statement, DecodeError> {
    let kind = reader.u16("statement kind")?;
    let json = reader.lp32("statement JSON", MAX_STATEMENT_BYTES)?;
    let json = std::str::from_utf8(json).map_err(|_| DecodeError::Utf8 { what: "statement JSON" })?;
    Statement::decode(kind, json)
}
