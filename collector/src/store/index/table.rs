//! What stands where in one segment: the table that grows with the active segment and becomes its `.idx`.
//!
//! Owns [`Table::apply`], the one function by which a leaf enters an index, whether it is just being appended, read
//! again at a start, or scanned to make a lost `.idx` again: the same segment always gives the same table. It is a
//! cache; what it points to is checked where it is read.

use std::collections::BTreeMap;

use indelible_chain::batch::{COMMITMENT_BYTES, Commitment};
use indelible_chain::digest::Digest;
use indelible_chain::id::{ChainId, LeafIndex, Seq, SessionId, Time};
use indelible_chain::leaf::Leaf;
use indelible_chain::statement::Statement;

use crate::limits::LEAVES_PER_OFFSET;
use crate::store::Extent;

/// A leaf in its segment: which one from the segment's first, and where its frame begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct At {
    /// Leaves of the segment before it.
    pub rel: u32,
    /// Offset of its frame.
    pub offset: u32,
}

/// What a segment has of a chain, its batches apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Part {
    /// The genesis leaf.
    pub genesis: Option<At>,
    /// The records.
    pub extent: Option<Held>,
    /// Statements 7 of the chain.
    pub conflicts: u32,
}

/// The records of a chain that a segment, or a log, holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// From where to where.
    pub extent: Extent,
    /// The link at the last position.
    pub head: Digest,
    /// The leaf of the first batch that states it.
    pub head_index: LeafIndex,
}

impl Held {
    /// Of one batch.
    pub fn of(commitment: &Commitment, index: LeafIndex) -> Self {
        let (first, last) = (commitment.first_time, commitment.last_time);
        let extent = Extent {
            first_seq: commitment.first_seq,
            next_seq: commitment.next_seq(),
            first_time: first.min(last),
            last_time: first.max(last),
            closed: commitment.is_final,
        };
        Self { extent, head: commitment.last_link, head_index: index }
    }

    /// Both; of two heads at one position the one with the lower index stays.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let (a, b) = (self.extent, other.extent);
        let rank = |held: &Self| (held.extent.next_seq, std::cmp::Reverse(held.head_index));
        let head = if rank(&self) >= rank(&other) { self } else { other };
        let extent = Extent {
            first_seq: a.first_seq.min(b.first_seq),
            next_seq: a.next_seq.max(b.next_seq),
            first_time: a.first_time.min(b.first_time),
            last_time: a.last_time.max(b.last_time),
            closed: a.closed || b.closed,
        };
        Self { extent, ..head }
    }
}

/// What makes a batch the same as another: its 226 bytes.
pub fn batch_id(commitment: &[u8; COMMITMENT_BYTES]) -> Digest {
    Digest::sha256(commitment)
}

/// A batch in the active segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchRow {
    /// Offset of its frame.
    pub offset: u32,
    /// Its [`batch_id`].
    pub id: Digest,
    /// When it came.
    pub received_at: Time,
}

/// A chain in the active segment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChainRows {
    /// All but the batches.
    pub part: Part,
    /// By first position, number of records, leaf.
    pub batches: BTreeMap<(Seq, u32, u32), BatchRow>,
    /// Links that batches state at their ends, with the first leaf that states each.
    pub ends: BTreeMap<(Seq, Digest), At>,
}

/// The two links that a batch states, with their positions: before its first record (none before record 0, where it
/// is the chain's id by definition) and of its last.
pub fn ends_of(commitment: &Commitment) -> impl Iterator<Item = (Seq, Digest)> {
    let before = commitment.first_seq.get().checked_sub(1).map(|seq| (Seq::new(seq), commitment.prev_link));
    let last = Seq::new(commitment.next_seq().get() - 1);
    before.into_iter().chain([(last, commitment.last_link)])
}

/// The table of one segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    /// The segment's first leaf.
    pub first: LeafIndex,
    /// Leaves so far.
    pub count: u32,
    /// Offset of each leaf whose number in the segment is a multiple of [`LEAVES_PER_OFFSET`].
    pub offsets: Vec<u32>,
    /// Sessions by id.
    pub sessions: BTreeMap<SessionId, At>,
    /// Chains by id.
    pub chains: BTreeMap<ChainId, ChainRows>,
    /// The latest time of a leaf; the least there is without one.
    pub last_time: Time,
}

impl Table {
    /// Of an empty segment.
    pub fn new(first: LeafIndex) -> Self {
        let (offsets, sessions, chains) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { first, count: 0, offsets, sessions, chains, last_time: Time::from_nanos(i64::MIN) }
    }

    /// The index that the next leaf gets.
    pub const fn next(&self) -> LeafIndex {
        self.first.plus(self.count as u64)
    }

    /// Takes in the next leaf, whose frame begins at `offset`.
    ///
    /// A leaf that cannot be read (of a later version of the format) has its place and nothing else.
    pub fn apply(&mut self, offset: u32, leaf: Option<&Leaf>) {
        let at = At { rel: self.count, offset };
        if at.rel.is_multiple_of(LEAVES_PER_OFFSET) {
            self.offsets.push(offset);
        }
        self.count += 1;
        let Some(leaf) = leaf else { return };
        if let Some(time) = leaf.received_at() {
            self.last_time = self.last_time.max(time);
        }
        match leaf {
            Leaf::Session { session, .. } => {
                // The first leaf of a session is its place; a second one cannot come by way of `decide`.
                if let Ok(id) = session.id() {
                    self.sessions.entry(id).or_insert(at);
                }
            }
            Leaf::Genesis { genesis, .. } => {
                if let Ok(id) = genesis.chain_id() {
                    self.chains.entry(id).or_default().part.genesis.get_or_insert(at);
                }
            }
            Leaf::Batch { commitment, received_at } => self.apply_batch(at, commitment, *received_at),
            Leaf::Statement { statement: Statement::Conflict { chain, .. }, .. } => {
                self.chains.entry(*chain).or_default().part.conflicts += 1;
            }
            Leaf::Statement { .. } | Leaf::Liveness { .. } | Leaf::Authority { .. } | Leaf::Unknown(_) => {}
        }
    }

    fn apply_batch(&mut self, at: At, commitment: &Commitment, received_at: Time) {
        let held = Held::of(commitment, self.first.plus(at.rel.into()));
        let rows = self.chains.entry(commitment.chain).or_default();
        rows.part.extent = Some(rows.part.extent.map_or(held, |before| before.with(held)));
        let row = BatchRow { offset: at.offset, id: batch_id(&commitment.encode()), received_at };
        rows.batches.insert((commitment.first_seq, commitment.count, at.rel), row);
        for end in ends_of(commitment) {
            rows.ends.entry(end).or_insert(at);
        }
    }

    /// The offset of a leaf at or before leaf `rel` of the segment, and which leaf it is.
    pub fn near(&self, rel: u32) -> Option<At> {
        let slot = rel / LEAVES_PER_OFFSET;
        let offset = *self.offsets.get(usize::try_from(slot).ok()?)?;
        Some(At { rel: slot * LEAVES_PER_OFFSET, offset })
    }
}
