//! What the writer, the tree and all readers share: the segments, what is durable of them, and the index over them.
//!
//! Owns how a session, a chain or a leaf is found, in memory or on disk. One thread, the writer, changes [`State`];
//! it holds the lock for moves in memory only, never across I/O. Invariant: nothing beyond `State::durable` is ever
//! read from a segment.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use indelible_chain::batch::Commitment;
use indelible_chain::digest::Digest;
use indelible_chain::frame::SegmentFrame;
use indelible_chain::id::{ChainId, LeafIndex, Seq, SessionId, Time};
use indelible_chain::leaf::Leaf;
use indelible_chain::merkle::leaf_hash;
use tokio::sync::watch;

use super::directory::Identity;
use super::error::{Fatal, ReadError};
use super::files::{self, Files, ReadAt, Space};
use super::index::Index;
use super::index::decide::{ChainState, Placed};
use super::index::sealed::{self, Header, RowsKey, SealedIndex};
use super::index::table::{At, Part, Table, batch_id, ends_of};
use super::recover;
use super::segment::{Depth, Walker, index_path, segment_path};
use super::{KnownChain, KnownSession};
use crate::limits;

/// What is shared.
#[derive(Debug)]
pub struct Shared {
    /// The data directory.
    pub files: Arc<dyn Files>,
    /// Who the log is.
    pub identity: Arc<Identity>,
    /// Durable leaves, for those who wait for more.
    pub size: watch::Sender<u64>,
    /// Why the store has stopped, once it has.
    pub fatal: watch::Sender<Option<Fatal>>,
    /// Hashes of durable leaves that the tree has not taken in: what receipts promised.
    pub promised: Mutex<Promised>,
    state: RwLock<State>,
    open: Mutex<OpenFiles>,
    /// What the rows of indexes are tagged with.
    tags: RowsKey,
    /// Held while an index is made again.
    mending: Mutex<()>,
    /// Free bytes of the volume when the writer last looked, and how many there are in all.
    free: AtomicU64,
    total: AtomicU64,
    /// Since when the writer has been at what it does; `None` while it waits.
    busy: Mutex<Option<Instant>>,
}

/// The writer is at something for as long as this lives.
#[derive(Debug)]
pub struct Busy<'a>(&'a Shared);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        *lock(&self.0.busy) = None;
    }
}

/// The log as it stands.
#[derive(Debug)]
pub struct State {
    /// Sealed segments in log order.
    pub sealed: Vec<Arc<Sealed>>,
    /// The active segment; while a group is being written it is ahead of `durable`.
    pub table: Table,
    /// What is durable of it.
    pub durable: Reach,
    /// Sessions and chains in memory.
    pub index: Index,
}

impl State {
    /// The time of the newest leaf.
    pub fn last_time(&self) -> Time {
        let sealed = self.sealed.iter().map(|sealed| sealed.header.last_time).max();
        sealed.map_or(self.table.last_time, |time| time.max(self.table.last_time))
    }
}

/// How far something reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reach {
    /// Leaves of the log.
    pub leaves: LeafIndex,
    /// Bytes of the active segment.
    pub bytes: u64,
}

/// A sealed segment.
#[derive(Debug)]
pub struct Sealed {
    /// The header of its index; whether the rows are whole shows when they are read.
    pub header: Arc<Header>,
}

impl Sealed {
    /// A segment whose index has this header.
    pub const fn new(header: Arc<Header>) -> Self {
        Self { header }
    }

    /// The leaf after its last.
    pub fn next(&self) -> LeafIndex {
        self.header.first.plus(self.header.count.into())
    }
}

/// Leaf hashes that receipts were signed over, to be compared with the bytes on disk.
#[derive(Debug, Default)]
pub struct Promised {
    first: u64,
    hashes: VecDeque<Digest>,
}

impl Promised {
    /// Takes in the hash of leaf `index`. When too many wait they are dropped: the comparison is a second check.
    pub fn push(&mut self, index: LeafIndex, hash: Digest) {
        if self.first + self.hashes.len() as u64 != index.get() || self.hashes.len() >= limits::PROMISED_HASHES {
            self.first = index.get();
            self.hashes.clear();
        }
        self.hashes.push_back(hash);
    }

