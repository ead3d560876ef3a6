//! What was read, and by whom it was shown: the judge's memory before anything is concluded.
//!
//! A *view* is one log as one source shows it; the same log in two sources is two views, each judged by itself. Sessions
//! and chains are numbered when they are first named. Owns the growth of that memory: 40 bytes a leaf, under 500 bytes
//! a batch, one entry for each different head of a session's heartbeats however often it is repeated. Concludes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;

use crate::batch::Commitment;
use crate::digest::Digest;
use crate::genesis::Genesis;
use crate::heartbeat::Heartbeat;
use crate::id::{ChainId, LeafIndex, Seq, SessionId, Time};
use crate::leaf::Attested;
use crate::session::Session;
use crate::statement::Statement;

use super::prepare::{Body, DeclaredGap, Keys, Resumed, Signed};
use super::terms::{SourceKind, TokenVerdict};

/// A source of logs: a collector, a directory, a copy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SourceId(pub(super) usize);

/// A log as one source shows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ViewId(pub(super) usize);

/// A chain's number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct ChainNo(pub(super) u32);

/// A session's number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct SessionNo(pub(super) u32);

/// A leaf of a view.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    pub(super) view: ViewId,
    pub(super) index: LeafIndex,
}

/// Everything that was read.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) sources: Vec<SourceFacts>,
    pub(super) views: Vec<View>,
    pub(super) sessions: Vec<SessionFacts>,
    pub(super) chains: Vec<ChainFacts>,
    pub(super) batches: Vec<BatchFact>,
    pub(super) heads: Vec<HeadFact>,
    pub(super) receipts: Vec<ReceiptFact>,
    /// Log, index and leaf hash of these.
    pub(super) receipts_seen: HashSet<(usize, LeafIndex, Digest)>,
    /// Heartbeats whose session was not known when they came.
    pub(super) unjudged: Vec<(Place, Time, Heartbeat)>,
    pub(super) keys: Keys,
    /// Origins that receipts or statements name and that the policy does not, with who names them.
    pub(super) named: BTreeMap<String, String>,
    /// Receipts that were given and do not hold: label, why.
    pub(super) bad_receipts: Vec<(String, String)>,
    /// Statements of authorities whose signature holds.
    pub(super) authority: Vec<(Place, Time, Statement)>,
    pub(super) bytes: u64,
    session_numbers: HashMap<SessionId, SessionNo>,
    chain_numbers: HashMap<ChainId, ChainNo>,
    head_numbers: HashMap<(ChainNo, SessionNo, Seq, Digest), usize>,
}

/// A source as it was named.
#[derive(Debug)]
pub(super) struct SourceFacts {
    pub(super) label: String,
    pub(super) kind: SourceKind,
    /// Why it cannot be read, and which log it would have shown if that is known.
    pub(super) unreadable: Vec<(Option<String>, String)>,
    /// A key that the policy does not have.
    pub(super) unknown_key: Vec<String>,
}

/// A checkpoint whose signature by the view's log holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) size: u64,
    pub(super) root: Digest,
    /// Names of the policy's witnesses that cosigned it.
    pub(super) witnesses: Vec<String>,
    /// When the last of them did.
    pub(super) cosigned_at: Option<Time>,
}

/// A run of consecutive leaves that was shown.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) start: u64,
    pub(super) hashes: Vec<Digest>,
    /// `i64::MIN` where the leaf states none.
    pub(super) times: Vec<Time>,
}

impl Run {
    pub(super) fn end(&self) -> u64 {
        self.start + self.hashes.len() as u64
    }
}

