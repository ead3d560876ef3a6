//! Go on with a chain, or start another, and why (format 1.2).
//!
//! A run goes on with a chain only if it can show that it reads on where the last run stopped: the same boot of the
//! node, and every byte from the cursor on still there. Otherwise, and after the chain's end was receipted, another
//! incarnation takes over and says so in its record 0. Pure: what can be read is told to it.

use indelible_chain::control::{GapReason, ResumeReason};
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{Seq, Time};

use crate::decision::{FileEnd, GivenUp, Origin, Resumed};
use crate::files::{FileId, Place, Position, Row, Table};
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
pub enum Restarts {
    /// New restarts follow the known ones without a hole.
    Follow,
    /// Every file of a restart between known and new ones is gone.
    Missing,
}

/// Whether this run goes on with the chain: `None`, or why not.
pub fn judge(
    state: &State,
    trust: Trust,
    boot_id: &str,
    restarts: Restarts,
    readable: impl Fn(FileId) -> Readable,
) -> Option<ResumeReason> {
    let there = restarts == Restarts::Follow && bytes_are_there(state, readable);
    match (state.cursor.place, there, trust) {
        (Place::End, _, _) => Some(ResumeReason::AfterEnd),
        (_, false, _) => Some(ResumeReason::FileGone),
        _ if state.origin.boot_id != boot_id => Some(ResumeReason::Reboot),
        (_, true, Trust::Damaged) => Some(ResumeReason::StateLost),
        (_, true, Trust::Whole) => None,
    }
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
pub fn take_over(
    old: &State,
    reason: ResumeReason,
    boot_id: &str,
    now: Time,
    readable: impl Fn(FileId) -> Readable,
) -> Result<State, indelible_chain::bytes::DecodeError> {
    let from = Some((old.origin.genesis.chain_id()?, old.cursor.head));
    let rejected_at = if reason == ResumeReason::Rejected { Some(now) } else { old.origin.rejected_at };
    let origin = Origin {
        genesis: next_genesis(&old.origin.genesis, now),
        boot_id: boot_id.into(),
        resumed: Some(Resumed { reason, from }),
        rejected_at,
    };
    let mut state = State::new(origin)?;
    let place = beginning(old, &readable);
    state.table = old.table.clone();
    reopen(&mut state.table, place, reason, now, readable);
    state.cursor = Cursor { head: state.cursor.head, place, lines: lines::State::default() };
    // LATE records that were not receipted are said again, right after `resumed`; those of files that are read again
    // are lines like any other there.
    let reread = state.table.reading(place).unwrap_or(usize::MAX);
    for late in &old.lates {
        if state.table.index(late.file).is_some_and(|index| index < reread) {
            let seq = Seq::new(1 + state.lates.len() as u64);
            state.lates.push_back(crate::decision::Late { seq, ..late.clone() });
        }
    }
    Ok(state)
}

/// Where the next chain begins: at the cursor's line, or at the first part of the earliest line that is open there,
/// where those bytes can still be read.
fn beginning(old: &State, readable: &impl Fn(FileId) -> Readable) -> Place {
    let table = &old.table;
    let mut place = at_cursor(old, readable);
    for open in old.cursor.lines.open_positions() {
        let first = Place::In(open);
        if readable(open.file).holds(open.offset + 1) && table.is_behind(place, first) {
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
            Readable::Gone => Place::After(file),
            Readable::Bytes(size) => Place::In(Position { file, offset: offset.min(size) }),
            Readable::Unknown => Place::In(Position { file, offset }),
        },
    }
}

/// Files from `place` on are read afresh: where the old chain left them is nothing to the new one. What was given up
/// stays given up. A file that is gone is passed over: `resumed` declares it where its reason says so, else a gap does.
fn reopen(table: &mut Table, place: Place, reason: ResumeReason, now: Time, readable: impl Fn(FileId) -> Readable) {
    let declared = matches!(reason, ResumeReason::FileGone | ResumeReason::StateLost);
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
            Some(FileEnd::Left { .. }) | None if gone && declared => Some(FileEnd::Left { offset: from }),
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
