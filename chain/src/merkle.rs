//! The Merkle tree of a log, as RFC 6962 section 2.1 defines it.
//!
//! A leaf hashes to `SHA256(0x00 ‖ leaf)`, a node to `SHA256(0x01 ‖ left ‖ right)`, the empty tree to `SHA256("")`; a
//! tree of n leaves splits at the largest power of two below n. The two prefixes keep a leaf from passing as a node.
//!
//! [`Tree`] is the growing end of such a tree: its size and the hashes of the complete subtrees along its right edge,
//! which is all that appending and the root need. Everything older is read through a [`HashSource`], from tiles or
//! from memory ([`MemoryHashes`]). [`prove_inclusion`] and [`prove_consistency`] make proofs from such a source,
//! [`verify_inclusion`] and [`verify_consistency`] judge proofs that came from anyone.
//!
//! Invariant: the hash of a complete subtree never changes once its last leaf is in, so the root of any earlier size
//! can be computed from the same source ([`root_at`]).

mod memory;
mod proof;

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

pub use memory::{BeyondSize, MemoryHashes};
pub use proof::{ProofError, ProveError, prove_consistency, prove_inclusion, verify_consistency, verify_inclusion};

/// The root of the tree without leaves: SHA-256 of the empty string.
///
/// ```
/// use indelible_chain::{digest::Digest, merkle::EMPTY_ROOT};
/// assert_eq!(EMPTY_ROOT, Digest::sha256(b""));
/// ```
pub const EMPTY_ROOT: Digest = Digest::new([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// The most leaves a tree of ours can have: 2^62, the largest size at which no proof exceeds [`MAX_PROOF_HASHES`].
pub const MAX_TREE_SIZE: u64 = 1 << 62;

/// The most hashes a proof can hold: C2SP tlog-witness allows 63 lines. A longer one is refused unread.
pub const MAX_PROOF_HASHES: usize = 63;

/// The hash of a leaf, `SHA256(0x00 ‖ leaf)`.
///
/// ```
/// use indelible_chain::merkle::leaf_hash;
/// assert_eq!(
///     leaf_hash(&0u64.to_be_bytes()).to_string(),
///     "3e7077fd2f66d689e0cee6a7cf5b37bf2dca7c979af356d0a31cbc5c85605c7d",
/// );
/// ```
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest::new(Sha256::new().chain_update([0]).chain_update(leaf).finalize().into())
}

/// The hash of an inner node, `SHA256(0x01 ‖ left ‖ right)`.
///
/// ```
/// use indelible_chain::merkle::{leaf_hash, node_hash};
/// let root = node_hash(leaf_hash(&0u64.to_be_bytes()), leaf_hash(&1u64.to_be_bytes()));
/// assert_eq!(root.to_string(), "a7d91894b61fbf46378d88e3e1b1f7aef39532c504b484bd31551d15e0a09dff");
/// ```
pub fn node_hash(left: Digest, right: Digest) -> Digest {
    let node = Sha256::new().chain_update([1]).chain_update(left.as_bytes()).chain_update(right.as_bytes());
    Digest::new(node.finalize().into())
}

/// Where the hashes of complete subtrees are read from.
///
/// The contract: for every `level` and `index` with `(index + 1) · 2^level` at most the size the source stands for,
/// [`HashSource::subtree`] gives the RFC 6962 root of the leaves `[index · 2^level, (index + 1) · 2^level)`, at level 0
/// the leaf hash itself. Reads have no effect and may be repeated. Callers ask for nothing beyond that size.
pub trait HashSource {
    /// Why a hash could not be read.
    type Error;

    /// The root of the complete subtree of `2^level` leaves that is number `index`, from 0, at its level.
    fn subtree(&self, level: u8, index: u64) -> Result<Digest, Self::Error>;
}

impl<S: HashSource + ?Sized> HashSource for &S {
    type Error = S::Error;

    fn subtree(&self, level: u8, index: u64) -> Result<Digest, Self::Error> {
        (**self).subtree(level, index)
    }
}

/// A tree that can grow: its size and its right edge, 32 bytes for each bit that is set in the size.
///
/// ```
/// use indelible_chain::merkle::{Tree, leaf_hash};
/// let mut tree = Tree::new();
/// for i in 0..7u64 {
///     tree.push(leaf_hash(&i.to_be_bytes()));
/// }
/// assert_eq!(tree.size(), 7);
/// assert_eq!(tree.root().to_string(), "45cea7edca9543ee5575a5774d0d8fa9321a8be084b3fb657fa4f6d071a3c94c");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    edge: Vec<Digest>,
}

/// Why a right edge is not that of a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    /// The size is above [`MAX_TREE_SIZE`].
    #[error("a tree of {0} leaves is larger than the limit of {MAX_TREE_SIZE}")]
    TooLarge(u64),
    /// The number of hashes does not fit the size.
    #[error("the right edge of a tree of {size} leaves has {expected} hashes, {found} were given")]
    Length {
        /// Leaves of the tree.
        size: u64,
        /// The bits that are set in `size`.
        expected: usize,
        /// The hashes that were given.
        found: usize,
    },
}

impl Tree {
    /// The tree without leaves.
    pub const fn new() -> Self {
        Self { size: 0, edge: Vec::new() }
    }

    /// The tree whose right edge is `edge`: the roots of the complete subtrees that `size` splits into, largest first.
    ///
    /// The hashes are taken as they are; whether they belong to a log shows in the root.
    pub fn from_edge(size: u64, edge: Vec<Digest>) -> Result<Self, EdgeError> {
        if size > MAX_TREE_SIZE {
            return Err(EdgeError::TooLarge(size));
        }
        let expected = size.count_ones() as usize;
        if edge.len() != expected {
            return Err(EdgeError::Length { size, expected, found: edge.len() });
        }
        Ok(Self::from_checked_edge(size, edge))
    }

