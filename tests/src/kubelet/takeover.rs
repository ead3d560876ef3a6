//! The chains of one container that took over from each other.
//!
//! Format 1.2: a chain that takes over names the last receipted head of the one before and begins at the first line
//! that is not in it, or, where that line has left the disk, at the next file that is still there. So what may be
//! missing between the two follows from that head and from what was on the disk when the later chain began, and from
//! nothing else: [`follow`] holds each chain to it. Lines are counted whole and by their stream, as the oracle reads them.

use std::ops::Range;

use anyhow::{Context as _, Result, bail, ensure};
use indelible_chain::control::{Control, END_PAYLOAD, ResumeReason};
use indelible_chain::id::{ChainId, Head};
use jiff::Timestamp;

use crate::evidence::{StoredChain, StoredRecord};
use crate::oracle::{self, Ending, File, Line, Place, Record};

/// What a container's log files held, and when that left the disk.
#[derive(Debug)]
pub(super) struct Disk {
    files: Vec<File>,
    /// Of each file: the moment until which its bytes were there for certain, and the one since which they were not.
    gone: Vec<Option<Range<Timestamp>>>,
    lines: Vec<RawLine>,
}

#[derive(Debug)]
struct RawLine {
    bytes: Range<Place>,
    /// `None`: it is malformed.
    source: Option<u8>,
}

/// A chain that took over from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Takeover {
    pub(super) chain: ChainId,
    pub(super) reason: ResumeReason,
    /// What it takes over from, if it knows.
    pub(super) from: Option<(ChainId, Head)>,
    /// How many bytes are in neither chain.
    pub(super) missing: usize,
}

/// A chain, and what it says of itself.
struct Told<'a> {
    id: ChainId,
    stored: Vec<&'a StoredRecord>,
    resumed: Option<(ResumeReason, Option<(ChainId, Head)>)>,
    /// When it was decided where it begins.
    begun: Timestamp,
    /// How many records it begins with that do not follow from the files.
    frame: usize,
    is_ended: bool,
}

/// A chain that is what the files give from some line on.
struct Placed<'a> {
    told: Told<'a>,
    start: Place,
    records: Vec<Record>,
    /// How many records the files give from there on.
    whole: usize,
}

const START: Place = Place { file: 0, offset: 0 };

impl Disk {
    pub(super) fn new(files: Vec<File>, gone: Vec<Option<Range<Timestamp>>>) -> Self {
        let lines = files.iter().enumerate().flat_map(|(file, content)| raw_lines(file, &content.bytes)).collect();
        Self { files, gone, lines }
    }

    /// Where a chain may begin that was to begin at `from`. `looked`: the sidecar looked at the disk after the first of
    /// these moments and before the second.
    fn starts(&self, from: Place, looked: &Range<Timestamp>) -> Vec<Place> {
        let mut starts = Vec::new();
        let mut place = from;
        while let Some(gone) = self.gone.get(place.file) {
            if gone.as_ref().is_none_or(|gone| gone.end > looked.start) {
                starts.push(place);
            }
            if gone.as_ref().is_none_or(|gone| gone.start >= looked.end) {
                return starts;
            }
            place = Place { file: place.file + 1, offset: 0 };
        }
        starts.push(place);
        starts
    }

    /// For each line, whether these records say all of it.
    fn covered(&self, records: &[Record]) -> Vec<bool> {
        let mut covered = vec![false; self.lines.len()];
        for record in records.iter().filter(|record| record.source != oracle::CONTROL) {
            let (start, end) = (record.bytes.start, record.bytes.end);
            let goes_on = record.flags & oracle::CONTINUES != 0;
            let is_malformed = record.flags & oracle::MALFORMED != 0;
            let first = self.lines.partition_point(|line| line.bytes.start < start);
            let within = self.lines[first..].iter().zip(&mut covered[first..]);
            for (line, covered) in within.take_while(|(line, _)| line.bytes.end <= end) {
                let is_of_it = line.source == if is_malformed { None } else { Some(record.source) };
                *covered |= is_of_it && !(goes_on && line.bytes.end == end);
            }
        }
        covered
    }
}

fn raw_lines(file: usize, bytes: &[u8]) -> impl Iterator<Item = RawLine> {
    let mut at = 0;
    bytes.split_inclusive(|byte| *byte == b'\n').map(move |raw| {
        let start = Place { file, offset: at };
        at += raw.len();
        let line = raw.strip_suffix(b"\n").and_then(Line::parse);
        RawLine { bytes: start..Place { file, offset: at }, source: line.map(|line| line.stream.source()) }
    })
}

fn length(bytes: &Range<Place>) -> usize {
    bytes.end.offset - bytes.start.offset
}

impl<'a> Told<'a> {
    fn of(chain: &'a StoredChain) -> Result<Self> {
        let mut stored = chain.whole()?;
        let is_ended = stored.pop_if(|last| last.payload == END_PAYLOAD).is_some();
        let controls = stored.iter().map_while(|record| {
            let is_control = record.source == oracle::CONTROL;
            is_control.then(|| Control::decode(&record.payload).ok().map(|said| (record.time, said))).flatten()
        });
        let (mut resumed, mut frame) = (None, 0);
        let mut begun = Timestamp::from_nanosecond(chain.genesis.incarnation.into())?;
        for (time, said) in controls {
            match said {
                Control::Resumed { reason, from } => resumed = Some((reason, from)),
                // Nobody had heard of the chain when its sidecar was killed: it was begun again.
                Control::Gap { .. } if resumed.is_some() => begun = Timestamp::from_nanosecond(time.into())?,
                _ => break,
            }
            frame += 1;
        }
        ensure!(resumed.is_some() == (chain.genesis.incarnation > 0), "its record 0 says {resumed:?}");
        Ok(Self { id: chain.genesis.chain_id()?, stored, resumed, begun, frame, is_ended })
    }

