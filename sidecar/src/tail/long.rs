//! Raw lines that are longer than the read window, in bounded memory.
//!
//! A malformed one is cut piece by piece as its pieces complete. A well-formed beginning cannot become a record before
//! its newline was seen (without one the whole is malformed when the file is left), so it is scanned for the newline
//! without being kept, and then its content is read again in pieces.
//!
//! Inside a long line the reading place stays at its start: batches that are sealed meanwhile carry no cursor.

use indelible_chain::record::MAX_RECORD_BYTES;
use memchr::{memchr, memchr2};

use super::chain::Linker;
use super::read::{InTurn, Step};
use super::{Edges, Tail};
use crate::cri::{Header, Scan, scan};
use crate::files::{FileId, Place, Position};
use crate::journal::JournalError;
use crate::lines::Piece;

/// A long raw line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Long {
    /// The file that it is in.
    pub(super) file: FileId,
    /// How far it was taken.
    pub(super) taken: Taken,
}

/// How far a long raw line was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    /// Well-formed so far, without a newline before `scanned`.
    Scanning {
        /// Its header.
        header: Header,
        /// Where its content begins, if its tags are over.
        content: Option<u64>,
        /// How far there is no newline.
        scanned: u64,
    },
    /// Well-formed, its newline at `end`; its content before `from` was taken.
    Content {
        /// Its header.
        header: Header,
        /// How far it was taken.
        from: u64,
        /// Where its newline is.
        end: u64,
    },
    /// Malformed; taken before `from`, in whole pieces.
    Malformed {
        /// How far it was taken.
        from: u64,
    },
}

impl Long {
    /// Judges a line by the first window of it, which holds no newline.
    pub(super) fn begin(turn: InTurn, window: &[u8]) -> Self {
        let scanned = turn.offset + window.len() as u64;
        let taken = match scan(window) {
            Scan::Line { header, content } => {
                Taken::Scanning { header, content: Some(turn.offset + content as u64), scanned }
            }
            Scan::Tags(header) => Taken::Scanning { header, content: None, scanned },
            Scan::Malformed => Taken::Malformed { from: turn.offset },
        };
        Self { file: turn.file, taken }
    }

    /// Up to where it may be in records.
    fn said(self) -> Option<Position> {
        match self.taken {
            Taken::Scanning { .. } => None,
            Taken::Content { from, .. } | Taken::Malformed { from } => Some(Position { file: self.file, offset: from }),
        }
    }
}

impl Tail {
    /// How far reading has come, inside a long line too.
    pub(super) fn reached(&self) -> Place {
        self.long.and_then(Long::said).map_or(self.place, Place::In)
    }

    pub(super) fn step_long(&mut self, e: &mut Edges<'_>, turn: InTurn, taken: Taken) -> Result<Step, JournalError> {
        match taken {
            Taken::Scanning { header, content, scanned } => self.step_scanning(e, turn, (header, content), scanned),
            Taken::Content { header, from, end } => self.step_content(e, turn, header, from..end),
            Taken::Malformed { from } => self.step_malformed(e, turn, from),
        }
    }

