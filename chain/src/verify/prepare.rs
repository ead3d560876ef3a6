//! From a frame to facts: everything about a leaf and its body that can be judged by itself.
//!
//! [`Preparer::prepare`] decodes, unpacks, recomputes every link of a body and checks signatures, and keeps of it all
//! a few hundred bytes. It depends on nothing but the frame and the sessions' keys, so frames can be prepared on any
//! number of threads, one [`Preparer`] each; [`Judge::take`](super::Judge::take) is cheap and wants them in order.
//!
//! Invariant: no allocation per record. A body is read once and dropped; what stays of a batch does not grow with it.

use std::collections::HashMap;

use crate::batch::{Batch, Commitment};
use crate::control::{Control, GapReason, ResumeReason};
use crate::digest::Digest;
use crate::heartbeat::Heartbeat;
use crate::id::{ChainId, Head, LeafIndex, Seq, SessionId, Time};
use crate::key::PublicKey;
use crate::leaf::{Attested, Leaf, liveness_heartbeats};
use crate::merkle::leaf_hash;
use crate::record::Source;
use crate::session::Session;
use crate::stored::{Codec, Packer, Stored};

/// Longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// A leaf with its body, as a source shows it.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The leaf's index.
    pub index: LeafIndex,
    /// The leaf's bytes.
    pub leaf: &'a [u8],
    /// Its body.
    pub body: Stored<'a>,
    /// What the reader saw that is wrong with the frame as such: where it is and what does not hold.
    pub flaw: Option<&'a str>,
}

/// The public keys of the sessions whose leaves were seen, in any log. A session's id is the digest of its key among
/// other things, so any leaf that gives the id gives the key.
#[derive(Clone, Debug, Default)]
pub struct Keys(HashMap<SessionId, PublicKey>);

impl Keys {
    /// Looks at a leaf's bytes and keeps the key if they are a session's. Cheap for all other leaves.
    pub fn learn(&mut self, leaf: &[u8]) {
        if leaf.get(1) == Some(&1)
            && let Ok(Leaf::Session { session, .. }) = Leaf::decode(leaf)
        {
            self.insert(&session);
        }
    }

    pub(super) fn insert(&mut self, session: &Session) {
        let id = session.id().expect("a session that was decoded is within the limits");
        self.0.insert(id, session.public_key);
    }

    pub(super) fn get(&self, session: &SessionId) -> Option<&PublicKey> {
        self.0.get(session)
    }
}

/// A frame's facts, ready for [`Judge::take`](super::Judge::take).
#[derive(Debug)]
pub struct Prepared {
    pub(super) index: LeafIndex,
    pub(super) leaf_hash: Digest,
    pub(super) received_at: Option<Time>,
    pub(super) flaw: Option<Box<str>>,
    pub(super) facts: LeafFacts,
}

/// What a leaf says, by its type.
#[derive(Debug)]
pub(super) enum LeafFacts {
    Session { session: Box<Session>, attested: Box<Attested>, received_at: Time, token: Token },
    Genesis { genesis: Box<crate::genesis::Genesis>, session: SessionId, received_at: Time, extra: bool },
    Batch { batch: Box<BatchFacts>, received_at: Time },
    Statement { statement: Box<crate::statement::Statement>, time: Time, extra: bool },
    Liveness { body: LivenessFacts, received_at: Time },
    Authority { signed: Box<crate::statement::SignedStatement>, received_at: Time, extra: bool },
    Unknown,
    Undecodable { why: String },
}

/// The token that introduced a session.
#[derive(Debug)]
pub enum Token {
    /// The compact JWT, whose digest is the one in the leaf.
    Given(Vec<u8>),
    /// Not given out (yet), or removed.
    NotGiven,
    /// The leaf says that there is none.
    None,
    /// It cannot be the one that the leaf is about.
    Bad(String),
}

impl Token {
    /// Reads the body of a session's leaf.
    pub fn of(body: Stored<'_>, attested: &Attested, packer: &mut Packer) -> Self {
        if attested.attestation == crate::leaf::Attestation::None {
            return if body.bytes.is_empty() { Self::None } else { Self::Bad("nothing attests it".into()) };
        }
        match body.codec {
            Codec::Withheld | Codec::Pruned if body.bytes.is_empty() => return Self::NotGiven,
            Codec::Plain | Codec::Zstd => {}
            codec => return Self::Bad(format!("codec {} is none of a token", codec.code())),
        }
        match packer.unpack(body, MAX_TOKEN_BYTES) {
            Ok(jwt) if Digest::sha256(jwt) == attested.token_digest => Self::Given(jwt.to_vec()),
            Ok(_) => Self::Bad("its digest is not the one in the leaf".into()),
            Err(error) => Self::Bad(error.to_string()),
        }
    }
}

