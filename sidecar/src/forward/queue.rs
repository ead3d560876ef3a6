//! Sealed batches until they are receipted.
//!
//! Owns every batch from the moment capture hands it over until enough different logs have answered for it *and* for
//! everything before it in its chain. Reports receipted prefixes only, so that the cursor behind them can never skip
//! a batch that no log has. Does not choose collectors.
//!
//! Invariants: a batch is *waiting* exactly while its receipts and flights together are fewer than the copies wanted;
//! it never has two flights to one collector; a chain's reported head only moves forward.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, Head, LogId, Seq, Time};

use super::collector::CollectorId;
use super::moment::Moment;
use super::retry::Backoff;
use crate::capture::Sealed;
use crate::limits::MAX_LOOK_AHEAD;

/// A batch's number, in the order in which capture sealed them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BatchId(u64);

impl BatchId {
    /// The number, from 0.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A batch on its way.
#[derive(Debug)]
pub struct Pending {
    /// What is sent.
    pub sealed: Sealed,
    /// When capture handed it over.
    pub since: Moment,
    /// The logs that answered with a receipt.
    pub receipts: Vec<LogId>,
    /// The collectors that have it now, unanswered.
    pub flights: Vec<CollectorId>,
    /// The collectors that judged its content (409 or 422), each once.
    pub refusals: Vec<CollectorId>,
    /// The collectors that pause for this batch.
    pub pauses: BTreeMap<CollectorId, Backoff>,
}

impl Pending {
    /// Its length on the wire.
    pub fn bytes(&self) -> u64 {
        self.sealed.upload.len() as u64
    }
}

/// A chain of this session.
#[derive(Debug)]
struct Chain {
    genesis: Genesis,
    /// The newest receipted head.
    head: Head,
    /// Its batches in order.
    batches: VecDeque<BatchId>,
    /// Capture will send nothing more.
    closed: bool,
}

/// What could not be delivered of one chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Undelivered {
    /// The container.
    pub container: String,
    /// The first position that not enough logs have.
    pub first_seq: Seq,
    /// The position after the last one.
    pub next_seq: Seq,
    /// Batches.
    pub batches: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// All batches and chains of the session.
#[derive(Debug, Default)]
pub struct Queue {
    batches: BTreeMap<BatchId, Pending>,
    waiting: BTreeSet<(ChainId, BatchId)>,
    chains: BTreeMap<ChainId, Chain>,
    bytes: u64,
    count: u64,
}

impl Queue {
    /// A chain of this session, before its first batch. What is before `head` is receipted, perhaps of an earlier session.
    pub fn open(&mut self, chain: ChainId, genesis: Genesis, head: Head) {
        self.chains.entry(chain).or_insert(Chain { genesis, head, batches: VecDeque::new(), closed: false });
    }

    /// Takes over a batch. One of a chain that was not opened, or was given up, is dropped: the cursor does not move,
    /// so its bytes are read again.
    pub fn push(&mut self, sealed: Sealed, now: Moment) -> Option<BatchId> {
        let chain = self.chains.get_mut(&sealed.chain)?;
        let id = BatchId(self.count);
        self.count += 1;
        self.bytes += sealed.upload.len() as u64;
        chain.batches.push_back(id);
        let (receipts, flights, refusals, pauses) = Default::default();
        self.waiting.insert((sealed.chain, id));
        self.batches.insert(id, Pending { sealed, since: now, receipts, flights, refusals, pauses });
        Some(id)
    }

    /// Capture will send nothing more of this chain.
    pub fn close(&mut self, chain: ChainId) {
        if let Some(state) = self.chains.get_mut(&chain) {
            state.closed = true;
            self.forget_if_done(chain);
        }
    }

    /// Gives a chain up with everything of it.
    pub fn give_up(&mut self, chain: ChainId) {
        for id in self.chains.remove(&chain).map(|state| state.batches).unwrap_or_default() {
            self.remove(id);
        }
    }

    /// A batch, until it is receipted.
    pub fn get(&self, id: BatchId) -> Option<&Pending> {
        self.batches.get(&id)
    }

    /// Batches that more logs should get, oldest first: of each chain the oldest, all chains alike, so that one whose
    /// batches can go nowhere does not keep the others' from being looked at.
    pub fn window(&self) -> Vec<BatchId> {
        let waiting = |chain: ChainId| {
            self.waiting.range((chain, BatchId(0))..=(chain, BatchId(u64::MAX))).map(|(_, batch)| *batch)
        };
        let chains: Vec<ChainId> = self.chains().filter(|chain| waiting(*chain).next().is_some()).collect();
        let share = (MAX_LOOK_AHEAD / chains.len().max(1)).max(1);
        let mut window: Vec<BatchId> = chains.into_iter().flat_map(|chain| waiting(chain).take(share)).collect();
        window.sort_unstable();
        window
    }

