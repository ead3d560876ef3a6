//! Proofs that stand on their own: the envelope of C2SP tlog-proof.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64>                                  (left out if there is nothing)
//! index <n>
//! <base64 of a hash of the inclusion proof>       (one a line, from the leaf's sibling up)
//!
//! <the checkpoint, a signed note>
//! ```
//!
//! It shows, offline, that a leaf is at an index of a log under a checkpoint that a policy accepts. `extra` is outside
//! of what is proved: for a record of ours it is a [`crate::record_proof::RecordProof`], which proves itself.
//!
//! Invariant: a proof has one text, and what was read is written again byte for byte.

use std::fmt;

use crate::digest::Digest;
use crate::id::LeafIndex;
use crate::merkle::{MAX_PROOF_HASHES, ProofError, verify_inclusion};
use crate::note::text::{digest_from_base64, from_base64, parse_decimal, to_base64};
use crate::note::{MAX_NOTE_BYTES, Note, NoteError};
use crate::policy::{CheckPolicyError, Policy, Standing};

/// The longest extra data, in bytes: a sparse body and what it hangs on fit twice.
pub const MAX_EXTRA_BYTES: usize = 2 * 1024 * 1024;

/// The longest proof, in bytes: extra data in base64, the hashes, the note, and 256 for the words between.
pub const MAX_TLOG_PROOF_BYTES: usize = MAX_EXTRA_BYTES.div_ceil(3) * 4 + MAX_PROOF_HASHES * 45 + MAX_NOTE_BYTES + 256;

const HEADER: &str = "c2sp.org/tlog-proof@v1\n";

/// A leaf's index, its inclusion proof and the checkpoint that it leads to; read, not yet believed.
///
/// ```
/// use indelible_chain::{merkle::leaf_hash, policy::Policy, tlog_proof::TlogProof};
/// let text = "\
/// c2sp.org/tlog-proof@v1
/// extra aGVsbG8=
/// index 1
/// oa8DAjHKL9IOzzDFKUuvj2kyHQm7FqxTiFzNF6OFKA0=
///
/// example.com/log
/// 2
/// OuW/pX/6dp2WNKhvOiYoaqaf1Q6gWF+AYfkCrV8DJ/c=
///
/// — example.com/log cC88cM6R+eP4n8gLChhDXODJk9kAWpXhVXjV4YYLVlxAFBi1vj/ayydHa4ar8QzR51Edilf9RAFJ3GjjFZ7jEZklog4=
/// ";
/// let proof = TlogProof::parse(text.as_bytes()).unwrap();
/// assert_eq!((proof.index().get(), proof.extra()), (1, b"hello".as_slice()));
///
/// let log = "example.com/log+702f3c70+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs";
/// let policy = Policy::from_log_keys([log.parse().unwrap()]).unwrap();
/// assert_eq!(proof.verify(leaf_hash(b"second"), &policy).unwrap().checkpoint().size(), 2);
/// assert!(proof.verify(leaf_hash(b"first"), &policy).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    extra: Option<Vec<u8>>,
    index: LeafIndex,
    hashes: Vec<Digest>,
    checkpoint: Note,
}

/// Why bytes or parts are no tlog-proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// Longer than [`MAX_TLOG_PROOF_BYTES`].
    #[error("a tlog-proof of {0} bytes is over the limit of {MAX_TLOG_PROOF_BYTES}")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("the tlog-proof is not UTF-8")]
    Utf8,
    /// Another first line.
    #[error("the first line is not c2sp.org/tlog-proof@v1: no tlog-proof, or of another version")]
    Header,
    /// The extra line is malformed, empty or too long.
    #[error("the extra line is not `extra` and 1 to {MAX_EXTRA_BYTES} bytes in canonical base64")]
    Extra,
    /// The index line is missing or malformed.
    #[error("the index line is not `index` and a decimal without leading zeros")]
    Index,
    /// A line of the inclusion proof is no hash. Counted from 1.
    #[error("hash {0} of the inclusion proof is not 32 bytes in canonical base64")]
    Hash(usize),
    /// More than [`MAX_PROOF_HASHES`] hashes.
    #[error("the inclusion proof has more than {MAX_PROOF_HASHES} hashes")]
    TooManyHashes,
    /// The inclusion proof is not followed by an empty line.
    #[error("no empty line ends the inclusion proof")]
    End,
    /// What follows the empty line is no note.
    #[error("the tlog-proof's checkpoint is no signed note")]
    Note(#[source] NoteError),
}

