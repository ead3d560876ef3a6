//! The model's reading of leaves and bodies, as far as it asks for what they say.

use crate::tamper::wire::{Digest, In, Record, body, link, sha256, tagged};

/// What a leaf says.
#[derive(Debug, Clone)]
pub(super) enum Fact {
    Session { token: Digest },
    Genesis { chain: Digest },
    Batch(Batch),
    Liveness { length: usize, digest: Digest },
    Statement { kind: u16 },
}

/// A batch's commitment.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) chain: Digest,
    pub(super) is_final: bool,
    pub(super) first: u64,
    pub(super) count: u64,
    prev: Digest,
    last: Digest,
    times: (i64, i64),
    length: usize,
    pub(super) received: i64,
}

/// A head that a heartbeat states.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) chain: Digest,
    pub(super) next: u64,
    pub(super) time: i64,
}

impl Fact {
    /// Reads a leaf.
    pub(super) fn read(leaf: &[u8]) -> Option<Self> {
        let mut rest = In(leaf);
        let kind = (rest.u8()?, rest.u8()?);
        Some(match kind {
            (1, 1) => {
                rest.take(33)?;
                for _ in 0..9 {
                    rest.text()?;
                }
                rest.take(8 + 1)?;
                for _ in 0..4 {
                    rest.text()?;
                }
                Self::Session { token: rest.array()? }
            }
            (1, 2) => {
                let genesis = rest.0;
                rest.take(2)?;
                for _ in 0..6 {
                    rest.text()?;
                }
                rest.u64()?;
                let chain = tagged("indelible/genesis/v1", &[&genesis[..genesis.len() - rest.0.len()]]);
                rest.take(32 + 8)?;
                Self::Genesis { chain }
            }
            (1, 3) => Self::Batch(Batch::read(&mut rest)?),
            (1, 4) => {
                let kind = rest.u16()?;
                rest.lp32()?;
                rest.take(8)?;
                Self::Statement { kind }
            }
            (1, 5) => {
                rest.u32()?;
                let length = usize::try_from(rest.u32()?).ok()?;
                Self::Liveness { length, digest: rest.array()? }
            }
            _ => return None,
        })
    }

    /// When the log took it.
    pub(super) fn received(leaf: &[u8]) -> i64 {
        // In a leaf of any of these types the time is the last thing.
        i64::from_be_bytes(*leaf.last_chunk().expect("a leaf that was read has a time"))
    }

    /// Whether a stored body is the one that the leaf commits to.
    pub(super) fn commits_to(&self, codec: u8, stored: &[u8]) -> bool {
        match self {
            Self::Session { token } => unpack(codec, stored, 1 << 16).is_some_and(|body| sha256(&body) == *token),
            Self::Genesis { .. } | Self::Statement { .. } => stored.is_empty() && codec == 0,
            Self::Liveness { length, digest, .. } => {
                unpack(codec, stored, *length).is_some_and(|body| body.len() == *length && sha256(&body) == *digest)
            }
            Self::Batch(batch) => unpack(codec, stored, batch.length).is_some_and(|body| batch.holds(&body)),
        }
    }
}

impl Batch {
    fn read(rest: &mut In<'_>) -> Option<Self> {
        let is_final = (rest.u8()?, rest.u8()?).1 == 1;
        rest.take(32)?;
        let (chain, first, count) = (rest.array()?, rest.u64()?, rest.u32()?.into());
        let (prev, last, times) = (rest.array()?, rest.array()?, (rest.i64()?, rest.i64()?));
        let length = usize::try_from(rest.u32()?).ok()?;
        rest.take(64)?;
        Some(Self { chain, is_final, first, count, prev, last, times, length, received: rest.i64()? })
    }

    /// The position after its last.
    pub(super) fn next(&self) -> u64 {
        self.first + self.count
    }

    /// How recent it is: the smaller of what it says itself and what the log says.
    pub(super) fn age_from(&self) -> i64 {
        self.times.1.min(self.received)
    }

    fn holds(&self, bytes: &[u8]) -> bool {
        let Some(records) = records(bytes) else { return false };
        let (Some(head), Some(tail)) = (records.first(), records.last()) else { return false };
        let mut at = (self.first, self.prev);
        for record in &records {
            at = (at.0 + 1, link(&self.chain, at.0, &at.1, record));
        }
        let times = (head.time, tail.time);
        bytes.len() == self.length && at == (self.next(), self.last) && times == self.times && body(&records) == bytes
    }
}

/// The records of a canonical body.
fn records(bytes: &[u8]) -> Option<Vec<Record>> {
    let mut rest = In(bytes);
    let mut records = Vec::new();
    while !rest.0.is_empty() {
        let (time, source, flags) = (rest.i64()?, rest.u8()?, rest.u8()?);
        records.push(Record { time, source, flags, payload: rest.lp32()?.to_vec() });
    }
    Some(records)
}

/// A stored body, of at most `limit` bytes, as it was before it was packed.
pub(super) fn unpack(codec: u8, stored: &[u8], limit: usize) -> Option<Vec<u8>> {
    match codec {
        0 => Some(stored.to_vec()),
        1 => zstd::bulk::decompress(stored, limit).ok(),
        _ => None,
    }
}

/// The chain and position that a chain's first batch says it resumes.
pub(super) fn resumes(bytes: &[u8]) -> Option<(Digest, u64)> {
    let records = records(bytes)?;
    let said: serde_json::Value = serde_json::from_slice(&records.first()?.payload).ok()?;
    let chain = said["chain"].as_str().filter(|_| said["kind"] == "resumed")?;
    let digits = |at: usize| u8::from_str_radix(chain.get(2 * at..2 * at + 2)?, 16).ok();
    let chain: Vec<u8> = (0..32).map(digits).collect::<Option<_>>()?;
    Some((chain.try_into().ok()?, said["next_seq"].as_u64()?))
}

/// The heads that a liveness body states.
pub(super) fn heads(bytes: &[u8]) -> Option<Vec<Head>> {
    let mut rest = In(bytes);
    let mut heads = Vec::new();
    while !rest.0.is_empty() {
        let mut beat = In(rest.lp16()?);
        beat.take(1 + 32)?;
        let time = beat.i64()?;
        beat.take(32)?;
        for _ in 0..beat.u16()? {
            let (chain, next) = (beat.array()?, beat.u64()?);
            beat.take(32)?;
            heads.push(Head { chain, next, time });
        }
    }
    Some(heads)
}
