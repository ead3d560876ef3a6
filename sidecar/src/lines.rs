//! From raw lines to records (format 1.1, rules 3 to 6).
//!
//! Owns the open line of each stream, the last well-formed time, and which container-started is out: [`State`], which is
//! all that the bytes read so far mean for those that follow. Pure: the same raw lines give the same records.
//! Knows nothing of files but the [`Position`] of an open line's first part; nothing of links and batches.
//! No allocation a record: a record borrows from the raw line or from its open line's buffer.

use indelible_chain::control::Control;
use indelible_chain::id::Time;
use indelible_chain::record::{Flags, MAX_RECORD_BYTES, Record, Source};

use crate::cri::{Header, Part, Scan, scan};
use crate::files::Position;
use crate::limits::KEPT_LINE_BUFFER;

/// Where records go.
pub trait Sink {
    /// The next record.
    fn push(&mut self, record: &Record<'_>);
}

/// A line of which parts are there, but not the last one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenLine {
    /// When its first part was printed.
    pub time: Time,
    /// Where the raw line of its first part begins.
    pub at: Position,
    /// What is not a record yet.
    pub bytes: Vec<u8>,
}

/// What the bytes so far mean for those that follow.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The restart whose container-started is out.
    pub started: Option<u32>,
    /// The time of the chain's last well-formed line.
    pub last_time: Option<Time>,
    /// The open lines: stdout's, stderr's.
    pub open: [Option<OpenLine>; 2],
}

impl State {
    /// The time of what has none of its own.
    pub fn time(&self) -> Time {
        self.last_time.unwrap_or_default()
    }

    /// Where the open lines begin.
    pub fn open_positions(&self) -> impl Iterator<Item = Position> {
        self.open.iter().flatten().map(|line| line.at)
    }

    /// Bytes that wait in open lines.
    pub fn open_bytes(&self) -> usize {
        self.open.iter().flatten().map(|line| line.bytes.len()).sum()
    }
}

/// Joins raw lines into records.
#[derive(Debug, Default)]
pub struct Assembler {
    state: State,
    /// Buffers of closed lines, for the next ones.
    spare: [Vec<u8>; 2],
}

/// Whether a malformed raw line goes on after a piece of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// More follows: CONTINUES.
    Inner,
    /// The last one.
    Last,
}

const fn stream(source: Source) -> usize {
    match source {
        Source::Stderr => 1,
        Source::Stdout | Source::Control | Source::File | Source::Api => 0,
    }
}

impl Assembler {
    /// Goes on from `state`.
    pub fn new(state: State) -> Self {
        Self { state, spare: <[Vec<u8>; 2]>::default() }
    }

    /// What the bytes so far mean for those that follow.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// A whole raw line of restart `restart`, without its newline, that begins at `at`.
    pub fn line(&mut self, restart: u32, at: Position, raw: &[u8], sink: &mut impl Sink) {
        match scan(raw) {
            Scan::Line { header, content } => {
                let content = &raw[content..];
                if header.part == Part::Last
                    && self.state.open[stream(header.source)].is_none()
                    && content.len() <= MAX_RECORD_BYTES
                {
                    self.enter(restart, header.time, sink);
                    self.state.last_time = Some(header.time);
                    let Header { time, source, .. } = header;
                    sink.push(&Record { time, source, flags: Flags::NONE, payload: content });
                } else {
                    self.begin(restart, at, header, sink);
                    self.content(header.source, content, sink);
                    self.finish(header, sink);
                }
            }
            Scan::Tags(_) | Scan::Malformed => self.malformed_line(restart, raw, sink),
        }
    }

    /// The header of a raw line whose content follows in pieces.
    pub fn begin(&mut self, restart: u32, at: Position, header: Header, sink: &mut impl Sink) {
        self.enter(restart, header.time, sink);
        self.state.last_time = Some(header.time);
        let slot = stream(header.source);
        if self.state.open[slot].is_none() {
            let bytes = std::mem::take(&mut self.spare[slot]);
            self.state.open[slot] = Some(OpenLine { time: header.time, at, bytes });
        }
    }

