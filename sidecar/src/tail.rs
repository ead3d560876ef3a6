//! One container: from its log files to signed batches.
//!
//! Reads through the edge [`LogDir`], feeds [`crate::lines`], seals batches, moves the cursor. The rooms, in the order
//! of the data's way: `discover` lists the directory and knows the files again, `begin` decides which chain they go
//! into, `read` takes lines from the file whose turn it is, `leave` goes from one file to the next, `late` watches those
//! that were left, `chain` links, seals and waits for receipts.
//!
//! Invariant: the records are a function of the bytes and of the decisions in the journal. Up to the journal's reach a
//! run only repeats; it decides nothing before that ([`Tail::decides`]).

mod begin;
mod chain;
mod discover;
mod late;
mod leave;
mod long;
mod read;
pub mod unseen;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use indelible_chain::id::{ChainId, Head, Time};

use crate::capture::{Output, Stats};
use crate::failpoint::failpoint;
use crate::files::{FileId, Mark, Place, Position};
use crate::incarnation::{Beside, Readable, is_unheard};
use crate::journal::{Cursor, Journal, JournalError, Store, Sync};
use crate::limits::{MAX_UNRECEIPTED_CHAIN, MAX_UNRECEIPTED_SIDECAR, POLL_INTERVAL};
use crate::lines::Assembler;
use crate::logdir::{Content, Inode, LogDir, Names};
use crate::trouble::Trouble;

use begin::{First, Stage};
use chain::Chain;
pub use chain::Sealer;
use long::Long;
use unseen::{Made, Unseen};

/// What a tail works with, lent to it for one call.
#[derive(Debug)]
pub struct Edges<'a> {
    /// The pod's log directory.
    pub logs: &'a mut dyn LogDir,
    /// Where journals are kept.
    pub store: &'a mut dyn Store,
    /// Signs and packs.
    pub sealer: &'a mut Sealer,
    /// Where file content is read into.
    pub window: &'a mut [u8],
    /// The time of the call.
    pub now: Time,
    /// The node's boot.
    pub boot_id: &'a str,
    /// How long a record waits for others.
    pub flush_interval: Duration,
    /// Bytes that the other chains have unreceipted.
    pub others: u64,
    /// Whether everything is to be closed.
    pub ending: Ending,
    /// Where what is for forwarding goes.
    pub out: &'a mut Vec<Output>,
    /// What is counted.
    pub stats: &'a mut Stats,
}

/// Whether the sidecar was told to terminate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// No.
    No,
    /// Yes: read to the end, then close the chain.
    Yes,
}

/// Which unread files may be given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unread {
    /// Any: too much is held.
    Any,
    /// Those that were removed and take space only because they are held.
    Removed,
}

/// A file that is held open.
#[derive(Debug)]
struct Held {
    content: Content,
    inode: Inode,
    born: Option<Time>,
    /// Bytes on disk when it was last looked at.
    size: u64,
    names: Names,
    /// When it was left, or found again after that.
    left_at: Option<Time>,
}

impl Held {
    const fn mark(&self) -> Mark {
        Mark { inode: self.inode.number, born: self.born }
    }
}

/// A file that is there but cannot be opened.
#[derive(Clone, Copy, Debug)]
struct Unopened {
    inode: Inode,
    size: u64,
}

/// One container.
#[derive(Debug)]
pub struct Tail {
    container: String,
    stage: Stage,
    journal: Journal,
    held: BTreeMap<FileId, Held>,
    unopened: BTreeMap<FileId, Unopened>,
    /// Names that stand for a file that is known under another inode: `X.gz` of a held `X`.
    aliases: BTreeMap<(String, Inode), FileId>,
    /// Files that the last listing showed.
    named: BTreeSet<FileId>,
    /// What the very first listing showed.
    first: Option<First>,
    beside: Beside,
    /// Files that this run knows again by hints alone.
    hinted: BTreeSet<FileId>,
    place: Place,
    long: Option<Long>,
    lines: Assembler,
    chain: Option<Chain>,
    /// The file whose successor was seen to hold a byte: it is read to its end once more, and then left.
    succeeded: Option<FileId>,
    /// The file that cannot be read at present, and since when.
    failing: Option<(FileId, Time)>,
    /// How far the file in turn goes, as it was last read.
    file_end: Option<Position>,
    look: Look,
    /// Files that came and went between two listings.
    unseen: Unseen,
    /// Why the directory cannot be listed.
    unlisted: Trouble,
    /// Why the state cannot be written.
    unwritten: Trouble,
    /// Files wait in the directory because too many are known.
    crowded: Trouble,
    turn: Turn,
    /// When to try again after the state could not be written.
    retry_at: Option<Time>,
}

/// Whether the directory is to be listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    Due,
    Done,
}

/// How the last turn of reading ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// There is nothing to read now.
    Idle,
    /// The turn was over; there is more.
    More,
    /// Receipts are awaited.
    Blocked,
}

impl Tail {
    /// The container's name.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// Its chain, if it was decided.
    pub fn chain_id(&self) -> Option<ChainId> {
        self.chain.as_ref().map(Chain::id)
    }

    /// The directory is to be listed in the next call of [`work`](Self::work).
    pub fn look(&mut self) {
        self.look = Look::Due;
    }

    /// The same, and how many log files were made in it, as its watch tells.
    pub fn told(&mut self, made: Made) {
        self.unseen.told(made);
        self.look();
    }

