//! The class `stale`: a log has nothing new, or nothing that a witness saw.
//!
//! A log that lives has a leaf a minute at least, so silence means that it stopped, or that it is not shown as it is.

use super::super::case::Case;
use super::super::class::{Axis, Class};
use super::super::facts::{View, ViewId};
use super::super::limits::QUIET;
use super::super::text::{Age, Utc};
use super::findings::{About, Findings};
use super::unclosed::past_max_age;

/// A log that is not sealed (a log-signed statement 4 counts, witnessed or not) and whose newest leaf is older than
/// 11 min; unwitnessed for over `--max-unwitnessed` (2 h): freshness warn, fail past `--max-age`.
///
/// Of several sources that show a log, the one that shows most of it is asked.
pub(super) fn stale(case: &Case<'_>, out: &mut Findings) {
    for views in case.sources.views.iter().filter(|views| !views.is_empty()) {
        let Some(view) = views.iter().copied().max_by_key(|view| case.facts.view(*view).size()) else { continue };
        let facts = case.facts.view(view);
        if let Some(newest) = facts.newest.filter(|_| facts.sealed.is_none()) {
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
        unwitnessed(case, view, facts, out);
    }
}

/// Leaves that no quorum of witnesses has seen, the oldest of which has waited for long.
fn unwitnessed(case: &Case<'_>, view: ViewId, facts: &View, out: &mut Findings) {
    if !case.terms.policy.needs_witnesses() {
        return;
    }
    let seen = facts.heads.iter().filter(|head| head.is_met).map(|head| head.size).max().unwrap_or(0);
    let oldest = (seen..facts.size()).find_map(|index| facts.time(index));
    let Some(oldest) = oldest else { return };
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
