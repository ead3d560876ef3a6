//! Which file comes next: restarts, rotation order, identity (format 1.1, rules 1 and 2).
//!
//! Owns the table of a container's files in the order in which they are read. A [`Row`] is a file under whatever name;
//! `X` and `X.gz` are one file. The order of rows that reading has reached never changes; a file first seen later is
//! placed behind them: into its restart, the live file last, among rotated ones by the time of its first line.
//! Pure: what a directory looks like is told to it.

use std::collections::BTreeSet;

use indelible_chain::digest::Digest;
use indelible_chain::id::Time;

use crate::cri::{Scan, scan};
use crate::decision::FileEnd;
use crate::limits::IDENTITY_BYTES;

/// A file of a container, under whatever name. Counted in order of first sight; never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct FileId(u64);

impl FileId {
    /// Takes a number as this id.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// An offset in a file's content (unpacked, if it is a `.gz`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Position {
    /// The file.
    pub file: FileId,
    /// The offset.
    pub offset: u64,
}

/// How far reading has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Place {
    /// Before the first file.
    #[default]
    Start,
    /// In a file, at the start of a raw line.
    In(Position),
    /// Behind a file, and behind all that follows from its end.
    After(FileId),
    /// Behind the `end` of the chain.
    End,
}

impl Place {
    /// The file that reading is in or has just passed.
    pub const fn file(self) -> Option<FileId> {
        match self {
            Self::Start | Self::End => None,
            Self::In(Position { file, .. }) | Self::After(file) => Some(file),
        }
    }
}

/// A file's name, taken apart: `<restart>.log[.<rotation>][.gz]`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FileName {
    /// Which run of the container.
    pub restart: u32,
    /// The name without `.gz`.
    pub base: String,
    /// Whether it ends in `.gz`.
    pub packed: Packed,
}

/// Whether a file is stored as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Packed {
    /// As it is.
    No,
    /// By gzip.
    Gzip,
}

impl FileName {
    /// Takes a name apart; `None` for what is no log file of a container (`.tmp` among them).
    pub fn parse(name: &str) -> Option<Self> {
        let (base, packed) = match name.strip_suffix(".gz") {
            Some(base) => (base, Packed::Gzip),
            None => (name, Packed::No),
        };
        let (restart, rest) = base.split_once(".log")?;
        let plain = restart == "0" || !restart.starts_with(['0', '+']);
        let restart = restart.parse().ok().filter(|_| plain)?;
        let is_rotation = |c: char| c.is_ascii_digit() || c == '-';
        match rest.strip_prefix('.') {
            None if rest.is_empty() => {}
            Some(rotation) if !rotation.is_empty() && rotation.chars().all(is_rotation) => {}
            _ => return None,
        }
        Some(Self { restart, base: base.into(), packed })
    }

    /// Whether it is the one that a restart's live file has.
    pub fn is_live(&self) -> bool {
        self.packed == Packed::No && self.base == Self::live(self.restart)
    }

    /// The name that a restart's live file has.
    pub fn live(restart: u32) -> String {
        format!("{restart}.log")
    }
}

/// What a file is known by: the digest of its first bytes, at most [`IDENTITY_BYTES`] of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    /// How many bytes.
    pub len: u16,
    /// Their digest.
    pub digest: Digest,
}

impl Identity {
    /// Of a file's first bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let bytes = &bytes[..bytes.len().min(IDENTITY_BYTES)];
        Self { len: u16::try_from(bytes.len()).expect("cut to IDENTITY_BYTES"), digest: Digest::sha256(bytes) }
    }

    /// Whether a file that begins with `bytes` may be this one, grown since. Without bytes nothing is known.
    pub fn is_start_of(&self, bytes: &[u8]) -> bool {
        self.len > 0 && bytes.get(..self.len.into()).is_some_and(|bytes| Self::of(bytes) == *self)
    }
}

/// A hint at which file it is, for as long as nobody holds it open: its inode number, which is used again as soon as it is
/// gone, and its birth, where the file system tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mark {
    /// The inode number; 0 for a file that nobody saw.
    pub inode: u64,
    /// When the inode was made.
    pub born: Option<Time>,
}

impl Mark {
    /// Whether no other file has the same.
    pub const fn is_certain(self) -> bool {
        self.born.is_some()
    }
}

/// The time of a file's first line, if its first bytes are one.
pub fn first_time(bytes: &[u8]) -> Option<Time> {
    let line = &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())];
    match scan(line) {
        Scan::Line { header, .. } | Scan::Tags(header) => Some(header.time),
        Scan::Malformed => None,
    }
}

/// A file of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its id.
    pub id: FileId,
    /// Which run of the container wrote it.
    pub restart: u32,
    /// Its last known name, without `.gz`. A hint.
    pub base: String,
    /// Which file it was when it was last opened. A hint.
    pub mark: Mark,
    /// What it is known by.
    pub identity: Identity,
    /// The time of its first line.
    pub first_time: Option<Time>,
    /// Where reading ends, once that is decided.
    pub end: Option<FileEnd>,
    /// Bytes behind the end up to here are LATE records that are receipted.
    pub late_receipted: u64,
    /// The watch after it was left is over.
    pub watched: bool,
}

impl Row {
    /// Whether its first bytes tell it from every other file: there are enough, or a time is among them.
    pub fn is_certain(&self) -> bool {
        usize::from(self.identity.len) == IDENTITY_BYTES || self.first_time.is_some()
    }

    /// Whether it has its restart's live name.
    pub fn has_live_name(&self) -> bool {
        self.base == FileName::live(self.restart)
    }
}

