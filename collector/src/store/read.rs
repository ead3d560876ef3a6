//! Reading back what is durable: leaves in log order, a chain's batches, the list of chains.
//!
//! Owns the readers that are handed out. Frames of a range are read from segments alone, one after the other: an
//! index only says where to begin, so it can neither hide nor invent one. A reader holds one chunk of one segment in
//! memory, whatever its range. A damaged frame is given as it is where its length can be believed: who verifies names
//! it, and what lies behind it can be read.

use std::collections::VecDeque;
use std::io;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use indelible_chain::frame::{SegmentFrame, WireFrame};
use indelible_chain::id::{ChainId, LeafIndex, Seq};
use indelible_chain::leaf::Leaf;

use super::KnownChain;
use super::error::ReadError;
use super::index::sealed::SealedChain;
use super::index::table::At;
use super::segment::{Depth, Walker, segment_path};
use super::shared::{Parts, Sealed, Shared, State, absent};
use crate::limits;

/// Reads frames from segment files. Each call may read from disk.
#[derive(Debug)]
pub struct FrameReader {
    shared: Arc<Shared>,
    plan: Plan,
    walker: Option<Walker>,
}

#[derive(Debug)]
enum Plan {
    /// Leaves of the log.
    Range { next: LeafIndex, to: LeafIndex },
    /// Batches of a chain.
    Batches(Batches),
}

#[derive(Debug)]
struct Batches {
    chain: ChainId,
    from: Seq,
    to: Seq,
    /// The next segment to look into, counted from the oldest; the active one comes after the sealed ones.
    segment: usize,
    over: bool,
    /// The segment that is being read: its first leaf, its end, places in it.
    first: LeafIndex,
    end: u64,
    places: VecDeque<At>,
}

impl FrameReader {
    /// The durable leaves `[from, to)`.
    pub fn of_range(shared: Arc<Shared>, from: LeafIndex, to: LeafIndex) -> Self {
        let to = to.min(shared.state().durable.leaves);
        Self { shared, plan: Plan::Range { next: from, to }, walker: None }
    }

    /// The durable batches of a chain with a record in `[from, to)`.
    pub fn of_chain(shared: Arc<Shared>, chain: ChainId, from: Seq, to: Seq) -> Self {
        let (first, end, places) = (LeafIndex::ZERO, 0, VecDeque::new());
        let batches = Batches { chain, from, to, segment: 0, over: false, first, end, places };
        Self { shared, plan: Plan::Batches(batches), walker: None }
    }

    /// The next frame; `None` at the end.
    pub fn next_frame(&mut self) -> Result<Option<WireFrame<'_>>, ReadError> {
        let index = match &mut self.plan {
            Plan::Range { next, to } => {
                if next >= to {
                    return Ok(None);
                }
                let at_leaf = match &mut self.walker {
                    Some(walker) => walker.at_leaf()?,
                    None => false,
                };
                if !at_leaf {
                    // The segment is over, as far as it was durable when it was entered.
                    self.walker = Some(enter(&self.shared, *next, Depth::AsIs)?);
                }
                let index = *next;
                *next = next.plus(1);
                index
            }
            Plan::Batches(batches) => match batches.next(&self.shared)? {
                Some((index, walker)) => {
                    self.walker = Some(walker);
                    index
                }
                None => return Ok(None),
            },
        };
        let Some(walker) = &mut self.walker else { return Ok(None) };
        let path = walker.path().to_owned();
        match walker.next_frame()?.map(|found| found.frame) {
            Some(SegmentFrame::Leaf { leaf, body }) => Ok(Some(WireFrame { index, leaf, body })),
            Some(SegmentFrame::Mark { .. }) | None => Err(absent(path, format!("leaf {index}"))),
        }
    }
}

/// A walk whose next frame is leaf `index`, which must be durable.
pub fn enter(shared: &Shared, index: LeafIndex, depth: Depth) -> Result<Walker, ReadError> {
    let (sealed, first, near, end) = {
        let state = shared.state();
        if index >= state.table.first {
            let rel = index.get() - state.table.first.get();
            let near = u32::try_from(rel).ok().and_then(|rel| state.table.near(rel));
            (None, state.table.first, near, state.durable.bytes)
        } else {
            let after = state.sealed.partition_point(|sealed| sealed.header.first <= index);
            let sealed = after.checked_sub(1).and_then(|n| state.sealed.get(n)).cloned();
            let Some(sealed) = sealed else { return Err(absent("segments".into(), format!("leaf {index}"))) };
            let (first, end) = (sealed.header.first, sealed.header.bytes);
            (Some(sealed), first, None, end)
        }
    };
    let rel = u32::try_from(index.get() - first.get()).unwrap_or(u32::MAX);
    let near = match &sealed {
        Some(sealed) => shared.ask(sealed, |index| index.near(rel))?,
        None => near,
    };
    let path = segment_path(first);
    let near = near.ok_or_else(|| absent(path.clone(), format!("leaf {index}")))?;
    let file = shared.open(&path)?;
    let mut heads = Walker::new(file.clone(), path.clone(), Depth::Leaves, near.offset.into(), end);
    heads.pass((rel - near.rel).into())?;
    if !heads.at_leaf()? {
        return Err(absent(path, format!("leaf {index}")));
    }
    Ok(Walker::new(file, path, depth, heads.offset(), end))
}

