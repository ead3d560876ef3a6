//! One segment file, frame by frame, as far as its bytes can still be read.
//!
//! A frame whose checksum does not hold is not the end: what follows it is still evidence. The reader skips it where its
//! length leads to another frame, looks for the next intact frame otherwise, and says what it skipped as a
//! [`Damage`] with whatever can still be made out of it. Whether the damage matters is for the judge, who knows what
//! the log signed. Memory is bounded by one frame and one read; so is the work of looking, by [`RESYNC_WORK`].

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use indelible_chain::frame::{FRAME_OVERHEAD, FrameError, MARK_BYTES, MAX_FRAME_BYTES, SegmentFrame};
use indelible_chain::stored::Stored;

use crate::limits::{READ_BYTES, RESYNC_WORK};

/// What comes next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A leaf with its body.
    Leaf {
        /// Where the frame begins.
        offset: u64,
        /// The leaf's bytes.
        leaf: &'a [u8],
        /// Its body.
        body: Stored<'a>,
    },
    /// The collector knew everything before `durable` to be on disk.
    Mark {
        /// Where the mark begins, in the file as it is.
        offset: u64,
        /// Where it began when it was written.
        durable: u64,
    },
    /// Bytes that are no intact frame.
    Damage(Damage<'a>),
}

/// Bytes of a segment that are no intact frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage<'a> {
    /// Where they begin.
    pub offset: u64,
    /// How many they are.
    pub length: u64,
    /// Whether nothing but more damage follows in this file: what a crash or a running writer leaves as well.
    pub at_end: bool,
    /// The frame that they seem to have been, if they still look like one.
    pub remains: Option<SegmentFrame<'a>>,
    /// What is wrong with them.
    pub why: FrameError,
}

/// Reads a segment from its start.
#[derive(Debug)]
pub struct SegmentReader {
    file: File,
    /// The file's length when it was opened; what a running collector adds later is read the next time.
    end: u64,
    /// Offset in the file of `buffer[0]`.
    start: u64,
    buffer: Vec<u8>,
    at: usize,
    /// Bytes that may still be checksummed while looking for frames.
    work: u64,
    /// The first bytes of the damage that is being passed.
    damaged: Vec<u8>,
}

impl SegmentReader {
    /// Begins to read `file` at `offset`, where a frame must begin.
    pub fn new(file: File, offset: u64) -> io::Result<Self> {
        let end = file.metadata()?.len();
        let work = end.saturating_mul(RESYNC_WORK);
        Ok(Self { file, end, start: offset, buffer: Vec::new(), at: 0, work, damaged: Vec::new() })
    }

    /// Where the next frame begins.
    pub fn offset(&self) -> u64 {
        self.start + self.at as u64
    }

