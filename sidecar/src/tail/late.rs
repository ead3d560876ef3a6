//! Watches files that were left: bytes that appear behind the offset at which a file was left are LATE records.
//!
//! Each is a decision with its position and payload, synced before it is linked. A file is watched until it has no
//! name, at least 10 s; then what is no whole line is said too, and the file is closed.

use std::collections::BTreeSet;

use indelible_chain::id::{Seq, Time};
use indelible_chain::record::{Flags, Record};
use memchr::memchr;

use super::{Edges, Tail, Turn, nanos};
use crate::decision::{FileEnd, Late};
use crate::files::{FileId, Packed, Place, Row};
use crate::incarnation::is_unheard;
use crate::journal::entry::Entry;
use crate::journal::{JournalError, Sync};
use crate::limits::{MAX_LATE_LINE, WATCH};
use crate::lines::{Sink, late_line, late_rest};
use crate::logdir::Names;

/// Whether files are looked at for the last time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Watch {
    /// Only those whose time is over.
    On,
    /// All: the chain ends.
    Last,
}

/// Collects records as decisions.
struct Decisions {
    lates: Vec<Late>,
    file: FileId,
    next: Seq,
    place: Place,
    /// Where the line begins and where it ends.
    line: (u64, u64),
}

impl Sink for Decisions {
    fn push(&mut self, record: &Record<'_>) {
        let Record { time, source, flags, payload } = *record;
        let to = if flags.contains(Flags::CONTINUES) { self.line.0 } else { self.line.1 };
        let Self { next: seq, file, place, .. } = *self;
        self.lates.push(Late { seq, file, to, place, time, source, flags, payload: payload.into() });
        self.next = self.next.plus(1);
    }
}

impl Tail {
    /// Takes late bytes, if decisions may be made now.
    pub(super) fn watch(&mut self, e: &mut Edges<'_>) -> Result<(), JournalError> {
        self.watch_all(e, Watch::On).map(drop)
    }

    pub(super) fn watch_all(&mut self, e: &mut Edges<'_>, watch: Watch) -> Result<Turn, JournalError> {
        let table = &self.journal.state().table;
        let passed = table.reading(self.place).unwrap_or(table.rows().len());
        let is_watched = |row: &&Row| matches!(row.end, Some(FileEnd::Left { .. })) && !row.watched;
        let watched: Vec<FileId> = table.rows()[..passed].iter().filter(is_watched).map(|row| row.id).collect();
        for file in watched {
            while self.decides() && !is_unheard(self.journal.state()) {
                if self.is_blocked(e) {
                    return Ok(Turn::Blocked);
                }
                if self.watch_file(e, file, watch)? == Turn::Idle {
                    break;
                }
            }
        }
        Ok(Turn::Idle)
    }

    /// How far a file that was left is said.
    fn late_from(&self, row: &Row) -> u64 {
        let lates = self.journal.state().lates.iter().filter(|late| late.file == row.id).map(|late| late.to);
        let left = row.end.as_ref().map_or(0, FileEnd::offset);
        lates.max().unwrap_or(0).max(row.late_receipted).max(left)
    }

    fn watch_file(&mut self, e: &mut Edges<'_>, file: FileId, watch: Watch) -> Result<Turn, JournalError> {
        let (Some(row), Some(chain)) = (self.journal.state().table.get(file), &self.chain) else {
            return Ok(Turn::Idle);
        };
        let (from, next, place) = (self.late_from(row), chain.head().next_seq, self.reached());
        let Some(held) = self.held.get_mut(&file) else { return self.end_watch(e, file, Vec::new()) };
        let Ok(stat) = held.content.stat() else { return Ok(Turn::Idle) };
        (held.size, held.names) = (stat.size, stat.names);
        let left_at = *held.left_at.get_or_insert(e.now);
        let packed = held.content.packed();
        // What is packed does not grow: its watch is over when it was read to its end.
        let over = watch == Watch::Last
            || packed == Packed::Gzip
            || stat.names == Names::None && e.now.since(left_at) >= nanos(WATCH);
        if stat.size <= from && packed == Packed::No {
            return if over { self.end_watch(e, file, Vec::new()) } else { Ok(Turn::Idle) };
        }
        let n = match held.content.read_at(from, e.window) {
            Ok(n) => n,
            Err(error) if error.may_pass() && !over => return Ok(Turn::Idle),
            Err(_) => return self.end_watch(e, file, Vec::new()),
        };
        let mut decisions = Decisions { lates: Vec::new(), file, next, place, line: (from, from) };
        let last = self.lines.state().time();
        let whole = take_lines(&e.window[..n], last, &mut decisions);
        if !decisions.lates.is_empty() {
            return self.decide_late(e, decisions.lates).map(|()| Turn::More);
        }
        debug_assert_eq!(whole, 0);
        if n == e.window.len() {
            let line = held.read_long(from, MAX_LATE_LINE);
            match memchr(b'\n', &line) {
                Some(newline) => {
                    decisions.line = (from, from + newline as u64 + 1);
                    late_line(&line[..newline], last, &mut decisions);
                    return self.decide_late(e, decisions.lates).map(|()| Turn::More);
                }
                // BUG: a late line of over 1 MiB is cut there whatever it is; no runtime writes one.
                None if line.len() == MAX_LATE_LINE => {
                    decisions.line = (from, from + line.len() as u64);
                    late_rest(&line, last, &mut decisions);
                    return self.decide_late(e, decisions.lates).map(|()| Turn::More);
                }
                None if !over => return Ok(Turn::Idle),
                None => {
                    decisions.line = (from, from + line.len() as u64);
                    late_rest(&line, last, &mut decisions);
                    return self.end_watch(e, file, decisions.lates);
                }
            }
        }
        if !over {
            return Ok(Turn::Idle);
        }
        if n > 0 {
            decisions.line = (from, from + n as u64);
            late_rest(&e.window[..n], last, &mut decisions);
        }
        self.end_watch(e, file, decisions.lates)
    }