/// What a body turned out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Body {
    /// All that the commitment says of it holds.
    Holds,
    /// Codec 254: not given out to this reader.
    NotGiven,
    /// Codec 255.
    Pruned,
    /// Codecs 2 and 3.
    Sparse,
    /// It is there and is not what the commitment says.
    Contradicts(Box<str>),
    /// It cannot be unpacked or read as what it should be.
    Damaged(Box<str>),
}

/// Whether a signature is by the key that it should be by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Signed {
    Yes,
    No,
    /// The session's leaf has not been seen yet.
    KeyUnknown,
}

/// What stays of a batch.
#[derive(Debug)]
pub(super) struct BatchFacts {
    pub(super) commitment: Commitment,
    pub(super) signed: Signed,
    pub(super) body: Body,
    pub(super) gaps: Vec<DeclaredGap>,
    /// The statement of record 0, if the batch begins there and it is one.
    pub(super) resumed: Option<Resumed>,
}

/// A `gap` record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct DeclaredGap {
    pub(super) seq: Seq,
    pub(super) time: Time,
    pub(super) reason: GapReason,
    pub(super) file: String,
    pub(super) bytes: Option<u64>,
}

/// A `resumed` record at position 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Resumed {
    pub(super) reason: ResumeReason,
    pub(super) from: Option<(ChainId, Head)>,
}

/// What stays of a liveness body.
#[derive(Debug)]
pub(super) enum LivenessFacts {
    Heartbeats(Vec<(Heartbeat, Signed)>),
    NotGiven,
    Pruned,
    Bad(String),
}

/// Prepares frames: one for each thread that does so.
#[derive(Debug)]
pub struct Preparer {
    packer: Packer,
}