/// Why a tlog-proof shows nothing under a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyTlogProofError {
    /// The checkpoint is not that of a listed log.
    #[error("the tlog-proof's checkpoint is not accepted")]
    Policy(#[source] CheckPolicyError),
    /// Too few witnesses have cosigned the checkpoint.
    #[error("the tlog-proof's checkpoint is cosigned by {0} witnesses of the policy, which is not a quorum")]
    Quorum(usize),
    /// The leaf is not in the tree.
    #[error("the tlog-proof does not lead from the leaf to the checkpoint")]
    Inclusion(#[source] ProofError),
}

impl TlogProof {
    /// The proof of these parts; empty extra data is none, and there are at most [`MAX_PROOF_HASHES`] hashes.
    pub fn new(
        extra: Vec<u8>,
        index: LeafIndex,
        hashes: Vec<Digest>,
        checkpoint: Note,
    ) -> Result<Self, TlogProofError> {
        if extra.len() > MAX_EXTRA_BYTES {
            return Err(TlogProofError::Extra);
        }
        if hashes.len() > MAX_PROOF_HASHES {
            return Err(TlogProofError::TooManyHashes);
        }
        let extra = if extra.is_empty() { None } else { Some(extra) };
        Ok(Self { extra, index, hashes, checkpoint })
    }

    /// Reads a proof.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        if bytes.len() > MAX_TLOG_PROOF_BYTES {
            return Err(TlogProofError::TooLong(bytes.len()));
        }
        let text = str::from_utf8(bytes).map_err(|_| TlogProofError::Utf8)?;
        let mut rest = text.strip_prefix(HEADER).ok_or(TlogProofError::Header)?;
        let mut extra = Vec::new();
        if let Some(line) = rest.strip_prefix("extra ") {
            let (base64, after) = line.split_once('\n').ok_or(TlogProofError::Extra)?;
            extra = from_base64(base64).filter(|extra| !extra.is_empty()).ok_or(TlogProofError::Extra)?;
            rest = after;
        }
        let (index, mut rest) =
            rest.strip_prefix("index ").and_then(|line| line.split_once('\n')).ok_or(TlogProofError::Index)?;
        let index = LeafIndex::new(parse_decimal(index).ok_or(TlogProofError::Index)?);
        let mut hashes = Vec::new();
        let note = loop {
            let (line, after) = rest.split_once('\n').ok_or(TlogProofError::End)?;
            if line.is_empty() {
                break after;
            }
            if hashes.len() == MAX_PROOF_HASHES {
                return Err(TlogProofError::TooManyHashes);
            }
            hashes.push(digest_from_base64(line).ok_or(TlogProofError::Hash(hashes.len() + 1))?);
            rest = after;
        };
        Self::new(extra, index, hashes, Note::parse(note.as_bytes()).map_err(TlogProofError::Note)?)
    }

    /// Judges that the leaf with hash `leaf_hash` is at the proof's index of a log of `policy`, under a checkpoint that
    /// meets its quorum. Gives that checkpoint and its witnesses.
    pub fn verify<'p>(&self, leaf_hash: Digest, policy: &'p Policy) -> Result<Standing<'p>, VerifyTlogProofError> {
        let standing = policy.check(&self.checkpoint).map_err(VerifyTlogProofError::Policy)?;
        if !standing.is_met() {
            return Err(VerifyTlogProofError::Quorum(standing.witnesses().len()));
        }
        let head = standing.checkpoint();
        verify_inclusion(self.index.get(), head.size(), leaf_hash, head.root(), &self.hashes)
            .map_err(VerifyTlogProofError::Inclusion)?;
        Ok(standing)
    }

    /// The extra data, empty if there is none. Nothing about it is proved.
    pub fn extra(&self) -> &[u8] {
        self.extra.as_deref().unwrap_or_default()
    }

    /// Where the leaf is.
    pub const fn index(&self) -> LeafIndex {
        self.index
    }

    /// The inclusion proof, from the leaf's sibling up.
    pub fn hashes(&self) -> &[Digest] {
        &self.hashes
    }

    /// The checkpoint that the inclusion proof leads to.
    pub const fn checkpoint(&self) -> &Note {
        &self.checkpoint
    }
}

impl fmt::Display for TlogProof {
    /// The proof's bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", to_base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{}", to_base64(hash.as_bytes())))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::merkle::{MemoryHashes, leaf_hash, prove_inclusion, root_at};
    use crate::note::NoteSigner;

    const SIZE: u64 = 11;

    fn leaf(i: u64) -> Digest {
        leaf_hash(&i.to_be_bytes())
    }

    fn signer() -> NoteSigner {
        NoteSigner::new("log".parse().unwrap(), &[3; 32])
    }

    fn proof(index: u64, extra: &[u8]) -> TlogProof {
        let hashes: MemoryHashes = (0..SIZE).map(leaf).collect();
        let root = root_at(SIZE, &hashes).unwrap();
        let note = Checkpoint::new("log".parse().unwrap(), SIZE, root).sign(&signer()).unwrap();
        let path = prove_inclusion(index, SIZE, &hashes).unwrap();
        TlogProof::new(extra.to_vec(), LeafIndex::new(index), path, note).unwrap()
    }

