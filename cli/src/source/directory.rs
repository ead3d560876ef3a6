//! A collector's data directory, also a copy from a dead machine, also while a collector is running on it; or one that
//! holds nothing but the static tiles of a log, whoever wrote it ([`super::bundles`]).
//!
//! It is only read: no lock is taken, nothing is written. `checkpoint`, `checkpoints/`, `segments/*.seg` and `tile/` are
//! evidence; `version` says whether this verifier can read them; `vkey`, `.idx`, `key` and `torn/` are not looked at. The segments are scanned once to know which leaf
//! is where ([`super::layout`]), and read once to judge them.
//!
//! Checkpoints are read before segments: what a running collector adds meanwhile is beyond them and not judged.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::frame::{MAX_FRAME_BYTES, SegmentFrame};
use indelible_chain::id::LeafIndex;
use indelible_chain::merkle::MAX_TREE_SIZE;
use indelible_chain::note::Note;
use indelible_chain::stored::Stored;
use indelible_chain::tile::{BundleId, TILE_WIDTH, TileId, completed_by_growth, partial_tiles};
use indelible_chain::verify::Damage;

use super::bundles;
use super::folder::{Folder, ReadError};
use super::layout::{Place, Scan};
use super::segment::SegmentReader;
use super::{Found, NamedNote, OwnedFrame, SeeTile, TileFile};
use crate::limits::{MAX_CHECKPOINT_BYTES, MAX_KEPT_CHECKPOINTS, MAX_NOTES_BYTES, MAX_VERSION_BYTES};
use crate::text::one_line;

/// The file that says which format a directory has, a space, and which software made it.
const VERSION: &str = "version";
/// The format that is read here.
const FORMAT: &str = "1";

/// A data directory.
#[derive(Debug)]
pub struct Directory {
    folder: Folder,
    claimed: Option<String>,
    content: Content,
    /// Where the last leaf ends that its bundles showed.
    end: u64,
    /// By the index of their first leaf; filled at the first reading.
    segments: Option<Vec<Segment>>,
    open: Option<(usize, File)>,
}

/// What is in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// What a collector keeps.
    Data,
    /// A checkpoint and tiles, as C2SP tlog-tiles has them.
    Tiles,
}

/// Whether a tile or bundle has to be there.
#[derive(Clone, Copy, Debug)]
enum Presence {
    Due,
    Possible,
}

#[derive(Debug)]
struct Segment {
    name: String,
    /// The first leaf of the segment after it.
    end: Option<u64>,
    places: Vec<Place>,
}

