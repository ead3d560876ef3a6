//! Whether a log's newest tree extends the one that was cosigned, by the log's own tiles. Pure: it says which tile it
//! needs next.
//!
//! A proof that does not hold shows nothing, since anyone may send one. So a log whose checkpoints are not cosigned any
//! more although it grows is asked itself. Tiles that are not those of the signed root say nothing of it either; tiles
//! that are, and do not begin with the tree that was cosigned, convict it.

use std::collections::BTreeMap;

use indelible_chain::digest::Digest;
use indelible_chain::merkle::{ProveError, prove_consistency, root_at, verify_consistency};
use indelible_chain::tile::{TileHashes, TileHashesError, TileId};
use indelible_chain::witness::Head;

/// The tiles of a tree, as far as they were read.
#[derive(Debug)]
pub struct Extension {
    from: Head,
    to: Head,
    tiles: BTreeMap<TileId, Vec<Digest>>,
}

/// What is to be done next, or what came out.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// This tile is needed.
    Need(TileId),
    /// The tree extends the other.
    Extends,
    /// It does not: the log signed two histories.
    Forks,
    /// The tiles are not those of the root that was signed: nothing is shown.
    OtherTiles,
}

impl Extension {
    /// Of one tree to another that is larger.
    pub const fn new(from: Head, to: Head) -> Self {
        Self { from, to, tiles: BTreeMap::new() }
    }

    /// A tile was read.
    pub fn read(&mut self, id: TileId, hashes: Vec<Digest>) {
        self.tiles.insert(id, hashes);
    }

    /// How many tiles were read.
    pub fn tiles(&self) -> usize {
        self.tiles.len()
    }

    /// What is next.
    pub fn step(&self) -> Step {
        let source = TileHashes::new(self.to.size, |id| self.tiles.get(&id).cloned().ok_or(id));
        let root = match root_at(self.to.size, &source) {
            Ok(root) => root,
            Err(error) => return needed(&error),
        };
        if root != self.to.root {
            return Step::OtherTiles;
        }
        match prove_consistency(self.from.size, self.to.size, &source) {
            Err(error) => needed(&error),
            Ok(proof) => {
                let held = verify_consistency(self.from.size, self.from.root, self.to.size, self.to.root, &proof);
                if held.is_ok() { Step::Extends } else { Step::Forks }
            }
        }
    }
}

fn needed(error: &ProveError<TileHashesError<TileId>>) -> Step {
    match error {
        ProveError::Source(TileHashesError::Read { source: id, .. }) => Step::Need(*id),
        // Short tiles, or sizes of which neither is within the other.
        _ => Step::OtherTiles,
    }
}

#[cfg(test)]
mod tests {
    use indelible_chain::merkle::{MemoryHashes, leaf_hash};
    use indelible_chain::tile::{TileEdge, encode_tile};
    use proptest::prelude::*;

    use super::*;

    /// A log in tiles whose leaves differ from the others' from `fork` on.
    struct Log {
        hashes: MemoryHashes,
        edge: TileEdge,
        full: BTreeMap<TileId, Vec<Digest>>,
    }

    impl Log {
        fn new(size: u64, fork: u64) -> Self {
            let mut log = Self { hashes: MemoryHashes::new(), edge: TileEdge::new(), full: BTreeMap::new() };
            for n in 0..size {
                let leaf = leaf_hash(&[n.to_be_bytes(), u64::from(n >= fork).to_be_bytes()].concat());
                log.hashes.push(leaf);
                log.full.extend(log.edge.push(leaf).into_iter().map(|tile| (tile.id, tile.hashes)));
            }
            log
        }

        fn head(&self, size: u64) -> Head {
            Head { size, root: root_at(size, &self.hashes).unwrap() }
        }

        fn tile(&self, id: TileId) -> Vec<Digest> {
            let hashes = self.full.get(&id).cloned().or_else(|| self.edge.tile(id).map(<[_]>::to_vec)).unwrap();
            id.decode(&encode_tile(&hashes)).unwrap()
        }

        /// How a witness that saw `from` judges this log, and how many tiles that takes.
        fn judge(&self, from: Head, size: u64) -> (Step, usize) {
            let mut extension = Extension::new(from, self.head(size));
            loop {
                match extension.step() {
                    Step::Need(id) => extension.read(id, self.tile(id)),
                    step => return (step, extension.tiles()),
                }
                assert!(extension.tiles() <= crate::limits::MAX_PROOF_TILES);
            }
        }
    }

    #[test]
    fn a_log_that_only_grew_extends_and_one_that_was_rewritten_forks_with_few_tiles() {
        let (honest, forked) = (Log::new(66_300, u64::MAX), Log::new(66_300, 300));
        let (step, tiles) = honest.judge(honest.head(66_000), 66_300);
        assert_eq!(step, Step::Extends);
        assert!(tiles <= 6, "{tiles}");
        assert_eq!(forked.judge(honest.head(66_000), 66_300).0, Step::Forks);
        assert_eq!(forked.judge(honest.head(300), 66_300).0, Step::Extends, "it was the same until then");
    }

    #[test]
    fn tiles_that_are_not_those_of_the_signed_root_show_nothing() {
        let (honest, other) = (Log::new(300, u64::MAX), Log::new(300, 0));
        let mut extension = Extension::new(honest.head(200), honest.head(300));
        while let Step::Need(id) = extension.step() {
            extension.read(id, other.tile(id));
        }
        assert_eq!(extension.step(), Step::OtherTiles);
        let mut short = Extension::new(honest.head(200), honest.head(300));
        while let Step::Need(id) = short.step() {
            short.read(id, Vec::new());
        }
        assert_eq!(short.step(), Step::OtherTiles);
    }

    proptest! {
        #[test]
        fn exactly_logs_that_share_their_beginning_extend(from in 1..700_u64, more in 1..300_u64, fork in 0..1000_u64) {
            let (seen, shown) = (Log::new(from, u64::MAX), Log::new(from + more, fork));
            let (step, _) = shown.judge(seen.head(from), from + more);
            prop_assert_eq!(step, if fork >= from { Step::Extends } else { Step::Forks });
        }
    }
}
