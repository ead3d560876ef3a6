//! Entries bundles: the leaves of a log, 256 to a file.
//!
//! A bundle's bytes are each leaf as `u16 length ‖ leaf`, one after the other, so a leaf is at most 65,535 bytes. The
//! path is `tile/entries/<N>[.p/<W>]`.
//!
//! Invariant: a bundle is read only if it holds exactly as many leaves as its id says and not a byte more.

use super::{TILE_WIDTH, TileError, bounded, index_path, parse_index_path, width_at};
use crate::bytes::{DecodeError, Put as _, Reader};

/// The longest leaf that a bundle can hold, in bytes.
pub const MAX_LEAF_BYTES: usize = 65_535;

/// A bundle: its index and how many leaves of it are meant.
///
/// ```
/// use indelible_chain::tile::BundleId;
/// let bundle = BundleId::parse_path("tile/entries/000.p/2").unwrap();
/// let bytes = bundle.encode([b"leaf".as_slice(), b""]).unwrap();
/// assert_eq!(bytes, b"\x00\x04leaf\x00\x00");
/// assert_eq!(bundle.decode(&bytes).unwrap(), [b"leaf".as_slice(), b""]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId {
    index: u64,
    width: u16,
}

/// Why leaves are not those of a bundle, or bytes not a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// More or fewer leaves were given than the bundle has.
    #[error("bundle {path} has {expected} leaves, {found} were given")]
    Count {
        /// Path of the bundle.
        path: String,
        /// Leaves that the bundle has.
        expected: u16,
        /// Leaves that were given, counted up to one too many.
        found: usize,
    },
    /// A leaf is longer than [`MAX_LEAF_BYTES`].
    #[error("a leaf of {0} bytes does not fit a bundle, the limit is {MAX_LEAF_BYTES}")]
    LeafTooLong(usize),
    /// The bytes are not as many leaves as the bundle has.
    #[error("cannot read bundle {path}")]
    Decode {
        /// Path of the bundle.
        path: String,
        /// What is wrong with the bytes.
        source: DecodeError,
    },
}

impl BundleId {
    /// The first `width` (1 to 256) leaves of bundle `index`.
    pub const fn new(index: u64, width: u16) -> Result<Self, TileError> {
        if width == 0 || width > TILE_WIDTH {
            return Err(TileError::Width(width));
        }
        Ok(Self { index, width })
    }

    /// Bundle `index` as wide as it is in a log of `size` leaves; `None` if it has no leaf there.
    pub fn in_tree(size: u64, index: u64) -> Option<Self> {
        Some(Self { index, width: width_at(size, index)? })
    }

    /// Number of the bundle, from 0; its first leaf is number 256 times this.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Number of leaves, 1 to 256.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Whether the bundle has all of its 256 leaves.
    pub const fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full bundle at the same position: what a client asks for when a partial one is gone.
    #[must_use]
    pub const fn full(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }

    /// The path under the log's prefix, `tile/entries/<N>[.p/<W>]`.
    pub fn path(self) -> String {
        format!("tile/entries/{}", index_path(self.index, self.width))
    }

    /// Reads a path; only the text that [`BundleId::path`] gives is accepted.
    pub fn parse_path(path: &str) -> Result<Self, TileError> {
        let numbers = bounded(path).and_then(|path| parse_index_path(path.strip_prefix("tile/entries/")?));
        let (index, width) = numbers.ok_or(TileError::BundlePath)?;
        Ok(Self { index, width })
    }

    /// The bytes of the bundle with these leaves, which must be as many as it has.
    pub fn encode<'a>(self, leaves: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, BundleError> {
        let mut bytes = Vec::new();
        let mut found = 0;
        for leaf in leaves.into_iter().take(usize::from(self.width) + 1) {
            if leaf.len() > MAX_LEAF_BYTES {
                return Err(BundleError::LeafTooLong(leaf.len()));
            }
            bytes.put_lp16(leaf);
            found += 1;
        }
        if found != usize::from(self.width) {
            return Err(BundleError::Count { path: self.path(), expected: self.width, found });
        }
        Ok(bytes)
    }

    /// Reads the bundle's leaves out of its bytes.
    pub fn decode(self, bytes: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
        let mut reader = Reader::new(bytes);
        let leaves = (0..self.width).map(|_| reader.lp16("leaf")).collect::<Result<_, _>>();
        leaves
            .and_then(|leaves| reader.end("bundle").map(|()| leaves))
            .map_err(|source| BundleError::Decode { path: self.path(), source })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bundle_takes_exactly_its_own_leaves() {
        let bundle = BundleId::new(3, 2).unwrap();
        let leaf = b"leaf".as_slice();
        for count in [0, 1, 3, 300] {
            assert!(matches!(bundle.encode(vec![leaf; count]), Err(BundleError::Count { expected: 2, .. })));
        }
        assert_eq!(bundle.encode([leaf, &vec![0; 65_536]]), Err(BundleError::LeafTooLong(65_536)));
        assert!(bundle.encode([leaf, &vec![0; 65_535]]).is_ok());
    }

    #[test]
    fn a_bundle_cut_or_extended_anywhere_is_refused() {
        let bundle = BundleId::new(0, 3).unwrap();
        let mut bytes = bundle.encode([b"one".as_slice(), b"", b"three"]).unwrap();
        for length in 0..bytes.len() {
            assert!(bundle.decode(&bytes[..length]).is_err());
        }
        bytes.push(0);
        assert!(matches!(
            bundle.decode(&bytes),
            Err(BundleError::Decode { source: DecodeError::Trailing { count: 1, .. }, .. })
        ));
    }

    #[test]
    fn bundle_paths_are_strict() {
        for path in ["tile/entries/", "tile/entries/5", "tile/0/000", "tile/entries/000.p/0", "tile/entries/000.p/256"]
        {
            assert_eq!(BundleId::parse_path(path), Err(TileError::BundlePath), "{path}");
        }
        let largest = BundleId::new(u64::MAX, 255).unwrap();
        assert_eq!(BundleId::parse_path(&largest.path()), Ok(largest));
    }

    proptest! {
        #[test]
        fn bytes_that_are_a_bundle_are_its_only_encoding(bytes: Vec<u8>, width in 1..=4u16) {
            let bundle = BundleId::new(0, width).unwrap();
            if let Ok(leaves) = bundle.decode(&bytes) {
                prop_assert_eq!(bundle.encode(leaves), Ok(bytes.clone()));
            }
        }

        #[test]
        fn a_bundle_is_the_leaves_that_were_encoded(
            leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..=256),
        ) {
            let bundle = BundleId::new(0, u16::try_from(leaves.len()).unwrap()).unwrap();
            let bytes = bundle.encode(leaves.iter().map(Vec::as_slice)).unwrap();
            prop_assert_eq!(bundle.decode(&bytes).unwrap(), leaves);
        }
    }
}
