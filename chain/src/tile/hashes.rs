//! Reading complete subtrees out of tiles, for proofs, roots and recovery.
//!
//! A subtree of `2^(8L + k)` leaves, k below 8, is the root over `2^k` neighbouring hashes of one tile at level L. So
//! each hash that a proof needs costs one tile; a reader that keeps the last few tiles pays about one read a level.
//!
//! Invariant: nothing is asked for that a tree of the stated size does not have, and a tile that is shorter than asked
//! for is an error, never a panic.

use super::TileId;
use crate::digest::Digest;
use crate::merkle::{HashSource, Tree};

/// A tree of a known size whose tiles are read through a function.
///
/// The function is asked for a tile as wide as a tree of that size has it. It may give more hashes than the width, as
/// the full tile does that has replaced a partial one. Its hashes are taken as they are: whether they belong to the
/// log shows in the root.
#[derive(Clone, Debug)]
pub struct TileHashes<F> {
    size: u64,
    read: F,
}

/// Why a subtree could not be read from tiles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileHashesError<E> {
    /// The tree has no such complete subtree.
    #[error("subtree {index} at level {level} is not complete in a tree of {size} leaves")]
    BeyondSize {
        /// Log2 of the subtree's leaves.
        level: u8,
        /// Its number at that level.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// The tile has fewer hashes than its width.
    #[error("tile {path} has only {found} hashes")]
    Short {
        /// Path of the tile.
        path: String,
        /// Hashes that were read.
        found: usize,
    },
    /// The tile could not be read.
    #[error("cannot read tile {path}")]
    Read {
        /// Path of the tile.
        path: String,
        /// Why.
        source: E,
    },
}

impl<F> TileHashes<F> {
    /// The tree of `size` leaves whose tiles `read` reads.
    pub const fn new(size: u64, read: F) -> Self {
        Self { size, read }
    }
}

impl<E, F: Fn(TileId) -> Result<Vec<Digest>, E>> HashSource for TileHashes<F> {
    type Error = TileHashesError<E>;

    fn subtree(&self, level: u8, index: u64) -> Result<Digest, Self::Error> {
        let beyond = TileHashesError::BeyondSize { level, index, size: self.size };
        let complete = self.size.checked_shr(level.into()).unwrap_or(0);
        if index >= complete {
            return Err(beyond);
        }
        // The leaves of the subtree are in the tree, so this shift loses no bits.
        let first = index << (level % 8);
        let Some(id) = TileId::in_tree(self.size, level / 8, first / 256) else { return Err(beyond) };
        let hashes = (self.read)(id).map_err(|source| TileHashesError::Read { path: id.path(), source })?;
        let offset = (first % 256) as usize;
        let Some(row) = hashes.get(offset..offset + (1 << (level % 8))) else {
            return Err(TileHashesError::Short { path: id.path(), found: hashes.len() });
        };
        Ok(row.iter().copied().collect::<Tree>().root())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::super::{TileEdge, completed_by_growth};
    use super::*;
    use crate::merkle::{MemoryHashes, leaf_hash, prove_consistency, prove_inclusion, root_at};

    const SIZE: u64 = 66_300;

    #[test]
    fn a_log_in_tiles_is_the_log_in_memory() {
        let mut memory = MemoryHashes::new();
        let mut edge = TileEdge::new();
        let mut tree = Tree::new();
        let mut full = BTreeMap::new();
        for i in 0..SIZE {
            let leaf = leaf_hash(&i.to_be_bytes());
            memory.push(leaf);
            tree.push(leaf);
            let completed = edge.push(leaf);
            let expected: Vec<_> = completed_by_growth(i, i + 1).collect();
            assert_eq!(completed.iter().map(|tile| tile.id).collect::<Vec<_>>(), expected);
            full.extend(completed.into_iter().map(|tile| (tile.id, tile.hashes)));
        }
        assert_eq!(edge.tree(), tree);
        assert_eq!(full.keys().copied().collect::<Vec<_>>(), completed_by_growth(0, SIZE).collect::<Vec<_>>());

        let read = |id: TileId| -> Result<_, Infallible> {
            Ok(edge.tile(id).map_or_else(|| full[&id.full()].clone(), <[Digest]>::to_vec))
        };
        for size in [1, 255, 256, 257, 65_535, 65_536, 65_537, SIZE] {
            let tiles = TileHashes::new(size, read);
            assert_eq!(root_at(size, &tiles).unwrap(), root_at(size, &memory).unwrap());
            for other in [0, size / 3, size - 1] {
                assert_eq!(prove_inclusion(other, size, &tiles), Ok(prove_inclusion(other, size, &memory).unwrap()));
                assert_eq!(
                    prove_consistency(other, size, &tiles),
                    Ok(prove_consistency(other, size, &memory).unwrap())
                );
            }
        }
        assert_eq!(TileEdge::from_source(SIZE, &TileHashes::new(SIZE, read)), Ok(edge.clone()));
    }

    #[test]
    fn what_the_tree_does_not_have_is_not_asked_for() {
        let tiles = TileHashes::new(300, |id| -> Result<Vec<Digest>, Infallible> { panic!("{id:?} was asked for") });
        for (level, index) in [(0, 300), (8, 1), (9, 0), (63, 0), (64, 0), (255, 0), (0, u64::MAX), (7, u64::MAX)] {
            let error = TileHashesError::BeyondSize { level, index, size: 300 };
            assert_eq!(tiles.subtree(level, index), Err(error));
        }
    }

    #[test]
    fn a_tile_shorter_than_asked_for_is_an_error() {
        let tiles = TileHashes::new(300, |_| Ok::<_, Infallible>(vec![leaf_hash(b""); 3]));
        assert!(tiles.subtree(1, 0).is_ok());
        assert_eq!(tiles.subtree(2, 64), Err(TileHashesError::Short { path: "tile/0/001.p/44".into(), found: 3 }));
    }
}
