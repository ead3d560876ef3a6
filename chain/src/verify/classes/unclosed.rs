//! The class `unclosed`: a chain stopped without an end.
//!
//! Either its pod was lost, or its sidecar was stopped, or what it sent does not arrive; only its age is known, by the
//! smaller of its own and the log's clock.

use std::collections::BTreeMap;

use crate::id::Time;
use crate::statement::{EndReason, Statement};

use super::super::case::Case;
use super::super::class::{Axis, Class, Level};
use super::super::facts::{ChainNo, Place};
use super::super::limits::{FUTURE, QUIET};
use super::super::text::{Age, Utc};
use super::findings::{About, EXPLAINED, Findings, MISSING};

/// No FINAL, not resumed, age over 11 min: freshness warn, fail past `--max-age` (24 h). With statement 11 instead:
/// completeness warn if its `at` is at most 11 min after the chain's last sign of life (output after n may be missing),
/// else completeness fail.
///
/// A chain's age = now − min(`last_time` or heartbeat time, `received_at`) of its newest batch or heartbeat; a time over
/// 60 s in the future does not count. A chain of which only the genesis is there is as old as that.
pub(super) fn unclosed(case: &Case<'_>, out: &mut Findings) {
    let mut ends: BTreeMap<&str, (Time, EndReason)> = BTreeMap::new();
    for (_, _, statement) in &case.facts.authority {
        if let Statement::Ended { pod_uid, reason, at } = statement {
            ends.entry(pod_uid).or_insert((*at, *reason));
        }
    }
    for chain in case.numbers().filter(|chain| case.in_scope(*chain)) {
        let Some((newest, place)) = last_seen(case, chain) else { continue };
        let age = case.terms.now.since(newest);
        if case.of(chain).end.is_some() || case.closed_by.contains_key(&chain) || age <= QUIET {
            continue;
        }
        let next = case.of(chain).next_seq();
        let stopped = format!(
            "the chain of {} stopped without an end: record {next} would be its next, and its last sign of life was at \
             {}, {} ago (leaf {} of {})",
            case.who(chain),
            Utc(newest),
            Age(age),
            place.index,
            case.log(place.view),
        );
        let ended = case.genesis(chain).and_then(|genesis| ends.get(genesis.pod_uid.as_str()));
        let ((axis, level), text) = match ended {
            Some((at, reason)) if at.since(newest) <= QUIET => (
                EXPLAINED,
                format!(
                    "{stopped}; its pod ended at {} ({}). Output after that record may be missing.",
                    Utc(*at),
                    reason.word()
                ),
            ),
            Some((at, reason)) => (
                MISSING,
                format!(
                    "{stopped}, long before its pod ended at {} ({}). Output in between is missing.",
                    Utc(*at),
                    reason.word()
                ),
            ),
            None => (
                (Axis::Freshness, past_max_age(case, age)),
                format!("{stopped}. See whether the pod still runs and its sidecar reaches the pool."),
            ),
        };
        // The end may be in a log that could not be looked at.
        let level = if case.sources.may_be_elsewhere() { Level::Unknown } else { level };
        out.add(Class::Unclosed, (axis, level), About::default().chain(case, chain), text);
    }
}

/// A failure past `--max-age`, a warning before.
pub(super) fn past_max_age(case: &Case<'_>, age: i64) -> Level {
    let max_age = i64::try_from(case.terms.max_age.as_nanos()).unwrap_or(i64::MAX);
    if age > max_age { Level::Fail } else { Level::Warn }
}

/// The newest sign of life of a chain.
pub(super) fn sign_of_life(case: &Case<'_>, chain: ChainNo) -> Option<Time> {
    last_seen(case, chain).map(|(time, _)| time)
}

