//! Leaves of a collector's log (section 3 of the format).
//!
//! ```text
//! leaf = u8 version(1) ‖ u8 type ‖ …
//!   1 session    session ‖ u8 attestation ‖ lp16 issuer ‖ lp16 subject ‖ lp16 attested_pod_uid ‖ lp16 token_id
//!                ‖ token_digest[32] ‖ i64 token_expires ‖ i64 received_at
//!   2 genesis    genesis ‖ session_id[32] ‖ i64 received_at
//!   3 batch      commitment[226] ‖ i64 received_at
//!   4 statement  u16 kind ‖ lp32 JSON (≤ 16 KiB) ‖ i64 time
//!   5 liveness   u32 count ‖ u32 body_len ‖ SHA-256(body)[32] ‖ i64 received_at
//!                body (≤ 1 MiB): that many `lp16 heartbeat`, by session id
//!   6 authority  u16 kind ‖ lp32 JSON ‖ key_id[4] ‖ signature[64] ‖ i64 received_at
//! ```
//!
//! Leaves are commitments, not lines: what they commit to is the body of the same frame. In a log, session and
//! genesis leaves precede every batch that names them.

use crate::batch::Commitment;
use crate::bytes::{DecodeError, Put, Reader, check_string};
use crate::digest::Digest;
use crate::genesis::Genesis;
use crate::heartbeat::Heartbeat;
use crate::id::{SessionId, Time};
use crate::session::Session;
use crate::statement::{SignedStatement, Statement, put_statement, take_statement};

/// Longest leaf, in bytes: a bundle of entries gives it 16 bits.
pub const MAX_LEAF_BYTES: usize = 65_535;
/// Longest liveness body, in bytes.
pub const MAX_LIVENESS_BODY_BYTES: usize = 1 << 20;

/// How a collector knew that a session was its pod's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Attestation {
    /// It did not.
    None = 0,
    /// A service-account token, checked against the issuer's keys.
    ServiceAccountToken = 1,
    /// A `TokenReview` by the API server.
    TokenReview = 2,
}

impl Attestation {
    const fn from_code(code: u8) -> Result<Self, DecodeError> {
        match code {
            0 => Ok(Self::None),
            1 => Ok(Self::ServiceAccountToken),
            2 => Ok(Self::TokenReview),
            _ => Err(DecodeError::Unknown { what: "session attestation", value: code as u64 }),
        }
    }
}

/// What a collector attests of a session: whose token introduced it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attested {
    /// How.
    pub attestation: Attestation,
    /// The token's issuer.
    pub issuer: String,
    /// The token's subject, `system:serviceaccount:<namespace>:<name>`.
    pub subject: String,
    /// The pod that the token is bound to.
    pub pod_uid: String,
    /// The token's id (`jti`).
    pub token_id: String,
    /// SHA-256 of the compact JWT.
    pub token_digest: Digest,
    /// When the token expires.
    pub token_expires: Time,
}

/// A leaf.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the fields are those of the table above")]
#[expect(clippy::large_enum_variant, reason = "leaves are read one at a time and not kept; a box would be noise")]
pub enum Leaf {
    /// 1: a session, and who vouches for it. The frame's body is the JWT.
    Session { session: Session, attested: Attested, received_at: Time },
    /// 2: a chain.
    Genesis { genesis: Genesis, session: SessionId, received_at: Time },
    /// 3: a batch. The frame's body is its canonical body.
    Batch { commitment: Commitment, received_at: Time },
    /// 4: the log speaks.
    Statement { statement: Statement, time: Time },
    /// 5: heartbeats. The frame's body holds them.
    Liveness { count: u32, body_len: u32, body_digest: Digest, received_at: Time },
    /// 6: someone else than the log speaks.
    Authority { signed: SignedStatement, received_at: Time },
    /// A type that this version does not know: hashed, counted, a warning.
    Unknown(UnknownLeaf),
}

/// All bytes of a leaf whose type this version does not know. Only [`Leaf::decode`] makes one, so that it never encodes
/// like a leaf of a type that is known.
///
/// ```compile_fail
/// use indelible_chain::leaf::{Leaf, UnknownLeaf};
/// let disguised = Leaf::Unknown(UnknownLeaf(vec![1, 2]));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownLeaf(Vec<u8>);

