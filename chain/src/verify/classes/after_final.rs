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
