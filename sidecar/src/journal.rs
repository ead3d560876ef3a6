//! The state of one container's chain: cursor and decisions, appended, synced, compacted by rename.
//!
//! ```text
//! <state>/pod                        whose state this is; another pod's is refused
//! <state>/LOCK                       flock: one sidecar on a state directory
//! <state>/<container>.journal        frames: u32 length | u32 crc32c | entry; the first entry is an origin
//! <state>/<container>.journal.bad    a journal that could not be read, the newest one
//! <state>/<container>.asked          session ids: who asked collectors for the chain before there was a journal
//! ```
//!
//! Invariant: what is in memory is the fold of the entries in the file ([`State::apply`] is the only way to change it,
//! live and at load). Decisions are synced before they count; a cursor or a reach is not: a process that dies leaves
//! its page cache behind, and a node that dies comes back with another boot id, by which the chain is replaced. The one
//! that is synced is the first cursor of a chain that took over: before it, such a chain is not replaced but begun again.

pub mod dir;
pub mod entry;
#[cfg(test)]
pub(crate) mod memory;

use std::collections::VecDeque;

use indelible_chain::id::{Head, Seq, SessionId};

use crate::decision::{End, Late, Origin};
use crate::files::{Place, Table};
use crate::journal::entry::Entry;
use crate::limits::{JOURNAL_GROWTH, MAX_ASKED, MAX_JOURNAL_ENTRY};
use crate::lines;
use crate::metrics::spread::Spread;

/// The end of the longest receipted prefix, or something older: where a new run reads on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// The chain's head there.
    pub head: Head,
    /// How far reading had come.
    pub place: Place,
    /// What the bytes before mean for those that follow.
    pub lines: lines::State,
}

/// How far records may have been handed out. Up to here a new run repeats the old one and decides nothing itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reach {
    /// The position after the last such record.
    pub next_seq: Seq,
    /// How far reading had come: bytes before it must still be there.
    pub place: Place,
}

/// Everything that outlives a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Where the chain comes from.
    pub origin: Origin,
    /// The container's files.
    pub table: Table,
    /// Where a new run reads on.
    pub cursor: Cursor,
    /// Up to where it decides nothing.
    pub reach: Reach,
    /// LATE records from the cursor on, in the order of their positions.
    pub lates: VecDeque<Late>,
    /// The chain ends.
    pub end: Option<End>,
}

impl State {
    /// A chain without records. Fails only if the genesis cannot be encoded.
    pub fn new(origin: Origin) -> Result<Self, indelible_chain::bytes::DecodeError> {
        let head = Head::start_of(origin.genesis.chain_id()?);
        let cursor = Cursor { head, place: Place::Start, lines: lines::State::default() };
        let reach = Reach { next_seq: Seq::ZERO, place: Place::Start };
        Ok(Self { origin, table: Table::default(), cursor, reach, lates: VecDeque::new(), end: None })
    }

    /// What an entry means. An origin begins anew.
    pub fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Origin(origin) => match Self::new(origin) {
                Ok(state) => *self = state,
                Err(_) => unreachable!("a decoded genesis can be encoded"),
            },
            Entry::Files(table) => self.table = table,
            Entry::Cursor(cursor) => self.move_cursor(cursor),
            Entry::Reach(reach) => self.extend_reach(reach),
            Entry::Late(late) => {
                self.extend_reach(Reach { next_seq: late.seq.plus(1), place: late.place });
                self.lates.push_back(late);
            }
            Entry::End(end) => self.end = Some(end),
        }
    }

    fn extend_reach(&mut self, reach: Reach) {
        if reach.next_seq >= self.reach.next_seq {
            self.reach = reach;
        }
    }

    fn move_cursor(&mut self, cursor: Cursor) {
        while let Some(late) = self.lates.pop_front_if(|late| late.seq < cursor.head.next_seq) {
            if let Some(row) = self.table.get_mut(late.file) {
                row.late_receipted = row.late_receipted.max(late.to);
            }
        }
        self.cursor = cursor;
    }

    /// The entries that make this state.
    fn entries(&self) -> Vec<Entry> {
        let Self { origin, table, cursor, reach, lates, end } = self;
        let mut entries = vec![
            Entry::Origin(origin.clone()),
            Entry::Files(table.clone()),
            Entry::Cursor(cursor.clone()),
            Entry::Reach(*reach),
        ];
        entries.extend(lates.iter().cloned().map(Entry::Late));
        entries.extend(end.map(Entry::End));
        entries
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in self.entries() {
            entry.encode_into(&mut out);
        }
        out
    }

    /// Whether what refers to each other is there: a state that says so was not written by us.
    fn is_sound(&self) -> bool {
        let known = |place: Place| place.file().is_none_or(|file| self.table.index(file).is_some());
        let opened = |state: &lines::State| {
            state.open.iter().flatten().all(|line| line.bytes.len() <= indelible_chain::record::MAX_RECORD_BYTES)
        };
        let ordered = |seqs: &[Seq]| seqs.windows(2).all(|pair| pair[0] < pair[1]);
        known(self.cursor.place)
            && self.lates.iter().all(|late| known(late.place))
            && known(self.reach.place)
            && opened(&self.cursor.lines)
            && ordered(&self.lates.iter().map(|late| late.seq).collect::<Vec<_>>())
            && self.table.rows().is_sorted_by_key(|row| row.restart)
    }
}