    /// As [`Tree::from_edge`], where the edge has a hash for each bit of the size by construction.
    pub(crate) const fn from_checked_edge(size: u64, edge: Vec<Digest>) -> Self {
        Self { size, edge }
    }

    /// The tree of the first `size` leaves of `source`, as at the start of a recovery; reads at most 62 hashes.
    pub fn from_source<S: HashSource>(size: u64, source: &S) -> Result<Self, ProveError<S::Error>> {
        if size > MAX_TREE_SIZE {
            return Err(ProveError::TooLarge(size));
        }
        let edge = complete_subtrees(0, size)
            .map(|(level, index)| source.subtree(level, index))
            .collect::<Result<_, _>>()
            .map_err(ProveError::Source)?;
        Ok(Self { size, edge })
    }

    /// Appends a leaf by its hash.
    pub fn push(&mut self, leaf_hash: Digest) {
        // Each trailing 1 of the size is a complete subtree that this leaf doubles; the edge holds a hash for each 1.
        let doubled = self.edge.len() - self.size.trailing_ones() as usize;
        let hash = self.edge.drain(doubled..).rev().fold(leaf_hash, |right, left| node_hash(left, right));
        self.edge.push(hash);
        self.size += 1;
    }

    /// The number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees that the tree splits into, largest first: what [`Tree::from_edge`] takes.
    pub fn edge(&self) -> &[Digest] {
        &self.edge
    }

    /// The root hash; [`EMPTY_ROOT`] without leaves.
    pub fn root(&self) -> Digest {
        fold_right(self.edge.iter().copied()).unwrap_or(EMPTY_ROOT)
    }
}

impl FromIterator<Digest> for Tree {
    fn from_iter<I: IntoIterator<Item = Digest>>(leaf_hashes: I) -> Self {
        let mut tree = Self::new();
        for hash in leaf_hashes {
            tree.push(hash);
        }
        tree
    }
}

/// The root of the first `size` leaves of `source`; reads at most 62 hashes.
///
/// ```
/// use indelible_chain::merkle::{MemoryHashes, leaf_hash, root_at};
/// let hashes: MemoryHashes = (0..9u64).map(|i| leaf_hash(&i.to_be_bytes())).collect();
/// assert_eq!(
///     root_at(3, &hashes).unwrap().to_string(),
///     "9b4965f8b220ba42f7039ad0781c966cf90bb1aea15a80586d634b322ab1f4ce",
/// );
/// ```
pub fn root_at<S: HashSource>(size: u64, source: &S) -> Result<Digest, ProveError<S::Error>> {
    Ok(Tree::from_source(size, source)?.root())
}

/// Joins hashes from the right: `node(a, node(b, c))`. `None` if there are none.
fn fold_right(hashes: impl DoubleEndedIterator<Item = Digest>) -> Option<Digest> {
    hashes.rev().reduce(|right, left| node_hash(left, right))
}

/// The complete subtrees, as (level, index), that the leaves `[from, to)` split into, left to right.
///
/// `from` must be a multiple of the largest power of two that is at most `to - from`, as it is for every range that
/// RFC 6962 splits a tree into.
fn complete_subtrees(from: u64, to: u64) -> impl DoubleEndedIterator<Item = (u8, u64)> {
    let length = to - from;
    (0..64u8).rev().filter(move |level| length >> level & 1 == 1).map(move |level| {
        // The bits of the length above `level` are the leaves to the left of this subtree.
        let start = from + (length & !(u64::MAX >> (63 - level)));
        (level, start >> level)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(i: u64) -> Digest {
        leaf_hash(&i.to_be_bytes())
    }

    #[test]
    fn a_range_splits_into_complete_subtrees_from_left_to_right() {
        assert_eq!(complete_subtrees(0, 0).count(), 0);
        assert_eq!(complete_subtrees(0, 7).collect::<Vec<_>>(), [(2, 0), (1, 2), (0, 6)]);
        assert_eq!(complete_subtrees(8, 13).collect::<Vec<_>>(), [(2, 2), (0, 12)]);
        assert_eq!(complete_subtrees(0, 1 << 63).collect::<Vec<_>>(), [(63, 0)]);
        assert_eq!(complete_subtrees(0, u64::MAX).count(), 64);
    }

    #[test]
    fn a_tree_is_rebuilt_from_its_edge_and_from_a_source_and_goes_on_alike() {
        let mut tree = Tree::new();
        let mut hashes = MemoryHashes::new();
        for size in 0..300u64 {
            let rebuilt = Tree::from_edge(size, tree.edge().to_vec()).unwrap();
            let mut read = Tree::from_source(size, &hashes).unwrap();
            assert_eq!(rebuilt, tree);
            assert_eq!(read, tree);
            read.push(leaf(size));
            tree.push(leaf(size));
            hashes.push(leaf(size));
            assert_eq!(read.root(), tree.root());
        }
    }

    #[test]
    fn an_edge_that_does_not_fit_its_size_is_refused() {
        assert_eq!(Tree::from_edge(6, vec![leaf(0)]), Err(EdgeError::Length { size: 6, expected: 2, found: 1 }));
        assert_eq!(Tree::from_edge(u64::MAX, vec![]), Err(EdgeError::TooLarge(u64::MAX)));
    }
}