impl Leaf {
    /// Whether the log ends with it, unless another start follows: statement 4.
    pub const fn is_seal(&self) -> bool {
        matches!(self, Self::Statement { statement: Statement::Sealed { .. }, .. })
    }

    /// When the log took the leaf; `None` for an unknown type.
    pub const fn received_at(&self) -> Option<Time> {
        match self {
            Self::Session { received_at, .. }
            | Self::Genesis { received_at, .. }
            | Self::Batch { received_at, .. }
            | Self::Liveness { received_at, .. }
            | Self::Authority { received_at, .. } => Some(*received_at),
            Self::Statement { time, .. } => Some(*time),
            Self::Unknown(_) => None,
        }
    }

    /// The bytes that are hashed. Fails if a field is over its limit.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let mut out = vec![1];
        match self {
            Self::Session { session, attested, received_at } => {
                out.put(&[1]);
                out.put(&session.encode()?);
                attested.encode_into(&mut out)?;
                out.put(&received_at.nanos().to_be_bytes());
            }
            Self::Genesis { genesis, session, received_at } => {
                out.put(&[2]);
                out.put(&genesis.encode()?);
                out.put(session.as_bytes());
                out.put(&received_at.nanos().to_be_bytes());
            }
            Self::Batch { commitment, received_at } => {
                out.put(&[3]);
                out.put(&commitment.encode());
                out.put(&received_at.nanos().to_be_bytes());
            }
            Self::Statement { statement, time } => {
                out.put(&[4]);
                put_statement(&mut out, statement);
                out.put(&time.nanos().to_be_bytes());
            }
            Self::Liveness { count, body_len, body_digest, received_at } => {
                out.put(&[5]);
                out.put(&count.to_be_bytes());
                out.put(&body_len.to_be_bytes());
                out.put(body_digest.as_bytes());
                out.put(&received_at.nanos().to_be_bytes());
            }
            Self::Authority { signed, received_at } => {
                out.put(&[6]);
                signed.encode_into(&mut out);
                out.put(&received_at.nanos().to_be_bytes());
            }
            Self::Unknown(UnknownLeaf(bytes)) => return Ok(bytes.clone()),
        }
        if out.len() > MAX_LEAF_BYTES {
            let (value, limit) = (out.len() as u64, MAX_LEAF_BYTES as u64);
            return Err(DecodeError::TooLarge { what: "leaf", value, limit });
        }
        Ok(out)
    }

    /// Reads a whole leaf.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_LEAF_BYTES {
            let (value, limit) = (bytes.len() as u64, MAX_LEAF_BYTES as u64);
            return Err(DecodeError::TooLarge { what: "leaf", value, limit });
        }
        let mut reader = Reader::new(bytes);
        reader.version("leaf version")?;
        let leaf = match reader.u8("leaf type")? {
            1 => Self::Session {
                session: Session::decode_from(&mut reader)?,
                attested: Attested::decode_from(&mut reader)?,
                received_at: Time::from_nanos(reader.i64("leaf received_at")?),
            },
            2 => Self::Genesis {
                genesis: Genesis::decode_from(&mut reader)?,
                session: SessionId::new(reader.digest("leaf session_id")?),
                received_at: Time::from_nanos(reader.i64("leaf received_at")?),
            },
            3 => Self::Batch {
                commitment: Commitment::decode_from(&mut reader)?,
                received_at: Time::from_nanos(reader.i64("leaf received_at")?),
            },
            4 => Self::Statement {
                statement: take_statement(&mut reader)?,
                time: Time::from_nanos(reader.i64("leaf time")?),
            },
            5 => Self::decode_liveness(&mut reader)?,
            6 => Self::Authority {
                signed: SignedStatement::decode_from(&mut reader)?,
                received_at: Time::from_nanos(reader.i64("leaf received_at")?),
            },
            _ => return Ok(Self::Unknown(UnknownLeaf(bytes.to_vec()))),
        };
        reader.end("leaf")?;
        Ok(leaf)
    }

    fn decode_liveness(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.u32("liveness count")?;
        let body_len = reader.u32("liveness body_len")?;
        if body_len as usize > MAX_LIVENESS_BODY_BYTES {
            let (value, limit) = (body_len.into(), MAX_LIVENESS_BODY_BYTES as u64);
            return Err(DecodeError::TooLarge { what: "liveness body_len", value, limit });
        }
        let body_digest = reader.digest("liveness body digest")?;
        let received_at = Time::from_nanos(reader.i64("leaf received_at")?);
        Ok(Self::Liveness { count, body_len, body_digest, received_at })
    }
}

