//! The class `stale`: a log has nothing new, or nothing that a witness saw.
//!
//! A log that lives has a leaf a minute at least, so silence means that it stopped, or that it is not shown as it is.

use super::super::case::Case;
use super::super::class::{Axis, Class, Level};
use super::super::facts::{View, ViewId};
use super::super::limits::QUIET;
use super::super::text::{Age, Utc};
use super::findings::{About, Findings};
use super::unclosed::past_max_age;

/// A log that is not sealed (a log-signed statement 4 counts, witnessed or not) and whose newest leaf is older than
/// 11 min; unwitnessed for over `--max-unwitnessed` (2 h): freshness warn, fail past `--max-age`.
///
/// Of several sources that show a log, the one that shows most of it is asked. A log without any leaf is as old as the
/// newest cosignature on it, and without one it shows no sign of life at all.
pub(super) fn stale(case: &Case<'_>, out: &mut Findings) {
    for (log, views) in case.sources.views.iter().enumerate() {
        let Some(view) = views.iter().copied().max_by_key(|view| case.facts.view(*view).size()) else { continue };
        let facts = case.facts.view(view);
        // How a log ends whose source broke off is unknown; one that another continues has ended, `abandoned` says how.
        let is_open = facts.sealed.is_none() && !case.sources.is_continued(log) && !case.standings[view.0].is_cut;
        if let Some(newest) = facts.newest.filter(|_| is_open) {
            let age = case.terms.now.since(newest);
            if age > QUIET {
                let text = format!(
                    "{} has had no new leaf since {}, {} ago, and was not sealed. Its collector has stopped, or does not \
                     show what it has. See to the collector; if it is gone for good, keep its volume.",
                    case.log(view),
                    Utc(newest),
                    Age(age),
                );
                let weight = (Axis::Freshness, past_max_age(case, age));
                out.add(Class::Stale, weight, About::log(case, view), text);
            }
        }
        empty(case, view, facts, out);
        unwitnessed(case, view, facts, out);
    }
}

/// A log that is shown and has no leaf.
fn empty(case: &Case<'_>, view: ViewId, facts: &View, out: &mut Findings) {
    let Some(largest) = facts.heads.last().filter(|head| head.size == 0) else { return };
    let age = facts.heads.iter().filter_map(|head| head.cosigned_at).max().map(|at| case.terms.now.since(at));
    if age.is_some_and(|age| age <= QUIET) {
        return;
    }
    let seen = age.map_or("no witness says when".to_owned(), |age| format!("last cosigned {} ago", Age(age)));
    let text = format!(
        "{} shows an empty log ({seen}, root {}). A collector writes a leaf when it starts and one a minute while it runs: \
         it has stopped, or does not show what it has. See to the collector.",
        case.log(view),
        largest.root,
    );
    let level = age.map_or(Level::Warn, |age| past_max_age(case, age));
    out.add(Class::Stale, (Axis::Freshness, level), About::log(case, view), text);
}

