//! The class `unclosed`: a chain stopped without an end.
//!
//! Either its pod was lost, or its sidecar was stopped, or what it sent does not arrive; only its age is known, by the
//! smaller of its own and the log's clock.

use std::collections::BTreeMap;

use crate::id::Time;
use crate::statement::{EndReason, Statement};

use super::super::case::Case;
use super::super::class::{Axis, Class, Level};
use super::super::facts::ChainNo;
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
        let Some(newest) = sign_of_life(case, chain) else { continue };
        let age = case.terms.now.since(newest);
        if case.of(chain).end.is_some() || case.closed_by.contains_key(&chain) || age <= QUIET {
            continue;
        }
        let next = case.of(chain).next_seq();
        let stopped = format!(
            "the chain of {} stopped without an end: record {next} would be its next, and its last sign of life was at \
             {}, {} ago",
            case.who(chain),
            Utc(newest),
            Age(age),
        );
        let ended = case.genesis(chain).and_then(|genesis| ends.get(genesis.pod_uid.as_str()));
        let (weight, text) = match ended {
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
                by_age(case, age),
                format!("{stopped}. See whether the pod still runs and its sidecar reaches the pool."),
            ),
        };
        out.add(Class::Unclosed, weight, About::default().chain(case, chain), text);
    }
}

/// How much an age weighs.
fn by_age(case: &Case<'_>, age: i64) -> (Axis, Level) {
    // The end may be in a log that could not be looked at.
    if case.sources.may_be_elsewhere() {
        return (Axis::Freshness, Level::Unknown);
    }
    (Axis::Freshness, past_max_age(case, age))
}

/// A failure past `--max-age`, a warning before.
pub(super) fn past_max_age(case: &Case<'_>, age: i64) -> Level {
    let max_age = i64::try_from(case.terms.max_age.as_nanos()).unwrap_or(i64::MAX);
    if age > max_age { Level::Fail } else { Level::Warn }
}

/// The newest sign of life of a chain.
pub(super) fn sign_of_life(case: &Case<'_>, chain: ChainNo) -> Option<Time> {
    let joined = case.of(chain);
    let batches = joined.batches().map(|number| {
        let batch = &case.facts.batches[number];
        batch.commitment.last_time.min(batch.received_at)
    });
    let heads = case.facts.heads_of(chain).filter(|head| case.speaks_for(head.session, chain)).map(|head| head.newest);
    let introduced = case.facts.of_chain(chain).introductions.iter().map(|introduction| introduction.received_at);
    let is_past = |time: &Time| time.since(case.terms.now) <= FUTURE;
    let newest = batches.chain(heads).filter(is_past).max();
    newest.or_else(|| introduced.filter(is_past).max())
}
