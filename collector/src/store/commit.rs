//! The single writer: group commit.
//!
//! Owns the active segment and the order of every commit: decide, write all frames at once, fdatasync, mark, then
//! answer. Only here does something become [`Durable`]. After a write or sync that failed nothing is written and
//! nothing acknowledged any more; whether the group is on the disk is for the next start to find out.

use std::sync::Arc;

use indelible_chain::batch::Commitment;
use indelible_chain::bytes::DecodeError;
use indelible_chain::frame::{MAX_STORED_BYTES, SegmentFrame};
use indelible_chain::id::{LeafIndex, SessionId, Time};
use indelible_chain::leaf::{Leaf, liveness};
use indelible_chain::merkle::leaf_hash;
use indelible_chain::receipt::Receipt;
use indelible_chain::statement::Statement;
use indelible_chain::stored::{Codec, Stored};

use super::append::{Append, AppendError, Appended};
use super::directory::Identity;
use super::error::{Fatal, ReadError};
use super::files::{self, Grow};
use super::index::decide::{ChainState, Decision, Placed, decide_batch, decide_genesis, decide_session};
use super::index::sealed::{self, Header};
use super::index::table::{Held, Table};
use super::segment::{self, Depth, Walker, index_path, segment_path};
use super::shared::{Reach, Sealed, Shared};
use super::{KnownChain, KnownSession, Options};
use crate::clock::Clock;
use crate::failpoint::failpoint;
use crate::limits;

/// Something that is durable. Only the store's writer makes one, after the fdatasync that covers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Durable<T>(T);

impl<T> Durable<T> {
    /// What is durable.
    pub const fn get(&self) -> &T {
        &self.0
    }
}

impl Durable<Appended> {
    /// Signs the receipt: the only way to one.
    pub fn receipt(&self, identity: &Identity) -> Receipt {
        let Appended { index, leaf_hash, received_at, .. } = self.0;
        Receipt::sign(identity.key(), identity.log_id(), index, leaf_hash, received_at)
    }
}

/// What an item is answered.
pub type Answer = Result<Durable<Appended>, AppendError>;

/// The writer of one log.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    options: Options,
    file: Box<dyn Grow>,
    /// The active segment's path.
    path: String,
    /// The group that is being made.
    group: Vec<u8>,
    /// Where it will begin in the segment: behind a mark that says that all before the mark is durable.
    start: u64,
    /// The time of the newest leaf: no later one is earlier.
    last_time: Time,
    /// When the index last forgot.
    forgot: Time,
}

/// Opens the active segment to go on with it, or makes the first one. The newest mark stands at `marked`; `None` if
/// there is no segment yet.
pub fn open_segment(shared: &Shared, segment_bytes: u64, marked: Option<u64>) -> Result<Box<dyn Grow>, Fatal> {
    let first = shared.state().table.first;
    let path = segment_path(first);
    let failed = |what: &'static str| {
        let path = path.clone();
        move |e| shared.stop(Fatal::io(what, &path, &e))
    };
    let Some(marked) = marked else { return create_segment(shared, first, segment_bytes) };
    let mut file = shared.files.extend(&path).map_err(failed("open"))?;
    // Frames after the newest mark are good but may not be durable yet; the next mark will say that they are. Nor may the
    // file's name be, if the run that made it was killed right after.
    write_again(shared, &path, &mut *file, marked)?;
    file.sync_all().map_err(failed("sync"))?;
    shared.files.sync_dir(segment::DIR).map_err(failed("make the name durable of"))?;
    reserve(shared, &mut *file, segment_bytes).map_err(failed("reserve space for"))?;
    Ok(file)
}