/// A container's files in the order in which they are read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
    next_id: u64,
}

impl Table {
    /// Takes up rows in their order.
    pub fn new(rows: Vec<Row>, next_id: u64) -> Self {
        let least = rows.iter().map(|row| row.id.0 + 1).max().unwrap_or(0);
        Self { rows, next_id: next_id.max(least) }
    }

    /// All rows, in order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The id that the next new row gets.
    pub const fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Where a file stands in the order.
    pub fn index(&self, id: FileId) -> Option<usize> {
        self.rows.iter().position(|row| row.id == id)
    }

    /// A file's row.
    pub fn get(&self, id: FileId) -> Option<&Row> {
        self.rows.iter().find(|row| row.id == id)
    }

    /// A file's row, to change it.
    pub fn get_mut(&mut self, id: FileId) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.id == id)
    }

    /// All rows, to change them but not their order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        self.rows.iter_mut()
    }

    /// Forgets rows.
    pub fn retain(&mut self, keep: impl FnMut(&Row) -> bool) {
        self.rows.retain(keep);
    }

    /// The index of the row that is read at `place`: the one it is in, or the one after it.
    pub fn reading(&self, place: Place) -> Option<usize> {
        let index = match place {
            Place::Start => 0,
            Place::In(Position { file, .. }) => self.index(file)?,
            Place::After(file) => self.index(file)? + 1,
            Place::End => return None,
        };
        (index < self.rows.len()).then_some(index)
    }

    /// Whether `a` is behind `b` in reading order.
    pub fn is_behind(&self, a: Place, b: Place) -> bool {
        let key = |place| match place {
            Place::Start => (0, 0),
            Place::In(Position { file, offset }) => (self.index(file).map_or(0, |i| i + 1), offset),
            Place::After(file) => (self.index(file).map_or(0, |i| i + 1), u64::MAX),
            Place::End => (usize::MAX, 0),
        };
        key(a) > key(b)
    }

    /// The newest restart that is known.
    pub fn last_restart(&self) -> Option<u32> {
        self.rows.iter().map(|row| row.restart).max()
    }

    /// Whether a row is the container's live file.
    pub fn is_live(&self, row: &Row) -> bool {
        row.has_live_name() && Some(row.restart) == self.last_restart()
    }

    /// Where a new file belongs, and whether that is still ahead of reading. Reading has reached the rows before
    /// `frozen`. `named`: the files that the listing has; another one has lost its last known name, the live one, too.
    pub fn place_for(&self, new: &NewFile, frozen: usize, named: &BTreeSet<FileId>) -> (usize, Turn) {
        let ends = |restart| self.rows.iter().take_while(|row| row.restart <= restart).count();
        let end = ends(new.restart);
        let begin = new.restart.checked_sub(1).map_or(0, ends);
        if end < frozen {
            return (end, Turn::Missed);
        }
        let is_live = new.base == FileName::live(new.restart);
        let key = |time: Option<Time>, base: &str| (time.unwrap_or_default(), base.to_owned());
        let new_key = key(new.first_time, &new.base);
        // What was live once and is not listed any more is older than all that is new, whatever the clock said.
        let is_after = |row: &Row| {
            if row.has_live_name() { named.contains(&row.id) } else { key(row.first_time, &row.base) > new_key }
        };
        let later = |row: &Row| !is_live && is_after(row);
        let from = begin.max(frozen);
        let index = (from..end).find(|&i| later(&self.rows[i])).unwrap_or(end);
        // A file of a restart whose later rows were reached can only come behind them.
        (index, Turn::Ahead)
    }

    /// Adds a row at the index that [`place_for`](Self::place_for) found.
    pub fn insert(&mut self, index: usize, new: NewFile, end: Option<FileEnd>) -> FileId {
        let id = FileId(self.next_id);
        self.next_id += 1;
        let NewFile { restart, base, mark, identity, first_time } = new;
        let row = Row { id, restart, base, mark, identity, first_time, end, late_receipted: 0, watched: false };
        self.rows.insert(index, row);
        id
    }
}

/// Whether a new file's turn is still to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// It will be read.
    Ahead,
    /// A later restart is being read already: all its bytes are late.
    Missed,
}

/// A file that was not known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewFile {
    /// Which run of the container wrote it.
    pub restart: u32,
    /// Its name without `.gz`.
    pub base: String,
    /// Which file it is.
    pub mark: Mark,
    /// What it is known by.
    pub identity: Identity,
    /// The time of its first line.
    pub first_time: Option<Time>,
}

/// The order in which files that are new in one listing are placed: by restart, rotated ones by the time of their first
/// line and by name, the live one last.
pub fn listing_order(a: &NewFile, b: &NewFile) -> std::cmp::Ordering {
    let key = |file: &NewFile| {
        let live = file.base == FileName::live(file.restart);
        (file.restart, live, if live { None } else { Some(file.first_time.unwrap_or_default()) })
    };
    key(a).cmp(&key(b)).then_with(|| a.base.cmp(&b.base))
}

/// The first restart of which every file is missing between those that were known and a new one. `known`: the newest
/// that was known; before any was, a container begins with restart 0.
pub fn hole(known: Option<u32>, new: &[NewFile]) -> Option<u32> {
    let mut next = known.map_or(0, |known| u64::from(known) + 1);
    let mut restarts: Vec<u32> = new.iter().map(|file| file.restart).filter(|r| u64::from(*r) >= next).collect();
    restarts.sort_unstable();
    for restart in restarts {
        if u64::from(restart) > next {
            return u32::try_from(next).ok();
        }
        next = u64::from(restart) + 1;
    }
    None
}
