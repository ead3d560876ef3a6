//! Segment files: their names, and reading frames out of them one after the other.
//!
//! Owns how a segment is walked; what its leaves mean is `index`'s and `recover`'s. A walk never goes beyond the end
//! that it was given, so that what is not durable yet is never seen, and never reads more than one frame and one
//! chunk into memory.

use std::sync::Arc;

use indelible_chain::bytes::Reader;
use indelible_chain::frame::{FrameError, MAX_FRAME_BYTES, SegmentFrame};
use indelible_chain::id::LeafIndex;

use crate::limits;
use crate::store::error::ReadError;
use crate::store::files::{ReadAt, read_full};

/// Where segments and their indexes are.
pub const DIR: &str = "segments";

/// The path of the segment that begins with this leaf.
pub fn segment_path(first: LeafIndex) -> String {
    format!("{DIR}/{:020}.seg", first.get())
}

/// The path of that segment's index.
pub fn index_path(first: LeafIndex) -> String {
    format!("{DIR}/{:020}.idx", first.get())
}

/// The first leaf of a segment by its file's name; `None` for other files.
pub fn first_of(name: &str) -> Option<LeafIndex> {
    let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 20)?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok().map(LeafIndex::new))?
}

/// What a walk reads of each frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// Everything; checksums are checked.
    Frames,
    /// Everything as it is: a frame whose checksum does not match is given nevertheless, for a verifier to name.
    AsIs,
    /// Only the leaves; bodies are skipped, and checksums, which cover them too, are not checked.
    Leaves,
}

/// A frame that a walk has come to.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// Where it begins.
    pub offset: u64,
    /// Where the next one begins.
    pub end: u64,
    /// The frame; for [`Depth::Leaves`] with an empty body.
    pub frame: SegmentFrame<'a>,
}

/// A walk over the frames of one segment.
#[derive(Debug)]
pub struct Walker {
    file: Arc<dyn ReadAt>,
    path: String,
    depth: Depth,
    /// Where the next frame begins.
    offset: u64,
    end: u64,
    /// Bytes of the file from `offset` on are `buffer[at..]`.
    buffer: Vec<u8>,
    at: usize,
}

impl Walker {
    /// Walks over `[offset, end)` of a segment; a frame must begin at `offset`.
    pub fn new(file: Arc<dyn ReadAt>, path: String, depth: Depth, offset: u64, end: u64) -> Self {
        Self { file, path, depth, offset, end, buffer: Vec::new(), at: 0 }
    }

    /// The segment.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the next frame begins: after an error, where the bad one does.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Passes marks; whether a leaf's frame follows.
    pub fn at_leaf(&mut self) -> Result<bool, ReadError> {
        const HEAD: usize = 4 + 4 + 2;
        while self.offset < self.end {
            let mark = self.fill(HEAD)? >= HEAD && self.buffer[self.at + 8..self.at + HEAD] == [0; 2];
            if !mark {
                return Ok(true);
            }
            self.next_frame()?;
        }
        Ok(false)
    }

    /// Passes `count` leaves; gives the offset behind them.
    pub fn pass(&mut self, count: u64) -> Result<u64, ReadError> {
        let mut passed = 0;
        while passed < count {
            let Some(found) = self.next_frame()? else { break };
            passed += u64::from(matches!(found.frame, SegmentFrame::Leaf { .. }));
        }
        Ok(self.offset)
    }

