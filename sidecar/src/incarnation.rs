//! Go on with a chain, or start another, and why (format 1.2).
//!
//! A run goes on with a chain only if it can show that it reads on where the last run stopped: the same boot of the
//! node, and every byte from the cursor on still there. Otherwise, and after the chain's end was receipted, another
//! incarnation takes over and says so in its record 0. Pure: what can be read is told to it.

use indelible_chain::control::{GapReason, ResumeReason};
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{Seq, Time};

use crate::decision::{FileEnd, GivenUp, Late, Origin, Resumed};
use crate::files::{FileId, Place, Position, Row, Table};
use crate::journal::entry::Entry;
use crate::journal::{Cursor, State};
use crate::lines;

/// What can be read of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readable {
    /// Nothing: it is not there.
    Gone,
    /// This many bytes.
    Bytes(u64),
    /// As much as it unpacks to.
    Unknown,
}

impl Readable {
    fn holds(self, bytes: u64) -> bool {
        match self {
            Self::Gone => false,
            Self::Bytes(size) => size >= bytes,
            Self::Unknown => true,
        }
    }
}

/// How much of the state could be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// All of it.
    Whole,
    /// Decisions may be missing.
    Damaged,
}

/// What the first listing showed beside the files that the state knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beside {
    /// Nothing, or files that follow the known ones without a hole.
    Follow,
    /// Files that may be missing between the known ones and those.
    Hole,
}

/// Whether this run goes on with the chain: `None`, or why not.
pub fn judge(
    state: &State,
    trust: Trust,
    boot_id: &str,
    beside: Beside,
    readable: impl Fn(FileId) -> Readable,
) -> Option<ResumeReason> {
    let there = beside == Beside::Follow && bytes_are_there(state, readable);
    match (state.cursor.place, there, trust) {
        (Place::End, _, _) => Some(ResumeReason::AfterEnd),
        (_, false, _) => Some(ResumeReason::FileGone),
        _ if state.origin.boot_id != boot_id => Some(ResumeReason::Reboot),
        (_, true, Trust::Damaged) => Some(ResumeReason::StateLost),
        (_, true, Trust::Whole) => None,
    }
}

/// Whether a file of this restart is there that reading was in, or was to come to. Then nothing can be missing behind it:
/// of a restart the oldest files are removed first.
pub fn is_anchored(state: &State, restart: u32, readable: impl Fn(FileId) -> Readable) -> bool {
    let from = match state.cursor.place {
        Place::Start | Place::End => 0,
        Place::In(Position { file, .. }) | Place::After(file) => state.table.index(file).unwrap_or(0),
    };
    let rows = state.table.rows()[from..].iter();
    rows.filter(|row| row.restart == restart).any(|row| readable(row.id) != Readable::Gone)
}

/// Whether every byte from the cursor on can still be read, and at least as many as were read.
fn bytes_are_there(state: &State, readable: impl Fn(FileId) -> Readable) -> bool {
    let table = &state.table;
    let Some(first) = table.reading(state.cursor.place) else { return true };
    table.rows()[first..].iter().all(|row| {
        let offset_in = |place| match place {
            Place::In(Position { file, offset }) if file == row.id => offset,
            _ => 0,
        };
        let from = offset_in(state.cursor.place);
        match &row.end {
            Some(end) if end.offset() <= from => true,
            Some(end) => readable(row.id).holds(end.offset()),
            // After the end nothing more is read in this chain.
            None if state.end.is_some() => true,
            None => readable(row.id).holds(from.max(offset_in(state.reach.place))),
        }
    })
}

/// The genesis of the next incarnation: `now`, or more than the last one.
pub fn next_genesis(last: &Genesis, now: Time) -> Genesis {
    let now = u64::try_from(now.nanos()).unwrap_or(0);
    Genesis { incarnation: now.max(last.incarnation.saturating_add(1)), ..last.clone() }
}

/// The state of the chain that takes over from `old`. Fails only if the genesis cannot be encoded.
///
/// A chain of whose records none but the first may have been seen, which says why it took over, is not replaced but
/// begun again: otherwise what it said might never be heard, and the chain before it never be closed. What is missing
/// then is a gap.
pub fn take_over(
    old: &State,
    reason: ResumeReason,
    boot_id: &str,
    now: Time,
    readable: impl Fn(FileId) -> Readable,
) -> Result<State, indelible_chain::bytes::DecodeError> {
    let (origin, missing) = if is_unheard(old) && reason != ResumeReason::Rejected {
        (Origin { boot_id: boot_id.into(), ..old.origin.clone() }, Missing::Gap)
    } else {
        let is_there = |at: Position| old.table.index(at.file).is_some() && readable(at.file).holds(at.offset + 1);
        // What was open at the cursor is in no record yet: where it cannot be read again, bytes are missing.
        let open_is_gone = old.cursor.lines.open_positions().any(|at| !is_there(at));
        let reason = if open_is_gone && reason != ResumeReason::StateLost { ResumeReason::FileGone } else { reason };
        let declares = matches!(reason, ResumeReason::FileGone | ResumeReason::StateLost);
        let rejected_at = if reason == ResumeReason::Rejected { Some(now) } else { old.origin.rejected_at };
        let from = Some((old.origin.genesis.chain_id()?, old.cursor.head));
        let origin = Origin {
            genesis: next_genesis(&old.origin.genesis, now),
            boot_id: boot_id.into(),
            resumed: Some(Resumed { reason, from }),
            rejected_at,
        };
        (origin, if declares { Missing::Declared } else { Missing::Gap })
    };
    let mut state = State::new(origin)?;
    let place = beginning(old, &readable);
    state.table = old.table.clone();
    reopen(&mut state.table, place, missing, now, readable);
    state.cursor = Cursor { head: state.cursor.head, place, lines: lines::State::default() };
    // LATE records that were not receipted are said again, right after `resumed`; those of files that are read again
    // are lines like any other there.
    let reread = state.table.reading(place).unwrap_or(usize::MAX);
    for late in &old.lates {
        if state.table.index(late.file).is_some_and(|index| index < reread) {
            let seq = Seq::new(1 + state.lates.len() as u64);
            // Where reading begins now, they are the first that is said.
            state.apply(Entry::Late(Late { seq, place, ..late.clone() }));
        }
    }
    Ok(state)
}

