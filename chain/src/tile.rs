//! Tiles: how a log's hashes and leaves are cut into files, after C2SP tlog-tiles.
//!
//! Hash i of tile (L, N) is the Merkle root of the leaves `[(N·256 + i)·256^L, (N·256 + i + 1)·256^L)`; a full tile has
//! 256 of them, a partial one the first W. A tile's bytes are its hashes, 32 bytes each, one after the other. Leaves
//! themselves stand in entries bundles ([`BundleId`]), 256 to a full one.
//!
//! [`TileId`] and [`BundleId`] name what is stored and served, as paths and back; [`completed_by_growth`] and
//! [`partial_tiles`] say which tiles a tree of some size has; [`TileEdge`] is the right edge of a growing log, from
//! which full tiles fall off; [`TileHashes`] reads subtrees for proofs out of tiles.
//!
//! Invariant: a full tile never changes, and a partial one is a prefix of every wider one of the same position.

mod bundle;
mod edge;
mod hashes;

use crate::digest::Digest;
use crate::note::text::parse_decimal;

pub use bundle::{BundleError, BundleId, MAX_LEAF_BYTES};
pub use edge::{CompletedTile, TileEdge};
pub use hashes::{TileHashes, TileHashesError};

/// Hashes of a full tile and leaves of a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// The highest level that a tile path can name; no tree of 64-bit size has hashes above level 7.
pub const MAX_LEVEL: u8 = 63;

/// Levels at which a tree of 64-bit size can have hashes.
const LEVELS: u8 = 8;

/// Length of the longest path, `tile/entries/` with seven groups and a width.
const MAX_PATH_BYTES: usize = 52;

/// A tile: level, index and how many hashes of it are meant.
///
/// ```
/// use indelible_chain::tile::TileId;
/// let tile = TileId::parse_path("tile/2/x001/000.p/255").unwrap();
/// assert_eq!((tile.level(), tile.index(), tile.width()), (2, 1000, 255));
/// assert_eq!(tile.full().path(), "tile/2/x001/000");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: u8,
    index: u64,
    width: u16,
}

/// Why numbers, a path or bytes are not those of a tile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// The level is above [`MAX_LEVEL`].
    #[error("a tile at level {0} was named, the highest is {MAX_LEVEL}")]
    Level(u8),
    /// The width is 0 or above [`TILE_WIDTH`].
    #[error("a tile of {0} hashes was named, it can have 1 to {TILE_WIDTH}")]
    Width(u16),
    /// The text is no path of a tile.
    #[error(
        "not a tile path: expected tile/<0..63>/<N>[.p/<1..255>] with N in groups of three digits, as tile/0/x001/x234/067.p/5"
    )]
    Path,
    /// The text is no path of an entries bundle.
    #[error("not a bundle path: expected tile/entries/<N>[.p/<1..255>] with N in groups of three digits")]
    BundlePath,
    /// The bytes are not as many as the tile has.
    #[error("tile {path} has {expected} bytes, {found} were given")]
    Length {
        /// Path of the tile.
        path: String,
        /// 32 for each hash.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
}

impl TileId {
    /// The first `width` (1 to 256) hashes of the tile at `level` (0 to 63) and `index`.
    pub const fn new(level: u8, index: u64, width: u16) -> Result<Self, TileError> {
        if level > MAX_LEVEL {
            return Err(TileError::Level(level));
        }
        if width == 0 || width > TILE_WIDTH {
            return Err(TileError::Width(width));
        }
        Ok(Self { level, index, width })
    }

    /// The tile at `level` and `index` as wide as it is in a tree of `size` leaves; `None` if it has no hash there.
    pub fn in_tree(size: u64, level: u8, index: u64) -> Option<Self> {
        let width = width_at(hashes_at(level, size), index)?;
        Some(Self { level, index, width })
    }

    /// 0 for leaf hashes, one more for each 256-fold.
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Number of the tile at its level, from 0.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Number of hashes, 1 to 256.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Whether the tile has all of its 256 hashes.
    pub const fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full tile at the same position: what a client asks for when a partial one is gone.
    #[must_use]
    pub const fn full(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }

    /// The path under the log's prefix, `tile/<L>/<N>[.p/<W>]`.
    pub fn path(self) -> String {
        format!("tile/{}/{}", self.level, index_path(self.index, self.width))
    }

