//! Bodies as they are sent and stored: a codec and bytes.
//!
//! | codec | bytes |
//! | --- | --- |
//! | 0 | the body |
//! | 1 | the body, zstd |
//! | 2, 3 | the sparse body of a redacted batch, plain and zstd ([`crate::sparse`]) |
//! | 254 | nothing: not given out to this reader |
//! | 255 | nothing: pruned |
//!
//! The length that a leaf states bounds what is unpacked, so that a small input never grows into a large one.

use zstd::zstd_safe::CParameter;

use crate::bytes::DecodeError;

/// How a body is stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Codec {
    /// As it is.
    Plain = 0,
    /// One zstd frame.
    Zstd = 1,
    /// The sparse body of a redacted batch.
    Sparse = 2,
    /// The same, zstd.
    SparseZstd = 3,
    /// Not given out to this reader; no bytes.
    Withheld = 254,
    /// Removed by retention; no bytes.
    Pruned = 255,
}

impl Codec {
    /// Reads the code of the format.
    pub const fn from_code(code: u8) -> Result<Self, DecodeError> {
        match code {
            0 => Ok(Self::Plain),
            1 => Ok(Self::Zstd),
            2 => Ok(Self::Sparse),
            3 => Ok(Self::SparseZstd),
            254 => Ok(Self::Withheld),
            255 => Ok(Self::Pruned),
            _ => Err(DecodeError::Unknown { what: "body codec", value: code as u64 }),
        }
    }

    /// The code of the format.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// A body as it is stored. Whether it is what its leaf commits to is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored<'a> {
    /// How.
    pub codec: Codec,
    /// The stored bytes.
    pub bytes: &'a [u8],
}

/// Reused contexts and buffers for packing and unpacking bodies: one for each thread that does so.
pub struct Packer {
    compressor: zstd::bulk::Compressor<'static>,
    decompressor: zstd::bulk::Decompressor<'static>,
    packed: Vec<u8>,
    unpacked: Vec<u8>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

/// zstd's level: the fastest of the ordinary ones.
pub const ZSTD_LEVEL: i32 = 1;
/// Shortest match that is looked for, and the size of the table of where bytes were seen, as a power of two. For inputs of
/// a batch's size zstd would take 6 and 14; log lines repeat in longer pieces, and the smaller table stays in the core's
/// nearest cache: a tenth less time, the same size (`docs/benchmarks.md`).
const ZSTD_MIN_MATCH: u32 = 7;
const ZSTD_HASH_LOG: u32 = 13;

impl Packer {
    /// Makes the contexts. Fails only without memory.
    pub fn new() -> std::io::Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        compressor.set_parameter(CParameter::MinMatch(ZSTD_MIN_MATCH))?;
        compressor.set_parameter(CParameter::HashLog(ZSTD_HASH_LOG))?;
        Ok(Self {
            compressor,
            decompressor: zstd::bulk::Decompressor::new()?,
            packed: Vec::new(),
            unpacked: Vec::new(),
        })
    }

    /// Packs a body: zstd if that makes it smaller.
    pub fn pack<'a>(&'a mut self, body: &'a [u8]) -> Stored<'a> {
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(body.len()));
        match self.compressor.compress_to_buffer(body, &mut self.packed) {
            Ok(n) if n < body.len() => Stored { codec: Codec::Zstd, bytes: &self.packed },
            _ => Stored { codec: Codec::Plain, bytes: body },
        }
    }

    /// Unpacks a stored body of at most `limit` bytes. Codecs without a body give an empty one.
    pub fn unpack<'a>(&'a mut self, stored: Stored<'a>, limit: usize) -> Result<&'a [u8], DecodeError> {
        const WHAT: &str = "stored body";
        let too_large = |value| DecodeError::TooLarge { what: WHAT, value, limit: limit as u64 };
        match stored.codec {
            Codec::Plain | Codec::Sparse if stored.bytes.len() > limit => Err(too_large(stored.bytes.len() as u64)),
            Codec::Plain | Codec::Sparse => Ok(stored.bytes),
            Codec::Zstd | Codec::SparseZstd => {
                self.unpacked.clear();
                self.unpacked.reserve(limit);
                // `decompress_to_buffer` writes up to the capacity, which may be more than was asked for.
                match self.decompressor.decompress_to_buffer(stored.bytes, &mut self.unpacked) {
                    Ok(n) if n > limit => Err(too_large(n as u64)),
                    Ok(_) => Ok(&self.unpacked),
                    Err(_) => Err(DecodeError::invalid(WHAT, "not one zstd frame of at most the stated length")),
                }
            }
            Codec::Withheld | Codec::Pruned if stored.bytes.is_empty() => Ok(&[]),
            Codec::Withheld | Codec::Pruned => Err(DecodeError::Trailing { what: WHAT, count: stored.bytes.len() }),
        }
    }
}
