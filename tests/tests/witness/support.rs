//! A log that is not ours: another name for its key than its origin, an extension line in its checkpoints.

use indelible_chain::checkpoint::{Checkpoint, Origin};
use indelible_chain::digest::Digest;
use indelible_chain::merkle::{MemoryHashes, leaf_hash, prove_consistency, root_at};
use indelible_chain::note::NoteSigner;
use indelible_tests::tamper::wire::base64;
use indelible_tests::world::{Asked, Witness};

/// A log whose leaves are numbers.
pub(super) struct Foreign {
    signer: NoteSigner,
    origin: String,
}

impl Foreign {
    pub(super) fn new(origin: &str, seed: u8) -> Self {
        let signer = NoteSigner::new(format!("keys.example/{seed}").parse().unwrap(), &[seed; 32]);
        Self { signer, origin: origin.to_owned() }
    }

    /// As `--log` has it.
    pub(super) fn flag(&self) -> String {
        format!("{}={}", self.signer.verifier_key(), self.origin)
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// The checkpoint of `size` leaves, of which those from `fork` on are others for each `salt`.
    pub(super) fn note(&self, size: u64, fork: u64, salt: u64) -> String {
        let root = root_at(size, &hashes(size, fork, salt)).unwrap();
        let text = Checkpoint::new(Origin::of_line(&self.origin).unwrap(), size, root).to_string();
        self.signer.sign_note(format!("{text}an extension line\n")).unwrap().to_string()
    }

    /// Asks for a cosignature on it, with the proof from `old`.
    pub(super) fn add(&self, witness: &Witness, old: u64, (size, fork, salt): (u64, u64, u64)) -> Asked {
        witness.add(old, &proof(old, size, &hashes(size, fork, salt)), &self.note(size, fork, salt)).unwrap()
    }

    /// The same for the history that everybody shares; an error means that there was no answer.
    pub(super) fn try_add(&self, witness: &Witness, old: u64, size: u64) -> anyhow::Result<Asked> {
        witness.add(old, &proof(old, size, &hashes(size, size, 0)), &self.note(size, size, 0))
    }

    /// The same.
    pub(super) fn grow(&self, witness: &Witness, old: u64, size: u64) -> Asked {
        self.add(witness, old, (size, size, 0))
    }
}

fn hashes(size: u64, fork: u64, salt: u64) -> MemoryHashes {
    let leaf = |n: u64| leaf_hash(&[n, if n < fork { 0 } else { salt }].map(u64::to_be_bytes).concat());
    (0..size).map(leaf).collect()
}

fn proof(old: u64, size: u64, hashes: &MemoryHashes) -> Vec<String> {
    let proof = prove_consistency(old, size, hashes).unwrap();
    proof.iter().map(|hash: &Digest| base64(hash.as_bytes())).collect()
}