impl Preparer {
    /// Makes the contexts for unpacking. Fails only without memory.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { packer: Packer::new()? })
    }

    /// Judges what can be judged of a frame by itself. `keys` should have seen the session leaves before it; a
    /// signature whose key is not there yet is judged by the judge in the end.
    pub fn prepare(&mut self, frame: &Frame<'_>, keys: &Keys) -> Prepared {
        let decoded = Leaf::decode(frame.leaf);
        let received_at = decoded.as_ref().ok().and_then(Leaf::received_at);
        let extra = !frame.body.bytes.is_empty();
        let facts = match decoded {
            Ok(Leaf::Session { session, attested, received_at }) => {
                let token = Token::of(frame.body, &attested, &mut self.packer);
                LeafFacts::Session { session: session.into(), attested: attested.into(), received_at, token }
            }
            Ok(Leaf::Genesis { genesis, session, received_at }) => {
                LeafFacts::Genesis { genesis: genesis.into(), session, received_at, extra }
            }
            Ok(Leaf::Batch { commitment, received_at }) => {
                LeafFacts::Batch { batch: self.batch(commitment, frame.body, keys).into(), received_at }
            }
            Ok(Leaf::Statement { statement, time }) => {
                LeafFacts::Statement { statement: statement.into(), time, extra }
            }
            Ok(Leaf::Liveness { count, body_len, body_digest, received_at }) => {
                let body = self.liveness(frame.body, count, body_len, body_digest, keys);
                LeafFacts::Liveness { body, received_at }
            }
            Ok(Leaf::Authority { signed, received_at }) => {
                LeafFacts::Authority { signed: signed.into(), received_at, extra }
            }
            Ok(Leaf::Unknown(_)) => LeafFacts::Unknown,
            Err(error) => LeafFacts::Undecodable { why: error.to_string() },
        };
        let flaw = frame.flaw.map(Into::into);
        Prepared { index: frame.index, leaf_hash: leaf_hash(frame.leaf), received_at, flaw, facts }
    }

    fn batch(&mut self, commitment: Commitment, stored: Stored<'_>, keys: &Keys) -> BatchFacts {
        let signed = match keys.get(&commitment.session) {
            Some(key) if commitment.is_signed_by(key) => Signed::Yes,
            Some(_) => Signed::No,
            None => Signed::KeyUnknown,
        };
        let (mut gaps, mut resumed) = (Vec::new(), None);
        let body = self.check_body(&commitment, stored, |seq, time, control| match control {
            Control::Gap { reason, file, bytes } => gaps.push(DeclaredGap { seq, time, reason, file, bytes }),
            Control::Resumed { reason, from } if seq == Seq::ZERO => resumed = Some(Resumed { reason, from }),
            Control::Resumed { .. } | Control::ContainerStarted { .. } | Control::End => {}
        });
        if body != Body::Holds {
            (gaps, resumed) = (Vec::new(), None);
        }
        BatchFacts { commitment, signed, body, gaps, resumed }
    }

    fn check_body(
        &mut self,
        commitment: &Commitment,
        stored: Stored<'_>,
        mut control: impl FnMut(Seq, Time, Control),
    ) -> Body {
        let limit = commitment.body_len as usize;
        let body = match stored.codec {
            Codec::Plain => stored.bytes,
            Codec::Zstd => match self.packer.unpack(stored, limit) {
                Ok(body) => body,
                Err(error) => return Body::Damaged(error.to_string().into()),
            },
            Codec::Sparse | Codec::SparseZstd => return Body::Sparse,
            Codec::Withheld if stored.bytes.is_empty() => return Body::NotGiven,
            Codec::Pruned if stored.bytes.is_empty() => return Body::Pruned,
            Codec::Withheld | Codec::Pruned => return Body::Damaged("bytes where there should be none".into()),
        };
        let checked = Batch::new(*commitment, body).check_body(|record, head| {
            if record.source == Source::Control
                && let Some(statement) = Control::of(record)
            {
                control(Seq::new(head.next_seq.get() - 1), record.time, statement);
            }
        });
        match checked {
            Ok(()) => Body::Holds,
            Err(error) => Body::Contradicts(error.to_string().into()),
        }
    }

    fn liveness(&mut self, body: Stored<'_>, count: u32, len: u32, digest: Digest, keys: &Keys) -> LivenessFacts {
        match body.codec {
            Codec::Withheld if body.bytes.is_empty() => return LivenessFacts::NotGiven,
            Codec::Pruned if body.bytes.is_empty() => return LivenessFacts::Pruned,
            Codec::Plain | Codec::Zstd => {}
            codec => return LivenessFacts::Bad(format!("codec {} is none of heartbeats", codec.code())),
        }
        let body = match self.packer.unpack(body, len as usize) {
            Ok(body) if body.len() == len as usize && Digest::sha256(body) == digest => body,
            Ok(_) => return LivenessFacts::Bad("its length or digest is not the one in the leaf".into()),
            Err(error) => return LivenessFacts::Bad(error.to_string()),
        };
        match liveness_heartbeats(count, body) {
            Err(error) => LivenessFacts::Bad(error.to_string()),
            Ok(heartbeats) => LivenessFacts::Heartbeats(
                (heartbeats.into_iter())
                    .map(|heartbeat| {
                        let signed = signed(&heartbeat, keys);
                        (heartbeat, signed)
                    })
                    .collect(),
            ),
        }
    }

    /// The links of a batch before these positions, which were checked to be the batch's own; `None` if the frame is
    /// not a batch whose body holds.
    pub(super) fn links(&mut self, frame: &Frame<'_>, positions: &[Seq]) -> Option<Vec<(Seq, Digest)>> {
        let Ok(Leaf::Batch { commitment, .. }) = Leaf::decode(frame.leaf) else { return None };
        let body = self.packer.unpack(frame.body, commitment.body_len as usize).ok()?;
        let mut links = Vec::with_capacity(positions.len());
        let holds = Batch::new(commitment, body).check_body(|_, head| {
            if positions.binary_search(&head.next_seq).is_ok() {
                links.push((head.next_seq, head.link));
            }
        });
        holds.ok().map(|()| links)
    }
}

/// Whether a heartbeat is by its session's key.
pub(super) fn signed(heartbeat: &Heartbeat, keys: &Keys) -> Signed {
    match keys.get(&heartbeat.session) {
        Some(key) if heartbeat.is_signed_by(key) => Signed::Yes,
        Some(_) => Signed::No,
        None => Signed::KeyUnknown,
    }
}
