//! The class `withheld`: a log does not show what it gave a receipt for.
//!
//! Which receipts convict is decided in `blame`, because their positions are not reported as a gap too.

use std::collections::BTreeSet;

use super::super::case::Case;
use super::super::class::Class;
use super::super::facts::Place;
use super::super::text::{Records, Utc};
use super::findings::{About, Findings, TAMPERED};

/// A valid kept receipt of log X, and X has another leaf at that index, or X's largest signed checkpoint fetched does
/// not cover it though a leaf under it is dated over 60 s later; gap or not: integrity fail, X, by name.
pub(super) fn withheld(case: &Case<'_>, out: &mut Findings) {
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
        let held = case.of(receipt.chain).edges.iter();
        let is_held = held.into_iter().any(|edge| edge.first <= receipt.first_seq && receipt.next_seq <= edge.next);
        let rest = if is_held { "Another log has these records." } else { "No other log in the sources has them all." };
        let text = format!(
            "{} gave a receipt at {} for {} of {} at leaf {}, and now {shows}: it removed what it had promised to keep \
             (the receipt was kept by {}). {rest} Keep receipt and log as evidence.",
            case.log(*view),
            Utc(receipt.received_at),
            Records(receipt.first_seq, receipt.next_seq),
            case.who(receipt.chain),
            receipt.index,
            receipt.kept_by,
        );
        let place = Place { view: *view, index: receipt.index };
        let about = About::leaf(case, place).chain(case, receipt.chain).records(receipt.first_seq, receipt.next_seq);
        out.add(Class::Withheld, TAMPERED, about, text);
    }
}