/// Leaves that no quorum of witnesses has seen, the oldest of which has waited for long.
fn unwitnessed(case: &Case<'_>, view: ViewId, facts: &View, out: &mut Findings) {
    if !case.terms.policy.needs_witnesses() {
        return;
    }
    let seen = case.witnessed[view.0].as_ref().map_or(0, |witnessed| witnessed.size);
    let Some(oldest) = facts.oldest_from(seen) else { return };
    let age = case.terms.now.since(oldest);
    let max = i64::try_from(case.terms.max_unwitnessed.as_nanos()).unwrap_or(i64::MAX);
    if age > max {
        let text = format!(
            "no quorum of witnesses has seen the newest {} leaves of {}, the oldest of which was received at {}, {} ago. \
             Until one does, whoever holds the log's key can still change them. See to the witnesses.",
            facts.size() - seen,
            case.log(view),
            Utc(oldest),
            Age(age),
        );
        out.add(Class::Stale, (Axis::Freshness, past_max_age(case, age)), About::log(case, view), text);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::class::{Axis, Class, Level};
    use super::super::super::testing::{Log, Shop, World, assert_honest, assert_only, at, found};
    use crate::cosignature::Cosigner;
    use crate::policy::Policy;

    #[test]
    fn a_log_that_is_not_sealed_is_stale_after_11_minutes_and_fails_past_the_age() {
        const DAY: i64 = 24 * 3600;
        for (now, level) in [
            (31 + 660, None),
            (32 + 660, Some(Level::Warn)),
            (31 + DAY, Some(Level::Warn)),
            (32 + DAY, Some(Level::Fail)),
        ] {
            let mut shop = World::shop_before_signing();
            shop.world.logs[0].sign();
            shop.world.logs[1].seal(at(60));
            shop.world.terms.now = at(now);
            let report = shop.world.judge();
            match level {
                None => assert_honest(&report),
                Some(level) => {
                    let text = assert_only(&report, Class::Stale, (Axis::Freshness, level));
                    assert!(text.contains("shop/c0-") && text.contains("./c0"), "{text}");
                    assert_eq!(report.exit, 3);
                }
            }
        }
    }

    /// The shop under a policy that asks for a witness.
    fn witnessed() -> (Shop, Cosigner) {
        let mut shop = World::shop_before_signing();
        let witness = Cosigner::new("w1".parse().unwrap(), &[99; 32]);
        shop.world.ask_for(&witness);
        (shop, witness)
    }

    #[test]
    fn leaves_that_no_witness_saw_for_two_hours_are_stale() {
        for (now, is_stale) in [(60 + 7200, false), (61 + 7200, true)] {
            let (mut shop, witness) = witnessed();
            for log in &mut shop.world.logs {
                log.sign_with(&witness, at(50));
                log.seal(at(60));
            }
            shop.world.terms.now = at(now);
            let report = shop.world.judge();
            if is_stale {
                assert_eq!(found(&report), [(Class::Stale, Level::Warn); 2]);
                assert!(
                    report.findings[0].text.contains("newest 1 leaves of log shop/c0-"),
                    "{}",
                    report.findings[0].text
                );
            } else {
                assert_honest(&report);
                assert_eq!(report.logs[0].witnesses, ["w1"]);
            }
        }
    }

    #[test]
    fn a_log_of_which_no_checkpoint_meets_the_policy_cannot_be_judged() {
        let (mut shop, witness) = witnessed();
        shop.world.logs[0].sign_with(&witness, at(50));
        shop.world.logs[1].sign();
        let report = shop.world.judge();
        assert_eq!((report.exit, found(&report)), (4, vec![(Class::Unreadable, Level::Unknown)]));
    }

    #[test]
    fn a_log_of_the_policy_that_shows_no_leaf_is_stale() {
        // Never cosigned; cosigned just now, over 11 minutes ago, over a day ago.
        let ages = [(None, Some(Level::Warn)), (Some(660), None), (Some(661), Some(Level::Warn))];
        for (age, level) in ages.into_iter().chain([(Some(24 * 3600 + 1), Some(Level::Fail))]) {
            let mut shop = World::shop_before_signing();
            shop.world.logs.push(Log::new("shop/c2", 12));
            let witness = Cosigner::new("w1".parse().unwrap(), &[99; 32]);
            shop.world.ask_for(&witness);
            let cosigned = at(7200 - 660);
            shop.world.logs[..2].iter_mut().for_each(|log| log.seal(at(60)));
            shop.world.logs[..2].iter_mut().for_each(|log| log.sign_with(&witness, cosigned));
            match age {
                None => {
                    let keys = shop.world.logs.iter().map(|log| log.signer.verifier_key().clone());
                    shop.world.terms.policy = Policy::from_log_keys(keys).unwrap();
                    shop.world.logs[2].sign();
                }
                Some(_) => shop.world.logs[2].sign_with(&witness, cosigned),
            }
            shop.world.terms.now = age.map_or(at(7200), |age| cosigned.plus_nanos(age * crate::id::Time::SECOND));
            let report = shop.world.judge();
            match level {
                None => assert_honest(&report),
                Some(level) => {
                    let text = assert_only(&report, Class::Stale, (Axis::Freshness, level));
                    assert!(text.contains("log shop/c2-") && text.contains("empty"), "{text}");
                }
            }
        }
    }
}