    /// The next step; `None` at the end of the file, or where only zeros follow: space that was set aside.
    pub fn next(&mut self) -> io::Result<Option<Step<'_>>> {
        self.fill(4)?;
        if self.rest().is_empty() || (self.rest().iter().take(4).all(|b| *b == 0) && self.only_zeros_follow()?) {
            return Ok(None);
        }
        if let Some(length) = frame_length(self.rest()) {
            self.fill(length)?;
        }
        match SegmentFrame::decode(self.rest()).map(|(_, length)| length) {
            Ok(length) => Ok(Some(self.intact(length))),
            Err(why) => self.damage(why).map(Some),
        }
    }

    fn intact(&mut self, length: usize) -> Step<'_> {
        let offset = self.offset();
        let frame = &self.buffer[self.at..self.at + length];
        self.at += length;
        match SegmentFrame::decode(frame).expect("the same bytes were a frame just now").0 {
            SegmentFrame::Leaf { leaf, body } => Step::Leaf { offset, leaf, body },
            SegmentFrame::Mark { durable } => Step::Mark { offset, durable },
        }
    }

    /// Passes damaged bytes up to the next intact frame or the end of the file.
    fn damage(&mut self, why: FrameError) -> io::Result<Step<'_>> {
        let offset = self.offset();
        self.damaged.clear();
        let claimed = matches!(why, FrameError::Checksum { .. } | FrameError::Content { .. })
            .then(|| frame_length(self.rest()))
            .flatten();
        if let Some(length) = claimed
            && self.is_boundary(length)?
        {
            self.damaged.extend_from_slice(&self.buffer[self.at..self.at + length]);
            self.at += length;
        } else {
            self.pass(1);
            while !self.rest().is_empty() && !self.is_intact(0)? {
                self.pass(1);
                self.fill(FRAME_OVERHEAD)?;
            }
        }
        let length = self.offset() - offset;
        let at_end = self.offset() == self.end;
        Ok(Step::Damage(Damage { offset, length, at_end, remains: self.remains(length), why }))
    }

    fn pass(&mut self, n: usize) {
        let passed = &self.buffer[self.at..self.at + n];
        if self.damaged.len() < MAX_FRAME_BYTES {
            self.damaged.extend_from_slice(passed);
        }
        self.at += n;
    }

    /// What the damaged bytes were, if the rest of the frame is as a frame's should be.
    fn remains(&mut self, length: u64) -> Option<SegmentFrame<'_>> {
        if length != self.damaged.len() as u64 || length < FRAME_OVERHEAD as u64 {
            return None;
        }
        // The length field itself may be what was damaged; where the next frame begins tells what it was.
        let content = u32::try_from(length - 4).ok()?;
        self.damaged[..4].copy_from_slice(&content.to_be_bytes());
        SegmentFrame::decode_damaged(&self.damaged)
    }

    /// Whether a frame's end or the end of the file is `ahead` bytes on.
    fn is_boundary(&mut self, ahead: usize) -> io::Result<bool> {
        let there = self.offset() + ahead as u64;
        Ok(there == self.end || self.is_intact(ahead)?)
    }

    /// Whether an intact frame begins `ahead` bytes on.
    fn is_intact(&mut self, ahead: usize) -> io::Result<bool> {
        self.fill(ahead + FRAME_OVERHEAD + 1)?;
        let Some(length) = self.rest().get(ahead..).and_then(plausible_length) else { return Ok(false) };
        let Some(work) = self.work.checked_sub(length as u64) else { return Ok(false) };
        self.work = work;
        self.fill(ahead + length)?;
        Ok(self.rest().get(ahead..).is_some_and(|bytes| SegmentFrame::decode(bytes).is_ok()))
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// Makes at least `n` bytes of the rest available, or all that there are.
    fn fill(&mut self, n: usize) -> io::Result<()> {
        if self.rest().len() >= n {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.start += self.at as u64;
        self.at = 0;
        let have = self.buffer.len();
        let left = self.end.saturating_sub(self.start + have as u64);
        let more = usize::try_from(left).unwrap_or(usize::MAX).min(n.max(READ_BYTES) - have);
        self.buffer.resize(have + more, 0);
        let mut filled = have;
        while filled < self.buffer.len() {
            match self.file.read_at(&mut self.buffer[filled..], self.start + filled as u64) {
                Ok(0) => self.end = self.start + filled as u64, // cut while it was read
                Ok(read) => filled += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
            if self.start + filled as u64 >= self.end {
                break;
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }

    fn only_zeros_follow(&mut self) -> io::Result<bool> {
        let is_zero = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
        if !is_zero(self.rest()) {
            return Ok(false);
        }
        let mut chunk = vec![0; 64 * 1024];
        let mut offset = self.start + self.buffer.len() as u64;
        while offset < self.end {
            let read = self.file.read_at(&mut chunk, offset)?;
            let Some(work) = self.work.checked_sub(read as u64) else { return Ok(false) };
            self.work = work;
            if read == 0 {
                break;
            }
            if !is_zero(&chunk[..read]) {
                return Ok(false);
            }
            offset += read as u64;
        }
        Ok(true)
    }
}

/// The length of the frame that begins here, if it can be one.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize + 4;
    (FRAME_OVERHEAD..=MAX_FRAME_BYTES).contains(&length).then_some(length)
}

/// The same, if what follows looks like a mark or a leaf of version 1: cheap, and rarely true of anything else.
fn plausible_length(bytes: &[u8]) -> Option<usize> {
    let length = frame_length(bytes)?;
    let leaf_len = usize::from(u16::from_be_bytes([*bytes.get(8)?, *bytes.get(9)?]));
    let fits = match leaf_len {
        0 => length == MARK_BYTES && *bytes.get(10)? == 0,
        _ => FRAME_OVERHEAD + leaf_len <= length && *bytes.get(10)? == 1,
    };
    fits.then_some(length)
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
