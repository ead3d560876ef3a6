//! The store: one log on one volume.
//!
//! Owns the data directory, its single writer and what is read back from it. It does not judge what it is given: who
//! may write what, signatures and links are checked before. Invariants: what was acknowledged is durable and never
//! changes; a [`Durable`] is made only after the fdatasync that covers it; a checkpoint is durable before anyone sees
//! it and covers only durable leaves; no call removes or changes a stored leaf.
//!
//! | module | owns |
//! | --- | --- |
//! | `append`, `error` | the types of the way in, and of what goes wrong |
//! | `directory` | key, vkey, version, LOCK |
//! | `files` | creating, renaming, syncing files; the twin with faults |
//! | `recover` | what a directory means at start |
//! | `commit` | the single writer: group commit, marks, rolling segments |
//! | `tree` | the tick: leaf hashes from disk, tiles, checkpoints |
//! | `index`, `shared` | where everything is, in memory and in `.idx` files |
//! | `segment`, `read` | reading frames back |
//! | `threads` | the two threads, the queue between them and their callers |

mod append;
mod commit;
mod directory;
mod error;
mod files;
mod index;
mod read;
mod recover;
mod segment;
mod shared;
mod threads;
mod tree;

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use indelible_chain::digest::Digest;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, LeafIndex, Seq, SessionId, Time};
use indelible_chain::leaf::Attested;
use indelible_chain::note::NoteSignature;
use indelible_chain::session::Session;
use indelible_chain::tile::{BundleId, TileId};
use tokio::sync::watch;

use crate::clock::{Clock, SystemClock};
use crate::failpoint::failpoint;
use crate::limits;
use commit::Writer;
use directory::Directory;
use files::{Files, RealFiles};
use index::Index;
use index::table::Table;
use recover::Survey;
use shared::{Reach, Shared, State};
use threads::Threads;
use tree::{Shown, Tree};

pub use append::{Append, AppendError, Appended, CheckedUpload};
pub use commit::Durable;
pub use directory::Identity;
pub use error::{Category, Fatal, OpenError, ReadError};
pub use files::Space;
pub use indelible_chain::statement::SealReason;
pub use read::FrameReader;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The log's name without its key's fingerprint; required for a directory that holds no log yet.
    pub origin: Option<String>,
    /// `<program>/<version>`, for statement 1 and the file `version`.
    pub software: String,
    /// Size at which a segment is followed by the next.
    pub segment_bytes: u64,
    /// How often a checkpoint is made when there is something new.
    pub checkpoint_interval: Duration,
    /// Free bytes of the volume under which nothing new is taken.
    pub min_free_bytes: u64,
    /// For how long sessions and chains stay in memory after they were last written.
    pub remembered: Duration,
    /// Told how long each group's fdatasync took.
    pub on_sync: OnTime,
    /// Told with each checkpoint how long the oldest leaf that is new in it had waited for one.
    pub on_publish: OnTime,
}

/// What is done with the time that something took; by default nothing. Called on the store's own threads.
#[derive(Clone, Default)]
pub struct OnTime(Option<Arc<dyn Fn(Duration) + Send + Sync>>);

impl OnTime {
    /// Calls `observe`, which must not block.
    pub fn call(observe: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observe)))
    }

    fn took(&self, time: Duration) {
        if let Some(observe) = &self.0 {
            observe(time);
        }
    }
}

impl std::fmt::Debug for OnTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OnTime").field(&self.0.is_some()).finish()
    }
}

impl Options {
    /// The defaults for an existing log.
    pub fn new(software: &str) -> Self {
        Self {
            origin: None,
            software: software.to_owned(),
            segment_bytes: limits::SEGMENT_BYTES,
            checkpoint_interval: limits::CHECKPOINT_INTERVAL,
            min_free_bytes: limits::MIN_FREE_BYTES,
            remembered: limits::REMEMBERED,
            on_sync: OnTime::default(),
            on_publish: OnTime::default(),
        }
    }
}

/// A session that is in this log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownSession {
    /// The session.
    pub session: Session,
    /// Who vouched for it first.
    pub attested: Attested,
    /// Its leaf.
    pub index: LeafIndex,
    /// Its leaf's hash.
    pub leaf_hash: Digest,
    /// When it came.
    pub received_at: Time,
}