/// How a journal was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Loaded {
    /// All of it could be read, but for an entry at its end that was never written in full: nothing rests on that one.
    Sound(Box<State>),
    /// It begins well but is damaged further on: decisions may be lost, so its chain cannot go on.
    Damaged(Box<State>),
    /// Nothing of it can be read.
    Lost,
}

/// Reads a journal.
pub fn load(bytes: &[u8]) -> Loaded {
    let mut state: Option<State> = None;
    let mut rest = bytes;
    while !rest.is_empty() {
        let next = match Entry::decode(rest) {
            // A write that was cut off by the death of the process: it never returned, so nothing was sent that
            // depends on it.
            Err(entry::EntryError::Truncated) if state.is_some() => break,
            Err(_) => return state.map_or(Loaded::Lost, |state| Loaded::Damaged(Box::new(state))),
            Ok(next) => next,
        };
        let (decoded, len) = next;
        rest = &rest[len..];
        match (&mut state, decoded) {
            (Some(state), decoded) => state.apply(decoded),
            (none, Entry::Origin(origin)) => match State::new(origin) {
                Ok(new) => *none = Some(new),
                Err(_) => return Loaded::Lost,
            },
            (None, _) => return Loaded::Lost,
        }
    }
    match state {
        Some(state) if state.is_sound() => Loaded::Sound(Box::new(state)),
        Some(_) | None => Loaded::Lost,
    }
}

/// Whether an append is durable before it returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sync {
    /// It survives the node.
    Yes,
    /// It survives the process.
    No,
}

/// Where journals are kept. Second implementation: the in-memory twin of the tests, which fails and forgets on command.
pub trait Store: std::fmt::Debug {
    /// Names of the containers that have a journal.
    fn containers(&mut self) -> std::io::Result<Vec<String>>;
    /// The journal's bytes, if there is one.
    fn load(&mut self, container: &str) -> std::io::Result<Option<Vec<u8>>>;
    /// Adds bytes at the end. After an error nothing is known about the end of the file: only `replace` mends it.
    fn append(&mut self, container: &str, bytes: &[u8], sync: Sync) -> std::io::Result<()>;
    /// Puts `bytes` in the journal's place, durably and at once: after a crash it is either the old one or the new one.
    fn replace(&mut self, container: &str, bytes: &[u8]) -> std::io::Result<()>;
    /// Who asked for the chain of a container that has no journal yet, as [`ask`](Self::ask) noted it.
    fn asked(&mut self, container: &str) -> std::io::Result<Vec<SessionId>>;
    /// Notes durably who asks, in place of what was noted; the container's first journal makes it void.
    fn ask(&mut self, container: &str, sessions: &[SessionId]) -> std::io::Result<()>;
    /// Keeps a copy of a journal that cannot be read; it stays in its place until another takes it.
    fn set_aside(&mut self, container: &str) -> std::io::Result<()>;
    /// How long what was made durable took; nothing where nobody measures it.
    fn syncs(&self) -> Spread {
        Spread::default()
    }
}

/// Why something could not be written down; nothing that depends on it may be done.
#[derive(Debug, thiserror::Error)]
#[error("state of container {container} cannot be written: {source}; free space or mend the state directory")]
pub struct JournalError {
    /// The container.
    pub container: String,
    /// What the system says.
    pub source: std::io::Error,
}

