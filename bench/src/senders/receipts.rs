//! Whether receipts are good: by the log's key, for the batch that was sent, each at an index of its own.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use indelible_chain::checkpoint::Origin;
use indelible_chain::leaf::Leaf;
use indelible_chain::merkle::leaf_hash;
use indelible_chain::note::VerifierKey;
use indelible_chain::receipt::{RECEIPT_BYTES, Receipt};

use super::made::{Made, upload};

/// What one slot was answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) pod: usize,
    pub(super) slot: usize,
    /// Of its first batches, in their order.
    pub(super) receipts: Vec<[u8; RECEIPT_BYTES]>,
    /// How many came within the window.
    pub(super) within: u64,
    /// How often it was told to come again.
    pub(super) refused: u64,
}

/// Checks all; gives how many there are.
pub(super) fn check(made: &Made, vkey: &str, answered: &[Answered]) -> Result<u64> {
    let key: VerifierKey = vkey.parse()?;
    let log = Origin::from(key.name().clone()).log_id();
    let (mut indexes, mut count) = (HashSet::new(), 0);
    for slot in answered {
        for (batch, receipt) in made.pods[slot.pod].chains[slot.slot].batches.iter().zip(&slot.receipts) {
            let receipt = Receipt::decode(receipt)?;
            let leaf = Leaf::Batch { commitment: upload(batch)?, received_at: receipt.received_at }.encode()?;
            ensure!(receipt.log == log, "a receipt is by another log");
            ensure!(receipt.leaf_hash == leaf_hash(&leaf), "a receipt is for something else than the batch");
            ensure!(receipt.is_signed_by(key.public_key()), "a receipt's signature does not hold");
            ensure!(indexes.insert(receipt.index.get()), "two batches have index {}", receipt.index.get());
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use indelible_chain::id::{LeafIndex, Time};
    use indelible_chain::key::PrivateKey;
    use indelible_chain::note::Algorithm;

    use super::super::made::{Payloads, Plan, make};
    use super::*;

    /// Two batches and their receipts, by a log of this seed.
    fn answered(seed: u8) -> (Made, String, Vec<Answered>) {
        let made =
            make(Plan { pods: 1, slots: 1, batches: 2, records: 1, payloads: Payloads::Lines, seed: 1 }).unwrap();
        let key = PrivateKey::from_seed(&[seed; 32]);
        let origin = Origin::of_key("bench/c0", &key.public()).unwrap();
        let vkey = VerifierKey::new(origin.key_name().unwrap(), Algorithm::Ed25519, key.public()).to_string();
        let time = Time::from_nanos(5);
        let receipts = made.pods[0].chains[0].batches.iter().enumerate().map(|(index, batch)| {
            let leaf = Leaf::Batch { commitment: upload(batch).unwrap(), received_at: time }.encode().unwrap();
            Receipt::sign(&key, origin.log_id(), LeafIndex::new(index as u64), leaf_hash(&leaf), time).encode()
        });
        let receipts = receipts.collect();
        (made, vkey, vec![Answered { pod: 0, slot: 0, receipts, within: 2, refused: 0 }])
    }

    #[test]
    fn good_receipts_are_counted_and_bad_ones_found() {
        let (made, vkey, mut good) = answered(1);
        assert_eq!(check(&made, &vkey, &good).unwrap(), 2);
        assert!(check(&made, &answered(2).1, &good).unwrap_err().to_string().contains("another log"));
        good[0].receipts.swap(0, 1);
        assert!(check(&made, &vkey, &good).unwrap_err().to_string().contains("something else"));
        good[0].receipts.swap(0, 1);
        good[0].receipts[1][RECEIPT_BYTES - 1] ^= 1;
        assert!(check(&made, &vkey, &good).unwrap_err().to_string().contains("signature"));
    }
}
