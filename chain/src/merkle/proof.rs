//! Inclusion and consistency proofs: making them from a source, judging them from anyone.
//!
//! Proofs are made by the recursion of RFC 6962 sections 2.1.1 and 2.1.2 and judged by the loops of RFC 9162 sections
//! 2.1.3.2 and 2.1.4.2, so the two directions share no code but [`node_hash`]. Hashes stand in the order from the
//! leaf to the root.
//!
//! Invariant: judging needs no more than 63 hashes and no arithmetic that can overflow, whatever sizes are claimed;
//! exactly one proof is accepted for a question, neither a longer nor a shorter one.

use super::{EMPTY_ROOT, HashSource, MAX_PROOF_HASHES, MAX_TREE_SIZE, complete_subtrees, fold_right, node_hash};
use crate::digest::Digest;

/// Why a proof, or a root, could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// The size is above [`MAX_TREE_SIZE`].
    #[error("a tree of {0} leaves is larger than the limit of {MAX_TREE_SIZE}")]
    TooLarge(u64),
    /// The tree has no such leaf.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    NoSuchLeaf {
        /// The leaf that was asked for.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// The old tree is larger than the new one.
    #[error("a tree of {new} leaves cannot extend one of {old}")]
    Shrinks {
        /// Leaves of the old tree.
        old: u64,
        /// Leaves of the new tree.
        new: u64,
    },
    /// A hash could not be read.
    #[error("cannot read a hash of the tree")]
    Source(#[source] E),
}

/// Why a proof shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index is not below the size.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    NoSuchLeaf {
        /// The leaf that the proof is for.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// The old tree is larger than the new one.
    #[error("a tree of {new} leaves cannot extend one of {old}")]
    Shrinks {
        /// Leaves of the old tree.
        old: u64,
        /// Leaves of the new tree.
        new: u64,
    },
    /// The number of hashes is not the one that index and sizes ask for, or above [`MAX_PROOF_HASHES`].
    #[error(
        "the proof has {0} hashes, which is not the number that a proof between these sizes has (at most {MAX_PROOF_HASHES})"
    )]
    Length(usize),
    /// The hashes lead to another root for the size, or for the new size.
    #[error("the proof leads to another root")]
    Root,
    /// The hashes lead to another root for the old size.
    #[error("the proof leads to another root for the old size")]
    OldRoot,
}

/// The proof that leaf `index` is in the tree of `size` leaves: its siblings from the leaf to the root.
pub fn prove_inclusion<S: HashSource>(index: u64, size: u64, source: &S) -> Result<Vec<Digest>, ProveError<S::Error>> {
    if size > MAX_TREE_SIZE {
        return Err(ProveError::TooLarge(size));
    }
    if index >= size {
        return Err(ProveError::NoSuchLeaf { index, size });
    }
    let (mut from, mut to) = (0, size);
    let mut siblings = Vec::new();
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            siblings.push((middle, to));
            to = middle;
        } else {
            siblings.push((from, middle));
            from = middle;
        }
    }
    siblings.into_iter().rev().map(|(from, to)| range_root(from, to, source)).collect()
}

/// The proof that the tree of `new_size` leaves begins with the leaves of the tree of `old_size`.
///
/// Empty for equal sizes and for an `old_size` of 0.
pub fn prove_consistency<S: HashSource>(
    old_size: u64,
    new_size: u64,
    source: &S,
) -> Result<Vec<Digest>, ProveError<S::Error>> {
    if new_size > MAX_TREE_SIZE {
        return Err(ProveError::TooLarge(new_size));
    }
    if old_size > new_size {
        return Err(ProveError::Shrinks { old: old_size, new: new_size });
    }
    if old_size == 0 {
        return Ok(Vec::new());
    }
    let (mut from, mut to) = (0, new_size);
    let mut ranges = Vec::new();
    while old_size < to {
        let middle = from + split(to - from);
        if old_size <= middle {
            ranges.push((middle, to));
            to = middle;
        } else {
            ranges.push((from, middle));
            from = middle;
        }
    }
    // The range [from, old_size) is common ground; from 0 it is the old tree itself, whose root everyone has.
    if from > 0 {
        ranges.push((from, to));
    }
    ranges.into_iter().rev().map(|(from, to)| range_root(from, to, source)).collect()
}

/// Judges that the leaf with hash `leaf_hash` is number `index` of the tree of `size` leaves with root `root`.
///
/// ```
/// use indelible_chain::merkle::{leaf_hash, node_hash, verify_inclusion};
/// let [a, b, c] = [b"a", b"b", b"c"].map(|leaf| leaf_hash(leaf));
/// let root = node_hash(node_hash(a, b), c);
/// assert!(verify_inclusion(1, 3, b, root, &[a, c]).is_ok());
/// assert!(verify_inclusion(1, 3, c, root, &[a, c]).is_err());
/// ```
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf_hash: Digest,
    root: Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::NoSuchLeaf { index, size });
    }
    if proof.len() > MAX_PROOF_HASHES {
        return Err(ProofError::Length(proof.len()));
    }
    let mut path = Path { node: index, last: size - 1 };
    let mut hash = leaf_hash;
    for sibling in proof {
        hash = match path.climb().ok_or(ProofError::Length(proof.len()))? {
            Side::Left => node_hash(*sibling, hash),
            Side::Right => node_hash(hash, *sibling),
        };
    }
    if path.last != 0 {
        return Err(ProofError::Length(proof.len()));
    }
    if hash == root { Ok(()) } else { Err(ProofError::Root) }
}

