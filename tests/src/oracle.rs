//! A second opinion on what a container's log files say.
//!
//! The evidence format (section 1.1) promises that a chain follows from the bytes of the log files alone. This module
//! takes all of those bytes at once and says which records they are and where each came from; the tests hold the
//! sidecar, which sees the same bytes in pieces, through crashes and rotations, against it.
//!
//! It was written from the format's text and shares no code with the `sidecar` and `chain` crates: a mistake would have
//! to be made twice to go unseen. It favours being obviously right over being quick, and it knows nothing of the
//! sidecar's own decisions (`end`, `gap`, `resumed`, late bytes): those do not follow from the bytes, so a test that
//! expects them adds them itself.

mod chain;
mod line;

use std::ops::Range;

pub use chain::{Identity, Link};
pub use line::{Line, Stream};

/// The longest payload of one record, in bytes; longer lines go on in the next record.
pub const MAX_RECORD_BYTES: usize = 262_144;

/// The line goes on in the next record of its source.
pub const CONTINUES: u8 = 1;
/// The stream ended inside the line.
pub const UNTERMINATED: u8 = 2;
/// Bytes of the file that are no line of its format.
pub const MALFORMED: u8 = 8;

/// The source number of the records in which the sidecar itself speaks.
pub const CONTROL: u8 = 3;

/// One log file of a container, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name in the container's directory, `<restart>.log` with or without what a rotation appends. Of files that
    /// were rotated any name they had will do: only the restart's number is taken from it.
    pub name: String,
    /// Everything that was ever written to it, unpacked.
    pub bytes: Vec<u8>,
}

/// Whether more bytes may follow those that are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The chain goes on: bytes after the last newline of the last file are not yet a record, open lines stay open.
    Open,
    /// The chain ends here: what is left over becomes records. (The `end` record itself is the sidecar's.)
    Closed,
}

/// A byte of the files: which file, in the order given, and its offset there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index into the files, in the order in which they were given.
    pub file: usize,
    /// Offset in that file, in bytes.
    pub offset: usize,
}

/// A record, and the bytes that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// 1 standard output, 2 standard error, 3 control.
    pub source: u8,
    /// [`CONTINUES`], [`UNTERMINATED`] and [`MALFORMED`], ored.
    pub flags: u8,
    /// The bytes of the line without its newline.
    pub payload: Vec<u8>,
    /// The raw lines of which it has content, from the first one's first byte to behind the last one's newline. Lines of
    /// the other stream may lie between, and pieces of one long line share bytes. Empty for control records.
    pub bytes: Range<Place>,
}

/// The records of a container's files, given in the order in which they were written (see [`in_order`]).
pub fn records(files: &[File], ending: Ending) -> Vec<Record> {
    records_from(files, Place { file: 0, offset: 0 }, ending)
}

/// The same for a chain that begins at `start` without open lines, as a new incarnation does: `start` is the first byte
/// of a line. The `resumed` record that comes before these is the sidecar's.
pub fn records_from(files: &[File], start: Place, ending: Ending) -> Vec<Record> {
    let mut reader = Reader::default();
    let unread = |index: usize| if index == start.file { start.offset } else { 0 };
    let mut rest = (start.file..files.len()).filter(|&index| files[index].bytes.len() > unread(index)).peekable();
    while let Some(index) = rest.next() {
        let ending = if rest.peek().is_some() { Ending::Closed } else { ending };
        reader.read(Place { file: index, offset: unread(index) }, &files[index], ending);
    }
    if ending == Ending::Closed {
        reader.end_of_restart();
    }
    reader.records
}

/// Sorts files that nobody saw rotate into the order in which they are read (rule 1): by restart, then those that were
/// rotated by the time of their first line and by name, then the live one. Drops what is no log file (`.tmp` and
/// others). A `.gz` is expected unpacked, and not beside the file that it was made from.
pub fn in_order(files: Vec<File>) -> Vec<File> {
    let mut known: Vec<_> = files
        .into_iter()
        .filter_map(|file| {
            let (restart, rotated) = file.name.split_once(".log").filter(|(_, rotated)| !rotated.contains(".tmp"))?;
            let first = file.bytes.split(|&byte| byte == b'\n').next().and_then(Line::parse);
            let first_time = first.map_or(i64::MIN, |line| line.time);
            Some(((restart.parse::<u64>().ok()?, rotated.is_empty(), first_time, file.name.clone()), file))
        })
        .collect();
    known.sort_by(|(one, _), (other, _)| one.cmp(other));
    known.into_iter().map(|(_, file)| file).collect()
}

/// A line whose last part has not come yet.
struct OpenLine {
    time: i64,
    content: Vec<u8>,
    bytes: Range<Place>,
}

/// The restart that is being read.
struct Restart {
    number: u64,
    /// The time that its `container-started` has, until that is a record.
    unannounced: Option<i64>,
}