    /// Whether more logs should get a batch.
    pub fn is_waiting(&self, id: BatchId) -> bool {
        self.batches.get(&id).is_some_and(|pending| self.waiting.contains(&(pending.sealed.chain, id)))
    }

    /// A collector pauses for a batch that it still has.
    pub fn pause(&mut self, id: BatchId, collector: CollectorId, pause: Backoff) {
        if let Some(pending) = self.batches.get_mut(&id) {
            pending.pauses.insert(collector, pause);
        }
    }

    /// Whether nothing is unreceipted.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Batches that are unreceipted.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Bytes that are unreceipted, as sent.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Since when the oldest unreceipted batch has been waiting.
    pub fn oldest(&self) -> Option<Moment> {
        self.batches.first_key_value().map(|(_, pending)| pending.since)
    }

    /// The time of the oldest record that is unreceipted. One that has none of its own (0) says nothing.
    pub fn oldest_record(&self) -> Option<Time> {
        let times = self.batches.values().map(|pending| pending.sealed.commitment.first_time);
        times.filter(|time| *time > Time::default()).min()
    }

    /// A batch was given to a collector.
    pub fn sent(&mut self, id: BatchId, to: CollectorId, copies: usize) {
        if let Some(pending) = self.batches.get_mut(&id) {
            debug_assert!(!pending.flights.contains(&to), "one batch twice to one collector");
            pending.flights.push(to);
            self.refresh(id, copies);
        }
    }

    /// A batch is no longer with a collector; `change` notes why.
    pub fn landed(&mut self, id: BatchId, from: CollectorId, copies: usize, change: impl FnOnce(&mut Pending)) {
        if let Some(pending) = self.batches.get_mut(&id) {
            pending.flights.retain(|to| *to != from);
            change(pending);
            self.refresh(id, copies);
        }
    }

    fn refresh(&mut self, id: BatchId, copies: usize) {
        let Some(pending) = self.batches.get(&id) else { return };
        let waiting = (pending.sealed.chain, id);
        if pending.receipts.len() + pending.flights.len() < copies {
            self.waiting.insert(waiting);
        } else {
            self.waiting.remove(&waiting);
        }
    }

    /// Takes what enough logs have from the front of `chain`. The new head, if it moved.
    pub fn settle(&mut self, chain: ChainId, copies: usize) -> Option<Head> {
        let mut moved = None;
        while let Some(state) = self.chains.get_mut(&chain)
            && let Some(id) = state.batches.front().copied()
            && let Some(pending) = self.batches.get(&id)
            && pending.receipts.len() >= copies
        {
            let head = pending.sealed.commitment.head_after();
            state.batches.pop_front();
            state.head = head;
            moved = Some(head);
            self.remove(id);
        }
        self.forget_if_done(chain);
        moved
    }

    /// The number of copies wanted has changed: all chains anew.
    pub fn settle_all(&mut self, copies: usize) -> Vec<(ChainId, Head)> {
        let ids: Vec<BatchId> = self.batches.keys().copied().collect();
        for id in ids {
            self.refresh(id, copies);
        }
        let chains: Vec<ChainId> = self.chains.keys().copied().collect();
        chains.into_iter().filter_map(|chain| Some((chain, self.settle(chain, copies)?))).collect()
    }

    fn remove(&mut self, id: BatchId) {
        if let Some(pending) = self.batches.remove(&id) {
            self.waiting.remove(&(pending.sealed.chain, id));
            self.bytes -= pending.bytes();
        }
    }

    fn forget_if_done(&mut self, chain: ChainId) {
        if self.chains.get(&chain).is_some_and(|state| state.closed && state.batches.is_empty()) {
            self.chains.remove(&chain);
        }
    }

    /// The genesis of a chain that is not done.
    pub fn genesis(&self, chain: ChainId) -> Option<&Genesis> {
        self.chains.get(&chain).map(|state| &state.genesis)
    }

    /// The chains that are not done, by id.
    pub fn chains(&self) -> impl Iterator<Item = ChainId> {
        self.chains.keys().copied()
    }

    /// The newest receipted heads of the open chains, by chain id; a silent chain's is 0 and its own id.
    pub fn heads(&self) -> impl Iterator<Item = (ChainId, Head)> {
        self.chains.iter().map(|(chain, state)| (*chain, state.head))
    }

    /// What is unreceipted, by chain.
    pub fn undelivered(&self) -> Vec<Undelivered> {
        let chains = self.chains.values().filter_map(|state| {
            let pending = || state.batches.iter().filter_map(|id| self.batches.get(id));
            Some(Undelivered {
                container: state.genesis.container.clone(),
                first_seq: pending().next()?.sealed.commitment.first_seq,
                next_seq: pending().next_back()?.sealed.commitment.next_seq(),
                batches: state.batches.len(),
                bytes: pending().map(Pending::bytes).sum(),
            })
        });
        chains.collect()
    }
}
