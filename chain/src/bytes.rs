//! Reading and writing the format's binary structures.
//!
//! Owns the strictness that every decoder shares: integers are big-endian, `lp16` and `lp32` are a length and
//! that many bytes, strings are UTF-8 of at most [`MAX_STRING`] bytes, nothing may trail, and no length is
//! trusted before the bytes are there. A decoder borrows from its input, so it cannot allocate more than the
//! input justifies.

use crate::digest::Digest;

/// Longest string of the format, in bytes, where nothing else is said.
pub const MAX_STRING: usize = 1024;

/// Why bytes are not the structure that they should be. `what` names the structure or field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside a field.
    #[error("{what}: the bytes end inside it")]
    Truncated {
        /// The field.
        what: &'static str,
    },
    /// Bytes follow the structure.
    #[error("{what}: {count} bytes too many")]
    Trailing {
        /// The structure.
        what: &'static str,
        /// How many bytes follow it.
        count: usize,
    },
    /// A length or count over its limit.
    #[error("{what}: {value} is over the limit of {limit}")]
    TooLarge {
        /// The field.
        what: &'static str,
        /// What was given.
        value: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A version, type, flag or code that this version of the format does not have.
    #[error("{what}: unknown value {value}")]
    Unknown {
        /// The field.
        what: &'static str,
        /// What was given.
        value: u64,
    },
    /// A string that is not UTF-8.
    #[error("{what}: not UTF-8")]
    Utf8 {
        /// The field.
        what: &'static str,
    },
    /// Values that contradict each other or the format's rules.
    #[error("{what}: {why}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// The rule.
        why: &'static str,
    },
}

impl DecodeError {
    /// A broken rule.
    pub const fn invalid(what: &'static str, why: &'static str) -> Self {
        Self::Invalid { what, why }
    }
}

/// A cursor over bytes from outside.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `n` bytes.
    pub fn take(&mut self, what: &'static str, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(DecodeError::Truncated { what })?;
        self.rest = rest;
        Ok(head)
    }

    /// Takes a fixed number of bytes.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated { what })?;
        self.rest = rest;
        Ok(*head)
    }

    /// Takes a byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    /// Takes a 16-bit integer.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array(what)?))
    }

    /// Takes a 32-bit integer.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    /// Takes a 64-bit integer.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    /// Takes a time.
    pub fn i64(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array(what)?))
    }

    /// Takes a digest.
    pub fn digest(&mut self, what: &'static str) -> Result<Digest, DecodeError> {
        Ok(Digest::new(self.array(what)?))
    }

    /// Takes `lp16` bytes.
    pub fn lp16(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.u16(what)?;
        self.take(what, len.into())
    }

    /// Takes `lp32` bytes, at most `limit` of them.
    pub fn lp32(&mut self, what: &'static str, limit: usize) -> Result<&'a [u8], DecodeError> {
        let len = self.u32(what)? as usize;
        if len > limit {
            return Err(DecodeError::TooLarge { what, value: len as u64, limit: limit as u64 });
        }
        self.take(what, len)
    }

    /// Takes an `lp16` string of at most [`MAX_STRING`] bytes.
    pub fn string(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let bytes = self.lp16(what)?;
        if bytes.len() > MAX_STRING {
            return Err(DecodeError::TooLarge { what, value: bytes.len() as u64, limit: MAX_STRING as u64 });
        }
        std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8 { what })
    }

    /// Takes a version byte, which must be 1.
    pub fn version(&mut self, what: &'static str) -> Result<(), DecodeError> {
        match self.u8(what)? {
            1 => Ok(()),
            value => Err(DecodeError::Unknown { what, value: value.into() }),
        }
    }

    /// Ends the reading: nothing may be left.
    pub const fn end(self, what: &'static str) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing { what, count: self.rest.len() }) }
    }
}

/// Writes the format's primitives at the end of a byte vector.
///
/// Lengths are the caller's invariants: types of this crate are only made with strings and lists within the
/// limits that the matching reader enforces.
pub trait Put {
    /// Appends raw bytes.
    fn put(&mut self, bytes: &[u8]);

    /// Appends `lp16(bytes)`.
    fn put_lp16(&mut self, bytes: &[u8]) {
        let len = u16::try_from(bytes.len()).expect("an lp16 field was checked when its type was made");
        self.put(&len.to_be_bytes());
        self.put(bytes);
    }

    /// Appends `lp32(bytes)`.
    fn put_lp32(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).expect("an lp32 field was checked when its type was made");
        self.put(&len.to_be_bytes());
        self.put(bytes);
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A string that fits the format: UTF-8, at most [`MAX_STRING`] bytes.
pub fn check_string(what: &'static str, s: &str) -> Result<(), DecodeError> {
    if s.len() > MAX_STRING {
        return Err(DecodeError::TooLarge { what, value: s.len() as u64, limit: MAX_STRING as u64 });
    }
    Ok(())
}
