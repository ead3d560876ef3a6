//! SHA-256 digests and tagged hashes.
//!
//! Owns the one type for 32 hashed bytes and the tagged hash of the format:
//! `H[tag](m) = SHA256( SHA256(tag) ‖ SHA256(tag) ‖ m )`. The 64-byte prefix is one block of SHA-256, so
//! [`Tag`] keeps the state after it and a tagged hash costs no more than a plain one.
//! A hash made for one purpose can never be taken for one made for another: each purpose has its own tag.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use sha2::block_api::compress256;
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

/// SHA-256 after the first block of a tagged hash, which is the same for all of a tag.
struct Prefix {
    /// For a message of any length.
    hasher: Sha256,
    /// For one that is short.
    state: [u32; 8],
}

static PREFIXES: LazyLock<[Prefix; 8]> = LazyLock::new(|| {
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
        let mut block = [0; BLOCK];
        block[..BLOCK / 2].copy_from_slice(&tag);
        block[BLOCK / 2..].copy_from_slice(&tag);
        let mut state = INITIAL;
        compress256(&mut state, &[block]);
        Prefix { hasher: Sha256::new().chain_update(block), state }
    })
});

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;
/// What follows a message: a byte 0x80 and its length in bits.
const PADDING: usize = 1 + 8;
/// The state that SHA-256 begins with (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// Blocks up to which a message with its padding is short.
const SHORT_BLOCKS: usize = 8;

impl Tag {
    /// `H[tag](m)` where `m` is the concatenation of `parts`.
    ///
    /// ```
    /// use indelible_chain::digest::{Digest, Tag};
    /// let tag = Digest::sha256(b"indelible/link/v1");
    /// let long_way = [tag.as_bytes().as_slice(), tag.as_bytes(), b"m"].concat();
    /// assert_eq!(Tag::Link.hash(&[b"m"]), Digest::sha256(&long_way));
    /// ```
    pub fn hash(self, parts: &[&[u8]]) -> Digest {
        let prefix = &PREFIXES[self as usize];
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        match (length + PADDING).div_ceil(BLOCK) {
            // A link; most lines; others that are not long.
            1..=2 => return short::<2>(prefix.state, parts, length),
            3..=4 => return short::<4>(prefix.state, parts, length),
            5..=SHORT_BLOCKS => return short::<SHORT_BLOCKS>(prefix.state, parts, length),
            _ => {}
        }
        let mut hasher = prefix.hasher.clone();
        for part in parts {
            hasher.update(part);
        }
        Digest(hasher.finalize().into())
    }
}

/// The digest of a message that fits `BLOCKS` blocks with its padding, behind a prefix of one block. All of it is laid out
/// and compressed at once: for a line, feeding a hasher piece by piece costs a good part of what hashing does.
fn short<const BLOCKS: usize>(mut state: [u32; 8], parts: &[&[u8]], length: usize) -> Digest {
    let mut blocks = [[0; BLOCK]; BLOCKS];
    let bytes = blocks.as_flattened_mut();
    let mut at = 0;
    for part in parts {
        bytes[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    bytes[at] = 0x80;
    let used = (length + PADDING).div_ceil(BLOCK);
    bytes[used * BLOCK - 8..used * BLOCK].copy_from_slice(&((BLOCK + length) as u64 * 8).to_be_bytes());
    compress256(&mut state, &blocks[..used]);
    let mut digest = [0; Digest::LEN];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    Digest(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_length_and_in_any_parts_has_the_digest_of_the_long_way() {
        let tag = Digest::sha256(b"indelible/content/v1");
        let message: Vec<u8> = (0..2 * SHORT_BLOCKS * BLOCK).map(|n| u8::try_from(n % 251).unwrap()).collect();
        for length in 0..message.len() {
            let message = &message[..length];
            let long_way = Digest::sha256(&[tag.as_bytes().as_slice(), tag.as_bytes(), message].concat());
            let (a, rest) = message.split_at(length / 3);
            let (b, c) = rest.split_at(rest.len() / 2);
            assert_eq!(Tag::Content.hash(&[message]), long_way, "{length} bytes");
            assert_eq!(Tag::Content.hash(&[a, b, c]), long_way, "{length} bytes in parts");
        }
    }
}