/// Writes the frames from the newest mark on over themselves. If a sync of theirs has failed, the system takes them for
/// written: they can be read, and no sync would ever write them.
fn write_again(shared: &Shared, path: &str, file: &mut dyn Grow, marked: u64) -> Result<(), Fatal> {
    let changed =
        |error: ReadError| shared.stop(Fatal::new(format!("what was read a moment ago has changed: {error}")));
    let good = shared.state().durable.bytes;
    let mut walker = Walker::new(shared.open(path).map_err(changed)?, path.to_owned(), Depth::Frames, marked, good);
    let mut bytes = Vec::new();
    while let Some(found) = walker.next_frame().map_err(changed)? {
        bytes.clear();
        found.frame.encode_into(&mut bytes);
        file.rewrite(found.offset, &bytes).map_err(|e| shared.stop(Fatal::io("write again in", path, &e)))?;
    }
    Ok(())
}

fn create_segment(shared: &Shared, first: LeafIndex, segment_bytes: u64) -> Result<Box<dyn Grow>, Fatal> {
    let path = segment_path(first);
    let failed = |what: &'static str| {
        let path = path.clone();
        move |e| shared.stop(Fatal::io(what, &path, &e))
    };
    let mut file = shared.files.create(&path).map_err(failed("create"))?;
    reserve(shared, &mut *file, segment_bytes).map_err(failed("reserve space for"))?;
    shared.files.sync_dir(segment::DIR).map_err(failed("make the name durable of"))?;
    // Crash here: an empty segment, which the next start goes on with.
    Ok(file)
}

/// Sets a segment's blocks aside, so that a sync has less to write, where that leaves room for everything else: on a
/// volume that is nearly full, tiles and checkpoints need it more.
fn reserve(shared: &Shared, file: &mut dyn Grow, segment_bytes: u64) -> std::io::Result<()> {
    if shared.measure()? < 2 * segment_bytes {
        return Ok(());
    }
    match file.reserve(segment_bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(()),
        reserved => reserved,
    }
}

impl Writer {
    /// Goes on with a log of which everything is durable.
    pub fn new(
        shared: Arc<Shared>,
        clock: Arc<dyn Clock>,
        options: Options,
        file: Box<dyn Grow>,
    ) -> Result<Self, Fatal> {
        let (path, start, last_time) = {
            let state = shared.state();
            (segment_path(state.table.first), state.durable.bytes, state.last_time())
        };
        let group = Vec::new();
        let mut writer = Self { shared, clock, options, file, path, group, start, last_time, forgot: last_time };
        writer.mark()?;
        Ok(writer)
    }

    /// Commits a group: one write, one fdatasync, then the answers, in the order of the items.
    pub fn commit(&mut self, items: Vec<Append>) -> Result<Vec<Answer>, Fatal> {
        self.begin()?;
        let now = self.now();
        let space = self.space();
        let drafts: Vec<_> = items.into_iter().map(|item| self.take(item, now, &space)).collect();
        self.write()?;
        // Everything that a draft names is durable now: it is in this group or was in an earlier one.
        Ok(drafts.into_iter().map(|draft| draft.map(Durable)).collect())
    }

    /// Commits statements of the log itself, which need no space left over.
    pub fn say(&mut self, statements: Vec<Statement>) -> Result<(), Fatal> {
        self.begin()?;
        let now = self.now();
        for statement in statements {
            self.push_statement(statement, now);
        }
        self.write()
    }

    /// Says that the log lives if it has not had a leaf for a while; gives how long until that may be due again.
    pub fn keep_alive(&mut self) -> Result<i64, Fatal> {
        let due = i64::try_from(limits::SIGN_OF_LIFE_AFTER.as_nanos()).unwrap_or(i64::MAX);
        let silent = self.clock.now().since(self.last_time);
        if silent < due {
            return Ok(due - silent.max(0));
        }
        self.say(vec![Statement::Clock { offset_ms: None }])?;
        Ok(due)
    }

    /// Looks at the volume: whether it has the space that new items need.
    pub fn space(&self) -> Result<(), AppendError> {
        let free = self.shared.measure().map_err(|e| ReadError::io("the volume", e))?;
        super::append::space(free, self.options.min_free_bytes)
    }