    /// The hash of leaf `index`, if it is known; those before it are dropped.
    pub fn take(&mut self, index: LeafIndex) -> Option<Digest> {
        while self.first < index.get() && self.hashes.pop_front().is_some() {
            self.first += 1;
        }
        self.hashes.front().copied().filter(|_| self.first == index.get())
    }
}

#[derive(Debug, Default)]
struct OpenFiles {
    files: HashMap<String, (Arc<dyn ReadAt>, u64)>,
    uses: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole between any two statements, so a panic elsewhere does not matter.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Shares a log as recovery found it.
    pub fn new(files: Arc<dyn Files>, identity: Arc<Identity>, state: State) -> Self {
        Self {
            files,
            tags: RowsKey::of(identity.key()),
            identity,
            size: watch::Sender::new(state.durable.leaves.get()),
            fatal: watch::Sender::new(None),
            promised: Mutex::default(),
            state: RwLock::new(state),
            open: Mutex::default(),
            mending: Mutex::default(),
            free: AtomicU64::new(u64::MAX),
            total: AtomicU64::new(u64::MAX),
            busy: Mutex::default(),
        }
    }

    /// The log as it stands.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, for the writer.
    pub fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the free bytes of the volume, which may take as long as the volume likes.
    pub fn measure(&self) -> io::Result<u64> {
        let Space { free, total } = self.files.space()?;
        self.free.store(free, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        Ok(free)
    }

    /// Free bytes of the volume when they were last asked for: at once.
    pub fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// The volume's room when it was last asked for: at once.
    pub fn space(&self) -> Space {
        Space { free: self.free(), total: self.total.load(Ordering::Relaxed) }
    }

    /// The writer begins something that the volume may hold up.
    pub fn begin(&self) -> Busy<'_> {
        *lock(&self.busy) = Some(Instant::now());
        Busy(self)
    }

    /// Since when the writer has been at what it does.
    pub fn busy(&self) -> Option<Instant> {
        *lock(&self.busy)
    }

