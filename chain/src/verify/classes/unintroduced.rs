//! The class `unintroduced`: a log holds what it cannot have checked.
//!
//! A collector checks a batch or heartbeat with the session that it introduced before; one without stored it unchecked.

use std::collections::BTreeMap;

use super::super::case::{Admission, Case};
use super::super::class::Class;
use super::super::facts::{ChainNo, Introduced, SessionNo, ViewId};
use super::findings::{About, Findings, INVENTED};

/// No session or genesis leaf at a lower index of that log: authenticity fail, that log; takes part if another log
/// holds them.
///
/// In a log whose leaves are not those that it signed, the leaf that introduced may be the one that is lost: that is
/// told as such, and not again here.
pub(super) fn unintroduced(case: &Case<'_>, out: &mut Findings) {
    let mut told: BTreeMap<(ViewId, ChainNo, SessionNo), Vec<usize>> = BTreeMap::new();
    for (number, batch) in case.facts.batches.iter().enumerate() {
        let is_judged = !matches!(case.admissions[number], Admission::Forged | Admission::BadBody);
        if batch.introduced == Introduced::No && is_judged && case.standings[batch.place.view.0].is_true {
            told.entry((batch.place.view, batch.chain, batch.session)).or_default().push(number);
        }
    }
    for ((view, chain, session), numbers) in told {
        let batches = numbers.iter().map(|number| &case.facts.batches[*number]);
        let first = batches.clone().map(|batch| batch.commitment.first_seq).min().unwrap_or_default();
        let next = batches.map(|batch| batch.commitment.next_seq()).max().unwrap_or_default();
        let counts = match case.admissions[numbers[0]] {
            Admission::Unknown | Admission::ByForeign => {
                "no other log does either, so it cannot be told whose they are and they do not count"
            }
            _ => "another log does, so they are checked and count",
        };
        let text = format!(
            "{} holds {} batches for {} by {} and does not introduce pod or chain before them: {counts}. A collector \
             must refuse such batches: look into that collector.",
            case.log(view),
            numbers.len(),
            case.who(chain),
            case.sidecar(session),
        );
        out.add(Class::Unintroduced, INVENTED, About::batch(case, numbers[0]).records(first, next), text);
    }
    for (number, view) in case.facts.views.iter().enumerate().filter(|(number, _)| case.standings[*number].is_true) {
        for (session, index) in &view.unintroduced_beats {
            let view = ViewId(number);
            let text = format!(
                "{} holds heartbeats of {} and does not introduce it before them (leaf {index}). A collector must \
                 refuse such heartbeats: look into that collector.",
                case.log(view),
                case.sidecar(*session),
            );
            let place = super::super::facts::Place { view, index: *index };
            out.add(Class::Unintroduced, INVENTED, About::leaf(case, place), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::class::Class;
    use super::super::super::testing::{Chain, Sidecar, World, assert_only, at};
    use super::super::findings::INVENTED;

    #[test]
    fn a_batch_whose_log_introduces_nothing_counts_if_another_log_does() {
        let mut world = World::of(3);
        let sidecar = Sidecar::of("cart-0", 1, at(1));
        let mut chain = Chain::of(&sidecar, "app", 0);
        for log in &mut world.logs[..2] {
            log.introduce(&sidecar, at(2));
            log.genesis(&chain, &sidecar, at(3));
        }
        let batch = chain.lines(&sidecar, 3, at(4));
        world.logs[2].batch(&batch, at(4));
        world.logs[0].batch(&chain.end(&sidecar, at(5)), at(5));
        world.sign_all();
        let report = world.judge();
        let text = assert_only(&report, Class::Unintroduced, INVENTED);
        assert!(text.contains("shop/c2-") && text.contains("pod shop/cart-0"), "{text}");
        assert_eq!(report.counts.records, 4);
    }

    #[test]
    fn a_batch_that_nobody_introduces_does_not_count_and_is_no_gap_either() {
        let mut shop = World::shop_before_signing();
        let other = Sidecar::of("ghost-0", 7, at(1));
        let batch = Chain::of(&other, "app", 0).lines(&other, 3, at(35));
        shop.world.logs[1].batch(&batch, at(36));
        shop.world.sign_all();
        let report = shop.world.judge();
        assert_only(&report, Class::Unintroduced, INVENTED);
        assert_eq!(report.counts.records, 41);
    }

    #[test]
    fn a_session_introduced_after_its_batch_did_not_introduce_it() {
        let mut shop = World::shop_before_signing();
        // The session and the chain of log 1 stand behind its first batch now.
        shop.world.logs[1].entries[1..4].rotate_left(2);
        shop.world.sign_all();
        let text = assert_only(&shop.world.judge(), Class::Unintroduced, INVENTED);
        assert!(text.contains("1 batches") && text.contains("shop/c1-"), "{text}");
    }

    #[test]
    fn a_heartbeat_of_a_session_that_its_log_does_not_know_names_the_log() {
        let mut world = World::of(3);
        let sidecar = Sidecar::of("cart-0", 1, at(1));
        world.logs[..2].iter_mut().for_each(|log| log.introduce(&sidecar, at(2)));
        world.logs[2].heartbeats(&[sidecar.heartbeat(&[], at(3))], at(3));
        world.sign_all();
        let text = assert_only(&world.judge(), Class::Unintroduced, INVENTED);
        assert!(text.contains("shop/c2-"), "{text}");
    }
}
