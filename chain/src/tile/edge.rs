//! The right edge of a growing log, in tiles.
//!
//! It holds the partial tile of each level, at most 8 times 255 hashes whatever the size of the log. A leaf that
//! completes a tile makes it fall off: it is handed out once, to be stored, and never needed here again.
//!
//! Invariant: level L holds `floor(size / 256^L) mod 256` hashes, so the edge of a size is the same whether it grew or
//! was read back from full tiles and the last leaves.

use super::{LEVELS, TILE_WIDTH, TileId, hashes_at, partial_tiles};
use crate::digest::Digest;
use crate::merkle::{HashSource, MAX_TREE_SIZE, ProveError, Tree};

/// The partial tiles of a log that grows.
///
/// ```
/// use indelible_chain::{merkle::leaf_hash, tile::{TileEdge, TileId}};
/// let mut edge = TileEdge::new();
/// let completed: Vec<_> = (0..300u64).flat_map(|i| edge.push(leaf_hash(&i.to_be_bytes()))).collect();
/// assert_eq!(completed.len(), 1);
/// assert_eq!(completed[0].id.path(), "tile/0/000");
/// assert_eq!(edge.tile(TileId::parse_path("tile/0/001.p/44").unwrap()).unwrap().len(), 44);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TileEdge {
    size: u64,
    rows: [Vec<Digest>; LEVELS as usize],
}

/// A tile that has just got its last hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedTile {
    /// Which tile; a full one.
    pub id: TileId,
    /// Its 256 hashes.
    pub hashes: Vec<Digest>,
}

impl TileEdge {
    /// Of the log without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of the first `size` leaves of `source`, as at the start of a recovery.
    ///
    /// It asks for the last `size mod 256` leaf hashes and else only for roots of full tiles.
    pub fn from_source<S: HashSource>(size: u64, source: &S) -> Result<Self, ProveError<S::Error>> {
        if size > MAX_TREE_SIZE {
            return Err(ProveError::TooLarge(size));
        }
        let mut edge = Self { size, ..Self::default() };
        for tile in partial_tiles(size) {
            let first = tile.index() * u64::from(TILE_WIDTH);
            edge.rows[usize::from(tile.level())] = (first..first + u64::from(tile.width()))
                .map(|index| source.subtree(8 * tile.level(), index))
                .collect::<Result<_, _>>()
                .map_err(ProveError::Source)?;
        }
        Ok(edge)
    }

    /// Appends a leaf by its hash. Gives the tiles that it completes, lowest level first; most leaves complete none.
    pub fn push(&mut self, leaf_hash: Digest) -> Vec<CompletedTile> {
        let mut completed = Vec::new();
        let mut hash = leaf_hash;
        self.size += 1;
        for (level, row) in (0..LEVELS).zip(&mut self.rows) {
            row.push(hash);
            if row.len() < usize::from(TILE_WIDTH) {
                break;
            }
            let hashes = std::mem::take(row);
            hash = tree_over(&hashes).root();
            let index = hashes_at(level + 1, self.size) - 1;
            completed.push(CompletedTile { id: TileId { level, index, width: TILE_WIDTH }, hashes });
        }
        completed
    }

    /// The number of leaves of the log.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of a partial tile, if the edge still holds that many of it; full tiles have fallen off.
    pub fn tile(&self, id: TileId) -> Option<&[Digest]> {
        let row = self.rows.get(usize::from(id.level()))?;
        let here = hashes_at(id.level(), self.size) / u64::from(TILE_WIDTH);
        row.get(..usize::from(id.width())).filter(|_| id.index() == here)
    }

    /// The tree of the log: what its root is computed from.
    pub fn tree(&self) -> Tree {
        let edge = self.rows.iter().rev().flat_map(|row| tree_over(row).edge().to_vec()).collect();
        Tree::from_checked_edge(self.size, edge)
    }
}

/// The tree over a row of hashes, whose edge is that of the log within this row.
fn tree_over(row: &[Digest]) -> Tree {
    row.iter().copied().collect()
}