/// A chain that is in this log, and what this log has of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownChain {
    /// The chain.
    pub chain: ChainId,
    /// Its genesis.
    pub genesis: Arc<Genesis>,
    /// Who introduced it.
    pub session: SessionId,
    /// The genesis' leaf.
    pub index: LeafIndex,
    /// The genesis leaf's hash.
    pub leaf_hash: Digest,
    /// When the genesis came.
    pub received_at: Time,
    /// What this log has of its records; `None` before the first batch.
    pub extent: Option<Extent>,
}

/// What a log has of a chain's records, first to last, holes not counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The lowest position.
    pub first_seq: Seq,
    /// The position after the highest.
    pub next_seq: Seq,
    /// The earliest time.
    pub first_time: Time,
    /// The latest time.
    pub last_time: Time,
    /// Whether a FINAL batch is here.
    pub closed: bool,
}

/// A checkpoint that is durable and public.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Published {
    /// Leaves that it covers.
    pub size: u64,
    /// The tree's root.
    pub root: Digest,
    /// The signed note.
    pub note: Bytes,
}

/// A checkpoint, and the proof that it extends an earlier one.
pub type Extension = (Arc<Published>, Vec<Digest>);

/// An open log. Calls may come from any thread; those that may read from disk say so.
///
/// Dropping it ends its threads without sealing the log, as a crash would, and waits for what they are writing.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    shown: Arc<Shown>,
    /// `None` of a log that is only read.
    threads: Option<Threads>,
    /// Whether the log had its end when it was opened to be read.
    sealed: bool,
    options: Options,
    /// Its lock is released last.
    _directory: Directory,
}

/// A log that was opened and recovered, before its threads run.
#[derive(Debug)]
struct Opened {
    directory: Directory,
    shared: Arc<Shared>,
    writer: Writer,
    tree: Tree,
}

impl Opened {
    /// Opens a log: the one start path, after a first start, a shutdown and a crash alike.
    fn new(files: Arc<dyn Files>, clock: &Arc<dyn Clock>, options: &Options) -> Result<Self, OpenError> {
        let directory = Directory::open(files, options)?;
        let Looked { survey, shared, mut tree } = Looked::at(&directory)?;
        failpoint("recover-looked");
        // Then the torn tail goes, what is left is made durable, and the log says that it starts.
        recover::set_aside(&directory, &survey)?;
        let opening = recover::opening(&shared, &options.software)?;
        let marked = survey.exists.then_some(survey.marked);
        let file = commit::open_segment(&shared, options.segment_bytes, marked)?;
        let mut writer = Writer::new(shared.clone(), clock.clone(), options.clone(), file)?;
        writer.say(opening)?;
        failpoint("recover-said");
        // Crash here: the log says twice that it starts, which is what happened.
        // A checkpoint is there before anything is acknowledged.
        tree.tick(clock.now())?;
        tree.observed_by(options.on_publish.clone());
        Ok(Self { directory, shared, writer, tree })
    }
}

/// A log that was looked at and judged: up to here a refusal leaves the directory as it was.
struct Looked {
    survey: Survey,
    shared: Arc<Shared>,
    tree: Tree,
}

impl Looked {
    fn at(directory: &Directory) -> Result<Self, OpenError> {
        let mut survey = recover::survey(directory)?;
        let signed = recover::signed(directory)?;
        recover::judge(directory, &survey, signed.as_ref())?;
        let durable = Reach { leaves: survey.leaves, bytes: survey.good };
        let table = std::mem::replace(&mut survey.table, Table::new(survey.first));
        let state = State { sealed: std::mem::take(&mut survey.sealed), table, durable, index: Index::new() };
        let shared = Arc::new(Shared::new(directory.files.clone(), directory.identity.clone(), state));
        let tree = Tree::open(shared.clone(), signed.as_ref())?;
        Ok(Self { survey, shared, tree })
    }
}

impl Store {
    /// Makes key and vkey in a new directory, or gives those of an existing one; appends nothing.
    pub fn init(dir: &Path, options: &Options) -> Result<Arc<Identity>, OpenError> {
        Ok(Directory::open(Arc::new(RealFiles::new(dir)), options)?.identity)
    }