    fn decide_late(&mut self, e: &mut Edges<'_>, lates: Vec<Late>) -> Result<(), JournalError> {
        let entries = lates.into_iter().map(Entry::Late).collect();
        // A crash before this finds the bytes again, one inside it those that are not written; one after it says the
        // same records at the same positions.
        self.journal.record(e.store, entries, Sync::Yes)?;
        self.say_decided(e);
        Ok(())
    }

    fn end_watch(&mut self, e: &mut Edges<'_>, file: FileId, lates: Vec<Late>) -> Result<Turn, JournalError> {
        let mut table = self.journal.state().table.clone();
        if let Some(row) = table.get_mut(file) {
            row.watched = true;
        }
        // In this order, so that a crash inside it does not end the watch without its last record.
        let mut entries: Vec<Entry> = lates.into_iter().map(Entry::Late).collect();
        entries.push(Entry::Files(table));
        self.journal.record(e.store, entries, Sync::Yes)?;
        self.say_decided(e);
        self.forget();
        Ok(Turn::Idle)
    }

    fn say_decided(&mut self, e: &mut Edges<'_>) {
        if let Some(mut linker) = self.linker(e) {
            linker.decided();
        }
    }

    /// Closes files that nothing more is expected of, and forgets those that have no name either.
    pub(super) fn forget(&mut self) {
        let state = self.journal.state();
        let passed = state.table.reading(state.cursor.place).unwrap_or(match state.cursor.place {
            crate::files::Place::Start => 0,
            _ => state.table.rows().len(),
        });
        let mut gone = BTreeSet::new();
        for row in &state.table.rows()[..passed] {
            let over = match &row.end {
                Some(FileEnd::Left { .. }) => row.watched,
                Some(FileEnd::GivenUp(_)) => true,
                None => false,
            };
            if !over {
                continue;
            }
            if let Some(held) = self.held.get(&row.id) {
                match (held.names, held.content.packed()) {
                    (Names::Some, Packed::No) => continue,
                    (Names::Some, Packed::Gzip) => {
                        self.aliases.insert((format!("{}.gz", row.base), held.inode), row.id);
                    }
                    (Names::None, _) => {}
                }
                self.held.remove(&row.id);
            }
            let late = state.lates.iter().any(|late| late.file == row.id);
            let is_place = state.cursor.place.file() == Some(row.id) || self.place.file() == Some(row.id);
            let is_open = state.cursor.lines.open_positions().any(|at| at.file == row.id);
            if !late
                && !is_place
                && !is_open
                && state.reach.place.file() != Some(row.id)
                && !self.named.contains(&row.id)
            {
                gone.insert(row.id);
            }
        }
        if !gone.is_empty() {
            self.journal.table_mut().retain(|row| !gone.contains(&row.id));
            self.aliases.retain(|_, id| !gone.contains(id));
            self.unopened.retain(|id, _| !gone.contains(id));
        }
    }
}

impl super::Held {
    /// Up to `limit` bytes from `offset` on. Late lines that do not fit the window are rare: nothing is kept for them.
    fn read_long(&mut self, offset: u64, limit: usize) -> Vec<u8> {
        let mut bytes = vec![0; limit];
        let n = self.content.read_at(offset, &mut bytes).unwrap_or(0);
        bytes.truncate(n);
        bytes
    }
}

/// Whole lines of `window` as LATE records; `decisions.line` is moved behind the last one.
fn take_lines(window: &[u8], last: Time, decisions: &mut Decisions) -> usize {
    let (begin, mut done) = (decisions.line.0, 0);
    while let Some(len) = memchr(b'\n', &window[done..]) {
        let end = done + len + 1;
        decisions.line = (begin + done as u64, begin + end as u64);
        late_line(&window[done..end - 1], last, decisions);
        done = end;
    }
    done
}