/// A log as one source shows it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) source: SourceId,
    /// Number in the policy.
    pub(super) log: usize,
    pub(super) origin: String,
    /// By size.
    pub(super) heads: Vec<Head>,
    /// Checkpoints that do not hold: what they are called, and why.
    pub(super) bad_notes: Vec<(String, String)>,
    pub(super) runs: Vec<Run>,
    /// Frames that the reader or the leaf decoder found something wrong with.
    pub(super) flaws: Vec<Flaw>,
    pub(super) tiles: TileFacts,
    pub(super) unknown_leaves: u64,
    pub(super) unknown_statements: u64,
    pub(super) bad_authority: Vec<LeafIndex>,
    /// The leaf that sealed the log, if nothing started it again.
    pub(super) sealed: Option<LeafIndex>,
    /// First leaf and number of leaves after each seal.
    pub(super) after_sealed: Vec<(LeafIndex, u64)>,
    /// What this log says it continues.
    pub(super) continues: Vec<Continues>,
    /// The newest time of a leaf that is not in the future.
    pub(super) newest: Option<Time>,
    pub(super) latest_received: Option<Time>,
    pub(super) clock: ClockFacts,
    pub(super) sessions_at: HashMap<SessionNo, LeafIndex>,
    pub(super) chains_at: HashMap<ChainNo, LeafIndex>,
    /// Numbers of its batches, in log order.
    pub(super) batches: Vec<usize>,
    /// Session leaves whose attested pod is not their own.
    pub(super) foreign_sessions: HashMap<SessionNo, LeafIndex>,
    /// Heartbeats of sessions that this log did not introduce before.
    pub(super) unintroduced_beats: BTreeMap<SessionNo, LeafIndex>,
    /// Heartbeats whose signature does not hold.
    pub(super) forged_beats: BTreeMap<SessionNo, LeafIndex>,
    /// Liveness bodies that were not given out.
    pub(super) liveness_not_given: u64,
}

/// A statement 3.
#[derive(Debug)]
pub(super) struct Continues {
    pub(super) index: LeafIndex,
    pub(super) time: Time,
    pub(super) origin: String,
    pub(super) size: u64,
    pub(super) root: Digest,
}

/// Something wrong with a frame as such.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) index: LeafIndex,
    pub(super) kind: FlawKind,
    pub(super) note: String,
}

/// What a flaw means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FlawKind {
    /// The reader says that the frame is damaged; leaf and body were decoded from what is left.
    Damaged,
    /// Bytes are there of which no leaf can be made; it would have been this one.
    Lost,
    /// Bytes between frames are damaged; no leaf is concerned.
    Between,
    /// The frame is whole and its leaf cannot be decoded.
    Undecodable,
    /// The body is not what the leaf commits to, for leaves other than batches.
    Body,
    /// The source showed the leaf out of order or twice.
    Order,
}

/// Times that disagree, the first of each kind, and how many there were.
#[derive(Debug, Default)]
pub(super) struct ClockFacts {
    /// A leaf's time in the future.
    pub(super) future: Option<(LeafIndex, Time, u64)>,
    /// A fall of `received_at`: from, to.
    pub(super) falls: Option<(LeafIndex, Time, Time, u64)>,
    /// Whether `received_at` ever fell, however long ago.
    pub(super) fell: bool,
}

/// What tiles and bundles showed.
#[derive(Debug, Default)]
pub(super) struct TileFacts {
    /// Leaf hashes that differ from the leaves shown, or that no leaf was shown for.
    pub(super) hashes: BTreeMap<u64, Digest>,
    /// Leaves of bundles that no frame has.
    pub(super) lost: BTreeMap<u64, Vec<u8>>,
    pub(super) bad: Vec<BadTile>,
    /// The hashes of all leaves that were shown, once a bundle differs.
    pub(super) known: Option<HashSet<Digest>>,
}

/// A tile or bundle that is not what it should be.
#[derive(Debug)]
pub(super) struct BadTile {
    pub(super) path: String,
    pub(super) why: String,
    /// It is whole and says otherwise than the leaves: which of them is wrong is seen from the root.
    pub(super) differs: bool,
}

/// A session, from all leaves that name it.
#[derive(Debug)]
pub(super) struct SessionFacts {
    pub(super) id: SessionId,
    pub(super) session: Option<Box<Session>>,
    pub(super) leaves: Vec<SessionLeaf>,
    /// The newest heartbeat: the smaller of its time and its leaf's.
    pub(super) newest_beat: Option<(Time, Place)>,
    pub(super) clock: SessionClock,
}

impl SessionFacts {
    /// Whether a leaf introduces it that attests no other pod than its own.
    pub(super) fn is_attested(&self) -> bool {
        self.leaves.iter().any(|leaf| !leaf.is_foreign)
    }
}

/// Times of a session that cannot be: the first of each kind, where, and how many.
#[derive(Debug, Default)]
pub(super) struct SessionClock {
    pub(super) future: Option<(Place, Time, u64)>,
    pub(super) apart: Option<(Place, Time, Time, u64)>,
}

/// A leaf 1.
#[derive(Debug)]
pub(super) struct SessionLeaf {
    pub(super) place: Place,
    pub(super) attested: Box<Attested>,
    pub(super) received_at: Time,
    pub(super) is_foreign: bool,
    pub(super) token: TokenFacts,
}