    /// Reads a path; only the text that [`TileId::path`] gives is accepted.
    pub fn parse_path(path: &str) -> Result<Self, TileError> {
        let parts = || {
            let (level, rest) = bounded(path)?.strip_prefix("tile/")?.split_once('/')?;
            let level = u8::try_from(parse_decimal(level)?).ok().filter(|level| *level <= MAX_LEVEL)?;
            let (index, width) = parse_index_path(rest)?;
            Some(Self { level, index, width })
        };
        parts().ok_or(TileError::Path)
    }

    /// Reads the tile's bytes: exactly 32 for each hash.
    pub fn decode(self, bytes: &[u8]) -> Result<Vec<Digest>, TileError> {
        let (hashes, rest) = bytes.as_chunks();
        if hashes.len() != usize::from(self.width) || !rest.is_empty() {
            let expected = usize::from(self.width) * Digest::LEN;
            return Err(TileError::Length { path: self.path(), expected, found: bytes.len() });
        }
        Ok(hashes.iter().copied().map(Digest::new).collect())
    }
}

/// The bytes of a tile with these hashes.
pub fn encode_tile(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The full tiles that a tree of `new_size` leaves has and one of `old_size` has not, lowest level first.
///
/// ```
/// use indelible_chain::tile::completed_by_growth;
/// let paths: Vec<_> = completed_by_growth(255, 65_536).map(|tile| tile.path()).collect();
/// assert_eq!(paths.len(), 257);
/// assert_eq!((&*paths[0], &*paths[256]), ("tile/0/000", "tile/1/000"));
/// ```
pub fn completed_by_growth(old_size: u64, new_size: u64) -> impl Iterator<Item = TileId> {
    (0..LEVELS).flat_map(move |level| {
        let full_at = |size| hashes_at(level, size) / u64::from(TILE_WIDTH);
        (full_at(old_size)..full_at(new_size)).map(move |index| TileId { level, index, width: TILE_WIDTH })
    })
}

/// The partial tiles of a tree of `size` leaves, at most one a level, lowest level first.
///
/// ```
/// use indelible_chain::tile::partial_tiles;
/// let paths: Vec<_> = partial_tiles(70_000).map(|tile| tile.path()).collect();
/// assert_eq!(paths, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
/// ```
pub fn partial_tiles(size: u64) -> impl Iterator<Item = TileId> {
    (0..LEVELS).filter_map(move |level| {
        let index = hashes_at(level, size) / u64::from(TILE_WIDTH);
        TileId::in_tree(size, level, index)
    })
}

/// The hashes that a tree of `size` leaves has at a tile level: `floor(size / 256^level)`.
fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0)
}

/// How many of `count` things stand in group `index` when each holds 256; `None` if none.
fn width_at(count: u64, index: u64) -> Option<u16> {
    let before = index.checked_mul(TILE_WIDTH.into())?;
    let width = count.checked_sub(before)?.min(TILE_WIDTH.into());
    u16::try_from(width).ok().filter(|width| *width > 0)
}

fn bounded(path: &str) -> Option<&str> {
    (path.len() <= MAX_PATH_BYTES).then_some(path)
}

/// `<N>[.p/<W>]`, where N is in groups of three digits, all but the last prefixed `x`.
fn index_path(index: u64, width: u16) -> String {
    let mut groups = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        groups = format!("x{:03}/{groups}", rest % 1000);
        rest /= 1000;
    }
    if width < TILE_WIDTH { format!("{groups}.p/{width}") } else { groups }
}

fn parse_index_path(path: &str) -> Option<(u64, u16)> {
    let (groups, width) = match path.split_once(".p/") {
        Some((groups, width)) => {
            let width = u16::try_from(parse_decimal(width)?).ok();
            (groups, width.filter(|width| (1..TILE_WIDTH).contains(width))?)
        }
        None => (path, TILE_WIDTH),
    };
    let groups: Vec<&str> = groups.split('/').collect();
    let (last, leading) = groups.split_last()?;
    let mut index = 0;
    for group in leading {
        index = append_group(index, group.strip_prefix('x')?).filter(|index| *index > 0)?;
    }
    Some((append_group(index, last)?, width))
}

