//! The class `withheld`: a log does not show what it gave a receipt for.
//!
//! Which receipts convict is decided in `blame`, because their positions are not reported as a gap too.

use std::collections::BTreeSet;

use super::super::case::Case;
use super::super::class::Class;
use super::super::facts::Place;
use super::super::text::{Between, Records, Utc};
use super::findings::{About, Findings, TAMPERED, UNJUDGED};

/// A valid kept receipt of log X, and X has another leaf at that index, or X's largest signed checkpoint fetched does
/// not cover it though a leaf under it is dated over 60 s later; gap or not: integrity fail, X, by name.
///
/// Of a receipt that was given and does not hold, it is unknown whether it would convict.
pub(super) fn withheld(case: &Case<'_>, out: &mut Findings) {
    for (label, why) in &case.facts.bad_receipts {
        let text = format!("the receipt {label} that was given convicts nobody: {why}.");
        out.add(Class::Withheld, UNJUDGED, About::default(), text);
    }
    let mut told = BTreeSet::new();
    for (number, view) in &case.blame.convicted {
        let receipt = &case.facts.receipts[*number];
        if !told.insert((receipt.log, receipt.index, receipt.leaf_hash)) {
            continue;
        }
        let facts = case.facts.view(*view);
        let shows = match facts.leaf(receipt.index.get()) {
            Some(_) => "shows another leaf there".to_owned(),
            None => format!("shows only {} leaves, some of them younger", facts.size()),
        };
        let is_held = case.of(receipt.chain).holds(receipt.first_seq, receipt.next_seq);
        let rest = if is_held { "Another log has these records." } else { "No other log in the sources has them all." };
        let text = format!(
            "{} gave a receipt at {} for {} of {}, printed {}, at leaf {}, and now {shows}: it removed what it had promised to keep \
             (the receipt was kept by {}). {rest} Keep receipt and log as evidence.",
            case.log(*view),
            Utc(receipt.received_at),
            Records(receipt.first_seq, receipt.next_seq),
            case.who(receipt.chain),
            Between(Some(receipt.first_time), Some(receipt.last_time)),
            receipt.index,
            receipt.kept_by,
        );
        let place = Place { view: *view, index: receipt.index };
        let about = About::leaf(case, place).chain(case, receipt.chain).records(receipt.first_seq, receipt.next_seq);
        out.add(Class::Withheld, TAMPERED, about, text);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::class::Class;
    use super::super::super::testing::{Log, Shop, World, assert_honest, assert_only, at, found};
    use super::super::findings::TAMPERED;
    use crate::id::LeafIndex;
    use crate::receipt::{KeptReceipt, Receipt};

    /// The shop, whose second batch log 1 took, and the receipt for it.
    fn with_receipt() -> (Shop, KeptReceipt) {
        let shop = World::shop_before_signing();
        let kept = shop.world.logs[1].receipt(LeafIndex::new(3));
        (shop, kept)
    }

    /// The same receipt, for a leaf that the log would have later.
    fn for_leaf(log: &Log, index: u64, mut kept: KeptReceipt) -> KeptReceipt {
        let Receipt { log: id, leaf_hash, received_at, .. } = kept.receipt;
        kept.receipt = Receipt::sign(log.signer.private_key(), id, LeafIndex::new(index), leaf_hash, received_at);
        kept
    }

    #[test]
    fn a_receipt_whose_leaf_is_there_is_honest() {
        let (mut shop, kept) = with_receipt();
        shop.world.terms.receipts.push(("kept".into(), kept));
        shop.world.sign_all();
        assert_honest(&shop.world.judge());
    }

    #[test]
    fn a_batch_removed_and_the_log_signed_anew_is_withheld_by_name() {
        // Given as a file, or carried by a heartbeat to the other log.
        for in_heartbeat in [false, true] {
            let (mut shop, kept) = with_receipt();
            shop.world.logs[1].entries.remove(3);
            if in_heartbeat {
                let origin = shop.world.logs[1].origin().to_string();
                let beat = shop.sidecar.heartbeat_with(&[], vec![(origin, kept)], at(34));
                shop.world.logs[0].heartbeats(&[beat], at(34));
            } else {
                shop.world.terms.receipts.push(("kept".into(), kept));
            }
            shop.world.logs.iter_mut().for_each(|log| log.seal(at(60)));
            let text = assert_only(&shop.world.judge(), Class::Withheld, TAMPERED);
            for part in ["shop/c1-", "records 10 to 19", "container app of pod shop/cart-0"] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
    }

    #[test]
    fn a_changed_batch_in_its_place_is_withheld_and_a_fork() {
        let (mut shop, kept) = with_receipt();
        let mut branch = super::super::super::testing::Chain {
            head: shop.batches[1].commitment.head_before(),
            ..shop.chain.clone()
        };
        let other = branch.lines_saying("other", &shop.sidecar, 10, at(11));
        let log = &mut shop.world.logs[1];
        let leaf = crate::leaf::Leaf::Batch { commitment: other.commitment, received_at: at(12) };
        log.entries[3].leaf = leaf.encode().unwrap();
        log.entries[3].body = other.body;
        shop.world.terms.receipts.push(("kept".into(), kept));
        shop.world.sign_all();
        let report = shop.world.judge();
        let mut classes: Vec<_> = found(&report).into_iter().map(|(class, _)| class).collect();
        classes.sort_unstable();
        assert_eq!(classes, [Class::Fork, Class::Withheld]);
    }

    #[test]
    fn a_log_that_does_not_cover_a_receipt_is_convicted_by_its_own_younger_leaves() {
        for (newest, is_convicted) in [(72, false), (73, true)] {
            let (mut shop, kept) = with_receipt();
            // The log ends before that leaf, but for a younger one.
            let log = &mut shop.world.logs[1];
            log.entries.truncate(3);
            log.start(at(newest));
            shop.world.terms.receipts.push(("kept".into(), for_leaf(log, 9, kept)));
            shop.world.sign_all();
            let report = shop.world.judge();
            assert_eq!(found(&report).contains(&(Class::Withheld, TAMPERED.1)), is_convicted, "{:?}", report.findings);
        }
    }

    #[test]
    fn a_receipt_that_its_log_did_not_sign_convicts_nobody() {
        let (mut shop, mut kept) = with_receipt();
        kept.receipt.index = LeafIndex::new(2);
        let origin = shop.world.logs[1].origin().to_string();
        let beat = shop.sidecar.heartbeat_with(&[], vec![(origin, kept)], at(34));
        shop.world.logs[0].heartbeats(&[beat], at(34));
        shop.world.terms.receipts.push(("kept".into(), kept));
        shop.world.sign_all();
        let report = shop.world.judge();
        assert_only(&report, Class::Withheld, super::super::findings::UNJUDGED);
        assert_eq!(report.exit, 4);
    }

    #[test]
    fn a_log_that_dates_its_last_leaf_back_is_convicted_by_the_youngest() {
        for (youngest, is_convicted) in [(72, false), (73, true)] {
            let (mut shop, kept) = with_receipt();
            let log = &mut shop.world.logs[1];
            log.entries.truncate(3);
            log.start(at(youngest));
            log.start(at(13));
            shop.world.terms.receipts.push(("kept".into(), for_leaf(log, 9, kept)));
            shop.world.sign_all();
            let report = shop.world.judge();
            assert_eq!(found(&report).contains(&(Class::Withheld, TAMPERED.1)), is_convicted, "{:#?}", report.findings);
        }
    }
}
