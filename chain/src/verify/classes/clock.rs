//! The class `clock`: clocks disagree.
//!
//! Order never rests on a clock, so a wrong one harms no verdict but that on freshness. Told once for each log and
//! session and kind, with the first place and the number of them.

use super::super::case::Case;
use super::super::class::{Axis, Class, Level};
use super::super::facts::{Place, SessionNo, ViewId};
use super::super::text::Utc;
use super::findings::{About, Findings};

const WRONG: (Axis, Level) = (Axis::Freshness, Level::Warn);

/// A time over 60 s in the future; `received_at` falls along a log by over 60 s; time of a heartbeat and its liveness
/// leaf's `received_at` differ by over 11 min; only within `--max-age`: freshness warn, that log or session.
pub(super) fn clock(case: &Case<'_>, out: &mut Findings) {
    let now = Utc(case.terms.now);
    for (number, view) in case.facts.views.iter().enumerate() {
        let id = ViewId(number);
        if let Some((index, time, count)) = view.clock.future {
            let text = format!(
                "{count} leaves of {} are dated in the future, the first (leaf {index}) at {}; now is {now}. Set the \
                 collector's clock, or this machine's.",
                case.log(id),
                Utc(time),
            );
            out.add(Class::Clock, WRONG, About::leaf(case, Place { view: id, index }), text);
        }
        if let Some((index, from, to, count)) = view.clock.falls {
            let text = format!(
                "the clock of {} went back {count} times, first at leaf {index} from {} to {}. See to the collector's \
                 clock.",
                case.log(id),
                Utc(from),
                Utc(to),
            );
            out.add(Class::Clock, WRONG, About::leaf(case, Place { view: id, index }), text);
        }
    }
    for (number, session) in (0..).zip(&case.facts.sessions) {
        if session.session.as_deref().is_some_and(|session| !case.pod_in_scope(session)) {
            continue;
        }
        let sidecar = case.sidecar(SessionNo(number));
        if let Some((place, time, count)) = session.clock.future {
            let text = format!(
                "{sidecar} signed {count} times in the future, first {} in leaf {} of {}; now is {now}. Set the node's \
                 clock, or this machine's.",
                Utc(time),
                place.index,
                case.log(place.view),
            );
            out.add(Class::Clock, WRONG, About::leaf(case, place), text);
        }
        if let Some((place, time, received, count)) = session.clock.apart {
            let text = format!(
                "{count} heartbeats of {sidecar} were stored long before or after they were signed, first one signed at \
                 {} and stored at {} (leaf {} of {}). One of the two clocks is wrong, or an old heartbeat was stored \
                 again.",
                Utc(time),
                Utc(received),
                place.index,
                case.log(place.view),
            );
            out.add(Class::Clock, WRONG, About::leaf(case, place), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::class::Class;
    use super::super::super::testing::{Chain, World, assert_honest, assert_only, at, found};
    use super::WRONG;

    #[test]
    fn a_leaf_dated_over_a_minute_in_the_future_names_its_log() {
        for (time, is_wrong) in [(180, false), (181, true)] {
            let mut shop = World::shop_before_signing();
            shop.world.logs[0].start(at(time));
            shop.world.sign_all();
            let report = shop.world.judge();
            if is_wrong {
                let text = assert_only(&report, Class::Clock, WRONG);
                assert!(text.contains("shop/c0-"), "{text}");
            } else {
                assert_honest(&report);
            }
        }
    }

    #[test]
    fn a_fall_of_a_logs_clock_by_over_a_minute_names_it_while_it_is_recent() {
        for (time, now, is_wrong) in [(-29, 120, false), (-30, 120, true), (-30, 24 * 3600 - 29, false)] {
            let mut shop = World::shop_before_signing();
            shop.world.logs[0].start(at(time));
            shop.world.logs.iter_mut().for_each(|log| log.seal(at(31)));
            shop.world.terms.now = at(now);
            assert_eq!(found(&shop.world.judge()), if is_wrong { vec![(Class::Clock, WRONG.1)] } else { vec![] });
        }
    }

    #[test]
    fn lines_or_heartbeats_from_the_future_name_their_session() {
        for by_heartbeat in [false, true] {
            let mut shop = World::shop_before_signing();
            let mut chain = Chain::of(&shop.sidecar, "proxy", 0);
            shop.world.logs[0].genesis(&chain, &shop.sidecar, at(33));
            let time = if by_heartbeat { at(34) } else { at(500) };
            shop.world.logs[0].batch(&chain.end(&shop.sidecar, time), at(35));
            if by_heartbeat {
                shop.world.logs[0].heartbeats(&[shop.sidecar.heartbeat(&[], at(500))], at(36));
            }
            shop.world.sign_all();
            let text = assert_only(&shop.world.judge(), Class::Clock, WRONG);
            assert!(text.contains("the sidecar of pod shop/cart-0"), "{text}");
        }
    }

    #[test]
    fn an_old_heartbeat_stored_again_does_not_keep_a_chain_alive() {
        let mut shop = World::shop_before_signing();
        // The chain has no end in evidence, and its old heartbeat is appended again and again.
        shop.world.logs[0].entries.pop();
        shop.world.logs[1].entries.pop();
        let beat = shop.sidecar.heartbeat(&[(shop.chain.id, shop.batches[4].commitment.head_before())], at(20));
        for time in [21, 400, 700] {
            shop.world.logs[0].heartbeats(std::slice::from_ref(&beat), at(time));
        }
        shop.world.logs.iter_mut().for_each(|log| log.seal(at(701)));
        shop.world.terms.now = at(702);
        let report = shop.world.judge();
        let mut classes: Vec<_> = found(&report).into_iter().map(|(class, _)| class).collect();
        classes.sort_unstable();
        assert_eq!(classes, [Class::Unclosed, Class::Clock]);
    }
}
