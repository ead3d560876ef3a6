//! One log by itself: are the leaves that a source shows those that the log signed?
//!
//! The root is recomputed from the leaves and compared with every checkpoint of the view. If it is another one, the
//! checkpoints that still hold, the tiles and the bundles bound the place of the damage as closely as the evidence
//! allows. Owns [`Standing`], which says so; names nobody and weighs nothing, that is for the classes.

use std::collections::HashSet;

use crate::digest::Digest;
use crate::id::LeafIndex;
use crate::leaf::Leaf;
use crate::merkle::Tree;

use super::facts::{Head, View};

/// How a view stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Whether the leaves give the root of the largest checkpoint that the source shows.
    pub(super) is_true: bool,
    /// Whether the source broke off: the leaves up to there are those of every checkpoint that they reach, and the rest
    /// is unknown.
    pub(super) is_cut: bool,
    /// Checkpoints of the view itself that its true leaves contradict, or that contradict one another.
    pub(super) contradicted: Vec<Head>,
    /// Leaves of which something is wrong in at least one: from, to. Only if the leaves are not true.
    pub(super) suspects: Option<(u64, u64)>,
    /// The leaves that were changed or removed, if it can be said exactly which: those that the log signed, as far as
    /// a bundle still shows them.
    pub(super) lost: Vec<(LeafIndex, Option<Leaf>)>,
}

impl Standing {
    /// Judges a view.
    pub(super) fn of(view: &View, is_readable: bool) -> Self {
        let mut standing = Self::default();
        let Some(largest) = view.heads.last() else { return standing };
        let roots = Roots::of(view);
        // Two roots for one size cannot both be true, and both are signed.
        let same_size = |head: &&Head| head.size == largest.size;
        standing.is_true = view.heads.iter().filter(same_size).any(|head| roots.at(head.size) == Some(head.root));
        let wrong = |head: &&Head| roots.at(head.size).is_some_and(|root| root != head.root);
        if standing.is_true {
            standing.contradicted = view.heads.iter().filter(wrong).cloned().collect();
            return standing;
        }
        let is_prefix = view.runs.len() <= 1 && view.runs.first().is_none_or(|run| run.start == 0);
        standing.is_cut =
            !is_readable && is_prefix && view.shown() < largest.size && !view.heads.iter().any(|h| wrong(&h));
        if standing.is_cut {
            return standing;
        }
        for (one, other) in view.heads.iter().zip(&view.heads[1..]) {
            if one.size == other.size && one.root != other.root {
                standing.contradicted.push(other.clone());
            }
        }
        let right = view.heads.iter().filter(|head| roots.at(head.size) == Some(head.root));
        let from = right.map(|head| head.size).max().unwrap_or(0);
        let to = view.heads.iter().map(|head| head.size).find(|size| *size > from).unwrap_or(largest.size);
        standing.suspects = Some((from, to));
        standing.find_lost(view, largest);
        standing
    }

    /// Looks for the leaves that are not what was signed, in what tiles and bundles still show.
    fn find_lost(&mut self, view: &View, largest: &Head) {
        let Some(truth) = truth(view, largest) else {
            // A hole between runs is exact about what is not there, if the rest is in its place.
            return;
        };
        let shown: HashSet<Digest> = view.hashes().collect();
        for (index, hash) in (0..).zip(&truth) {
            if !shown.contains(hash) {
                let leaf = view.tiles.lost.get(&index).and_then(|bytes| Leaf::decode(bytes).ok());
                self.lost.push((LeafIndex::new(index), leaf));
            }
        }
        let first = (0..).zip(&truth).find(|(index, hash)| view.leaf(*index) != Some(**hash));
        let last = self.lost.last().map(|(index, _)| index.get() + 1);
        if let Some((first, _)) = first {
            self.suspects = Some((first, last.unwrap_or(largest.size).max(first + 1)));
        }
    }

    /// Whether every leaf that is not what was signed is known as what it was.
    pub(super) fn is_exact(&self) -> bool {
        !self.lost.is_empty() && self.lost.iter().all(|(_, leaf)| leaf.is_some())
    }

    /// Whether something is wrong with a leaf of the view that stands at or near `index`.
    pub(super) fn suspects(&self, index: LeafIndex) -> bool {
        self.suspects.is_some_and(|(from, to)| (from..to).contains(&index.get()))
    }
}

/// The leaf hashes that the log signed, put together from leaves, tiles and bundles; `None` if they do not give the
/// root either.
fn truth(view: &View, largest: &Head) -> Option<Vec<Digest>> {
    let size = usize::try_from(largest.size).ok()?;
    let shown = view.shown() + view.tiles.hashes.len() as u64;
    // What was signed may be any size; what is put together is no larger than what was read.
    if view.tiles.hashes.is_empty() || largest.size > shown {
        return None;
    }
    let mut truth = Vec::with_capacity(size);
    let last_of_tiles = view.tiles.hashes.keys().next_back().copied()?;
    for index in 0..=last_of_tiles {
        truth.push(*view.tiles.hashes.get(&index).or(view.leaf(index).as_ref())?);
    }
    // Beyond the last tile that differs, the leaves follow the one that the tile ends with, wherever it was shown.
    let last = *truth.last()?;
    let tail: Vec<Digest> = view.hashes().collect();
    let after = tail.iter().rposition(|hash| *hash == last).map_or(tail.len(), |at| at + 1);
    truth.extend_from_slice(&tail[after..]);
    truth.truncate(size);
    let mut tree = Tree::new();
    grow(&mut tree, &truth);
    (tree.size() == largest.size && tree.root() == largest.root).then_some(truth)
}

/// Appends leaves by their hashes.
pub(super) fn grow(tree: &mut Tree, hashes: &[Digest]) {
    for hash in hashes {
        tree.push(*hash);
    }
}

/// The roots that the shown leaves give, at the sizes of the view's checkpoints and others that were asked for.
#[derive(Debug)]
pub(super) struct Roots(Vec<(u64, Digest)>);

impl Roots {
    fn of(view: &View) -> Self {
        Self::at_sizes(view, view.heads.iter().map(|head| head.size))
    }

    /// One pass over the leaves.
    pub(super) fn at_sizes(view: &View, sizes: impl IntoIterator<Item = u64>) -> Self {
        let mut sizes: Vec<u64> = sizes.into_iter().collect();
        sizes.sort_unstable();
        sizes.dedup();
        let leaves = view.runs.first().filter(|run| run.start == 0).map_or(&[][..], |run| &run.hashes);
        let (mut roots, mut tree, mut done) = (Vec::new(), Tree::new(), 0);
        for size in sizes {
            let Some(more) = usize::try_from(size).ok().and_then(|size| leaves.get(done..size)) else { break };
            grow(&mut tree, more);
            done += more.len();
            roots.push((size, tree.root()));
        }
        Self(roots)
    }

    /// The root at a size; `None` if not all leaves below it were shown.
    pub(super) fn at(&self, size: u64) -> Option<Digest> {
        self.0.binary_search_by_key(&size, |(size, _)| *size).ok().map(|at| self.0[at].1)
    }
}
