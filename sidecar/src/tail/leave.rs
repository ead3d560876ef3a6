//! From one file to the next (format 1.1, rule 2), bytes that are given up, and the end of the chain.
//!
//! Each way out of a file is a decision, synced before anything rests on it: left at an offset, given up from one on,
//! or the end of the chain. What follows from it (bytes without a newline, open lines, the gap) is said in `pass`.

use indelible_chain::control::{Control, GapReason, ResumeReason};
use indelible_chain::id::Time;

use super::late::Watch;
use super::read::{InTurn, Step};
use super::{Edges, Ending, Tail, Turn, Unread, nanos};
use crate::decision::{End, FileEnd, GivenUp};
use crate::failpoint::failpoint;
use crate::files::{FileId, Packed, Place, Row};
use crate::incarnation::is_unheard;
use crate::journal::entry::Entry;
use crate::journal::{JournalError, Sync};
use crate::limits::READ_RETRY;
use crate::logdir::{Names, ReadError};
use crate::tail::begin::Stage;
use crate::tail::discover::Found;
use crate::tail::long::{Long, Taken};
use indelible_chain::record::MAX_RECORD_BYTES;

impl Tail {
    /// The file in turn has no more whole line; its content ends at `end`.
    pub(super) fn at_end(&mut self, e: &mut Edges<'_>, turn: InTurn, end: u64) -> Result<Step, JournalError> {
        self.file_end = Some(turn.at(end));
        let state = self.journal.state();
        let read_further = self.repeats() || state.table.is_behind(state.reach.place, Place::In(turn.at(end)));
        if turn.limit.is_some() || read_further {
            // The run before this one read further than there is now.
            return self.bytes_are_gone(e);
        }
        if self.is_cut(turn) {
            return self.start_over(e, turn);
        }
        if self.succeeded == Some(turn.file) {
            return self.leave(e, turn, end);
        }
        if self.successor(turn.file).is_none() {
            return Ok(Step::Wait);
        }
        // Before a later file is read, the directory is listed again until nothing new is found (rule 1).
        if self.discover(e) == Found::TooMuch {
            // The directory cannot be listed: the poll tries again.
            return Ok(Step::Wait);
        }
        if self.in_turn().is_none_or(|now| now.file != turn.file) {
            return Ok(Step::Moved);
        }
        // Seen to hold a byte only now: the file in turn is read to its end once more after this (rule 2).
        self.succeeded = self.successor(turn.file).map(|_| turn.file);
        Ok(if self.succeeded.is_some() { Step::Moved } else { Step::Wait })
    }

    /// The next file, of this or a later restart, that holds a byte.
    fn successor(&self, file: FileId) -> Option<FileId> {
        let table = &self.journal.state().table;
        let after = table.index(file)? + 1;
        table.rows()[after..].iter().find(|row| self.holds_a_byte(row)).map(|row| row.id)
    }

    fn holds_a_byte(&self, row: &Row) -> bool {
        match (self.held.get(&row.id), self.unopened.get(&row.id)) {
            (Some(held), _) => held.size > 0 || held.content.stat().is_ok_and(|stat| stat.size > 0),
            (None, Some(unopened)) => unopened.size > 0,
            // Given up while it was unread: it did hold some.
            (None, None) => row.mark.inode != 0 && matches!(row.end, Some(FileEnd::GivenUp(_))),
        }
    }

    /// Leaves the file in turn, and the empty ones behind it, for its successor.
    fn leave(&mut self, e: &mut Edges<'_>, turn: InTurn, end: u64) -> Result<Step, JournalError> {
        let mut table = self.journal.state().table.clone();
        let (Some(from), Some(successor)) = (table.index(turn.file), self.successor(turn.file)) else {
            self.succeeded = None;
            return Ok(Step::Moved);
        };
        let to = table.index(successor).expect("a successor is a row of the table");
        let mut left = Vec::new();
        for row in table.iter_mut().take(to).skip(from) {
            let offset = if row.id == turn.file { end } else { 0 };
            row.end.get_or_insert(FileEnd::Left { offset });
            left.push(row.id);
        }
        failpoint("leave");
        // A crash before this leaves the file in turn; one after it leaves it left at this offset, in every run.
        self.journal.record(e.store, vec![Entry::Files(table)], Sync::Yes)?;
        failpoint("left");
        for id in left {
            if let Some(held) = self.held.get_mut(&id) {
                held.left_at = Some(e.now);
            }
        }
        self.succeeded = None;
        Ok(Step::Moved)
    }

    /// Goes past the end of a file: all bytes up to it were taken.
    pub(super) fn pass(&mut self, e: &mut Edges<'_>, turn: InTurn) {
        let end = self.journal.state().table.get(turn.file).and_then(|row| row.end.clone());
        self.place = Place::After(turn.file);
        (self.long, self.succeeded, self.failing, self.file_end) = (None, None, None, None);
        if let Some(held) = self.held.get_mut(&turn.file) {
            held.content.rest();
        }
        if let Some(FileEnd::GivenUp(gap)) = end {
            self.interrupt(e);
            if let Some(mut linker) = self.linker(e) {
                linker.say(gap.time, &gap.control());
            }
            e.stats.gaps += 1;
            e.stats.gap_bytes += gap.bytes.unwrap_or(0);
            // The disk is what it was given up for.
            if self.held.get(&turn.file).is_some_and(|held| held.names == Names::None) {
                self.held.remove(&turn.file);
            }
        }
        // A restart's end does not wait for company.
        if self.in_turn().is_none_or(|next| next.restart != turn.restart) {
            self.seal(e);
        }
    }