/// The newest sign of life of a chain, and where it is.
fn last_seen(case: &Case<'_>, chain: ChainNo) -> Option<(Time, Place)> {
    let batches = case.of(chain).batches().map(|number| {
        let batch = &case.facts.batches[number];
        (batch.commitment.last_time.min(batch.received_at), batch.place)
    });
    let heads = case
        .facts
        .heads_of(chain)
        .filter(|head| case.speaks_for(head.session, chain) && case.is_attested(head.session));
    let heads = heads.map(|head| (head.newest, head.place));
    let introductions = case.facts.of_chain(chain).introductions.iter();
    let introduced = introductions.map(|introduction| (introduction.received_at, introduction.place));
    let is_past = |(time, _): &(Time, Place)| time.since(case.terms.now) <= FUTURE;
    let newest = batches.chain(heads).filter(is_past).max();
    newest.or_else(|| introduced.filter(is_past).max())
}

#[cfg(test)]
mod tests {
    use super::super::super::class::{Axis, Class, Level};
    use super::super::super::testing::{Shop, World, assert_honest, assert_only, at};
    use super::super::findings::{EXPLAINED, MISSING};
    use crate::note::NoteSigner;
    use crate::statement::{EndReason, Statement};

    /// The shop without the end of its chain; its last sign of life is at 13 s.
    fn without_end() -> Shop {
        let mut shop = World::shop_before_signing();
        shop.world.logs[0].entries.pop();
        shop.world.logs[1].entries.pop();
        shop
    }

    #[test]
    fn a_chain_without_an_end_warns_after_11_minutes_and_fails_past_the_age() {
        const MINUTE: i64 = 60;
        for (now, level) in [
            (13 + 11 * MINUTE, None),
            (14 + 11 * MINUTE, Some(Level::Warn)),
            (13 + 24 * 60 * MINUTE, Some(Level::Warn)),
            (14 + 24 * 60 * MINUTE, Some(Level::Fail)),
        ] {
            let mut shop = without_end();
            shop.world.logs.iter_mut().for_each(|log| log.seal(at(60)));
            shop.world.terms.now = at(now);
            let report = shop.world.judge();
            match level {
                None => assert_honest(&report),
                Some(level) => {
                    let text = assert_only(&report, Class::Unclosed, (Axis::Freshness, level));
                    assert!(text.contains("container app of pod shop/cart-0") && text.contains("record 40"), "{text}");
                    assert_eq!(report.exit, 3);
                }
            }
        }
    }

    #[test]
    fn a_heartbeat_is_a_sign_of_life_by_the_smaller_of_two_clocks() {
        // The last line was printed at 13 s; the heartbeat says so much later, the log received it at 700 s.
        for (signed, now, is_quiet) in [(700, 1360, true), (700, 1361, false), (5000, 1361, false)] {
            let mut shop = without_end();
            let beat = shop.sidecar.heartbeat(&[(shop.chain.id, shop.batches[4].commitment.head_before())], at(signed));
            shop.world.logs[0].heartbeats(&[beat], at(700));
            shop.world.logs.iter_mut().for_each(|log| log.seal(at(701)));
            shop.world.terms.now = at(now);
            let report = shop.world.judge();
            assert_eq!(report.findings.iter().any(|finding| finding.class == Class::Unclosed), !is_quiet);
        }
    }

    #[test]
    fn the_statement_of_a_pods_end_says_whether_output_is_missing() {
        for (ended, weight) in [(13 + 660, EXPLAINED), (13 + 661, MISSING)] {
            let mut shop = without_end();
            let authority = NoteSigner::new("operator".parse().unwrap(), &[9; 32]);
            let (pod_uid, reason) = (shop.sidecar.session.pod_uid.clone(), EndReason::Evicted);
            shop.world.logs[0].authority(&authority, Statement::Ended { pod_uid, reason, at: at(ended) }, at(700));
            shop.world.logs.iter_mut().for_each(|log| log.seal(at(701)));
            shop.world.terms.authorities.push(authority.verifier_key().clone());
            shop.world.terms.now = at(3600);
            let text = assert_only(&shop.world.judge(), Class::Unclosed, weight);
            assert!(text.contains("Evicted"), "{text}");
        }
    }
}
