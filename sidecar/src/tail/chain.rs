//! Links records, seals batches, waits for receipts, and knows the cursor that each receipt allows.
//!
//! A batch that ends at the start of a raw line carries the cursor there; one that had to be sealed inside a line
//! carries none, and the cursor stays older. A sealed batch is handed out only after the journal's reach covers it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use indelible_chain::batch::{BatchBuilder, MAX_BATCH_RECORDS};
use indelible_chain::control::Control;
use indelible_chain::frame::Upload;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, Head, Seq, SessionId, Time};
use indelible_chain::record::{Flags, RECORD_HEADER_BYTES, Record, Source};
use indelible_chain::stored::Packer;

use super::{Edges, Tail};
use crate::capture::{Output, Sealed, Signer, Stats};
use crate::decision::Late;
use crate::failpoint::failpoint;
use crate::incarnation::is_unheard;
use crate::journal::entry::Entry;
use crate::journal::{Cursor, JournalError, Reach, Sync};
use crate::limits::{BATCH_OVERHEAD_BYTES, MAX_CURSOR_BYTES, MAX_CURSORS, MAX_SMALL_BATCHES};
use crate::lines::Sink;

/// Signs and packs batches.
#[derive(Debug)]
pub struct Sealer {
    signer: Arc<Signer>,
    packer: Packer,
    max_batch_bytes: usize,
}

impl Sealer {
    /// Seals for `signer`, batches of about `max_batch_bytes`. Fails only without memory.
    pub fn new(signer: Arc<Signer>, max_batch_bytes: usize) -> std::io::Result<Self> {
        Ok(Self { signer, packer: Packer::new()?, max_batch_bytes })
    }

    /// Whose batches they are.
    pub(super) fn session(&self) -> SessionId {
        self.signer.session
    }
}

/// A batch that is not receipted.
#[derive(Debug)]
struct Waiting {
    next_seq: Seq,
    cost: u64,
    cursor: Option<Cursor>,
}

/// One chain that is being written.
#[derive(Debug)]
pub(super) struct Chain {
    builder: BatchBuilder,
    /// Its genesis, while nobody was told of it.
    unknown: Option<Genesis>,
    /// When the first record of the batch that is being built was linked.
    since: Option<Time>,
    /// Sealed, but not yet covered by the journal's reach.
    sealed: Vec<Sealed>,
    waiting: VecDeque<Waiting>,
    cost: u64,
    moved: Option<Cursor>,
}

impl Chain {
    pub(super) fn new(id: ChainId, head: Head) -> Self {
        let builder = BatchBuilder::new(id, head);
        let (sealed, waiting) = (Vec::new(), VecDeque::new());
        Self { builder, unknown: None, since: None, sealed, waiting, cost: 0, moved: None }
    }

    /// It is introduced with its first batch.
    pub(super) fn introduce_later(&mut self, genesis: Genesis) {
        self.unknown = Some(genesis);
    }

    /// Whether forwarding was told of it.
    pub(super) const fn is_introduced(&self) -> bool {
        self.unknown.is_none()
    }

    pub(super) const fn id(&self) -> ChainId {
        self.builder.chain()
    }

    pub(super) const fn head(&self) -> Head {
        self.builder.head()
    }

    pub(super) fn unreceipted(&self) -> u64 {
        self.cost + self.builder.body().len() as u64
    }

    /// Whether the batch is full, or would be with `more` bytes of payload.
    pub(super) fn is_full(&self, sealer: &Sealer, more: usize) -> bool {
        let len = self.builder.body().len();
        !self.builder.is_empty()
            && (self.builder.count() >= MAX_BATCH_RECORDS || len + RECORD_HEADER_BYTES + more > sealer.max_batch_bytes)
    }