/// Judges that the tree of `new_size` leaves with root `new_root` begins with the tree of `old_size` leaves with root
/// `old_root`.
///
/// Every tree extends the empty one, whose root must be [`EMPTY_ROOT`]; equal sizes need equal roots; both take an
/// empty proof.
pub fn verify_consistency(
    old_size: u64,
    old_root: Digest,
    new_size: u64,
    new_root: Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::Shrinks { old: old_size, new: new_size });
    }
    if proof.len() > MAX_PROOF_HASHES {
        return Err(ProofError::Length(proof.len()));
    }
    if old_size == 0 && old_root != EMPTY_ROOT {
        return Err(ProofError::OldRoot);
    }
    if old_size == 0 || old_size == new_size {
        return match proof {
            [] if old_size == new_size && old_root != new_root => Err(ProofError::Root),
            [] => Ok(()),
            _ => Err(ProofError::Length(proof.len())),
        };
    }

    let mut path = Path { node: old_size - 1, last: new_size - 1 };
    path.shift(path.node.trailing_ones());
    // An old tree that is one complete subtree is its own first hash, and is left out of the proof.
    let (first, rest) = match proof {
        _ if old_size.is_power_of_two() => (old_root, proof),
        [first, rest @ ..] => (*first, rest),
        [] => return Err(ProofError::Length(0)),
    };
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in rest {
        match path.climb().ok_or(ProofError::Length(proof.len()))? {
            Side::Left => {
                old_hash = node_hash(*sibling, old_hash);
                new_hash = node_hash(*sibling, new_hash);
            }
            Side::Right => new_hash = node_hash(new_hash, *sibling),
        }
    }
    if path.last != 0 {
        return Err(ProofError::Length(proof.len()));
    }
    if old_hash != old_root {
        return Err(ProofError::OldRoot);
    }
    if new_hash == new_root { Ok(()) } else { Err(ProofError::Root) }
}

/// Where the sibling stands.
enum Side {
    Left,
    Right,
}

/// The way from a node to the root: the numbers of the node and of the last node at the same level.
struct Path {
    node: u64,
    last: u64,
}

impl Path {
    /// Goes up to the next node that has two children and says where the new child stands. `None` at the root.
    fn climb(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        if self.node == self.last {
            // The last node of a level without a sibling goes up as it is.
            self.shift(self.node.trailing_zeros());
        }
        let side = if self.node & 1 == 1 { Side::Left } else { Side::Right };
        self.shift(1);
        Some(side)
    }

    fn shift(&mut self, levels: u32) {
        self.node = self.node.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }
}

/// The largest power of two below `length`, which is at least 2.
fn split(length: u64) -> u64 {
    1 << (length - 1).ilog2()
}

/// The root of the leaves `[from, to)`, a range that the recursion of RFC 6962 comes to.
fn range_root<S: HashSource>(from: u64, to: u64, source: &S) -> Result<Digest, ProveError<S::Error>> {
    let hashes = complete_subtrees(from, to)
        .map(|(level, index)| source.subtree(level, index))
        .collect::<Result<Vec<_>, _>>()
        .map_err(ProveError::Source)?;
    Ok(fold_right(hashes.into_iter()).unwrap_or(EMPTY_ROOT))
}

#[cfg(test)]
mod tests {
    use super::super::{MemoryHashes, leaf_hash, root_at};
    use super::*;

    const SIZE: u64 = 70;