    /// Content of the line that [`begin`](Self::begin) opened. What is over `max_record_bytes` becomes records.
    pub fn content(&mut self, source: Source, content: &[u8], sink: &mut impl Sink) {
        let line = self.state.open[stream(source)].as_mut().expect("begin opened the line");
        line.bytes.extend_from_slice(content);
        let mut done = 0;
        while line.bytes.len() - done > MAX_RECORD_BYTES {
            let payload = &line.bytes[done..done + MAX_RECORD_BYTES];
            sink.push(&Record { time: line.time, source, flags: Flags::CONTINUES, payload });
            done += MAX_RECORD_BYTES;
        }
        line.bytes.drain(..done);
    }

    /// The end of the raw line: closes the line unless its tag keeps it open.
    pub fn finish(&mut self, header: Header, sink: &mut impl Sink) {
        if header.part == Part::Last {
            self.close(stream(header.source), header.source, Flags::NONE, sink);
        }
    }

    /// A piece of a raw line that is malformed, of at most `max_record_bytes`.
    pub fn malformed(&mut self, restart: u32, payload: &[u8], piece: Piece, sink: &mut impl Sink) {
        let time = self.state.time();
        self.enter(restart, time, sink);
        let flags = match piece {
            Piece::Inner => Flags::MALFORMED.with(Flags::CONTINUES),
            Piece::Last => Flags::MALFORMED,
        };
        sink.push(&Record { time, source: Source::Stdout, flags, payload });
    }

    /// A whole malformed line, or what was left of a file after its last newline.
    pub fn malformed_line(&mut self, restart: u32, raw: &[u8], sink: &mut impl Sink) {
        cut(raw, |payload, piece| self.malformed(restart, payload, piece, sink));
    }

    /// Nothing more will come for the open lines: a later restart, a gap, or the end of the chain.
    pub fn interrupt(&mut self, sink: &mut impl Sink) {
        let order = match &self.state.open {
            [Some(stdout), Some(stderr)] if stderr.time < stdout.time => [Source::Stderr, Source::Stdout],
            _ => [Source::Stdout, Source::Stderr],
        };
        for source in order {
            self.close(stream(source), source, Flags::UNTERMINATED, sink);
        }
    }

    /// Before the first record of a restart: the open lines of the one before it, then its container-started.
    fn enter(&mut self, restart: u32, time: Time, sink: &mut impl Sink) {
        if self.state.started == Some(restart) {
            return;
        }
        self.interrupt(sink);
        let payload = Control::ContainerStarted { restart }.encode();
        sink.push(&Record { time, source: Source::Control, flags: Flags::NONE, payload: payload.as_bytes() });
        self.state.started = Some(restart);
    }

    fn close(&mut self, slot: usize, source: Source, flags: Flags, sink: &mut impl Sink) {
        if let Some(OpenLine { time, mut bytes, .. }) = self.state.open[slot].take() {
            sink.push(&Record { time, source, flags, payload: &bytes });
            bytes.clear();
            bytes.shrink_to(KEPT_LINE_BUFFER);
            self.spare[slot] = bytes;
        }
    }
}

/// A whole line that was written to a file after it had been left: its own records, joined to nothing. `last` is the
/// time that it takes if it is malformed.
pub fn late_line(raw: &[u8], last: Time, sink: &mut impl Sink) {
    match scan(raw) {
        Scan::Line { header: Header { time, source, .. }, content } => cut(&raw[content..], |payload, piece| {
            let flags = match piece {
                Piece::Inner => Flags::LATE.with(Flags::CONTINUES),
                Piece::Last => Flags::LATE,
            };
            sink.push(&Record { time, source, flags, payload });
        }),
        Scan::Tags(_) | Scan::Malformed => late_rest(raw, last, sink),
    }
}

/// Other bytes that were written to a file after it had been left.
pub fn late_rest(raw: &[u8], last: Time, sink: &mut impl Sink) {
    let late = Flags::LATE.with(Flags::MALFORMED);
    cut(raw, |payload, piece| {
        let flags = match piece {
            Piece::Inner => late.with(Flags::CONTINUES),
            Piece::Last => late,
        };
        sink.push(&Record { time: last, source: Source::Stdout, flags, payload });
    });
}

/// Cuts what is longer than `max_record_bytes`; what is empty is one empty piece.
fn cut(mut raw: &[u8], mut push: impl FnMut(&[u8], Piece)) {
    while let Some((piece, rest)) = raw.split_at_checked(MAX_RECORD_BYTES).filter(|(_, rest)| !rest.is_empty()) {
        push(piece, Piece::Inner);
        raw = rest;
    }
    push(raw, Piece::Last);
}