impl Directory {
    /// Opens the directory.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let folder = Folder::open(path)?;
        Ok(Self { folder, claimed: None, content: Content::Data, end: 0, segments: None, open: None })
    }

    /// Whether the directory is of the format that is read here: what cannot be read is not taken for damaged.
    pub fn check_format(&mut self) -> Result<(), ReadError> {
        let path = || self.folder.path().join(VERSION);
        let text = match self.folder.read(VERSION, MAX_VERSION_BYTES) {
            Err(e) if e.is_absence() && bundles::is_one(&self.folder)? => {
                self.content = Content::Tiles;
                return Ok(());
            }
            Err(e) if e.is_absence() => return Err(ReadError::NoFormat { path: path() }),
            text => text?,
        };
        let text = String::from_utf8_lossy(&text);
        let (found, _) = text.trim_end().split_once(' ').unwrap_or((text.trim_end(), ""));
        if found == FORMAT {
            return Ok(());
        }
        let found = one_line(&found.chars().take(20).collect::<String>());
        Err(ReadError::Format { path: path(), found, read: FORMAT })
    }

    /// What a person knows it by.
    pub fn label(&self) -> String {
        one_line(&self.folder.path().display().to_string())
    }

    /// The origin in its newest checkpoint.
    pub fn claimed(&self) -> Option<&str> {
        self.claimed.as_deref()
    }

    /// Whether this is laid out as an archive: directories named by log, none of a data directory.
    pub fn is_archive(&self) -> bool {
        let Ok(names) = self.folder.list() else { return false };
        let is_log = |name: &str| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
        names.iter().any(|(name, is_dir)| *is_dir && is_log(name)) && !names.iter().any(|(name, _)| name == "segments")
    }

    /// All checkpoints, the newest first.
    pub fn checkpoints(&mut self) -> Result<Vec<NamedNote>, ReadError> {
        let mut notes = Vec::new();
        match self.newest() {
            Ok(note) => notes.push(("checkpoint".to_owned(), note)),
            Err(e) if e.is_absence() => {}
            Err(e) => return Err(e),
        }
        if let Some(kept) = self.folder.folder("checkpoints")? {
            let names = kept.list()?;
            if names.len() > MAX_KEPT_CHECKPOINTS {
                let path = kept.path().to_owned();
                return Err(ReadError::TooLarge { path, limit: MAX_KEPT_CHECKPOINTS, unit: "checkpoints" });
            }
            // By number; what a crash left under a temporary name is nobody's.
            let numbered = names.into_iter().filter_map(|(name, _)| Some((name.parse::<u64>().ok()?, name)));
            let mut numbered: Vec<_> = numbered.collect();
            numbered.sort();
            let mut bytes = 0;
            for (_, name) in numbered.into_iter().rev() {
                let note = kept.read(&name, MAX_CHECKPOINT_BYTES)?;
                bytes += note.len();
                if bytes > MAX_NOTES_BYTES {
                    let path = kept.path().to_owned();
                    return Err(ReadError::TooLarge { path, limit: MAX_NOTES_BYTES, unit: "bytes of checkpoints" });
                }
                notes.push((format!("checkpoints/{name}"), note));
            }
        }
        self.claimed = notes.iter().find_map(|(_, note)| {
            let note = Note::parse(note).ok()?;
            Some(Checkpoint::parse(note.text()).ok()?.origin().to_string())
        });
        Ok(notes)
    }

    /// The newest checkpoint alone.
    pub fn newest(&self) -> Result<Vec<u8>, ReadError> {
        self.folder.read("checkpoint", MAX_CHECKPOINT_BYTES)
    }

    /// The leaves `[from, size)` in log order, with what is damaged between them.
    pub fn frames(&mut self, from: u64, size: u64, see: &mut dyn FnMut(Found<'_>)) -> Result<(), ReadError> {
        if self.content == Content::Tiles {
            self.end = bundles::frames(&self.folder, from, size, see).max(self.end);
            return Ok(());
        }
        self.scan(size)?;
        let segments = self.segments.take().unwrap_or_default();
        let read = segments.iter().enumerate().try_for_each(|(n, segment)| {
            for place in &segment.places {
                if !(from..size).contains(&place.index()) {
                    continue;
                }
                self.show(n, segment, place, see)?;
            }
            Ok(())
        });
        self.segments = Some(segments);
        read
    }

    fn show(
        &mut self,
        n: usize,
        segment: &Segment,
        place: &Place,
        see: &mut dyn FnMut(Found<'_>),
    ) -> Result<(), ReadError> {
        match place {
            Place::Leaf { .. } | Place::Damaged { .. } => {
                if let Some(frame) = self.read_place(n, segment, place)? {
                    see(Found::Frame(frame.view()));
                } else {
                    let note = format!("segments/{}: the frame changed while it was read", segment.name);
                    see(Found::Damage(Damage::Lost { index: LeafIndex::new(place.index()), note: &note }));
                }
            }
            Place::Lost { index, note } => {
                see(Found::Damage(Damage::Lost { index: LeafIndex::new(*index), note }));
            }
            Place::Between { before, note } => {
                see(Found::Damage(Damage::Between { before: LeafIndex::new(*before), note }));
            }
        }
        Ok(())
    }

    /// One leaf once more.
    pub fn frame(&mut self, index: LeafIndex) -> Result<Option<OwnedFrame>, ReadError> {
        if self.content == Content::Tiles {
            return Ok(bundles::frame(&self.folder, self.end, index));
        }
        let Some(segments) = self.segments.take() else { return Ok(None) };
        let found = segments.iter().enumerate().find_map(|(n, segment)| {
            let at = segment.places.partition_point(|place| place.index() < index.get());
            let place = segment.places[at..].iter().take_while(|place| place.index() == index.get());
            place.into_iter().find(|place| place.is_readable()).map(|place| (n, segment, place))
        });
        let frame = found.map(|(n, segment, place)| self.read_place(n, segment, place));
        self.segments = Some(segments);
        frame.transpose().map(Option::flatten)
    }

    fn read_place(&mut self, n: usize, segment: &Segment, place: &Place) -> Result<Option<OwnedFrame>, ReadError> {
        let (index, offset, length, note) = match place {
            Place::Leaf { index, offset } => (*index, *offset, None, None),
            Place::Damaged { index, offset, length, note } => (*index, *offset, Some(*length), Some(note.clone())),
            Place::Lost { .. } | Place::Between { .. } => return Ok(None),
        };
        let file = match &self.open {
            Some((open, file)) if *open == n => file,
            _ => {
                let folder = self.folder.folder("segments")?;
                let Some(folder) = folder else { return Ok(None) };
                &self.open.insert((n, folder.file(&segment.name)?)).1
            }
        };
        let path = || self.folder.path().join("segments").join(&segment.name);
        let io = |source| ReadError::Io { path: path(), source };
        let mut header = [0; 4];
        read_up_to(file, &mut header, offset).map_err(io)?;
        let stated = u64::from(u32::from_be_bytes(header)) + 4;
        let length = usize::try_from(length.unwrap_or(stated)).unwrap_or(usize::MAX).min(MAX_FRAME_BYTES);
        let mut bytes = vec![0; length];
        let read = read_up_to(file, &mut bytes, offset).map_err(io)?;
        bytes.truncate(read);
        if note.is_some()
            // The length field may be what was damaged; the scan knows how long the frame is.
            && let (Ok(content), Some(head)) = (u32::try_from(read.saturating_sub(4)), bytes.first_chunk_mut())
        {
            *head = content.to_be_bytes();
        }
        let frame = match &note {
            None => SegmentFrame::decode(&bytes).ok().map(|(frame, _)| frame),
            Some(_) => SegmentFrame::decode_damaged(&bytes),
        };
        Ok(match frame {
            Some(SegmentFrame::Leaf { leaf, body: Stored { codec, bytes } }) => Some(OwnedFrame {
                index: LeafIndex::new(index),
                leaf: leaf.to_vec(),
                codec,
                body: bytes.to_vec(),
                flaw: note,
            }),
            Some(SegmentFrame::Mark { .. }) | None => None,
        })
    }

    /// Looks which leaf is where. A segment that has a successor is complete, so it is looked at once.
    fn scan(&mut self, size: u64) -> Result<(), ReadError> {
        let Some(folder) = self.folder.folder("segments")? else { return Ok(()) };
        let names = folder.list()?.into_iter().filter_map(|(name, _)| Some((first_leaf(&name)?, name)));
        let names: BTreeMap<u64, String> = names.collect();
        let firsts: Vec<u64> = names.keys().copied().collect();
        let mut known = self.segments.take().unwrap_or_default().into_iter().peekable();
        let mut segments = Vec::with_capacity(names.len());
        for (n, (first, name)) in names.into_iter().enumerate() {
            let end = firsts.get(n + 1).copied();
            match known.next_if(|known| known.name == name && known.end.is_some() && known.end == end) {
                Some(segment) => segments.push(segment),
                None => segments.push(Segment::scan(&folder, name, first, end, size)?),
            }
        }
        self.segments = Some(segments);
        self.open = None;
        Ok(())
    }

    /// The full tiles and bundles that a log of `size` leaves has stored; what is not to be had is said with why.
    pub fn tiles(&self, size: u64, see: SeeTile<'_>) {
        // A hostile size names more tiles than there are leaves for.
        let size = size.min(self.leaves());
        let tiles = completed_by_growth(0, size).map(TileFile::Tile);
        let bundles = (0..size / u64::from(TILE_WIDTH)).filter_map(|n| BundleId::new(n, TILE_WIDTH).ok());
        let full = tiles.chain(bundles.map(TileFile::Bundle)).map(|file| (file, Presence::Due));
        // Beyond the last full ones a collector that was killed may have left those that its next checkpoint would have
        // covered: they need not be there, but what they say of leaves under this one must hold.
        let next = size / u64::from(TILE_WIDTH);
        let tile = TileId::new(0, next, TILE_WIDTH).map(TileFile::Tile);
        let bundle = BundleId::new(next, TILE_WIDTH).map(TileFile::Bundle);
        let is_partial = !size.is_multiple_of(TILE_WIDTH.into());
        let beyond = [tile, bundle].into_iter().filter(|_| is_partial).flatten();
        // A collector serves partial ones from memory; others leave them in files, until full ones replace them.
        let edge = partial_tiles(size).filter(|_| self.content == Content::Tiles).map(TileFile::Tile);
        let beyond = beyond.chain(edge).map(|file| (file, Presence::Possible));
        for (file, presence) in full.chain(beyond) {
            match (self.folder.read_path(&file.path(), file.max_bytes()), presence) {
                (Ok(bytes), _) => see(file, Ok(&bytes)),
                (Err(e), Presence::Possible) if e.is_absence() => {}
                (Err(e), _) => see(file, Err(&e.to_string())),
            }
        }
    }

    /// The leaf after the last one that is there.
    fn leaves(&self) -> u64 {
        if self.content == Content::Tiles {
            return self.end;
        }
        let last = |segment: &Segment| segment.places.iter().rev().find(|p| p.is_readable()).map(|p| p.index() + 1);
        self.segments.iter().flatten().filter_map(last).max().unwrap_or_default()
    }
}

impl Segment {
    fn scan(folder: &Folder, name: String, first: u64, end: Option<u64>, size: u64) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io { path: folder.path().join(&name), source };
        let mut scan = Scan::default();
        let mut reader = SegmentReader::new(folder.file(&name)?, 0).map_err(io)?;
        while let Some(step) = reader.next().map_err(io)? {
            scan.add(&step);
        }
        let places = scan.place(&format!("segments/{name}"), first, end.unwrap_or(size));
        Ok(Self { name, end, places })
    }
}

impl Place {
    const fn index(&self) -> u64 {
        match self {
            Self::Leaf { index, .. }
            | Self::Damaged { index, .. }
            | Self::Lost { index, .. }
            | Self::Between { before: index, .. } => *index,
        }
    }

    const fn is_readable(&self) -> bool {
        matches!(self, Self::Leaf { .. } | Self::Damaged { .. })
    }
}

/// The index in a segment's name; `None` for other files.
fn first_leaf(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 20)?;
    let index = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?;
    index.filter(|index| *index <= MAX_TREE_SIZE)
}

/// Fills the buffer as far as the file goes; gives how far.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