    /// Who the log in a directory is; writes nothing.
    pub fn identity_at(dir: &Path, options: &Options) -> Result<Arc<Identity>, OpenError> {
        Ok(Directory::open_read_only(Arc::new(RealFiles::new(dir)), options)?.identity)
    }

    /// Opens a log, new or not: locks it, recovers it, says so in it, and makes a checkpoint of it.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        Self::open_with(Arc::new(RealFiles::new(dir)), Arc::new(SystemClock), options)
    }

    fn open_with(files: Arc<dyn Files>, clock: Arc<dyn Clock>, options: Options) -> Result<Self, OpenError> {
        let Opened { directory, shared, writer, tree } = Opened::new(files, &clock, &options)?;
        let shown = tree.shown();
        let threads = Threads::start(&shared, writer, tree, clock, options.checkpoint_interval)
            .map_err(|e| directory::io_error(&*shared.files, "start a thread", e))?;
        Ok(Self { shared, shown, threads: Some(threads), sealed: false, options, _directory: directory })
    }

    /// Opens a log to be read: nothing is recovered, nothing said, nothing taken. What stands behind the newest checkpoint is
    /// shown as far as it is good.
    pub fn open_read_only(dir: &Path, options: Options) -> Result<Self, OpenError> {
        Self::read_only(Arc::new(RealFiles::new(dir)), options)
    }

    fn read_only(files: Arc<dyn Files>, options: Options) -> Result<Self, OpenError> {
        let directory = Directory::open_read_only(files, &options)?;
        let Looked { shared, tree, .. } = Looked::at(&directory)?;
        let sealed = recover::has_end(&shared)?;
        shared.measure().map_err(|e| directory::io_error(&*shared.files, "look at the volume of", e))?;
        Ok(Self { shown: tree.shown(), shared, threads: None, sealed, options, _directory: directory })
    }

    /// Who this log is.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.shared.identity
    }

    /// Appends an item; answers only after it is durable.
    pub async fn append(&self, item: Append) -> Result<Durable<Appended>, AppendError> {
        match &self.threads {
            Some(threads) => threads.append(item).await,
            None => Err(AppendError::Sealed),
        }
    }

    /// A session of this log. May read from disk.
    pub fn session(&self, id: SessionId) -> Result<Option<Arc<KnownSession>>, ReadError> {
        self.shared.session(id)
    }

    /// A chain of this log. May read from disk.
    pub fn chain(&self, id: ChainId) -> Result<Option<KnownChain>, ReadError> {
        Ok(self.shared.chain(id)?.map(|chain| chain.known))
    }

    /// All chains of this log with an id above `after`, by id, until `visit` breaks. Reads from disk.
    pub fn chains(
        &self,
        after: Option<ChainId>,
        visit: &mut dyn FnMut(KnownChain) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        read::chains(&self.shared, after, visit)
    }

    /// The durable leaves `[from, to)` with their bodies as stored, as many as there are now.
    pub fn frames(&self, from: LeafIndex, to: LeafIndex) -> FrameReader {
        FrameReader::of_range(self.shared.clone(), from, to)
    }

    /// The durable batches of a chain that have a record in `[from, to)`, in log order.
    pub fn batches(&self, chain: ChainId, from: Seq, to: Seq) -> FrameReader {
        FrameReader::of_chain(self.shared.clone(), chain, from, to)
    }

    /// Durable leaves now; the receiver sees each change, for `wait=`.
    pub fn size(&self) -> watch::Receiver<u64> {
        self.shared.size.subscribe()
    }

    /// The newest checkpoint.
    pub fn checkpoint(&self) -> Arc<Published> {
        self.shown.view().published.clone()
    }

    /// Sizes above `after` whose checkpoints are kept, ascending.
    pub fn kept_checkpoints(&self, after: u64, limit: usize) -> Vec<u64> {
        self.shown.kept(after, limit)
    }

    /// A kept checkpoint's note. Reads from disk.
    pub fn kept_checkpoint(&self, size: u64) -> Result<Option<Bytes>, ReadError> {
        tree::kept_checkpoint(&self.shared, &self.shown, size)
    }

    /// The newest checkpoint, with the proof that it extends the tree of `old` leaves; `None` if that is larger. Reads from
    /// disk.
    pub fn extension(&self, old: u64) -> Result<Option<Extension>, ReadError> {
        tree::extension(&self.shared, &self.shown, old)
    }

    /// Keeps a checkpoint with these cosignatures, beside those that it has; they are the caller's to have verified. Writes to
    /// disk, unless the log is only read: then they are remembered while the checkpoint is the newest.
    pub fn cosign(&self, published: &Published, lines: Vec<NoteSignature>) -> Result<(), Fatal> {
        tree::cosign(&self.shared, &self.shown, published, lines, self.threads.is_some())
    }

    /// A tile of the published tree, exactly as wide as asked for; `None` if it has not that many hashes (404).
    /// May read from disk.
    pub fn tile(&self, id: TileId) -> Result<Option<Bytes>, ReadError> {
        tree::tile(&self.shared, &self.shown, id)
    }

    /// A bundle of the published tree, exactly as wide as asked for. Reads from disk.
    pub fn entries(&self, id: BundleId) -> Result<Option<Bytes>, ReadError> {
        tree::entries(&self.shared, &self.shown, id)
    }

    /// Whether new items are taken: not while the volume is short of space, the log is being sealed, or the store has
    /// stopped or hangs. For readiness, and to answer before a body is read. Never waits for the volume.
    pub fn writable(&self) -> Result<(), AppendError> {
        self.writable_at(Instant::now())
    }

    fn writable_at(&self, now: Instant) -> Result<(), AppendError> {
        self.taking_at(now)?;
        append::space(self.shared.free(), self.options.min_free_bytes)
    }

    /// The same but for the volume's space: the writer says for each item whether it needs any.
    pub fn taking(&self) -> Result<(), AppendError> {
        self.taking_at(Instant::now())
    }

    fn taking_at(&self, now: Instant) -> Result<(), AppendError> {
        if let Some(fatal) = self.shared.stopped() {
            return Err(fatal.into());
        }
        if self.threads.as_ref().is_none_or(Threads::is_sealing) {
            return Err(AppendError::Sealed);
        }
        let busy = self.shared.busy().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if busy > limits::MAX_GROUP_TIME {
            return Err(AppendError::Stalled(busy));
        }
        Ok(())
    }

    /// The volume's room when the writer last looked.
    pub fn space(&self) -> Space {
        self.shared.space()
    }

    /// Bytes of all segments, as far as they are durable.
    pub fn stored_bytes(&self) -> u64 {
        let state = self.shared.state();
        state.sealed.iter().map(|sealed| sealed.header.bytes).sum::<u64>() + state.durable.bytes
    }

    /// For how long the writer has been at what it does: syncing, mostly.
    pub fn busy(&self) -> Duration {
        self.shared.busy().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// When the newest leaf was received.
    pub fn newest_leaf_time(&self) -> Time {
        self.shared.state().last_time()
    }

    /// Whether the log has its end, or is about to get it.
    pub fn is_sealed(&self) -> bool {
        self.threads.as_ref().map_or(self.sealed, Threads::is_sealing)
    }

    /// Whether it was opened to be read only.
    pub fn is_read_only(&self) -> bool {
        self.threads.is_none()
    }

    /// Requests and bytes that wait for the writer.
    pub fn waiting(&self) -> (usize, usize) {
        self.threads.as_ref().map_or((0, 0), Threads::waiting)
    }

    /// Ends only when the store has stopped for good: the process must then exit non-zero within a second.
    pub async fn failed(&self) -> Fatal {
        let mut fatal = self.shared.fatal.subscribe();
        let fatal = fatal.wait_for(Option::is_some).await.ok().and_then(|fatal| fatal.clone());
        fatal.unwrap_or_else(|| Fatal::new("its threads are gone"))
    }

    /// Takes nothing new, answers what waits, appends statement 4, signs the last checkpoint, ends the threads.
    pub async fn seal(&self, reason: SealReason) -> Result<(), Fatal> {
        match &self.threads {
            Some(threads) => threads.seal(reason).await,
            None => Ok(()),
        }
    }
}