    fn step_scanning(
        &mut self,
        e: &mut Edges<'_>,
        turn: InTurn,
        (header, mut content): (Header, Option<u64>),
        scanned: u64,
    ) -> Result<Step, JournalError> {
        let want = turn.clip(scanned, e.window.len());
        let n = if want == 0 {
            0
        } else {
            match self.read_file(e, turn, scanned, want)? {
                Ok(n) => n,
                Err(step) => return Ok(step),
            }
        };
        let window = &e.window[..n];
        if content.is_none() {
            content = match memchr2(b' ', b'\n', window) {
                Some(at) if window[at] == b' ' => Some(scanned + at as u64 + 1),
                _ => None,
            };
        }
        let taken = match (memchr(b'\n', window), content) {
            (Some(newline), Some(from)) => {
                let Some(chain) = &mut self.chain else { return Ok(Step::Wait) };
                let lates = &self.journal.state().lates;
                let mut linker = Linker { chain, lates, sealer: e.sealer, stats: e.stats, now: e.now };
                self.lines.begin(turn.restart, turn.at(turn.offset), header, &mut linker);
                Taken::Content { header, from, end: scanned + newline as u64 }
            }
            // The line ended inside its tags, or the file was left inside the line.
            (Some(_), None) => Taken::Malformed { from: turn.offset },
            (None, _) if turn.limit == Some(scanned + n as u64) => Taken::Malformed { from: turn.offset },
            (None, _) if n < want => {
                let taken = Taken::Scanning { header, content, scanned: scanned + n as u64 };
                self.long = Some(Long { file: turn.file, taken });
                return self.at_end(e, turn, scanned + n as u64);
            }
            (None, _) => Taken::Scanning { header, content, scanned: scanned + n as u64 },
        };
        self.long = Some(Long { file: turn.file, taken });
        Ok(Step::Took(n as u64))
    }

    fn step_content(
        &mut self,
        e: &mut Edges<'_>,
        turn: InTurn,
        header: Header,
        std::ops::Range { start: from, end }: std::ops::Range<u64>,
    ) -> Result<Step, JournalError> {
        let want = usize::try_from(end - from).unwrap_or(usize::MAX).min(e.window.len());
        let n = match self.read_file(e, turn, from, want)? {
            Ok(n) => n,
            Err(step) => return Ok(step),
        };
        if n < want {
            // The newline was seen behind this: the file was cut.
            return self.bytes_are_gone(e);
        }
        let Some(chain) = &mut self.chain else { return Ok(Step::Wait) };
        let lates = &self.journal.state().lates;
        let mut linker = Linker { chain, lates, sealer: e.sealer, stats: e.stats, now: e.now };
        self.lines.content(header.source, &e.window[..n], &mut linker);
        if from + n as u64 == end {
            self.lines.finish(header, &mut linker);
            self.long = None;
            self.place = Place::In(turn.at(end + 1));
        } else {
            let taken = Taken::Content { header, from: from + n as u64, end };
            self.long = Some(Long { file: turn.file, taken });
        }
        Ok(Step::Took(n as u64))
    }

    fn step_malformed(&mut self, e: &mut Edges<'_>, turn: InTurn, from: u64) -> Result<Step, JournalError> {
        // One byte more than a piece tells whether the piece is the last. Such lines are rare: the buffer is not kept.
        let mut piece = vec![0; turn.clip(from, MAX_RECORD_BYTES + 1)];
        let mut n = 0;
        while n < piece.len() {
            let want = (piece.len() - n).min(e.window.len());
            match self.read_file(e, turn, from + n as u64, want)? {
                Ok(read) => {
                    piece[n..n + read].copy_from_slice(&e.window[..read]);
                    n += read;
                    if read < want {
                        break;
                    }
                }
                Err(step) => return Ok(step),
            }
        }
        piece.truncate(n);
        let newline = memchr(b'\n', &piece);
        let (len, next, kind) = match newline {
            Some(at) => (at, at + 1, Piece::Last),
            None if n > MAX_RECORD_BYTES => (MAX_RECORD_BYTES, MAX_RECORD_BYTES, Piece::Inner),
            None if turn.limit == Some(from + n as u64) => (n, n, Piece::Last),
            None => return self.at_end(e, turn, from + n as u64),
        };
        let Some(chain) = &mut self.chain else { return Ok(Step::Wait) };
        let lates = &self.journal.state().lates;
        let mut linker = Linker { chain, lates, sealer: e.sealer, stats: e.stats, now: e.now };
        self.lines.malformed(turn.restart, &piece[..len], kind, &mut linker);
        let from = from + next as u64;
        match kind {
            Piece::Inner => self.long = Some(Long { file: turn.file, taken: Taken::Malformed { from } }),
            Piece::Last => {
                self.long = None;
                self.place = Place::In(turn.at(from));
            }
        }
        Ok(Step::Took(next as u64))
    }
}