    /// Everything of the chain up to `head` is receipted. Says whether there is something to do at once.
    pub fn receipted(&mut self, head: Head) -> bool {
        let Some(chain) = &mut self.chain else { return false };
        chain.receipted(head);
        self.turn == Turn::Blocked || self.place == Place::End || is_unheard(self.journal.state())
    }

    /// Bytes handed out or being built that are not receipted.
    pub fn unreceipted(&self) -> u64 {
        self.chain.as_ref().map_or(0, Chain::unreceipted)
    }

    /// Lists, reads, links and seals: a bounded amount.
    pub fn work(&mut self, e: &mut Edges<'_>) {
        if self.look == Look::Due {
            self.discover(e);
        }
        // Further ahead than it can be: the clock was set back, and waiting for it would hold everything.
        if self.retry_at.is_some_and(|at| (1..=nanos(POLL_INTERVAL)).contains(&at.since(e.now))) {
            return;
        }
        self.retry_at = None;
        if let Err(error) = self.try_work(e) {
            if self.unwritten.failed(&error) {
                tracing::error!(%error, "capture of a container waits until its state can be written");
            }
            e.stats.state_write_failures += 1;
            self.retry_at = Some(e.now.plus_nanos(nanos(POLL_INTERVAL)));
        } else if self.unwritten.is_over() {
            tracing::info!(container = self.container, "its state can be written again, capture goes on");
        }
    }

    fn try_work(&mut self, e: &mut Edges<'_>) -> Result<(), JournalError> {
        self.begin(e)?;
        self.save_cursor(e)?;
        if self.stage != Stage::Open {
            return Ok(());
        }
        self.journal.tidy(e.store)?;
        // First the late bytes: at the end nothing may follow the `end`.
        self.watch(e)?;
        self.turn = self.read(e)?;
        if e.ending == Ending::Yes && self.turn == Turn::Idle {
            self.finish(e)?;
        }
        self.flush(e);
        self.hand_out(e)
    }

    /// When [`work`](Self::work) is due although nothing happens, beside the poll.
    pub fn next_work(&self, flush_interval: Duration) -> Option<Time> {
        let at_once = self.stage == Stage::Open && self.turn == Turn::More;
        let more = at_once.then_some(Time::from_nanos(i64::MIN));
        let flush = self.chain.as_ref().and_then(|chain| chain.flush_due(flush_interval));
        [more, flush].into_iter().flatten().min().max(self.retry_at)
    }

    /// Whether something that an earlier run may have handed out, or that is decided, is still to be repeated.
    fn repeats(&self) -> bool {
        let state = self.journal.state();
        self.chain.as_ref().is_some_and(|chain| {
            let next = chain.head().next_seq;
            next < state.reach.next_seq || state.lates.back().is_some_and(|late| late.seq >= next)
        })
    }

    /// Whether new decisions may be made: the chain is open and nothing is to be repeated.
    fn decides(&self) -> bool {
        self.stage == Stage::Open && self.journal.state().end.is_none() && !self.repeats()
    }

    /// Whether the last turn of reading ended because receipts must come first.
    pub const fn waits_for_receipts(&self) -> bool {
        matches!(self.turn, Turn::Blocked)
    }

    /// Whether receipts must come before more is read. What an earlier run handed out is repeated first, because before
    /// that nothing can be decided: up to twice as much, which only a line that is longer than all bounds goes beyond.
    fn is_blocked(&self, e: &Edges<'_>) -> bool {
        let times = if self.repeats() { 2 } else { 1 };
        let room = (times * MAX_UNRECEIPTED_SIDECAR).saturating_sub(e.others);
        self.unreceipted() >= room.min(times * MAX_UNRECEIPTED_CHAIN)
    }

    fn readable(&self, file: FileId) -> Readable {
        match self.held.get(&file) {
            None => Readable::Gone,
            Some(held) => match held.content.packed() {
                crate::files::Packed::Gzip => Readable::Unknown,
                crate::files::Packed::No => Readable::Bytes(held.content.stat().map_or(held.size, |stat| stat.size)),
            },
        }
    }

    fn cursor(&self) -> Option<Cursor> {
        let chain = self.chain.as_ref()?;
        Some(Cursor { head: chain.head(), place: self.place, lines: self.lines.state().clone() })
    }

    /// Writes down that the cursor moved. Not synced: a crash leaves an older one, from which the same records follow. But
    /// for the first of a chain that took over: without it a node that died begins that chain again, with other records.
    fn save_cursor(&mut self, e: &mut Edges<'_>) -> Result<(), JournalError> {
        let Some(cursor) = self.chain.as_mut().and_then(Chain::take_moved) else { return Ok(()) };
        failpoint("receipted");
        // Crash here: what was receipted is read, linked and sent again, and gets the receipts that it has.
        self.identify(cursor.place.file());
        let closed = cursor.place == Place::End;
        let sync = if is_unheard(self.journal.state()) { Sync::Yes } else { Sync::No };
        let entry = crate::journal::entry::Entry::Cursor(cursor.clone());
        if let Err(error) = self.journal.record(e.store, vec![entry], sync) {
            if let Some(chain) = &mut self.chain {
                chain.put_back(cursor);
            }
            return Err(error);
        }
        failpoint("saved");
        self.forget();
        if closed { self.closed(e) } else { Ok(()) }
    }
}

/// A duration in the unit of [`Time`].
pub fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
