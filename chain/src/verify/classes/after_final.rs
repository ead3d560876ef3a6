//! The class `after-final`: something is stated after a chain's end.
//!
//! The end is a record of the chain, so whoever signed it and what follows contradicts itself.

use std::collections::BTreeMap;

use super::super::case::Case;
use super::super::class::Class;
use super::super::facts::{Place, SessionNo};
use super::super::join::Stater;
use super::super::text::Records;
use super::findings::{About, Findings, TAMPERED};
use crate::id::Seq;

/// A batch or heartbeat that states a position greater than that of `end`: integrity fail, its session.
pub(super) fn after_final(case: &Case<'_>, out: &mut Findings) {
    for chain in case.numbers().filter(|chain| case.in_scope(*chain)) {
        let joined = case.of(chain);
        let Some(end) = joined.end else { continue };
        let mut told: BTreeMap<SessionNo, (Seq, Place)> = BTreeMap::new();
        let batches = joined.batches().map(|number| {
            let batch = &case.facts.batches[number];
            (batch.session, batch.commitment.next_seq(), batch.place)
        });
        let stated = joined.stated.iter().map(|stated| match stated.by {
            Stater::Heartbeat(head) => (case.facts.heads[head].session, stated.next, case.facts.heads[head].place),
            Stater::Resumed(batch) => (case.facts.batches[batch].session, stated.next, case.facts.batches[batch].place),
        });
        for (session, next, place) in batches.chain(stated).filter(|(_, next, _)| *next > end) {
            let furthest = told.entry(session).or_insert((next, place));
            furthest.0 = furthest.0.max(next);
        }
        for (session, (next, place)) in told {
            let text = format!(
                "the chain of {} ended with record {}, and yet {} signed {} of it (from leaf {} of {} on). Look into \
                 that pod.",
                case.who(chain),
                end.get() - 1,
                case.sidecar(session),
                Records(end, next),
                place.index,
                case.log(place.view),
            );
            let about = About::leaf(case, place).chain(case, chain).records(end, next);
            out.add(Class::AfterFinal, TAMPERED, about, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::class::Class;
    use super::super::super::testing::{Chain, World, assert_only, at, seq};
    use super::super::findings::TAMPERED;

    #[test]
    fn a_batch_or_heartbeat_beyond_the_end_contradicts_its_session() {
        for by_heartbeat in [false, true] {
            let mut shop = World::shop_before_signing();
            let mut chain = Chain { ..shop.chain.clone() };
            let more = chain.lines(&shop.sidecar, 5, at(40));
            if by_heartbeat {
                // The records themselves are on their way.
                let beat = shop.sidecar.heartbeat(&[(chain.id, chain.head)], at(40));
                shop.world.logs[0].heartbeats(&[beat], at(41));
            } else {
                shop.world.logs[0].batch(&more, at(41));
            }
            shop.world.sign_all();
            let report = shop.world.judge();
            let text = assert_only(&report, Class::AfterFinal, TAMPERED);
            assert!(text.contains("ended with record 40") && text.contains("pod shop/cart-0"), "{text}");
            let finding = &report.findings[0];
            assert_eq!((finding.first_seq, finding.last_seq), (Some(seq(41)), Some(seq(45))));
        }
    }
}
