//! The hashes of a whole tree in memory: the source for tests, demonstrations and small logs.
//!
//! It keeps every complete subtree, 64 bytes a leaf on average, and is bounded only by what is pushed.

use super::{HashSource, node_hash};
use crate::digest::Digest;

/// Every complete subtree's hash of a growing tree, by level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryHashes {
    levels: Vec<Vec<Digest>>,
}

impl MemoryHashes {
    /// Of the tree without leaves.
    pub const fn new() -> Self {
        Self { levels: Vec::new() }
    }

    /// Appends a leaf by its hash, and the subtrees that it completes.
    pub fn push(&mut self, leaf_hash: Digest) {
        let mut hash = leaf_hash;
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let row = &mut self.levels[level];
            row.push(hash);
            let [.., left, right] = row.as_slice() else { return };
            if row.len() % 2 == 1 {
                return;
            }
            hash = node_hash(*left, *right);
        }
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }
}

impl Extend<Digest> for MemoryHashes {
    fn extend<I: IntoIterator<Item = Digest>>(&mut self, leaf_hashes: I) {
        leaf_hashes.into_iter().for_each(|hash| self.push(hash));
    }
}

impl FromIterator<Digest> for MemoryHashes {
    fn from_iter<I: IntoIterator<Item = Digest>>(leaf_hashes: I) -> Self {
        let mut hashes = Self::new();
        hashes.extend(leaf_hashes);
        hashes
    }
}

impl HashSource for MemoryHashes {
    type Error = BeyondSize;

    fn subtree(&self, level: u8, index: u64) -> Result<Digest, BeyondSize> {
        let row = self.levels.get(usize::from(level));
        let hash = row.and_then(|row| row.get(usize::try_from(index).ok()?));
        hash.copied().ok_or(BeyondSize { level, index, size: self.size() })
    }
}

/// The hash was asked for beyond the size of the tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("subtree {index} at level {level} is not complete in a tree of {size} leaves")]
pub struct BeyondSize {
    /// Log2 of the subtree's leaves.
    pub level: u8,
    /// Its number at that level.
    pub index: u64,
    /// Leaves of the tree.
    pub size: u64,
}