/// What became of a token.
#[derive(Debug)]
pub(super) enum TokenFacts {
    /// No keys to check it with, or it was not given out.
    Unchecked,
    Checked(TokenVerdict),
}

/// A chain, from all leaves that name it.
#[derive(Debug)]
pub(super) struct ChainFacts {
    pub(super) id: ChainId,
    pub(super) genesis: Option<Box<Genesis>>,
    pub(super) introductions: Vec<Introduction>,
    /// Numbers of the heads that heartbeats state of it.
    pub(super) heads: Vec<usize>,
}

/// A leaf 2.
#[derive(Debug)]
pub(super) struct Introduction {
    pub(super) place: Place,
    pub(super) session: SessionNo,
    pub(super) received_at: Time,
}

/// Whether session and chain of a batch stand before it in its log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Introduced {
    Yes,
    No,
    /// The session's leaf there attests another pod.
    ByForeign,
}

/// A leaf 3.
#[derive(Debug)]
pub(super) struct BatchFact {
    pub(super) place: Place,
    pub(super) chain: ChainNo,
    pub(super) session: SessionNo,
    pub(super) commitment: Box<Commitment>,
    pub(super) received_at: Time,
    pub(super) signed: Signed,
    pub(super) body: Body,
    pub(super) introduced: Introduced,
    pub(super) is_flawed: bool,
    pub(super) gaps: Vec<DeclaredGap>,
    pub(super) resumed: Option<Resumed>,
}

/// A head that a session's heartbeats state.
#[derive(Debug)]
pub(super) struct HeadFact {
    pub(super) chain: ChainNo,
    pub(super) session: SessionNo,
    pub(super) next_seq: Seq,
    pub(super) link: Digest,
    /// Where it was stated first, and when that was received.
    pub(super) place: Place,
    pub(super) received_at: Time,
    /// The newest sign of life that states it: the smaller of the heartbeat's time and its leaf's.
    pub(super) newest: Time,
}

/// A kept receipt whose signature holds.
#[derive(Debug)]
pub(super) struct ReceiptFact {
    /// The log's number in the policy.
    pub(super) log: usize,
    pub(super) index: LeafIndex,
    pub(super) leaf_hash: Digest,
    pub(super) received_at: Time,
    pub(super) chain: ChainNo,
    pub(super) first_seq: Seq,
    pub(super) next_seq: Seq,
    pub(super) first_time: Time,
    pub(super) last_time: Time,
    /// Who kept it, for a person.
    pub(super) kept_by: String,
}

fn number<K: Hash + Eq, N: Copy>(numbers: &mut HashMap<K, N>, key: K, new: impl FnOnce() -> N) -> N {
    *numbers.entry(key).or_insert_with(new)
}

impl Facts {
    /// The number of a chain.
    pub(super) fn chain(&mut self, id: ChainId) -> ChainNo {
        number(&mut self.chain_numbers, id, || {
            self.chains.push(ChainFacts { id, genesis: None, introductions: Vec::new(), heads: Vec::new() });
            ChainNo(u32::try_from(self.chains.len() - 1).expect("memory ends before 2^32 chains do"))
        })
    }

    /// The number of a session.
    pub(super) fn session(&mut self, id: SessionId) -> SessionNo {
        number(&mut self.session_numbers, id, || {
            let (leaves, clock) = (Vec::new(), SessionClock::default());
            self.sessions.push(SessionFacts { id, session: None, leaves, newest_beat: None, clock });
            SessionNo(u32::try_from(self.sessions.len() - 1).expect("memory ends before 2^32 sessions do"))
        })
    }

    /// Notes that a heartbeat states a head; says again what is known already at no cost.
    pub(super) fn head(&mut self, head: HeadFact) {
        let key = (head.chain, head.session, head.next_seq, head.link);
        if let Some(known) = self.head_numbers.get(&key) {
            let known = &mut self.heads[*known];
            known.newest = known.newest.max(head.newest);
            if head.received_at < known.received_at {
                (known.received_at, known.place) = (head.received_at, head.place);
            }
        } else {
            self.head_numbers.insert(key, self.heads.len());
            self.chains[head.chain.0 as usize].heads.push(self.heads.len());
            self.heads.push(head);
        }
    }