/// Reads files one after the other. Its state is what goes on from one to the next.
#[derive(Default)]
struct Reader {
    records: Vec<Record>,
    restart: Option<Restart>,
    last_time: i64,
    open: [Option<OpenLine>; 2],
}

impl Reader {
    /// Reads a file from a place in it to its end, and as its end if it is closed.
    fn read(&mut self, from: Place, file: &File, ending: Ending) {
        let number = file.name.split('.').next().and_then(|digits| digits.parse().ok()).expect("named <restart>.log*");
        let place = |offset| Place { offset, ..from };
        let mut at = from.offset;
        while let Some(length) = file.bytes[at..].iter().position(|&byte| byte == b'\n') {
            let raw = &file.bytes[at..at + length];
            let bytes = place(at)..place(at + length + 1);
            match Line::parse(raw) {
                Some(line) => self.well_formed(number, &line, bytes),
                None => self.malformed(number, raw, bytes, Pieces::All),
            }
            at += length + 1;
        }
        let rest = &file.bytes[at..];
        let bytes = place(at)..place(file.bytes.len());
        if ending == Ending::Closed && !rest.is_empty() {
            self.malformed(number, rest, bytes, Pieces::All);
        } else if rest.len() > MAX_RECORD_BYTES && !Line::may_become_one(rest) {
            self.malformed(number, rest, bytes, Pieces::Complete);
        }
    }

    /// Rule 4: content goes to the open line of its source, and a line that is closed becomes a record.
    fn well_formed(&mut self, restart: u64, line: &Line<'_>, bytes: Range<Place>) {
        self.enter(restart, line.time);
        self.last_time = line.time;
        let mut open = self.open[line.stream.index()].take().unwrap_or_else(|| OpenLine {
            time: line.time,
            content: Vec::new(),
            bytes: bytes.clone(),
        });
        open.content.extend_from_slice(line.content);
        open.bytes.end = bytes.end;
        while open.content.len() > MAX_RECORD_BYTES {
            let rest = open.content.split_off(MAX_RECORD_BYTES);
            let piece = std::mem::replace(&mut open.content, rest);
            self.record(open.time, line.stream.source(), CONTINUES, piece, open.bytes.clone());
        }
        if line.partial {
            self.open[line.stream.index()] = Some(open);
        } else {
            self.record(open.time, line.stream.source(), 0, open.content, open.bytes);
        }
    }

    /// Rule 6: bytes that are no line are kept as they are, under the time of the last line that was one.
    fn malformed(&mut self, restart: u64, raw: &[u8], bytes: Range<Place>, pieces: Pieces) {
        self.enter(restart, self.last_time);
        let source = Stream::Stdout.source();
        let mut rest = raw;
        while rest.len() > MAX_RECORD_BYTES {
            let (piece, after) = rest.split_at(MAX_RECORD_BYTES);
            self.record(self.last_time, source, MALFORMED | CONTINUES, piece.to_vec(), bytes.clone());
            rest = after;
        }
        if pieces == Pieces::All {
            self.record(self.last_time, source, MALFORMED, rest.to_vec(), bytes);
        }
    }

    /// Rule 5, first half: the first line of a later restart is about to become records, so the one before is over.
    fn enter(&mut self, number: u64, first_time: i64) {
        if self.restart.as_ref().is_none_or(|restart| restart.number != number) {
            self.end_of_restart();
            self.restart = Some(Restart { number, unannounced: Some(first_time) });
        }
    }

    /// Rule 5, second half: what is still open will never be closed; by time, standard output first.
    fn end_of_restart(&mut self) {
        let streams = [Stream::Stdout, Stream::Stderr];
        let mut open: Vec<_> =
            streams.into_iter().filter_map(|stream| Some((stream, self.open[stream.index()].take()?))).collect();
        open.sort_by_key(|(_, line)| line.time);
        for (stream, line) in open {
            self.record(line.time, stream.source(), UNTERMINATED, line.content, line.bytes);
        }
    }

    /// Rule 3: before the first record of a restart it is said that the restart began.
    fn record(&mut self, time: i64, source: u8, flags: u8, payload: Vec<u8>, bytes: Range<Place>) {
        let restart = self.restart.as_mut().expect("a record comes from a line, and a line from a restart");
        if let Some(time) = restart.unannounced.take() {
            let payload = format!(r#"{{"kind":"container-started","restart":{}}}"#, restart.number).into_bytes();
            let bytes = bytes.start..bytes.start;
            self.records.push(Record { time, source: CONTROL, flags: 0, payload, bytes });
        }
        self.records.push(Record { time, source, flags, payload, bytes });
    }
}

/// How much of a malformed line that may not be over yet is a record already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pieces {
    All,
    /// Only those that more bytes cannot change.
    Complete,
}

#[cfg(test)]
mod tests;