    /// The chain as the files give it from a place on, if they do.
    fn read(&self, disk: &Disk, start: Place) -> Option<(Vec<Record>, usize)> {
        let mut records = oracle::records_from(&disk.files, start, Ending::Closed);
        let (whole, lines) = (records.len(), &self.stored[self.frame..]);
        records.truncate(lines.len());
        let same = records.len() == lines.len() && records.iter().zip(lines).all(|(a, b)| is_same(a, b));
        same.then_some((records, whole))
    }
}

fn is_same(record: &Record, stored: &StoredRecord) -> bool {
    (record.time, record.source, record.flags) == (stored.time, stored.source, stored.flags)
        && record.payload == stored.payload
}

impl Placed<'_> {
    /// Its records before a head that another chain says it had.
    fn receipted(&self, (id, head): (ChainId, Head)) -> Result<&[Record]> {
        let next = usize::try_from(head.next_seq.get())?;
        let link = match next.checked_sub(1) {
            None => *self.told.id.digest().as_bytes(),
            Some(last) => self.told.stored.get(last).context("it takes over behind what is stored")?.link,
        };
        ensure!(id == self.told.id && link == *head.link.as_bytes(), "it takes over from a head that nobody had");
        Ok(&self.records[..next.saturating_sub(self.told.frame)])
    }

    /// The first line that is not wholly in the first records of it.
    fn first_beyond(&self, disk: &Disk, receipted: &[Record]) -> Place {
        let covered = disk.covered(receipted);
        let mut lines = disk.lines.iter().zip(covered).skip_while(|(line, _)| line.bytes.start < self.start);
        let first = lines.find(|(_, covered)| !covered).map(|(line, _)| line.bytes.start);
        first.unwrap_or(Place { file: disk.files.len(), offset: 0 })
    }
}

/// Holds the chains of a container, in order of incarnation, to its files. `looked` says by when a sidecar that decided
/// at a moment where a chain begins had looked at the disk. An error says what is not as it must be.
pub(super) fn follow(
    disk: &Disk,
    chains: &[&StoredChain],
    looked: impl Fn(Timestamp) -> Timestamp,
) -> Result<Vec<Takeover>> {
    let mut takeovers = Vec::new();
    let mut last: Option<Placed<'_>> = None;
    for (n, chain) in chains.iter().enumerate() {
        let told = Told::of(chain).with_context(|| format!("chain {n}"))?;
        let looked = told.begun..looked(told.begun);
        let placed = match (told.resumed, &last) {
            (None, None) => place(disk, told, &[START]),
            (Some((ResumeReason::StateLost, None)), None) => {
                let starts = disk.starts(START, &looked);
                place(disk, told, &starts)
            }
            (Some((ResumeReason::FileGone, Some(head))), Some(last)) => {
                let receipted = last.receipted(head)?;
                let reached = receipted.iter().map(|record| record.bytes.end).fold(last.start, Place::max);
                let left = disk.gone.iter().skip(reached.file).flatten().any(|gone| gone.start < looked.end);
                ensure!(left, "chain {n} took over although all was there");
                let starts = disk.starts(last.first_beyond(disk, receipted), &looked);
                place(disk, told, &starts)
            }
            (resumed, _) => bail!("it says {resumed:?}"),
        };
        let placed = placed.with_context(|| format!("chain {n}"))?;
        if let Some((reason, from)) = placed.told.resumed {
            takeovers.push(Takeover {
                chain: placed.told.id,
                reason,
                from,
                missing: missing(disk, last.as_ref(), &placed),
            });
        }
        last = Some(placed);
    }
    let last = last.context("there is no chain")?;
    ensure!(last.told.is_ended, "the last chain has no end");
    ensure!(last.records.len() == last.whole, "the last chain has {} records of {}", last.records.len(), last.whole);
    Ok(takeovers)
}

/// A chain at the first of the places where it may begin from which on it is what the files give.
fn place<'a>(disk: &Disk, told: Told<'a>, starts: &[Place]) -> Result<Placed<'a>> {
    let found = starts.iter().find_map(|start| Some((*start, told.read(disk, *start)?)));
    let (start, (records, whole)) =
        found.with_context(|| format!("it is not what the files give from {starts:?} on"))?;
    Ok(Placed { told, start, records, whole })
}

/// How many bytes before a chain's start are neither in the chain before it nor in any earlier one.
fn missing(disk: &Disk, last: Option<&Placed<'_>>, next: &Placed<'_>) -> usize {
    let (from, covered) = match last {
        Some(last) => (last.start, disk.covered(&last.records)),
        None => (START, disk.covered(&[])),
    };
    let between = disk.lines.iter().zip(covered).filter(|(line, _)| (from..next.start).contains(&line.bytes.start));
    between.filter(|(_, covered)| !covered).map(|(line, _)| length(&line.bytes)).sum()
}

#[cfg(test)]
mod tests;