    /// `received_at` never falls along the log, whatever the clock does.
    fn now(&self) -> Time {
        self.clock.now().max(self.last_time)
    }

    /// Begins a group, in the next segment if this one is full.
    fn begin(&mut self) -> Result<(), Fatal> {
        if let Some(fatal) = self.shared.stopped() {
            return Err(fatal);
        }
        let leaves = self.shared.state().table.count;
        if self.start >= self.options.segment_bytes || leaves >= limits::LEAVES_PER_SEGMENT {
            self.roll()?;
        }
        self.forget();
        self.group.clear();
        Ok(())
    }

    /// Writes that all of the segment is durable. It goes to the disk with the next sync; but a process that is killed
    /// leaves it, and damage that is found then is told from what a power loss tears.
    fn mark(&mut self) -> Result<(), Fatal> {
        self.group.clear();
        SegmentFrame::Mark { durable: self.start }.encode_into(&mut self.group);
        self.file.append(&self.group).map_err(|e| self.fail("append to", &e))?;
        self.start += self.group.len() as u64;
        Ok(())
    }

    /// Forgets sessions and chains that nobody wrote for a while. Between groups, when all of them are on disk.
    fn forget(&mut self) {
        let remembered = i64::try_from(self.options.remembered.as_nanos()).unwrap_or(i64::MAX);
        let due = self.last_time.since(self.forgot) > remembered / 8;
        if due || self.shared.state().index.is_full() {
            self.forgot = self.last_time;
            self.shared.state_mut().index.forget(self.last_time.plus_nanos(-remembered));
        }
    }

    /// Writes the group and makes it durable.
    fn write(&mut self) -> Result<(), Fatal> {
        let leaves = self.shared.state().table.next();
        if leaves == self.shared.state().durable.leaves {
            return Ok(());
        }
        failpoint("commit-write");
        // Crash before the sync below: any part of the group is on the disk, in any order. Nothing of it was
        // acknowledged; the next start keeps the good frames and sets the rest aside.
        self.file.append(&self.group).map_err(|e| self.fail("append to", &e))?;
        failpoint("commit-sync");
        let since = std::time::Instant::now();
        self.file.sync_data().map_err(|e| self.fail("sync", &e))?;
        self.options.on_sync.took(since.elapsed());
        failpoint("commit-answer");
        // Crash here: all is durable and nothing acknowledged; sidecars send it again and get this place.
        self.start += self.group.len() as u64;
        let durable = Reach { leaves, bytes: self.start };
        self.mark()?;
        self.shared.state_mut().durable = durable;
        self.shared.size.send_replace(leaves.get());
        if self.group.capacity() > 2 * limits::GROUP_BYTES {
            self.group = Vec::new();
        }
        Ok(())
    }

    fn fail(&self, what: &str, source: &std::io::Error) -> Fatal {
        self.shared.stop(Fatal::io(what, &self.path, source))
    }

    /// Seals the active segment and begins the next. Everything in it is durable.
    pub fn roll(&mut self) -> Result<(), Fatal> {
        let identity = self.shared.identity.clone();
        let (first, next, index) = {
            let table = &self.shared.state().table;
            (table.first, table.next(), sealed::encode(table, self.start, identity.log_id(), identity.key()))
        };
        failpoint("roll-cut");
        // Cut to the length that it has: blocks that were set aside and not needed are given back.
        self.file.cut(self.start).map_err(|e| self.fail("give back space of", &e))?;
        failpoint("roll-sync");
        // Crash here or before: the segment is the active one still, and the next start goes on with it.
        self.file.sync_all().map_err(|e| self.fail("sync", &e))?;
        failpoint("roll-index");
        // Crash before or within this write: no index, or the whole one; a start does not need it.
        let path = index_path(first);
        files::replace(&*self.shared.files, &path, &index)
            .map_err(|e| self.shared.stop(Fatal::io("write", &path, &e)))?;
        failpoint("roll-create");
        let file = create_segment(&self.shared, next, self.options.segment_bytes)?;
        failpoint("roll-done");
        let header = Header::decode(&index[..sealed::HEADER_BYTES], identity.log_id(), &identity.key().public());
        let header = header.map_err(|e| self.shared.stop(Fatal::new(format!("{path} was made badly: {e}"))))?;
        let mut state = self.shared.state_mut();
        state.sealed.push(Arc::new(Sealed::new(Arc::new(header))));
        state.table = Table::new(next);
        state.durable = Reach { leaves: next, bytes: 0 };
        drop(state);
        (self.file, self.path, self.start) = (file, segment_path(next), 0);
        self.mark()
    }