    /// The next frame; `None` at the end. After an error the walk is over.
    pub fn next_frame(&mut self) -> Result<Option<Found<'_>>, ReadError> {
        if self.offset >= self.end {
            return Ok(None);
        }
        let length = match self.depth {
            Depth::Frames | Depth::AsIs => self.whole_length()?,
            Depth::Leaves => self.leaf_end()?,
        };
        let offset = self.offset;
        let end = offset + self.length_here();
        let start = self.at;
        // The next call begins behind this frame, whose bytes stay in the buffer until then.
        self.offset = end;
        self.at = start.saturating_add(usize::try_from(end - offset).unwrap_or(usize::MAX));
        let bytes = &self.buffer[start..start + length];
        let frame = match self.depth {
            Depth::Frames => SegmentFrame::decode(bytes).map(|(frame, _)| frame),
            Depth::AsIs => SegmentFrame::decode(bytes).map(|(frame, _)| frame).or_else(|error| match error {
                FrameError::Checksum { .. } => SegmentFrame::decode_damaged(bytes).ok_or(error),
                error => Err(error),
            }),
            Depth::Leaves => leaf_only(bytes),
        };
        match frame {
            Ok(frame) => Ok(Some(Found { offset, end, frame })),
            Err(source) => {
                self.offset = offset;
                self.at = start;
                Err(ReadError::Frame { file: self.path.clone(), offset, source })
            }
        }
    }

    /// Reads the whole frame into the buffer.
    fn whole_length(&mut self) -> Result<usize, ReadError> {
        let have = self.fill(4)?;
        if have < 4 {
            return Err(self.bad(FrameError::Truncated));
        }
        let length = usize::try_from(self.length_here()).unwrap_or(usize::MAX).min(MAX_FRAME_BYTES);
        Ok(self.fill(length)?.min(length))
    }

    /// Reads the frame up to the end of its leaf, or of its mark, into the buffer.
    fn leaf_end(&mut self) -> Result<usize, ReadError> {
        const HEAD: usize = 4 + 4 + 2;
        if self.fill(HEAD)? < HEAD {
            return Err(self.bad(FrameError::Truncated));
        }
        let frame = self.length_here();
        let leaf = usize::from(u16::from_be_bytes([self.buffer[self.at + 8], self.buffer[self.at + 9]]));
        // A mark has no leaf: its codec and its offset follow.
        let length = if leaf == 0 { HEAD + 1 + 8 } else { HEAD + leaf };
        if frame < length as u64 || frame > MAX_FRAME_BYTES as u64 || self.offset + frame > self.end {
            return Err(self.bad(FrameError::Truncated));
        }
        if self.fill(length)? < length {
            return Err(self.bad(FrameError::Truncated));
        }
        Ok(length)
    }

    /// Length of the frame whose first four bytes are in the buffer, as it says itself.
    fn length_here(&self) -> u64 {
        let bytes = self.buffer.get(self.at..self.at + 4).and_then(|bytes| bytes.try_into().ok());
        4 + u64::from(bytes.map_or(0, u32::from_be_bytes))
    }

    /// Makes the buffer hold `length` bytes from the offset on, fewer only at the end; gives how many it holds.
    fn fill(&mut self, length: usize) -> Result<usize, ReadError> {
        let have = self.buffer.len().saturating_sub(self.at);
        if have >= length {
            return Ok(have);
        }
        // What was passed is dropped; what was skipped beyond the buffer was never read.
        self.buffer.drain(..self.at.min(self.buffer.len()));
        self.at = 0;
        let chunk = match self.depth {
            Depth::Frames | Depth::AsIs => limits::READ_CHUNK_BYTES,
            Depth::Leaves => limits::READ_LEAF_BYTES,
        };
        let rest = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        let want = length.max(chunk).min(rest);
        self.buffer.resize(want.max(have), 0);
        let from = self.offset + have as u64;
        let read = read_full(&*self.file, &mut self.buffer[have..], from).map_err(|e| ReadError::io(&self.path, e))?;
        self.buffer.truncate(have + read);
        Ok(self.buffer.len())
    }

    fn bad(&self, source: FrameError) -> ReadError {
        ReadError::Frame { file: self.path.clone(), offset: self.offset, source }
    }
}

/// The leaf, or the mark, of a frame whose body was not read.
fn leaf_only(bytes: &[u8]) -> Result<SegmentFrame<'_>, FrameError> {
    let mut reader = Reader::new(&bytes[8..]);
    let leaf = reader.lp16("frame leaf")?;
    if leaf.is_empty() {
        reader.u8("mark codec")?;
        return Ok(SegmentFrame::Mark { durable: reader.u64("mark offset")? });
    }
    let body = indelible_chain::stored::Stored { codec: indelible_chain::stored::Codec::Withheld, bytes: &[] };
    Ok(SegmentFrame::Leaf { leaf, body })
}
