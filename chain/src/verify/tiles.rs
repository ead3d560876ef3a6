//! Tiles and bundles as a source serves or stores them: compared with what the leaves give.
//!
//! A log's tiles are derived from its leaves, so a tile that differs is either wrong itself or shows which leaf was
//! changed; `settle` tells the two apart, once it knows whether the leaves give the signed root. Owns the comparison
//! and, of leaves that only a bundle shows, their bytes, [`MAX_LOST_LEAVES`] of them at most.

use std::collections::HashSet;

use crate::digest::Digest;
use crate::merkle::{Tree, leaf_hash};
use crate::tile::{BundleId, TileId};

use super::facts::{BadTile, TileFacts, View, ViewId};
use super::judge::Judge;
use super::limits::MAX_LOST_LEAVES;
use super::settle::grow;

/// Hashes of a full tile.
const WIDTH: u64 = 256;

impl Judge {
    /// Takes a tile of a view, after all of the view's frames. Tiles beyond the view's size say nothing.
    pub fn tile(&mut self, view: ViewId, tile: TileId, bytes: &[u8]) {
        let of = &mut self.facts.views[view.0];
        let hashes = match tile.decode(bytes) {
            Ok(hashes) => hashes,
            Err(error) => return of.tiles.broken(tile.path(), error.to_string()),
        };
        let Some(leaves) = WIDTH.checked_pow(tile.level().into()) else { return };
        let mut differs = None;
        for (i, hash) in (0..).zip(hashes) {
            let start = tile.index().checked_mul(WIDTH).and_then(|first| (first + i).checked_mul(leaves));
            let Some(start) = start.filter(|start| start.saturating_add(leaves) <= of.size()) else { break };
            if of.subtree(start, leaves) == Some(hash) {
                continue;
            }
            differs.get_or_insert(start);
            if leaves == 1 {
                of.tiles.hashes.insert(start, hash);
            }
        }
        if let Some(start) = differs {
            of.tiles.differs(tile.path(), format!("its hashes from leaf {start} on are not those of the leaves"));
        }
    }

    /// Takes a bundle of entries of a view, after all of the view's frames.
    pub fn bundle(&mut self, view: ViewId, bundle: BundleId, bytes: &[u8]) {
        let of = &mut self.facts.views[view.0];
        let leaves = match bundle.decode(bytes) {
            Ok(leaves) => leaves,
            Err(error) => return of.tiles.broken(bundle.path(), error.to_string()),
        };
        let mut differs = None;
        for (i, leaf) in (0..).zip(leaves) {
            let Some(index) = bundle.index().checked_mul(WIDTH).map(|first| first + i).filter(|i| *i < of.size())
            else {
                break;
            };
            let hash = leaf_hash(leaf);
            if of.leaf(index) == Some(hash) {
                continue;
            }
            differs.get_or_insert(index);
            of.keep_lost(index, hash, leaf);
        }
        if let Some(index) = differs {
            of.tiles.differs(bundle.path(), format!("its leaves from {index} on are not those of the log"));
        }
    }

    /// Says that a tile or bundle that the view must have, because it is full under its checkpoint, cannot be had.
    pub fn no_tile(&mut self, view: ViewId, path: &str, why: &str) {
        self.facts.views[view.0].tiles.broken(path.to_owned(), why.to_owned());
    }
}

impl TileFacts {
    fn broken(&mut self, path: String, why: String) {
        self.bad.push(BadTile { path, why, differs: false });
    }

    fn differs(&mut self, path: String, why: String) {
        self.bad.push(BadTile { path, why, differs: true });
    }
}

impl View {
    /// The root of the `leaves` leaves from `start` on, as they were shown.
    fn subtree(&self, start: u64, leaves: u64) -> Option<Digest> {
        let run = self.runs.get(self.runs.partition_point(|run| run.start <= start).checked_sub(1)?)?;
        let from = usize::try_from(start - run.start).ok()?;
        let hashes = run.hashes.get(from..from + usize::try_from(leaves).ok()?)?;
        let mut tree = Tree::new();
        grow(&mut tree, hashes);
        Some(tree.root())
    }

    /// Keeps a leaf that a bundle has and no frame, so that it can be named.
    fn keep_lost(&mut self, index: u64, hash: Digest, leaf: &[u8]) {
        let TileFacts { lost, known, hashes, .. } = &mut self.tiles;
        let known = known
            .get_or_insert_with(|| self.runs.iter().flat_map(|run| run.hashes.iter().copied()).collect::<HashSet<_>>());
        hashes.entry(index).or_insert(hash);
        if !known.contains(&hash) && lost.len() < MAX_LOST_LEAVES {
            lost.insert(index, leaf.to_vec());
        }
    }
}