    /// Decides one item and puts it into the group.
    fn take(&mut self, item: Append, now: Time, space: &Result<(), AppendError>) -> Result<Appended, AppendError> {
        let decision = self.decide(&item, now)?;
        match decision {
            Decision::Known(Placed { index, leaf_hash, received_at }, conflict) => {
                Ok(Appended { index, leaf_hash, received_at, fresh: false, conflict })
            }
            Decision::Refuse(why) => Err(why),
            Decision::Store => {
                space.clone()?;
                self.store(item, now)
            }
            Decision::StoreConflict { seq, other } => {
                space.clone()?;
                let appended = self.store(item.clone(), now)?;
                if let Append::Batch(upload) = item {
                    let (chain, second) = (upload.commitment().chain, appended.index);
                    self.push_statement(Statement::Conflict { chain, seq, first: other, second }, now);
                    if let Some(chain) = self.shared.state_mut().index.chains.get_mut(&chain, now) {
                        chain.conflicts += 1;
                    }
                }
                Ok(Appended { conflict: Some(other), ..appended })
            }
        }
    }

    fn decide(&self, item: &Append, now: Time) -> Result<Decision, AppendError> {
        Ok(match item {
            Append::Session { session, attested, .. } => {
                let id = session.id()?;
                decide_session(id, attested, self.session(id, now)?.as_deref(), now)
            }
            Append::Genesis { genesis, session } => {
                let chain = genesis.chain_id()?;
                let known = self.chain(chain, now)?;
                let known = known.as_ref().map(|chain| &chain.known);
                decide_genesis(genesis, (chain, known), (*session, self.session(*session, now)?.as_deref()))
            }
            Append::Batch(upload) => self.decide_batch(upload.commitment(), now)?,
            Append::Authority(_) | Append::Liveness(_) => Decision::Store,
        })
    }

    fn decide_batch(&self, commitment: &Commitment, now: Time) -> Result<Decision, AppendError> {
        let session = self.session(commitment.session, now)?;
        let chain = self.chain(commitment.chain, now)?;
        let (same, contradicted) = match &chain {
            None => (None, None),
            Some(chain) if chain.goes_on_with(commitment) => (None, chain.contradiction_with_head(commitment)),
            Some(_) => {
                let same = self.shared.same_batch(commitment)?;
                // What it contradicted when it was stored.
                let before = same.map_or(LeafIndex::new(u64::MAX), |placed| placed.index);
                (same, self.shared.contradicted(commitment, before)?)
            }
        };
        Ok(decide_batch(commitment, session.as_deref(), chain.as_ref(), same, contradicted))
    }

    /// A session, which stays in memory from now on.
    fn session(&self, id: SessionId, now: Time) -> Result<Option<Arc<KnownSession>>, AppendError> {
        let known = self.shared.session(id)?;
        if let Some(known) = &known {
            self.shared.state_mut().index.sessions.insert(id, known.clone(), now);
        }
        Ok(known)
    }

    /// A chain, which stays in memory from now on.
    fn chain(&self, id: indelible_chain::id::ChainId, now: Time) -> Result<Option<ChainState>, AppendError> {
        let known = self.shared.chain(id)?;
        if let Some(known) = &known {
            self.shared.state_mut().index.chains.insert(id, known.clone(), now);
        }
        Ok(known)
    }