    #[test]
    fn a_proof_shows_its_own_leaf_at_its_own_index() {
        let policy = Policy::from_log_keys([signer().verifier_key().clone()]).unwrap();
        for index in 0..SIZE {
            let proof = proof(index, b"");
            assert!(proof.verify(leaf(index), &policy).unwrap().is_met());
            let wrong = proof.verify(leaf(index + 1), &policy);
            assert_eq!(wrong, Err(VerifyTlogProofError::Inclusion(ProofError::Root)));
        }
    }

    #[test]
    fn a_proof_under_an_unknown_log_or_without_a_quorum_shows_nothing() {
        let other = NoteSigner::new("other".parse().unwrap(), &[4; 32]);
        let unknown = Policy::from_log_keys([other.verifier_key().clone()]).unwrap();
        assert!(matches!(proof(0, b"").verify(leaf(0), &unknown), Err(VerifyTlogProofError::Policy(_))));

        let witness = crate::cosignature::Cosigner::new("w".parse().unwrap(), &[5; 32]);
        let lines = format!("log {}\nwitness w {}\nquorum w\n", signer().verifier_key(), witness.verifier_key());
        let witnessed = Policy::parse(lines.as_bytes()).unwrap();
        assert_eq!(proof(0, b"").verify(leaf(0), &witnessed), Err(VerifyTlogProofError::Quorum(0)));
    }

    #[test]
    fn malformed_proofs_are_refused() {
        let good = proof(10, b"extra").to_string();
        assert!(TlogProof::parse(good.as_bytes()).is_ok());
        let hash = to_base64(&[0; 32]);
        for (from, to, error) in [
            ("@v1", "@v2", TlogProofError::Header),
            ("c2sp", " c2sp", TlogProofError::Header),
            ("extra ZXh0cmE=", "extra ", TlogProofError::Extra),
            ("extra ZXh0cmE=", "extra ZXh0cmF=", TlogProofError::Extra),
            ("extra ZXh0cmE=", "extra  ZXh0cmE=", TlogProofError::Extra),
            ("extra ZXh0cmE=", "Extra ZXh0cmE=", TlogProofError::Index),
            ("extra ZXh0cmE=\n", "extra ZXh0cmE=\nextra ZXh0cmE=\n", TlogProofError::Index),
            ("index 10", "index 010", TlogProofError::Index),
            ("index 10", "index 18446744073709551616", TlogProofError::Index),
            ("index 10\n", "", TlogProofError::Index),
            ("index 10\n", "index 10\nAAAA\n", TlogProofError::Hash(1)),
            ("index 10\n", &format!("index 10\n{}", format!("{hash}\n").repeat(64)), TlogProofError::TooManyHashes),
            ("\n\nlog\n", "\nlog\n", TlogProofError::Hash(3)),
            ("\n\nlog\n", "\n\n\nlog", TlogProofError::Note(NoteError::NoSignatures)),
        ] {
            let mut bad = good.replacen(from, to, 1);
            if error == TlogProofError::Note(NoteError::NoSignatures) {
                bad.truncate(bad.len() - 1);
            }
            assert_eq!(TlogProof::parse(bad.as_bytes()), Err(error), "{from:?} to {to:?}");
        }
        let cut = good.find("\n\n").unwrap() + 1;
        assert_eq!(TlogProof::parse(&good.as_bytes()[..cut]), Err(TlogProofError::End));
        assert_eq!(TlogProof::parse(b"\xff"), Err(TlogProofError::Utf8));
    }

    #[test]
    fn proofs_are_bounded() {
        let note = proof(0, b"").checkpoint;
        let new = |extra, hashes| TlogProof::new(vec![0; extra], LeafIndex::ZERO, vec![leaf(0); hashes], note.clone());
        assert_eq!(new(MAX_EXTRA_BYTES + 1, 0), Err(TlogProofError::Extra));
        assert_eq!(new(0, 64), Err(TlogProofError::TooManyHashes));
        let largest = new(MAX_EXTRA_BYTES, 63).unwrap();
        assert_eq!(TlogProof::parse(largest.to_string().as_bytes()), Ok(largest));
        let long = vec![b'x'; MAX_TLOG_PROOF_BYTES + 1];
        assert_eq!(TlogProof::parse(&long), Err(TlogProofError::TooLong(long.len())));
    }

    proptest! {
        #[test]
        fn a_proof_is_read_back(index in 0..SIZE, extra: Vec<u8>) {
            let proof = proof(index, &extra);
            prop_assert_eq!(TlogProof::parse(proof.to_string().as_bytes()), Ok(proof));
        }

        #[test]
        fn bytes_that_are_a_proof_are_its_only_encoding(at in 0usize..400, with in "\\PC{0,2}|\n") {
            let mut text = proof(3, b"x").to_string();
            let at = at % text.len();
            if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
                text.replace_range(at..=at, &with);
            }
            if let Ok(proof) = TlogProof::parse(text.as_bytes()) {
                prop_assert_eq!(proof.to_string(), text);
            }
        }

        #[test]
        fn reading_any_bytes_never_panics(bytes: Vec<u8>) {
            let _ = TlogProof::parse(&[HEADER.as_bytes(), &bytes].concat());
        }
    }
}