    fn interrupt(&mut self, e: &mut Edges<'_>) {
        let mut lines = std::mem::take(&mut self.lines);
        if let Some(mut linker) = self.linker(e) {
            lines.interrupt(&mut linker);
        }
        self.lines = lines;
    }

    /// Bytes of the file in turn cannot be read from `offset` on.
    pub(super) fn cannot_read(
        &mut self,
        e: &mut Edges<'_>,
        turn: InTurn,
        offset: u64,
        error: Option<&ReadError>,
    ) -> Result<Step, JournalError> {
        if error.is_none_or(ReadError::may_pass) && e.ending == Ending::No {
            let since = match self.failing {
                Some((file, since)) if file == turn.file => since,
                _ => {
                    tracing::warn!(
                        container = self.container,
                        ?error,
                        "a log file cannot be read; it is tried for 10 s, then its bytes are given up"
                    );
                    e.now
                }
            };
            self.failing = Some((turn.file, since));
            if (0..nanos(READ_RETRY)).contains(&e.now.since(since)) {
                return Ok(Step::Wait);
            }
        }
        self.failing = None;
        if !self.decides()
            || turn.limit.is_some()
            || matches!(self.long, Some(Long { taken: Taken::Content { .. }, .. }))
        {
            return self.bytes_are_gone(e);
        }
        self.give_up(e, turn.file, offset, GapReason::Unreadable)?;
        Ok(Step::Moved)
    }

    /// Decides that a file's bytes from `offset` on are not read.
    fn give_up(&mut self, e: &mut Edges<'_>, file: FileId, offset: u64, reason: GapReason) -> Result<(), JournalError> {
        let mut table = self.journal.state().table.clone();
        let Some(row) = table.get_mut(file) else { return Ok(()) };
        let size = match (self.held.get(&file), self.unopened.get(&file)) {
            (Some(held), _) if held.content.packed() == Packed::No => held.content.stat().ok().map(|stat| stat.size),
            (None, Some(unopened)) => Some(unopened.size),
            _ => None,
        };
        let bytes = size.map(|size| size.saturating_sub(offset));
        let (file, time) = (row.base.clone(), e.now);
        tracing::warn!(
            container = self.container,
            file,
            ?bytes,
            reason = reason.word(),
            "bytes of a log file are given up: they are lost, and a gap says so"
        );
        row.end = Some(FileEnd::GivenUp(GivenUp { offset, bytes, reason, file, time }));
        // A crash before this gives nothing up; one after it gives up the same, at the same place.
        self.journal.record(e.store, vec![Entry::Files(table)], Sync::Yes)
    }

    /// Whether the file in turn is shorter than what was read of it.
    fn is_cut(&self, turn: InTurn) -> bool {
        self.held.get(&turn.file).is_some_and(|held| {
            held.content.packed() == Packed::No && held.content.stat().is_ok_and(|stat| stat.size < turn.offset)
        })
    }

    /// A file that was cut is over where reading is, with a gap of unknown size; what it holds now is another file.
    fn start_over(&mut self, e: &mut Edges<'_>, turn: InTurn) -> Result<Step, JournalError> {
        if !self.decides() {
            return self.bytes_are_gone(e);
        }
        self.held.remove(&turn.file);
        self.long = None;
        self.give_up(e, turn.file, turn.offset, GapReason::Unreadable)?;
        self.discover(e);
        Ok(Step::Moved)
    }

    /// What an earlier run, or this one, has read of the chain cannot be read any more: another chain takes over.
    pub(super) fn bytes_are_gone(&mut self, e: &mut Edges<'_>) -> Result<Step, JournalError> {
        self.replace(e, ResumeReason::FileGone)?;
        Ok(Step::Moved)
    }

    /// Everything was read and the sidecar terminates: late bytes, then the end.
    pub(super) fn finish(&mut self, e: &mut Edges<'_>) -> Result<(), JournalError> {
        if !self.decides() || is_unheard(self.journal.state()) {
            return Ok(());
        }
        let found = self.discover(e);
        if found == Found::TooMuch || self.crowded.lasts() {
            // The poll tries again, until the grace period is over: nothing is left unread behind an `end`.
            return Ok(());
        }
        if found == Found::New || self.in_turn().is_some_and(|turn| self.successor(turn.file).is_some()) {
            self.turn = Turn::More;
            return Ok(());
        }
        if self.watch_all(e, Watch::Last)? == Turn::Blocked {
            return Ok(());
        }
        let mut table = self.journal.state().table.clone();
        let from = table.reading(self.place).unwrap_or(usize::MAX);
        let at = self.file_end;
        for row in table.iter_mut().skip(from) {
            let offset = at.filter(|at| at.file == row.id).map_or(0, |at| at.offset);
            row.end.get_or_insert(FileEnd::Left { offset });
        }
        // A crash before this reads on in the next run; one after it repeats this end, which may have been sent.
        let end = End { time: e.now };
        self.journal.record(e.store, vec![Entry::Files(table), Entry::End(end)], Sync::Yes)?;
        self.turn = self.read(e)?;
        Ok(())
    }