impl Batches {
    /// The next batch with a record in the range, and a walk at its frame.
    fn next(&mut self, shared: &Shared) -> Result<Option<(LeafIndex, Walker)>, ReadError> {
        loop {
            let Some(at) = self.places.pop_front() else {
                if self.enter_next_segment(shared)? {
                    continue;
                }
                return Ok(None);
            };
            let (leaf, _) = shared.leaf_at(self.first, at, self.end)?;
            let Leaf::Batch { commitment, .. } = leaf else { continue };
            if commitment.chain == self.chain && commitment.first_seq < self.to && commitment.next_seq() > self.from {
                let path = segment_path(self.first);
                let walker = Walker::new(shared.open(&path)?, path, Depth::AsIs, at.offset.into(), self.end);
                return Ok(Some((self.first.plus(at.rel.into()), walker)));
            }
        }
    }

    /// Finds the chain's places in the next segment; whether there was one.
    fn enter_next_segment(&mut self, shared: &Shared) -> Result<bool, ReadError> {
        if self.over {
            return Ok(false);
        }
        let sealed = {
            let state = shared.state();
            let Some(sealed) = state.sealed.get(self.segment).cloned() else {
                self.over = true;
                self.enter_active(&state);
                return Ok(true);
            };
            sealed
        };
        self.segment += 1;
        if !sealed.header.filter.may_hold(self.chain.digest()) {
            return Ok(true);
        }
        (self.first, self.end) = (sealed.header.first, sealed.header.bytes);
        self.places = shared.ask(&sealed, |index| index.batches_in(self.chain, self.from, self.to))?.into();
        Ok(true)
    }

    fn enter_active(&mut self, state: &State) {
        (self.first, self.end) = (state.table.first, state.durable.bytes);
        let longest = u64::from(indelible_chain::batch::MAX_BATCH_RECORDS);
        let lowest = Seq::new(self.from.get().saturating_sub(longest));
        let rows = state.table.chains.get(&self.chain).into_iter();
        let rows = rows.flat_map(|rows| rows.batches.range((lowest, 0, 0)..(self.to.max(lowest), 0, 0)));
        let durable = rows.filter(|(_, row)| u64::from(row.offset) < state.durable.bytes);
        let mut places: Vec<At> = durable.map(|((_, _, rel), row)| At { rel: *rel, offset: row.offset }).collect();
        places.sort_unstable();
        self.places = places.into();
    }
}

/// A place in the chains of one sealed segment.
struct Cursor {
    sealed: Arc<Sealed>,
    next: u32,
    rows: VecDeque<SealedChain>,
}

impl Cursor {
    fn new(shared: &Shared, sealed: Arc<Sealed>, after: Option<ChainId>) -> Result<Self, ReadError> {
        let next = match after {
            None => 0,
            Some(after) => {
                let found = shared.ask(&sealed, |index| index.chain_from(after))?;
                found.map_or(u32::MAX, |(n, chain)| if chain.id == after { n + 1 } else { n })
            }
        };
        let mut cursor = Self { sealed, next, rows: VecDeque::new() };
        cursor.fill(shared)?;
        Ok(cursor)
    }

    fn fill(&mut self, shared: &Shared) -> Result<(), ReadError> {
        self.rows = shared.ask(&self.sealed, |index| {
            let next = (self.next..u32::MAX).take(limits::CHAINS_PER_READ);
            let rows = next.map_while(|n| index.chain_at(n).transpose());
            rows.collect::<io::Result<VecDeque<_>>>()
        })?;
        self.next = self.next.saturating_add(u32::try_from(self.rows.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    fn pass(&mut self, shared: &Shared) -> Result<(), ReadError> {
        self.rows.pop_front();
        if self.rows.is_empty() { self.fill(shared) } else { Ok(()) }
    }
}

/// All chains with an id above `after`, by id, until `visit` breaks: a merge over the segments' sorted lists.
pub fn chains(
    shared: &Shared,
    after: Option<ChainId>,
    visit: &mut dyn FnMut(KnownChain) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let mut cursors: Vec<Cursor> = Vec::new();
    let mut last = after;
    loop {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let (sealed, active, end) = {
            let state = shared.state();
            let next = state.table.chains.range((from, Bound::Unbounded)).next();
            let next = next.map(|(id, rows)| (*id, state.table.first, rows.part));
            // The active segment may have been sealed since the last look.
            (state.sealed[cursors.len()..].to_vec(), next, state.durable.bytes)
        };
        for sealed in sealed {
            cursors.push(Cursor::new(shared, sealed, last)?);
        }
        let heads = cursors.iter().filter_map(|cursor| cursor.rows.front().map(|chain| chain.id));
        let Some(id) = heads.chain(active.map(|(id, ..)| id)).min() else { return Ok(()) };
        let mut parts = Parts::default();
        for cursor in &mut cursors {
            while let Some(chain) = cursor.rows.front().filter(|chain| chain.id == id) {
                parts.add(cursor.sealed.header.first, cursor.sealed.header.bytes, &chain.part);
                cursor.pass(shared)?;
            }
        }
        if let Some((_, first, part)) = active.filter(|(active, ..)| *active == id) {
            parts.add(first, end, &part);
        }
        last = Some(id);
        let remembered = shared.state().index.chains.get(&id).map(|chain| chain.known.clone());
        let known = match remembered {
            Some(known) => Some(known),
            None => match shared.assemble(id, &parts) {
                Err(error @ ReadError::Io { .. }) => return Err(error),
                Err(error) => {
                    // One damaged leaf hides no other chain; who verifies reads the segments, and names it.
                    tracing::error!(%error, chain = %id, "a chain is not listed, its genesis is damaged: verify");
                    None
                }
                Ok(chain) => chain.map(|chain| chain.known),
            },
        };
        if let Some(known) = known
            && visit(known).is_break()
        {
            return Ok(());
        }
    }
}