    fn hashes() -> MemoryHashes {
        (0..SIZE).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    /// All ways to change a proof by one step.
    fn mutations(proof: &[Digest]) -> Vec<Vec<Digest>> {
        let mut all = vec![[proof, &[EMPTY_ROOT]].concat(), [&[EMPTY_ROOT], proof].concat()];
        for i in 0..proof.len() {
            let mut other = proof.to_vec();
            other[i] = EMPTY_ROOT;
            all.push(other);
            let mut shorter = proof.to_vec();
            shorter.remove(i);
            all.push(shorter);
        }
        all
    }

    #[test]
    fn every_leaf_of_every_size_has_one_inclusion_proof_and_no_other() {
        let source = hashes();
        for size in 1..=SIZE {
            let root = root_at(size, &source).unwrap();
            for index in 0..size {
                let leaf = source.subtree(0, index).unwrap();
                let proof = prove_inclusion(index, size, &source).unwrap();
                assert_eq!(verify_inclusion(index, size, leaf, root, &proof), Ok(()));
                assert!(verify_inclusion(index, size, EMPTY_ROOT, root, &proof).is_err());
                assert!(verify_inclusion((index + 1) % size, size, leaf, root, &proof).is_err() || size == 1);
                for other in mutations(&proof) {
                    assert!(verify_inclusion(index, size, leaf, root, &other).is_err());
                }
            }
        }
    }

    #[test]
    fn every_pair_of_sizes_has_one_consistency_proof_and_no_other() {
        let source = hashes();
        for new in 0..=SIZE {
            let new_root = root_at(new, &source).unwrap();
            for old in 0..=new {
                let old_root = root_at(old, &source).unwrap();
                let proof = prove_consistency(old, new, &source).unwrap();
                assert_eq!(verify_consistency(old, old_root, new, new_root, &proof), Ok(()));
                let wrong = leaf_hash(b"wrong");
                assert!(verify_consistency(old, wrong, new, new_root, &proof).is_err());
                // Nothing is claimed of a tree that extends the empty one.
                assert!(old == 0 && new > 0 || verify_consistency(old, old_root, new, wrong, &proof).is_err());
                for other in mutations(&proof) {
                    assert!(verify_consistency(old, old_root, new, new_root, &other).is_err());
                }
            }
        }
    }

    #[test]
    fn an_empty_tree_with_another_root_is_consistent_with_nothing() {
        let wrong = leaf_hash(b"wrong");
        assert_eq!(verify_consistency(0, wrong, 5, wrong, &[]), Err(ProofError::OldRoot));
        assert_eq!(verify_consistency(0, wrong, 0, wrong, &[]), Err(ProofError::OldRoot));
        assert_eq!(verify_consistency(0, EMPTY_ROOT, 0, wrong, &[]), Err(ProofError::Root));
    }

    #[test]
    fn impossible_sizes_and_lengths_are_refused_without_overflow() {
        let hash = EMPTY_ROOT;
        let sizes = [0, 1, 2, 3, (1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, u64::MAX - 1, u64::MAX];
        for a in sizes {
            for b in sizes {
                for length in 0..=66 {
                    let proof = vec![hash; length];
                    assert!(verify_inclusion(a, b, hash, hash, &proof).is_err() || (a, b, length) == (0, 1, 0));
                    let verdict = verify_consistency(a, hash, b, hash, &proof);
                    assert!(verdict.is_err() || length == 0 && (a == 0 || a == b));
                }
            }
        }
        let source = MemoryHashes::new();
        assert_eq!(prove_inclusion(0, 0, &source), Err(ProveError::NoSuchLeaf { index: 0, size: 0 }));
        assert_eq!(prove_inclusion(0, u64::MAX, &source), Err(ProveError::TooLarge(u64::MAX)));
        assert_eq!(prove_consistency(2, 1, &source), Err(ProveError::Shrinks { old: 2, new: 1 }));
        assert!(matches!(prove_consistency(1, 3, &source), Err(ProveError::Source(_))));
    }

    /// A tree of any size whose leaves are all alike, one hash a level.
    struct Uniform;

    impl HashSource for Uniform {
        type Error = std::convert::Infallible;

        fn subtree(&self, level: u8, _: u64) -> Result<Digest, Self::Error> {
            Ok((0..level).fold(leaf_hash(b""), |hash, _| node_hash(hash, hash)))
        }
    }

    #[test]
    fn proofs_of_the_largest_tree_fit_the_limit() {
        let size = MAX_TREE_SIZE;
        for (old, new) in [(1, size), (size - 1, size), (size / 2 + 1, size), (size - 2, size - 1)] {
            let (old_root, new_root) = (root_at(old, &Uniform).unwrap(), root_at(new, &Uniform).unwrap());
            let proof = prove_consistency(old, new, &Uniform).unwrap();
            assert!(proof.len() <= MAX_PROOF_HASHES);
            assert_eq!(verify_consistency(old, old_root, new, new_root, &proof), Ok(()));
            let proof = prove_inclusion(old, new, &Uniform).unwrap();
            assert_eq!(verify_inclusion(old, new, leaf_hash(b""), new_root, &proof), Ok(()));
        }
        assert_eq!(prove_consistency(size - 1, size, &Uniform).unwrap().len(), MAX_PROOF_HASHES);
    }

    #[test]
    fn a_proof_that_would_need_more_hashes_than_the_limit_is_refused() {
        // 2^63 leaves and one more: 63 siblings up to the left half, and the last leaf.
        let size = (1 << 63) + 1;
        let leaf = leaf_hash(b"");
        let left = Uniform.subtree(63, 0).unwrap();
        let root = node_hash(left, leaf);
        assert_eq!(verify_inclusion(1 << 63, size, leaf, root, &[left]), Ok(()));
        let mut proof: Vec<_> = (0..63).map(|level| Uniform.subtree(level, 1).unwrap()).collect();
        assert_eq!(verify_inclusion(0, 1 << 63, leaf, left, &proof), Ok(()));
        proof.push(leaf);
        assert_eq!(verify_inclusion(0, size, leaf, root, &proof), Err(ProofError::Length(64)));
        let mut proof = vec![leaf; 2];
        proof.extend((1..63).map(|level| Uniform.subtree(level, 1).unwrap()));
        let old_root = root_at(3, &Uniform).unwrap();
        assert_eq!(verify_consistency(3, old_root, 1 << 63, left, &proof), Err(ProofError::Length(64)));
    }
}