    /// Says the end, if it is decided and all before it was said.
    pub(super) fn close(&mut self, e: &mut Edges<'_>) {
        let Some(End { time }) = self.journal.state().end.filter(|_| self.place != Place::End) else { return };
        self.interrupt(e);
        if let Some(mut linker) = self.linker(e) {
            linker.say(time, &Control::End);
        }
        self.place = Place::End;
        self.seal(e);
    }

    /// Whether the runtime writes to a file: it has the live name, if it has any.
    fn is_live(&self, row: &Row) -> bool {
        let has_name = self.held.get(&row.id).is_none_or(|held| held.names == Names::Some);
        has_name && self.journal.state().table.is_live(row)
    }

    /// Bytes of files that are no longer live, from the cursor on.
    pub fn held_bytes(&self) -> u64 {
        let state = self.journal.state();
        let from = match state.cursor.place {
            Place::End => return 0,
            place => state.table.reading(place).unwrap_or(usize::MAX),
        };
        let held = |row: &Row| match self.held.get(&row.id) {
            Some(held) if !self.is_live(row) && !matches!(row.end, Some(FileEnd::GivenUp(_))) => {
                match state.cursor.place {
                    Place::In(at) if at.file == row.id && held.content.packed() == Packed::No => {
                        held.size.saturating_sub(at.offset)
                    }
                    _ => held.size,
                }
            }
            _ => 0,
        };
        state.table.rows().iter().skip(from).map(held).sum()
    }

    /// Bytes of files that were not read and not given up; a packed file counts as long as it is on disk.
    pub fn unread_bytes(&self) -> u64 {
        let table = &self.journal.state().table;
        let unread = |row: &Row| {
            let size = match (self.held.get(&row.id), self.unopened.get(&row.id)) {
                _ if matches!(row.end, Some(FileEnd::GivenUp(_))) => 0,
                (Some(held), _) => held.content.stat().map_or(held.size, |stat| stat.size),
                (None, Some(unopened)) => unopened.size,
                (None, None) => 0,
            };
            match self.place {
                Place::In(at) if at.file == row.id => size.saturating_sub(at.offset),
                _ => size,
            }
        };
        table.rows().iter().skip(table.reading(self.place).unwrap_or(usize::MAX)).map(unread).sum()
    }

    /// The file that would be given up next, and from which offset on: the oldest one with unread bytes that nobody
    /// writes to any more. To a file that was renamed the runtime does until its successor holds a byte.
    fn oldest_unread(&self, unread: Unread) -> Option<(&Row, u64)> {
        if !self.decides() && self.stage != Stage::Suspended {
            return None;
        }
        let table = &self.journal.state().table;
        let from = table.reading(self.place)?;
        table.rows()[from..].iter().filter(|row| row.end.is_none() && !self.is_live(row)).find_map(|row| {
            let held = self.held.get(&row.id)?;
            match (held.names, unread) {
                (Names::Some, Unread::Removed) => return None,
                (Names::Some, Unread::Any) if self.successor(row.id).is_none() => return None,
                (Names::Some, Unread::Any) | (Names::None, _) => {}
            }
            let offset = match self.place {
                Place::In(at) if at.file == row.id => at.offset,
                _ => 0,
            };
            let offset = match self.long.filter(|long| long.file == row.id).map(|long| long.taken) {
                // The line is well-formed and partly said: it is read to its end.
                Some(Taken::Content { end, .. }) => end + 1,
                // Its last piece is still to be said.
                Some(Taken::Malformed { from }) if from > offset => from + MAX_RECORD_BYTES as u64,
                Some(Taken::Malformed { .. } | Taken::Scanning { .. }) | None => offset,
            };
            (held.content.packed() == Packed::Gzip || held.size > offset).then_some((row, offset))
        })
    }

    /// When the file that would be given up next began.
    pub fn oldest_unread_time(&self, unread: Unread) -> Option<Time> {
        self.oldest_unread(unread).map(|(row, _)| row.first_time.unwrap_or_default())
    }

    /// Gives up the oldest file that is unread and no longer live.
    pub fn give_up_oldest(&mut self, e: &mut Edges<'_>, unread: Unread) -> Result<(), JournalError> {
        let oldest = self.oldest_unread(unread).map(|(row, offset)| (row.id, offset));
        let Some((file, offset)) = oldest else { return Ok(()) };
        self.give_up(e, file, offset, GapReason::HeldBytesExceeded)?;
        let ahead = self.in_turn().is_some_and(|turn| turn.file != file) || self.stage == Stage::Suspended;
        if ahead && offset == 0 && self.held.get(&file).is_some_and(|held| held.names == Names::None) {
            self.held.remove(&file);
        }
        Ok(())
    }
}