impl Attested {
    /// Whether it is the session's own pod and service account that are attested; true where nothing is.
    pub fn is_of(&self, session: &Session) -> bool {
        let subject = || format!("system:serviceaccount:{}:{}", session.namespace, session.service_account);
        match self.attestation {
            Attestation::None => true,
            Attestation::ServiceAccountToken | Attestation::TokenReview => {
                self.pod_uid == session.pod_uid && self.subject == subject()
            }
        }
    }

    fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), DecodeError> {
        out.put(&[self.attestation as u8]);
        for (what, field) in [
            ("session issuer", &self.issuer),
            ("session subject", &self.subject),
            ("session attested_pod_uid", &self.pod_uid),
            ("session token_id", &self.token_id),
        ] {
            check_string(what, field)?;
            out.put_lp16(field.as_bytes());
        }
        out.put(self.token_digest.as_bytes());
        out.put(&self.token_expires.nanos().to_be_bytes());
        Ok(())
    }

    fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            attestation: Attestation::from_code(reader.u8("session attestation")?)?,
            issuer: reader.string("session issuer")?.into(),
            subject: reader.string("session subject")?.into(),
            pod_uid: reader.string("session attested_pod_uid")?.into(),
            token_id: reader.string("session token_id")?.into(),
            token_digest: reader.digest("session token_digest")?,
            token_expires: Time::from_nanos(reader.i64("session token_expires")?),
        })
    }
}

/// Builds a liveness leaf and its body from heartbeats, which are put in order of session id.
///
/// The caller keeps the body under [`MAX_LIVENESS_BODY_BYTES`] by giving as many heartbeats as fit.
pub fn liveness(mut heartbeats: Vec<(SessionId, Vec<u8>)>, received_at: Time) -> Result<(Leaf, Vec<u8>), DecodeError> {
    heartbeats.sort();
    let mut body = Vec::new();
    for (_, heartbeat) in &heartbeats {
        if heartbeat.len() > usize::from(u16::MAX) {
            let (value, limit) = (heartbeat.len() as u64, u16::MAX.into());
            return Err(DecodeError::TooLarge { what: "heartbeat", value, limit });
        }
        body.put_lp16(heartbeat);
    }
    if body.len() > MAX_LIVENESS_BODY_BYTES {
        let (value, limit) = (body.len() as u64, MAX_LIVENESS_BODY_BYTES as u64);
        return Err(DecodeError::TooLarge { what: "liveness body", value, limit });
    }
    let leaf = Leaf::Liveness {
        count: u32::try_from(heartbeats.len()).expect("a body under 1 MiB has fewer heartbeats than bytes"),
        body_len: u32::try_from(body.len()).expect("the body was checked against its limit"),
        body_digest: Digest::sha256(&body),
        received_at,
    };
    Ok((leaf, body))
}

/// The heartbeats of a liveness body: exactly `count`, in ascending order of session id, nothing else.
pub fn liveness_heartbeats(count: u32, body: &[u8]) -> Result<Vec<Heartbeat>, DecodeError> {
    const WHAT: &str = "liveness body";
    let mut reader = Reader::new(body);
    let mut heartbeats: Vec<Heartbeat> = Vec::new();
    while !reader.rest().is_empty() {
        let heartbeat = Heartbeat::decode(reader.lp16("liveness heartbeat")?)?;
        if heartbeats.last().is_some_and(|last| last.session >= heartbeat.session) {
            return Err(DecodeError::invalid(WHAT, "heartbeats are not in ascending order of session id"));
        }
        heartbeats.push(heartbeat);
    }
    if heartbeats.len() == count as usize {
        Ok(heartbeats)
    } else {
        Err(DecodeError::invalid(WHAT, "its number of heartbeats is not the leaf's count"))
    }
}