    /// Puts an item into the group and the index.
    fn store(&mut self, item: Append, now: Time) -> Result<Appended, AppendError> {
        match item {
            Append::Session { session, attested, token } => {
                let leaf = Leaf::Session { session, attested, received_at: now };
                let appended = self.push(&leaf, Stored { codec: Codec::Plain, bytes: &token }, now)?;
                let Appended { index, leaf_hash, received_at, .. } = appended;
                if let Leaf::Session { session, attested, .. } = leaf {
                    let id = session.id()?;
                    let known = Arc::new(KnownSession { session, attested, index, leaf_hash, received_at });
                    self.shared.state_mut().index.sessions.insert(id, known, now);
                }
                Ok(appended)
            }
            Append::Genesis { genesis, session } => {
                let chain = genesis.chain_id()?;
                let leaf = Leaf::Genesis { genesis, session, received_at: now };
                let appended = self.push(&leaf, EMPTY, now)?;
                let Appended { index, leaf_hash, received_at, .. } = appended;
                if let Leaf::Genesis { genesis, .. } = leaf {
                    let genesis = Arc::new(genesis);
                    let known = KnownChain { chain, genesis, session, index, leaf_hash, received_at, extent: None };
                    let state = ChainState { known, held: None, conflicts: 0 };
                    self.shared.state_mut().index.chains.insert(chain, state, now);
                }
                Ok(appended)
            }
            Append::Batch(upload) => {
                let commitment = *upload.commitment();
                let leaf = Leaf::Batch { commitment, received_at: now };
                let appended = self.push(&leaf, upload.stored(), now)?;
                if let Some(chain) = self.shared.state_mut().index.chains.get_mut(&commitment.chain, now) {
                    let held = Held::of(&commitment, appended.index);
                    let held = chain.held.map_or(held, |before| before.with(held));
                    chain.held = Some(held);
                    chain.known.extent = Some(held.extent);
                }
                Ok(appended)
            }
            Append::Authority(signed) => self.push(&Leaf::Authority { signed, received_at: now }, EMPTY, now),
            Append::Liveness(heartbeats) => {
                let (leaf, body) = liveness(heartbeats, now)?;
                self.push(&leaf, Stored { codec: Codec::Plain, bytes: &body }, now)
            }
        }
    }

    fn push_statement(&mut self, statement: Statement, now: Time) {
        let leaf = Leaf::Statement { statement, time: now };
        self.push(&leaf, EMPTY, now).expect("the log's own statements are within the limits of a leaf");
    }

    /// Puts a leaf and its body into the group. The one copy that a body takes on its way to the file.
    fn push(&mut self, leaf: &Leaf, body: Stored<'_>, now: Time) -> Result<Appended, AppendError> {
        let bytes = leaf.encode()?;
        if body.bytes.len() > MAX_STORED_BYTES {
            let (value, limit) = (body.bytes.len() as u64, MAX_STORED_BYTES as u64);
            return Err(DecodeError::TooLarge { what: "stored body", value, limit }.into());
        }
        let offset = u32::try_from(self.start + self.group.len() as u64);
        let offset = offset.expect("a segment is at most MAX_SEGMENT_BYTES and a group long");
        SegmentFrame::Leaf { leaf: &bytes, body }.encode_into(&mut self.group);
        let leaf_hash = leaf_hash(&bytes);
        let index = {
            let table = &mut self.shared.state_mut().table;
            let index = table.next();
            table.apply(offset, Some(leaf));
            index
        };
        self.shared.promised().push(index, leaf_hash);
        self.last_time = now;
        Ok(Appended { index, leaf_hash, received_at: now, fresh: true, conflict: None })
    }
}

const EMPTY: Stored<'static> = Stored { codec: Codec::Plain, bytes: &[] };