    /// Seals what was linked. `cursor`: where it ends, if that is at the start of a raw line.
    pub(super) fn seal(&mut self, sealer: &mut Sealer, cursor: Option<Cursor>, (stats, now): (&mut Stats, Time)) {
        let Sealer { signer, packer, .. } = sealer;
        let Some(commitment) = self.builder.seal(signer.session, &signer.key) else { return };
        let body = packer.pack(self.builder.body());
        let upload = Bytes::from(Upload { commitment, body }.encode());
        let cost = u64::from(commitment.body_len) + BATCH_OVERHEAD_BYTES;
        self.cost += cost;
        self.waiting.push_back(Waiting { next_seq: commitment.next_seq(), cost, cursor });
        self.sealed.push(Sealed { chain: commitment.chain, commitment, upload });
        self.builder.clear();
        if let Some(since) = self.since.take() {
            stats.batch.observe(between(since, now));
        }
        self.thin_out();
    }

    /// Keeps what the cursors that wait take in memory bounded: every second one goes, the newest stays. So does that of
    /// a batch with record 0 alone: while a chain that took over is unheard, nothing follows before this cursor moves.
    fn thin_out(&mut self) {
        let open = |waiting: &Waiting| waiting.cursor.as_ref().map_or(0, |cursor| cursor.lines.open_bytes());
        let is_over = |waiting: &VecDeque<Waiting>| {
            waiting.iter().filter(|w| w.cursor.is_some()).count() > MAX_CURSORS
                || waiting.iter().map(open).sum::<usize>() > MAX_CURSOR_BYTES
        };
        // A cheap test first: this runs at each seal.
        if self.waiting.len() > MAX_CURSORS || self.waiting.back().is_some_and(|w| open(w) > 0) {
            if !is_over(&self.waiting) {
                return;
            }
            let thinned = |waiting: &&mut Waiting| waiting.cursor.is_some() && waiting.next_seq > Seq::new(1);
            let with_cursor = self.waiting.iter_mut().rev().filter(thinned);
            for waiting in with_cursor.skip(1).step_by(2) {
                waiting.cursor = None;
            }
        }
    }

    pub(super) fn receipted(&mut self, head: Head) {
        while let Some(Waiting { cost, cursor, .. }) = self.waiting.pop_front_if(|w| w.next_seq <= head.next_seq) {
            self.cost -= cost;
            if cursor.is_some() {
                self.moved = cursor;
            }
        }
    }

    /// The cursor, if it moved since the last call.
    pub(super) fn take_moved(&mut self) -> Option<Cursor> {
        self.moved.take()
    }

    /// Undoes [`take_moved`](Self::take_moved).
    pub(super) fn put_back(&mut self, cursor: Cursor) {
        self.moved.get_or_insert(cursor);
    }

    /// When what was linked is to be sealed although it is not full.
    pub(super) fn flush_due(&self, interval: Duration) -> Option<Time> {
        let nanos = i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX);
        self.since.filter(|_| self.waiting.len() < MAX_SMALL_BATCHES).map(|since| since.plus_nanos(nanos))
    }
}

/// From one time to another; clocks that were set back make it nothing.
fn between(from: Time, to: Time) -> Duration {
    u64::try_from(to.since(from)).map_or(Duration::ZERO, Duration::from_nanos)
}

/// Links records, and before each of them the LATE ones whose position has come.
pub(super) struct Linker<'a> {
    pub(super) chain: &'a mut Chain,
    pub(super) lates: &'a VecDeque<Late>,
    pub(super) sealer: &'a mut Sealer,
    pub(super) stats: &'a mut Stats,
    pub(super) now: Time,
}

