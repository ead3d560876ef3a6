//! The class `declared gap`: the sidecar itself says that bytes are missing.
//!
//! Such a record explains a hole in the output; it excuses no missing position of the chain.

use std::collections::BTreeSet;

use crate::control::GapReason;

use super::super::case::{Admission, Case};
use super::super::class::{Axis, Class, Level};
use super::super::text::Utc;
use super::findings::{About, EXPLAINED, Findings, MISSING};

/// A `gap` record: completeness fail, explained (exit 2); `--accept-declared-gaps` makes it warn. Excuses no missing
/// seq.
pub(super) fn declared_gap(case: &Case<'_>, out: &mut Findings) {
    let mut told = BTreeSet::new();
    for (number, batch) in case.facts.batches.iter().enumerate() {
        if batch.gaps.is_empty() || case.admissions[number] != Admission::TakesPart || !case.in_scope(batch.chain) {
            continue;
        }
        for gap in &batch.gaps {
            // The same record may be stored in several logs.
            if !told.insert((batch.chain, gap.seq, gap.time, gap.file.clone())) {
                continue;
            }
            let bytes = gap.bytes.map_or("an unknown number of bytes".to_owned(), |bytes| format!("{bytes} bytes"));
            let why = match gap.reason {
                GapReason::HeldBytesExceeded => "more unread output was held on the node than allowed",
                GapReason::Unreadable => "the file could not be read",
            };
            let text = format!(
                "{} lost {bytes} of the file {} at {}, before record {}: {why}. The sidecar says so itself ({}). Raise the \
                 bound on held bytes, or see why collectors could not be reached; --accept-declared-gaps makes this a \
                 warning.",
                case.who(batch.chain),
                gap.file,
                Utc(gap.time),
                gap.seq.plus(1),
                case.leaf(number),
            );
            let about = About::batch(case, number).records(gap.seq, gap.seq.plus(1));
            out.add(Class::DeclaredGap, weight(case), about, text);
        }
    }
}

/// How much a declared gap weighs.
pub(super) const fn weight(case: &Case<'_>) -> (Axis, Level) {
    if case.terms.accept_declared_gaps { EXPLAINED } else { MISSING }
}

#[cfg(test)]
mod tests {
    use super::super::super::class::Class;
    use super::super::super::testing::{World, assert_only, at, seq};
    use super::super::findings::{EXPLAINED, MISSING};
    use crate::control::{Control, GapReason};

    #[test]
    fn a_declared_gap_is_a_failure_unless_declared_gaps_are_accepted() {
        for accepted in [false, true] {
            let mut shop = World::shop_before_signing();
            let mut chain = super::super::super::testing::Chain::of(&shop.sidecar, "proxy", 0);
            let gap = Control::Gap {
                reason: GapReason::HeldBytesExceeded,
                file: "0.log.20261123-101500".into(),
                bytes: Some(10_485_760),
            };
            let batches = [
                chain.lines(&shop.sidecar, 3, at(40)),
                chain.control(&shop.sidecar, &gap, at(41)),
                chain.end(&shop.sidecar, at(42)),
            ];
            for log in &mut shop.world.logs {
                log.genesis(&chain, &shop.sidecar, at(39));
                log.batches(&batches, at(43));
            }
            shop.world.sign_all();
            shop.world.terms.accept_declared_gaps = accepted;
            let report = shop.world.judge();
            let text = assert_only(&report, Class::DeclaredGap, if accepted { EXPLAINED } else { MISSING });
            for part in ["container proxy of pod shop/cart-0", "10485760 bytes", "0.log.20261123-101500"] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert_eq!(report.findings[0].first_seq, Some(seq(3)));
            assert_eq!(report.exit, if accepted { 0 } else { 2 });
        }
    }
}