    /// The number of a chain that was named.
    pub(super) fn chain_no(&self, id: &ChainId) -> Option<ChainNo> {
        self.chain_numbers.get(id).copied()
    }

    /// The heads that heartbeats state of a chain, at 0 too.
    pub(super) fn heads_of(&self, chain: ChainNo) -> impl Iterator<Item = &HeadFact> {
        self.of_chain(chain).heads.iter().map(|head| &self.heads[*head])
    }

    /// The number of the batch at a place.
    pub(super) fn batch_at(&self, place: Place) -> Option<usize> {
        let batches = &self.view(place.view).batches;
        let at = batches.binary_search_by_key(&place.index, |batch| self.batches[*batch].place.index).ok()?;
        Some(batches[at])
    }

    /// The batches of a view in leaves from one index up to and with another.
    pub(super) fn batches_among(&self, view: ViewId, from: u64, to: u64) -> impl Iterator<Item = &BatchFact> {
        let batches = &self.view(view).batches;
        let index = |batch: &usize| self.batches[*batch].place.index.get();
        let from = batches.partition_point(|batch| index(batch) < from);
        let to = batches.partition_point(|batch| index(batch) <= to).max(from);
        batches[from..to].iter().map(|batch| &self.batches[*batch])
    }

    pub(super) fn view(&self, view: ViewId) -> &View {
        &self.views[view.0]
    }

    pub(super) fn of_session(&self, session: SessionNo) -> &SessionFacts {
        &self.sessions[session.0 as usize]
    }

    pub(super) fn of_chain(&self, chain: ChainNo) -> &ChainFacts {
        &self.chains[chain.0 as usize]
    }

    pub(super) fn source_of(&self, view: ViewId) -> &SourceFacts {
        &self.sources[self.view(view).source.0]
    }
}

impl View {
    pub(super) fn new(source: SourceId, log: usize, origin: String, heads: Vec<Head>) -> Self {
        Self {
            source,
            log,
            origin,
            heads,
            bad_notes: Vec::new(),
            runs: Vec::new(),
            flaws: Vec::new(),
            tiles: TileFacts::default(),
            unknown_leaves: 0,
            unknown_statements: 0,
            bad_authority: Vec::new(),
            sealed: None,
            after_sealed: Vec::new(),
            continues: Vec::new(),
            newest: None,
            latest_received: None,
            clock: ClockFacts::default(),
            sessions_at: HashMap::new(),
            chains_at: HashMap::new(),
            batches: Vec::new(),
            foreign_sessions: HashMap::new(),
            unintroduced_beats: BTreeMap::new(),
            forged_beats: BTreeMap::new(),
            liveness_not_given: 0,
        }
    }

    /// Leaves under the largest checkpoint that the source shows.
    pub(super) fn size(&self) -> u64 {
        self.heads.last().map_or(0, |head| head.size)
    }

    /// The hash of a leaf as it was shown.
    pub(super) fn leaf(&self, index: u64) -> Option<Digest> {
        let at = self.runs.partition_point(|run| run.start <= index);
        let run = self.runs.get(at.checked_sub(1)?)?;
        run.hashes.get(usize::try_from(index - run.start).ok()?).copied()
    }

    /// When a leaf was received, as it says itself.
    pub(super) fn time(&self, index: u64) -> Option<Time> {
        let at = self.runs.partition_point(|run| run.start <= index);
        let run = self.runs.get(at.checked_sub(1)?)?;
        let time = run.times.get(usize::try_from(index - run.start).ok()?).copied();
        time.filter(|time| time.nanos() != i64::MIN)
    }

    /// The time of the first leaf from `index` on that was shown and states one. The size of a log is the log's word, so
    /// only what was shown is gone through.
    pub(super) fn oldest_from(&self, index: u64) -> Option<Time> {
        let times = self.runs.iter().flat_map(|run| {
            let skipped = usize::try_from(index.saturating_sub(run.start)).unwrap_or(usize::MAX);
            run.times.iter().skip(skipped).copied()
        });
        times.into_iter().find(|time| time.nanos() != i64::MIN)
    }

    /// The hashes of all leaves that were shown.
    pub(super) fn hashes(&self) -> impl Iterator<Item = Digest> {
        self.runs.iter().flat_map(|run| run.hashes.iter().copied())
    }

    /// Number of leaves that were shown.
    pub(super) fn shown(&self) -> u64 {
        self.runs.iter().map(|run| run.hashes.len() as u64).sum()
    }
}
