//! SHA-256 digests and tagged hashes.
//!
//! Owns the one type for 32 hashed bytes and the tagged hash of the format:
//! `H[tag](m) = SHA256( SHA256(tag) ‖ SHA256(tag) ‖ m )`. The 64-byte prefix is one block of SHA-256, so
//! [`Tag`] keeps the state after it and a tagged hash costs no more than a plain one.
//! A hash made for one purpose can never be taken for one made for another: each purpose has its own tag.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest. Shown and parsed as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Length of a digest in bytes.
    pub const LEN: usize = 32;

    /// Takes 32 bytes as a digest.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Plain SHA-256 of `data`.
    ///
    /// ```
    /// use indelible_chain::digest::Digest;
    /// assert_eq!(
    ///     Digest::sha256(b"").to_string(),
    ///     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    /// );
    /// ```
    pub fn sha256(data: &[u8]) -> Self {
        Self(Sha256::digest(data).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: expected 64 lower-case hex digits")]
pub struct ParseDigestError;

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(s: &str) -> Result<Self, ParseDigestError> {
        fn nibble(c: u8) -> Result<u8, ParseDigestError> {
            match c {
                b'0'..=b'9' => Ok(c - b'0'),
                b'a'..=b'f' => Ok(c - b'a' + 10),
                _ => Err(ParseDigestError),
            }
        }
        let hex: &[u8; 64] = s.as_bytes().try_into().map_err(|_| ParseDigestError)?;
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(out))
    }
}

/// The purposes that the format hashes for, each with its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// `indelible/genesis/v1`: a chain's id.
    Genesis,
    /// `indelible/content/v1`: one payload.
    Content,
    /// `indelible/link/v1`: one link of a chain.
    Link,
    /// `indelible/session/v1`: a session's id.
    Session,
    /// `indelible/batch/v1`: what a session signs over a batch.
    Batch,
    /// `indelible/heartbeat/v1`: what a session signs over a heartbeat.
    Heartbeat,
    /// `indelible/receipt/v1`: what a log signs over a receipt.
    Receipt,
    /// `indelible/statement/v1`: what an authority signs over a statement.
    Statement,
}

static STATES: LazyLock<[Sha256; 8]> = LazyLock::new(|| {
    [
        "indelible/genesis/v1",
        "indelible/content/v1",
        "indelible/link/v1",
        "indelible/session/v1",
        "indelible/batch/v1",
        "indelible/heartbeat/v1",
        "indelible/receipt/v1",
        "indelible/statement/v1",
    ]
    .map(|tag| {
        let tag = Sha256::digest(tag);
        Sha256::new().chain_update(tag).chain_update(tag)
    })
});

impl Tag {
    fn hasher(self) -> Sha256 {
        STATES[self as usize].clone()
    }

    /// `H[tag](m)` where `m` is the concatenation of `parts`.
    ///
    /// ```
    /// use indelible_chain::digest::{Digest, Tag};
    /// let tag = Digest::sha256(b"indelible/link/v1");
    /// let long_way = [tag.as_bytes().as_slice(), tag.as_bytes(), b"m"].concat();
    /// assert_eq!(Tag::Link.hash(&[b"m"]), Digest::sha256(&long_way));
    /// ```
    pub fn hash(self, parts: &[&[u8]]) -> Digest {
        let mut hasher = self.hasher();
        for part in parts {
            hasher.update(part);
        }
        Digest(hasher.finalize().into())
    }
}