/// What says that a file's bytes are missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Missing {
    /// The chain's record 0.
    Declared,
    /// A gap where they would be.
    Gap,
}

/// Whether of a chain that took over nothing but its record 0 may have been seen, and that is not receipted: nothing else
/// is handed out before the cursor is behind it. The reach does not tell: LATE records of the chain before are within it.
pub fn is_unheard(state: &State) -> bool {
    state.origin.resumed.is_some() && state.cursor.head.next_seq == Seq::ZERO
}

/// Where the next chain begins: at the cursor's line, or at the first part of the earliest line that is open there; where
/// that cannot be read any more, at the next file behind it that can, in which other parts may be.
fn beginning(old: &State, readable: &impl Fn(FileId) -> Readable) -> Place {
    let table = &old.table;
    let mut place = at_cursor(old, readable);
    for open in old.cursor.lines.open_positions() {
        let Some(index) = table.index(open.file) else { continue };
        let first = if readable(open.file).holds(open.offset + 1) {
            Place::In(open)
        } else {
            let gone = |row: &&Row| readable(row.id) == Readable::Gone;
            let last_gone = table.rows()[index..].iter().take_while(gone).last();
            last_gone.map_or(place, |row| Place::After(row.id))
        };
        if table.is_behind(place, first) {
            place = first;
        }
    }
    place
}

fn at_cursor(old: &State, readable: &impl Fn(FileId) -> Readable) -> Place {
    let after = |row: Option<&Row>| match row {
        None => Place::Start,
        // The last file may go on growing: it is read on where the chain before left it.
        Some(Row { id, end: Some(FileEnd::Left { offset }), late_receipted, .. })
            if old.table.rows().last().is_some_and(|last| last.id == *id) && readable(*id) != Readable::Gone =>
        {
            Place::In(Position { file: *id, offset: *offset.max(late_receipted) })
        }
        Some(row) => Place::After(row.id),
    };
    match old.cursor.place {
        Place::Start => Place::Start,
        Place::End => after(old.table.rows().iter().rfind(|row| row.end.is_some())),
        Place::After(file) => after(old.table.get(file)),
        Place::In(Position { file, offset }) => match readable(file) {
            Readable::Bytes(size) => Place::In(Position { file, offset: offset.min(size) }),
            // If it is gone, `reopen` ends it there.
            Readable::Gone | Readable::Unknown => Place::In(Position { file, offset }),
        },
    }
}

/// Files from `place` on are read afresh: where the old chain left them is nothing to the new one. What was given up
/// stays given up. A file that is gone is passed over: `resumed` declares it where its reason says so, else a gap does.
fn reopen(table: &mut Table, place: Place, missing: Missing, now: Time, readable: impl Fn(FileId) -> Readable) {
    let first = table.reading(place).unwrap_or(usize::MAX);
    for row in table.iter_mut().skip(first) {
        let from = match place {
            Place::In(Position { file, offset }) if file == row.id => offset,
            _ => 0,
        };
        let gone = readable(row.id) == Readable::Gone;
        row.end = match row.end.take() {
            Some(FileEnd::GivenUp(gap)) if gone && gap.offset > from => {
                let bytes = gap.bytes.map(|bytes| bytes + (gap.offset - from));
                Some(FileEnd::GivenUp(GivenUp { offset: from, bytes, ..gap }))
            }
            Some(FileEnd::GivenUp(gap)) => Some(FileEnd::GivenUp(gap)),
            Some(FileEnd::Left { offset }) if gone && offset <= from => Some(FileEnd::Left { offset }),
            Some(FileEnd::Left { .. }) | None if gone && missing == Missing::Declared => {
                Some(FileEnd::Left { offset: from })
            }
            Some(FileEnd::Left { .. }) | None if gone => {
                let (file, reason) = (row.base.clone(), GapReason::Unreadable);
                Some(FileEnd::GivenUp(GivenUp { offset: from, bytes: None, reason, file, time: now }))
            }
            Some(FileEnd::Left { .. }) | None => None,
        };
        row.watched = gone;
        row.late_receipted = 0;
    }
    // A cursor's file that is gone is behind `place`, and is not looked for again.
    for row in table.iter_mut().take(first) {
        row.end.get_or_insert(FileEnd::Left { offset: 0 });
        row.watched |= readable(row.id) == Readable::Gone;
    }
}
