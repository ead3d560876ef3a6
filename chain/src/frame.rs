//! Leaves with their bodies, as a segment file holds them and as a collector sends them.
//!
//! ```text
//! in a segment    u32 length (of the rest) | u32 crc32c (of the rest) | u16 leaf_len | leaf | u8 codec | body
//! on the wire     u64 index ‖ u16 leaf_len ‖ leaf ‖ u8 codec ‖ u32 stored_len ‖ stored body
//! an upload       commitment[226] ‖ u8 codec ‖ u32 stored_len ‖ stored body
//! ```
//!
//! `length` counts everything after itself, `crc32c` covers everything after itself. A segment frame with `leaf_len` 0
//! is a mark: its codec is 0 and its body the u64 offset in this file up to which all bytes are known to be durable.
//! Shared by the collector, which writes segments, and by everyone who reads a data directory without it.

use crate::batch::{Commitment, MAX_BODY_BYTES};
use crate::bytes::{DecodeError, Put, Reader};
use crate::id::LeafIndex;
use crate::leaf::MAX_LEAF_BYTES;
use crate::stored::{Codec, Stored};

/// Longest stored body: a body, or zstd's worst case for one, with room to spare.
pub const MAX_STORED_BYTES: usize = MAX_BODY_BYTES + 16 * 1024;
/// Longest segment frame, its length field included.
pub const MAX_FRAME_BYTES: usize = FRAME_OVERHEAD + MAX_LEAF_BYTES + MAX_STORED_BYTES;
/// Bytes of a segment frame beside leaf and body.
pub const FRAME_OVERHEAD: usize = 4 + 4 + 2 + 1;
/// Bytes of a mark.
pub const MARK_BYTES: usize = FRAME_OVERHEAD + 8;

/// A frame of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentFrame<'a> {
    /// Everything before this offset of the file is durable.
    Mark {
        /// The offset.
        durable: u64,
    },
    /// A leaf and its body.
    Leaf {
        /// The leaf's bytes.
        leaf: &'a [u8],
        /// Its body.
        body: Stored<'a>,
    },
}

/// Why bytes of a segment are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The bytes end inside the frame.
    #[error("the bytes end inside a frame")]
    Truncated,
    /// The length cannot be that of a frame.
    #[error("a frame's length of {length} bytes is outside {min} to {max}")]
    Length {
        /// What is there.
        length: u32,
        /// The shortest.
        min: usize,
        /// The longest.
        max: usize,
    },
    /// The checksum does not match.
    #[error("a frame's checksum does not match its {length} bytes")]
    Checksum {
        /// Bytes of the whole frame, if its length can be believed.
        length: usize,
    },
    /// The checksum matches, and yet the content is none of a frame.
    #[error("a frame's content: {source}")]
    Content {
        /// What is wrong with it.
        #[from]
        source: DecodeError,
    },
}