/// One container's journal.
#[derive(Debug)]
pub struct Journal {
    container: String,
    state: State,
    file: File,
    /// The table was changed since it was written: it goes before the next entry.
    stale: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    /// Only in memory: the first decision about the chain is still to be made.
    Draft,
    /// The fold of the file is the state. It has this many bytes, and had that many when it was last written anew.
    Good { size: u64, compacted: u64 },
    /// A write failed: it is written anew before anything else.
    Broken,
}

impl Journal {
    /// A journal that is not on disk before [`begin`](Self::begin).
    pub fn draft(container: String, state: State) -> Self {
        Self { container, state, file: File::Draft, stale: false }
    }

    /// A journal that [`load`] found; it is written anew before the first entry, so that nothing follows a torn one.
    pub fn found(container: String, state: State) -> Self {
        Self { container, state, file: File::Broken, stale: false }
    }

    /// What is written down.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The table of files, to change what is no decision; written down with the next entry.
    pub fn table_mut(&mut self) -> &mut Table {
        self.stale = true;
        &mut self.state.table
    }

    /// Writes down that this session asks for the chain, and says which ones have asked before it.
    pub fn ask(&mut self, store: &mut dyn Store, session: SessionId) -> Result<Vec<SessionId>, JournalError> {
        let failed = |source| JournalError { container: self.container.clone(), source };
        let asked = store.asked(&self.container).map_err(failed)?;
        let newest = &asked[asked.len().saturating_sub(MAX_ASKED - 1)..];
        store.ask(&self.container, &[newest, &[session]].concat()).map_err(failed)?;
        Ok(asked)
    }

    /// Puts a new state on disk in the place of whatever was there.
    pub fn begin(&mut self, store: &mut dyn Store, state: State) -> Result<(), JournalError> {
        self.write_anew(store, &state)?;
        self.state = state;
        self.stale = false;
        Ok(())
    }

    /// Writes entries down; on success they are part of the state. A draft takes them without writing.
    pub fn record(&mut self, store: &mut dyn Store, entries: Vec<Entry>, sync: Sync) -> Result<(), JournalError> {
        match self.file {
            File::Draft => {}
            File::Broken => {
                let mut state = self.state.clone();
                for entry in entries.iter().cloned() {
                    state.apply(entry);
                }
                return self.begin(store, state);
            }
            File::Good { size, compacted } => {
                let mut bytes = Vec::new();
                if self.stale && !matches!(entries.first(), Some(Entry::Files(_))) {
                    Entry::Files(self.state.table.clone()).encode_into(&mut bytes);
                }
                for entry in &entries {
                    entry.encode_into(&mut bytes);
                }
                // A crash in here leaves a part of the entries, the last one perhaps torn: `load` cuts it off, and
                // nothing was sent that depends on them.
                if let Err(source) = store.append(&self.container, &bytes, sync) {
                    self.file = File::Broken;
                    return Err(JournalError { container: self.container.clone(), source });
                }
                self.file = File::Good { size: size + bytes.len() as u64, compacted };
            }
        }
        self.stale &= self.file == File::Draft;
        for entry in entries {
            self.state.apply(entry);
        }
        Ok(())
    }

    /// Writes down what has changed in the table, and the journal anew if it was broken or has grown. A crash in here leaves the old one or the new one.
    pub fn tidy(&mut self, store: &mut dyn Store) -> Result<(), JournalError> {
        let due = match self.file {
            File::Draft => false,
            File::Broken => true,
            File::Good { size, compacted } => size > JOURNAL_GROWTH + 2 * compacted,
        };
        if due {
            let state = self.state.clone();
            self.write_anew(store, &state)?;
            self.stale = false;
        } else if self.stale {
            self.record(store, Vec::new(), Sync::No)?;
        }
        Ok(())
    }

    fn write_anew(&mut self, store: &mut dyn Store, state: &State) -> Result<(), JournalError> {
        let bytes = state.encode();
        debug_assert!(bytes.len() < 64 * MAX_JOURNAL_ENTRY, "a state is bounded by its limits");
        match store.replace(&self.container, &bytes) {
            Ok(()) => {
                self.file = File::Good { size: bytes.len() as u64, compacted: bytes.len() as u64 };
                Ok(())
            }
            Err(source) => {
                // The old file may or may not be there: it is the old state or the new one, and is written again.
                self.file = File::Broken;
                Err(JournalError { container: self.container.clone(), source })
            }
        }
    }
}