impl Linker<'_> {
    /// Links the LATE records whose position has come.
    pub(super) fn decided(&mut self) {
        if self.lates.is_empty() {
            return;
        }
        let mut next = self.lates.partition_point(|late| late.seq < self.chain.head().next_seq);
        while let Some(late) = self.lates.get(next).filter(|late| late.seq == self.chain.head().next_seq) {
            self.link(&late.record());
            next += 1;
        }
    }

    fn link(&mut self, record: &Record<'_>) {
        if self.chain.is_full(self.sealer, record.payload.len())
            || !self.chain.builder.has_room_for(record.payload.len())
        {
            self.chain.seal(self.sealer, None, (self.stats, self.now));
        }
        if self.chain.since.is_none() {
            self.chain.since = Some(self.now);
            // One that has no time of its own says nothing.
            if record.time > Time::default() {
                self.stats.read.observe(between(record.time, self.now));
            }
        }
        self.chain.builder.push(record);
        self.stats.records += 1;
        self.stats.bytes += record.body_len() as u64;
        self.stats.late += u64::from(record.flags.contains(Flags::LATE));
        self.stats.malformed += u64::from(record.flags.contains(Flags::MALFORMED));
    }

    /// What the sidecar says itself.
    pub(super) fn say(&mut self, time: Time, control: &Control) {
        let payload = control.encode();
        self.push(&Record { time, source: Source::Control, flags: Flags::NONE, payload: payload.as_bytes() });
    }
}

impl Sink for Linker<'_> {
    fn push(&mut self, record: &Record<'_>) {
        self.decided();
        self.link(record);
    }
}

impl Tail {
    /// Seals what was linked, at the start of a raw line.
    pub(super) fn seal(&mut self, e: &mut Edges<'_>) {
        let cursor = self.cursor();
        if let Some(chain) = &mut self.chain {
            chain.seal(e.sealer, cursor, (e.stats, e.now));
        }
    }

    /// Seals what has waited long enough.
    pub(super) fn flush(&mut self, e: &mut Edges<'_>) {
        if self.chain.as_ref().is_some_and(|chain| chain.since.is_some()) {
            failpoint("linked");
        }
        // Crash here: what was linked and not sealed is read and linked again.
        let due = self.chain.as_ref().and_then(|chain| chain.flush_due(e.flush_interval));
        // A clock that was set back must not hold records: then what waits is sealed at once.
        let back = self.chain.as_ref().and_then(|chain| chain.since).is_some_and(|since| since > e.now);
        if due.is_some_and(|due| due <= e.now) || back {
            // Inside a long line the reading place is behind what was linked: no cursor there.
            let cursor = self.cursor().filter(|_| self.long.is_none());
            if let Some(chain) = &mut self.chain {
                chain.seal(e.sealer, cursor, (e.stats, e.now));
            }
        }
    }

    /// Hands sealed batches to forwarding. First the reach: a crash after that repeats them and decides nothing
    /// before it has; a crash before it leaves batches that nobody has seen.
    ///
    /// The record 0 of a chain that took over goes alone, and the rest when it is receipted: until then the chain can
    /// be begun again, whatever happens to the files, and what it says of the chain before it is heard in any case.
    pub(super) fn hand_out(&mut self, e: &mut Edges<'_>) -> Result<(), JournalError> {
        let (state, reached) = (self.journal.state(), self.reached());
        let unheard = is_unheard(state);
        let Some(chain) = self.chain.as_mut().filter(|chain| !chain.sealed.is_empty()) else { return Ok(()) };
        failpoint("sealed");
        let first = chain.sealed[0].commitment;
        let (count, reach) = match (unheard, first.first_seq) {
            (true, Seq::ZERO) => (1, Reach { next_seq: first.next_seq(), place: state.cursor.place }),
            (true, _) => return Ok(()),
            (false, _) => (chain.sealed.len(), Reach { next_seq: chain.head().next_seq, place: reached }),
        };
        if reach.next_seq > state.reach.next_seq {
            self.journal.record(e.store, vec![Entry::Reach(reach)], Sync::No)?;
        }
        failpoint("reached");
        let id = chain.id();
        let introduce = |genesis| Output::Introduce { chain: id, genesis, head: Head::start_of(id) };
        e.out.extend(chain.unknown.take().map(introduce));
        e.out.extend(chain.sealed.drain(..count).map(Output::Batch));
        Ok(())
    }
}