impl<'a> SegmentFrame<'a> {
    /// Appends the frame to a buffer.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put(&[0; 8]);
        match self {
            Self::Mark { durable } => {
                out.put(&[0, 0, Codec::Plain.code()]);
                out.put(&durable.to_be_bytes());
            }
            Self::Leaf { leaf, body } => {
                out.put_lp16(leaf);
                out.put(&[body.codec.code()]);
                out.put(body.bytes);
            }
        }
        let length = u32::try_from(out.len() - start - 4).expect("a frame is at most MAX_FRAME_BYTES");
        let crc = crc32c::crc32c(&out[start + 8..]);
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        out[start + 4..start + 8].copy_from_slice(&crc.to_be_bytes());
    }

    /// Reads the frame at the start of `bytes`; also gives its length.
    ///
    /// With `Truncated`, more bytes may help, up to [`MAX_FRAME_BYTES`].
    pub fn decode(bytes: &'a [u8]) -> Result<(Self, usize), FrameError> {
        let (whole, intact) = Self::split(bytes)?;
        if !intact {
            return Err(FrameError::Checksum { length: whole.len() });
        }
        Ok((Self::decode_content(&whole[8..])?, whole.len()))
    }

    /// Reads the frame at the start of `bytes` although its checksum does not match: to name what was damaged.
    pub fn decode_damaged(bytes: &'a [u8]) -> Option<Self> {
        let (whole, _) = Self::split(bytes).ok()?;
        Self::decode_content(&whole[8..]).ok()
    }

    fn split(bytes: &'a [u8]) -> Result<(&'a [u8], bool), FrameError> {
        let mut reader = Reader::new(bytes);
        let length = reader.u32("length").map_err(|_| FrameError::Truncated)?;
        let (min, max) = (FRAME_OVERHEAD - 4, MAX_FRAME_BYTES - 4);
        if !(min..=max).contains(&(length as usize)) {
            return Err(FrameError::Length { length, min, max });
        }
        let whole = bytes.get(..length as usize + 4).ok_or(FrameError::Truncated)?;
        let crc = reader.u32("crc").map_err(|_| FrameError::Truncated)?;
        Ok((whole, crc32c::crc32c(&whole[8..]) == crc))
    }

    fn decode_content(content: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(content);
        let leaf = reader.lp16("frame leaf")?;
        let codec = Codec::from_code(reader.u8("frame codec")?)?;
        if leaf.is_empty() {
            if codec != Codec::Plain {
                return Err(DecodeError::Unknown { what: "mark codec", value: codec.code().into() });
            }
            let durable = reader.u64("mark offset")?;
            reader.end("mark")?;
            return Ok(Self::Mark { durable });
        }
        Ok(Self::Leaf { leaf, body: Stored { codec, bytes: reader.rest() } })
    }
}

/// A leaf with its body and index, as a collector sends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireFrame<'a> {
    /// The leaf's index.
    pub index: LeafIndex,
    /// The leaf's bytes.
    pub leaf: &'a [u8],
    /// Its body.
    pub body: Stored<'a>,
}

impl<'a> WireFrame<'a> {
    /// Longest frame.
    pub const MAX_BYTES: usize = 8 + 2 + MAX_LEAF_BYTES + 1 + 4 + MAX_STORED_BYTES;

    /// Appends the frame to a buffer.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.put(&self.index.get().to_be_bytes());
        out.put_lp16(self.leaf);
        out.put(&[self.body.codec.code()]);
        out.put_lp32(self.body.bytes);
    }

    /// Takes the next frame. [`DecodeError::Truncated`] means that more bytes may help, up to [`Self::MAX_BYTES`].
    pub fn decode_from(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let index = LeafIndex::new(reader.u64("frame index")?);
        let leaf = reader.lp16("frame leaf")?;
        let codec = Codec::from_code(reader.u8("frame codec")?)?;
        let bytes = reader.lp32("frame stored_len", MAX_STORED_BYTES)?;
        Ok(Self { index, leaf, body: Stored { codec, bytes } })
    }
}

/// A batch as a sidecar sends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upload<'a> {
    /// What was signed.
    pub commitment: Commitment,
    /// Its body, plain or zstd.
    pub body: Stored<'a>,
}

impl<'a> Upload<'a> {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let commitment = self.commitment.encode();
        let mut out = Vec::with_capacity(commitment.len() + 5 + self.body.bytes.len());
        out.put(&commitment);
        out.put(&[self.body.codec.code()]);
        out.put_lp32(self.body.bytes);
        out
    }

    /// Reads a whole upload. Only codecs 0 and 1 can be sent.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let commitment = Commitment::decode_from(&mut reader)?;
        let codec = Codec::from_code(reader.u8("upload codec")?)?;
        if !matches!(codec, Codec::Plain | Codec::Zstd) {
            return Err(DecodeError::Unknown { what: "upload codec", value: codec.code().into() });
        }
        let bytes = reader.lp32("upload stored_len", MAX_STORED_BYTES)?;
        reader.end("upload")?;
        Ok(Self { commitment, body: Stored { codec, bytes } })
    }
}