fn append_group(index: u64, digits: &str) -> Option<u64> {
    let three = digits.len() == 3 && digits.bytes().all(|digit| digit.is_ascii_digit());
    let value = three.then(|| digits.parse::<u64>().ok())??;
    index.checked_mul(1000)?.checked_add(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_that_are_not_canonical_are_refused() {
        for path in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/0//000",
            "tile/0/x000/000",
            "tile/0/x001/x000",
            "tile/0/001/000",
            "tile/0/x001/0000",
            "tile/0/x001//000",
            "tile/0/+01",
            "tile/0/000/",
            "tile/0/000.p/",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/05",
            "tile/0/000.p/5/",
            "tile/0/000.p/5.p/5",
            "tile/00/000",
            "tile/64/000",
            "tile/256/000",
            "tile/-1/000",
            "tile/8/0/000",
            "/tile/0/000",
            "tile/entries/000",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x001/x018/x446/x744/x073/x709/x551/615",
        ] {
            assert_eq!(TileId::parse_path(path), Err(TileError::Path), "{path}");
        }
        let largest = TileId::new(MAX_LEVEL, u64::MAX, 255).unwrap();
        assert_eq!(largest.path(), "tile/63/x018/x446/x744/x073/x709/x551/615.p/255");
        assert_eq!(TileId::parse_path(&largest.path()), Ok(largest));
    }

    #[test]
    fn a_tile_of_impossible_level_or_width_is_refused() {
        assert_eq!(TileId::new(64, 0, 1), Err(TileError::Level(64)));
        assert_eq!(TileId::new(0, 0, 0), Err(TileError::Width(0)));
        assert_eq!(TileId::new(0, 0, 257), Err(TileError::Width(257)));
    }

    #[test]
    fn a_tile_of_other_than_its_own_length_is_refused() {
        let tile = TileId::new(0, 0, 2).unwrap();
        for length in [0, 32, 63, 65, 96] {
            assert!(matches!(tile.decode(&vec![0; length]), Err(TileError::Length { expected: 64, .. })));
        }
    }

    #[test]
    fn the_width_of_a_tile_follows_from_the_size_of_the_tree() {
        let width = |size, level, index| TileId::in_tree(size, level, index).map(TileId::width);
        assert_eq!(width(0, 0, 0), None);
        assert_eq!(width(255, 0, 0), Some(255));
        assert_eq!(width(256, 0, 0), Some(256));
        assert_eq!(width(256, 0, 1), None);
        assert_eq!(width(256, 1, 0), Some(1));
        assert_eq!(width(u64::MAX, 7, 0), Some(255));
        assert_eq!(width(u64::MAX, 8, 0), None);
        assert_eq!(width(u64::MAX, 0, u64::MAX), None);
        assert_eq!(partial_tiles(u64::MAX).count(), 8);
        assert_eq!(partial_tiles(1 << 56).map(TileId::path).collect::<Vec<_>>(), ["tile/7/000.p/1"]);
    }

    proptest! {
        #[test]
        fn a_path_means_one_tile(level in 0..=MAX_LEVEL, index: u64, width in 1..=TILE_WIDTH) {
            let tile = TileId::new(level, index, width).unwrap();
            prop_assert_eq!(TileId::parse_path(&tile.path()), Ok(tile));
        }

        #[test]
        fn any_path_that_is_accepted_is_the_canonical_one(
            path in "(tile/[0-9]{1,2}|tile/entries)(/x[0-9]{3}){0,2}/[0-9]{3}(\\.p/[0-9]{1,3})?|\\PC*",
        ) {
            if let Ok(tile) = TileId::parse_path(&path) {
                prop_assert_eq!(tile.path(), path.clone());
            }
            if let Ok(bundle) = BundleId::parse_path(&path) {
                prop_assert_eq!(bundle.path(), path);
            }
        }

        #[test]
        fn a_tile_is_the_hashes_that_were_encoded(hashes in prop::collection::vec(any::<[u8; 32]>(), 1..=256)) {
            let hashes: Vec<_> = hashes.into_iter().map(Digest::new).collect();
            let tile = TileId::new(0, 0, u16::try_from(hashes.len()).unwrap()).unwrap();
            prop_assert_eq!(tile.decode(&encode_tile(&hashes)), Ok(hashes));
        }
    }
}
