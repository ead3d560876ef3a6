//! Takes lines from the file whose turn it is.
//!
//! One pass of the loop reads a window, hands its whole lines to [`crate::lines`], and moves the reading place to the
//! start of the first raw line that is not there in full; that is read again when there is more of it.

use memchr::memchr_iter;

use super::chain::Linker;
use super::{Edges, Long, Tail, Turn};
use crate::files::{FileId, Place, Position};
use crate::journal::JournalError;
use crate::limits::READ_PER_CALL;
use crate::logdir::ReadError;

/// What one pass of the reading loop did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// It took this many bytes.
    Took(u64),
    /// It went on without taking any.
    Moved,
    /// There is nothing to do now.
    Wait,
}

/// The file whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct InTurn {
    pub(super) file: FileId,
    pub(super) restart: u32,
    /// Where its first raw line that was not taken begins.
    pub(super) offset: u64,
    /// Where reading of it ends, if that is decided.
    pub(super) limit: Option<u64>,
}

impl InTurn {
    pub(super) const fn at(&self, offset: u64) -> Position {
        Position { file: self.file, offset }
    }

    /// How many of `len` bytes may be read at `offset`.
    pub(super) fn clip(&self, offset: u64, len: usize) -> usize {
        match self.limit {
            None => len,
            Some(limit) => usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX).min(len),
        }
    }
}

impl Tail {
    pub(super) fn linker<'a>(&'a mut self, e: &'a mut Edges<'_>) -> Option<Linker<'a>> {
        let (chain, lates) = (self.chain.as_mut()?, &self.journal.state().lates);
        Some(Linker { chain, lates, sealer: e.sealer, stats: e.stats, now: e.now })
    }

    /// Reads until there is nothing more, receipts are awaited, or the turn is over.
    pub(super) fn read(&mut self, e: &mut Edges<'_>) -> Result<Turn, JournalError> {
        let mut took = 0;
        loop {
            if let Some(mut linker) = self.linker(e) {
                linker.decided();
            }
            let Some(turn) = self.in_turn() else {
                if self.journal.state().end.is_none() && self.repeats() {
                    self.bytes_are_gone(e)?;
                    return Ok(Turn::More);
                }
                self.close(e);
                return Ok(Turn::Idle);
            };
            if turn.limit.is_some_and(|limit| turn.offset >= limit) {
                self.pass(e, turn);
                continue;
            }
            if self.is_blocked(e) {
                return Ok(Turn::Blocked);
            }
            match self.step(e, turn)? {
                Step::Took(n) => took += n,
                Step::Moved => {}
                Step::Wait => return Ok(Turn::Idle),
            }
            if took >= READ_PER_CALL {
                return Ok(Turn::More);
            }
        }
    }

    /// The file whose turn it is. Once the end is decided, only files that were ended with it have a turn.
    pub(super) fn in_turn(&self) -> Option<InTurn> {
        let state = self.journal.state();
        let row = &state.table.rows()[state.table.reading(self.place)?];
        let offset = match self.place {
            Place::In(Position { file, offset }) if file == row.id => offset,
            _ => 0,
        };
        let limit = row.end.as_ref().map(crate::decision::FileEnd::offset);
        (limit.is_some() || state.end.is_none()).then_some(InTurn { file: row.id, restart: row.restart, offset, limit })
    }

    fn step(&mut self, e: &mut Edges<'_>, turn: InTurn) -> Result<Step, JournalError> {
        match self.long {
            Some(long) if long.file == turn.file => return self.step_long(e, turn, long.taken),
            // A file was found that comes first: the long line is scanned anew when its turn comes again.
            Some(_) | None => self.long = None,
        }
        let want = turn.clip(turn.offset, e.window.len());
        let n = match self.read_file(e, turn, turn.offset, want)? {
            Ok(n) => n,
            Err(step) => return Ok(step),
        };
        let taken = self.take_lines(e, turn, n);
        if taken > 0 {
            return Ok(Step::Took(taken));
        }
        if turn.limit == Some(turn.offset + n as u64) {
            // Bytes after the last newline of a file that was left or given up (rule 6).
            self.take_rest(e, turn, n);
            return Ok(Step::Took(n as u64));
        }
        if n == e.window.len() {
            self.long = Some(Long::begin(turn, e.window));
            return Ok(Step::Moved);
        }
        self.at_end(e, turn, turn.offset + n as u64)
    }

    /// Reads into the window. `Err`: what that means for the loop, if it cannot be read.
    pub(super) fn read_file(
        &mut self,
        e: &mut Edges<'_>,
        turn: InTurn,
        offset: u64,
        want: usize,
    ) -> Result<Result<usize, Step>, JournalError> {
        let Some(held) = self.held.get_mut(&turn.file) else {
            return self.cannot_read(e, turn, offset, None).map(Err);
        };
        match held.content.read_at(offset, &mut e.window[..want]) {
            Ok(n) => {
                // Where it cannot be read any further looks like its end: ask behind it.
                if n < want {
                    let end = offset + n as u64;
                    if let Err(error) = held.content.read_at(end, &mut [0]) {
                        return self.cannot_read(e, turn, end, Some(&error)).map(Err);
                    }
                }
                self.failing = None;
                Ok(Ok(n))
            }
            Err(error) => self.cannot_read(e, turn, offset, Some(&error)).map(Err),
        }
    }

    /// Takes the whole lines of the window's first `n` bytes; returns how many bytes they have.
    fn take_lines(&mut self, e: &mut Edges<'_>, turn: InTurn, n: usize) -> u64 {
        let window = std::mem::take(&mut e.window);
        let mut done = 0;
        for newline in memchr_iter(b'\n', &window[..n]) {
            let at = turn.at(turn.offset + done as u64);
            let more = newline - done + self.lines.state().open_bytes();
            if self.chain.as_ref().is_some_and(|chain| chain.is_full(e.sealer, more)) {
                self.seal(e);
            }
            let Some(chain) = &mut self.chain else { break };
            let lates = &self.journal.state().lates;
            let mut linker = Linker { chain, lates, sealer: e.sealer, stats: e.stats, now: e.now };
            self.lines.line(turn.restart, at, &window[done..newline], &mut linker);
            done = newline + 1;
            self.place = Place::In(turn.at(turn.offset + done as u64));
        }
        e.window = window;
        done as u64
    }

    fn take_rest(&mut self, e: &mut Edges<'_>, turn: InTurn, n: usize) {
        let Some(chain) = &mut self.chain else { return };
        let lates = &self.journal.state().lates;
        let mut linker = Linker { chain, lates, sealer: e.sealer, stats: e.stats, now: e.now };
        if n > 0 {
            self.lines.malformed_line(turn.restart, &e.window[..n], &mut linker);
        }
        self.place = Place::In(turn.at(turn.offset + n as u64));
    }
}

impl ReadError {
    /// Whether trying again may help.
    pub(super) const fn may_pass(&self) -> bool {
        matches!(self, Self::Io(_))
    }
}