    /// The hashes that were promised.
    pub fn promised(&self) -> MutexGuard<'_, Promised> {
        lock(&self.promised)
    }

    /// Stops the store for good. The first reason stays.
    pub fn stop(&self, fatal: Fatal) -> Fatal {
        self.fatal.send_if_modified(|why| {
            let first = why.is_none();
            why.get_or_insert(fatal);
            first
        });
        self.stopped().expect("it was just set")
    }

    /// Why the store has stopped, if it has.
    pub fn stopped(&self) -> Option<Fatal> {
        self.fatal.borrow().clone()
    }

    /// Opens a file to read it, or takes it from those that are open.
    pub fn open(&self, path: &str) -> Result<Arc<dyn ReadAt>, ReadError> {
        let mut open = lock(&self.open);
        open.uses += 1;
        let uses = open.uses;
        if let Some((file, used)) = open.files.get_mut(path) {
            *used = uses;
            return Ok(file.clone());
        }
        let file = self.files.open(path).map_err(|e| ReadError::io(path, e))?;
        if open.files.len() >= limits::OPEN_FILES {
            let oldest = open.files.iter().min_by_key(|(_, (_, used))| *used).map(|(path, _)| path.clone());
            oldest.and_then(|path| open.files.remove(&path));
        }
        open.files.insert(path.to_owned(), (file.clone(), uses));
        Ok(file)
    }

    /// Asks a sealed segment's index. One that is not what the log wrote is made again from its segment, and asked once
    /// more.
    pub fn ask<T>(&self, segment: &Sealed, question: impl Fn(&SealedIndex) -> io::Result<T>) -> Result<T, ReadError> {
        let path = index_path(segment.header.first);
        let asked = || {
            let index = SealedIndex::new(self.open(&path)?, segment.header.clone(), self.tags.clone());
            question(&index).map_err(|e| ReadError::io(&path, e))
        };
        if let Ok(answer) = asked() {
            return Ok(answer);
        }
        let _mending = lock(&self.mending);
        // Another may have made it again meanwhile.
        let error = match asked() {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        tracing::warn!(%error, "an index is made again from its segment");
        self.mend(segment, &path)?;
        asked()
    }

    /// Makes an index again from its segment. A crash leaves the bad one, or the new one whole.
    fn mend(&self, segment: &Sealed, path: &str) -> Result<(), ReadError> {
        let header = &segment.header;
        let table = recover::table_of_sealed(&*self.files, header.first, header.bytes)?;
        let bytes = sealed::encode(&table, header.bytes, self.identity.log_id(), self.identity.key());
        files::replace(&*self.files, path, &bytes).map_err(|e| ReadError::io(path, e))?;
        lock(&self.open).files.remove(path);
        Ok(())
    }

    /// Reads the leaf whose frame begins at an offset.
    pub fn leaf_at(&self, first: LeafIndex, at: At, end: u64) -> Result<(Leaf, Digest), ReadError> {
        let file = segment_path(first);
        let offset = u64::from(at.offset);
        let mut walker = Walker::new(self.open(&file)?, file.clone(), Depth::Leaves, offset, end);
        match walker.next_frame()?.map(|found| found.frame) {
            Some(SegmentFrame::Leaf { leaf, .. }) => {
                let decoded = Leaf::decode(leaf).map_err(|source| ReadError::Leaf { file, offset, source })?;
                Ok((decoded, leaf_hash(leaf)))
            }
            Some(SegmentFrame::Mark { .. }) | None => Err(absent(file, format!("a leaf at offset {offset}"))),
        }
    }

    /// The sealed segments that may hold an id, newest first.
    fn sealed_with(&self, id: &Digest) -> Vec<Arc<Sealed>> {
        self.state().sealed.iter().rev().filter(|sealed| sealed.header.filter.may_hold(id)).cloned().collect()
    }

    /// A session, from memory or from disk.
    pub fn session(&self, id: SessionId) -> Result<Option<Arc<KnownSession>>, ReadError> {
        let active = {
            let state = self.state();
            if let Some(session) = state.index.sessions.get(&id) {
                return Ok(Some(session.clone()));
            }
            // A leaf that the writer has just put into its group is on no disk yet: it is known when it is in the index.
            let at = state.table.sessions.get(&id).copied().filter(|at| u64::from(at.offset) < state.durable.bytes);
            at.map(|at| (state.table.first, at, state.durable.bytes))
        };
        let mut place = active;
        if place.is_none() {
            for sealed in self.sealed_with(id.digest()) {
                if let Some(at) = self.ask(&sealed, |index| index.session(id))? {
                    place = Some((sealed.header.first, at, sealed.header.bytes));
                    break;
                }
            }
        }
        let Some((first, at, end)) = place else { return Ok(None) };
        let (leaf, leaf_hash) = self.leaf_at(first, at, end)?;
        match leaf {
            Leaf::Session { session, attested, received_at } if session.id() == Ok(id) => {
                let index = first.plus(at.rel.into());
                Ok(Some(Arc::new(KnownSession { session, attested, index, leaf_hash, received_at })))
            }
            _ => Err(absent(segment_path(first), format!("session {id} at offset {}", at.offset))),
        }
    }

    /// A chain, from memory or from disk.
    pub fn chain(&self, id: ChainId) -> Result<Option<ChainState>, ReadError> {
        let mut parts = Parts::default();
        {
            let state = self.state();
            if let Some(chain) = state.index.chains.get(&id) {
                return Ok(Some(chain.clone()));
            }
            if let Some(rows) = state.table.chains.get(&id) {
                parts.add(state.table.first, state.durable.bytes, &rows.part);
            }
        }
        for sealed in self.sealed_with(id.digest()) {
            if let Some(chain) = self.ask(&sealed, |index| index.chain(id))? {
                parts.add(sealed.header.first, sealed.header.bytes, &chain.part);
            }
        }
        self.assemble(id, &parts)
    }

    /// A chain out of what the segments have of it; `None` if none has its genesis.
    pub fn assemble(&self, id: ChainId, parts: &Parts) -> Result<Option<ChainState>, ReadError> {
        let Some((first, at, end)) = parts.genesis else { return Ok(None) };
        let (leaf, leaf_hash) = self.leaf_at(first, at, end)?;
        match leaf {
            Leaf::Genesis { genesis, session, received_at } if genesis.chain_id() == Ok(id) => {
                let index = first.plus(at.rel.into());
                let extent = parts.all.extent.map(|held| held.extent);
                let genesis = Arc::new(genesis);
                let known = KnownChain { chain: id, genesis, session, index, leaf_hash, received_at, extent };
                Ok(Some(ChainState { known, held: parts.all.extent, conflicts: parts.all.conflicts }))
            }
            _ => Err(absent(segment_path(first), format!("the genesis of chain {id} at offset {}", at.offset))),
        }
    }

    /// Where exactly this batch is stored, if it is.
    pub fn same_batch(&self, commitment: &Commitment) -> Result<Option<Placed>, ReadError> {
        let id = batch_id(&commitment.encode());
        let (first_seq, count) = (commitment.first_seq, commitment.count);
        let placed = |index, received_at| {
            let leaf = Leaf::Batch { commitment: *commitment, received_at };
            let leaf = leaf.encode().expect("a batch leaf has a fixed length within the limits");
            Placed { index, leaf_hash: leaf_hash(&leaf), received_at }
        };
        {
            let state = self.state();
            let rows = state.table.chains.get(&commitment.chain);
            let mut rows = rows
                .into_iter()
                .flat_map(|rows| rows.batches.range((first_seq, count, 0)..=(first_seq, count, u32::MAX)));
            if let Some(((_, _, rel), row)) = rows.find(|(_, row)| row.id == id) {
                return Ok(Some(placed(state.table.first.plus((*rel).into()), row.received_at)));
            }
        }
        for sealed in self.sealed_with(commitment.chain.digest()) {
            for at in self.ask(&sealed, |index| index.batches_at(commitment.chain, first_seq, count))? {
                match self.leaf_at(sealed.header.first, at, sealed.header.bytes)?.0 {
                    Leaf::Batch { commitment: stored, received_at } if stored == *commitment => {
                        return Ok(Some(placed(sealed.header.first.plus(at.rel.into()), received_at)));
                    }
                    _ => {}
                }
            }
        }
        Ok(None)
    }

    /// The lowest position for which this batch states a link that no leaf before `before` states while others state
    /// another, with the first such leaf. A batch that goes on with either branch of a fork brings no new contradiction.
    pub fn contradicted(
        &self,
        commitment: &Commitment,
        before: LeafIndex,
    ) -> Result<Option<(Seq, LeafIndex)>, ReadError> {
        for (seq, link) in ends_of(commitment) {
            let mut stated: Vec<(Digest, LeafIndex)> = Vec::new();
            {
                let state = self.state();
                let rows = state.table.chains.get(&commitment.chain);
                let range = (seq, Digest::new([0; 32]))..=(seq, Digest::new([0xff; 32]));
                let rows = rows.into_iter().flat_map(|rows| rows.ends.range(range.clone()));
                stated.extend(rows.map(|((_, link), at)| (*link, state.table.first.plus(at.rel.into()))));
            }
            for sealed in self.sealed_with(commitment.chain.digest()) {
                for at in self.ask(&sealed, |index| index.ends_at(commitment.chain, seq))? {
                    let (leaf, _) = self.leaf_at(sealed.header.first, at, sealed.header.bytes)?;
                    let Leaf::Batch { commitment: stored, .. } = leaf else { continue };
                    let links = ends_of(&stored).filter(|(at, _)| *at == seq);
                    stated.extend(links.map(|(_, link)| (link, sealed.header.first.plus(at.rel.into()))));
                }
            }
            // For each link a segment gives the first leaf that states it.
            stated.retain(|(_, index)| *index < before);
            let agrees = stated.iter().any(|(stated, _)| *stated == link);
            let other = stated.into_iter().map(|(_, index)| index).min().filter(|_| !agrees);
            if let Some(other) = other {
                return Ok(Some((seq, other)));
            }
        }
        Ok(None)
    }
}

/// What segments have of one chain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    genesis: Option<(LeafIndex, At, u64)>,
    all: Part,
}

impl Parts {
    /// Adds what the segment that begins with `first` and is readable up to `end` has.
    pub fn add(&mut self, first: LeafIndex, end: u64, part: &Part) {
        // Beyond the end stands what the writer has just put into its group: it is known when it is in the index.
        let genesis = part.genesis.filter(|at| u64::from(at.offset) < end).map(|at| (first, at, end));
        self.genesis = match (self.genesis, genesis) {
            (Some(a), Some(b)) => Some(if a.0 <= b.0 { a } else { b }),
            (a, b) => a.or(b),
        };
        self.all.extent = match (self.all.extent, part.extent) {
            (Some(a), Some(b)) => Some(a.with(b)),
            (a, b) => a.or(b),
        };
        self.all.conflicts += part.conflicts;
    }
}

/// Something is not where an index or a file name says.
pub fn absent(file: String, what: String) -> ReadError {
    ReadError::Absent { file, what }
}
