//! The classes `unreadable` and `unknown-key`: what was named and could not be judged.
//!
//! What only such a source could hold is unknown, not missing.

use super::super::case::Case;
use super::super::class::{Axis, Class, Level};
use super::super::facts::ViewId;
use super::super::limits::NAMED;
use super::super::quorum::largest;
use super::super::text::list;
use super::findings::{About, Findings, UNJUDGED};
use crate::policy::Witness;

/// A source that was named cannot be read, or its key is unknown: exit 4; never absent; what only it could hold is
/// unknown, not missing.
///
/// So are a log of which no checkpoint meets the policy, and bodies that are not given out to this reader.
pub(super) fn unreadable(case: &Case<'_>, out: &mut Findings) {
    for source in &case.facts.sources {
        for (origin, why) in &source.unreadable {
            let about = origin.as_deref().map_or_else(About::default, About::origin);
            let named = origin.as_ref().map(|origin| format!(" (log {origin})")).unwrap_or_default();
            let text =
                format!("the source {}{named} cannot be read: {why}. What only it holds is unknown.", source.label);
            out.add(Class::Unreadable, UNJUDGED, about, text);
        }
    }
    for (number, view) in case.facts.views.iter().enumerate() {
        let id = ViewId(number);
        if !view.heads.is_empty() && case.witnessed[number].is_none() {
            let text = format!(
                "no checkpoint of {} has the cosignatures that the policy asks for{}. Ask its witnesses, or judge by the \
                 log's key alone (--log-key).",
                case.log(id),
                missed(case, id),
            );
            out.add(Class::Unreadable, UNJUDGED, About::log(case, id), text);
        }
        if view.liveness_not_given > 0 {
            let text = format!(
                "{} does not give out {} bodies with signs of life to this reader: what is missing at the ends of chains \
                 cannot be told. Read with a token that may read all records.",
                case.log(id),
                view.liveness_not_given,
            );
            out.add(Class::Unreadable, (Axis::Completeness, Level::Unknown), About::log(case, id), text);
        }
    }
}

/// The witnesses of the policy that have seen nothing of a view.
fn missed(case: &Case<'_>, view: ViewId) -> String {
    let seen = largest(case, view);
    let names = case.terms.policy.witnesses().iter().map(Witness::name);
    let missed = list(names.filter(|name| !seen.contains_key(name)), NAMED);
    if missed.is_empty() { String::new() } else { format!(": nothing is cosigned by {missed}") }
}

/// A source's key is not one that the policy has: exit 4.
pub(super) fn unknown_key(case: &Case<'_>, out: &mut Findings) {
    for source in &case.facts.sources {
        for origin in &source.unknown_key {
            let text = format!(
                "the source {} shows log {origin}, and none of its checkpoints is signed by a key that was given. Give \
                 the log's verifier key (--log-key, or a policy), from somewhere else than the source itself.",
                source.label,
            );
            out.add(Class::UnknownKey, UNJUDGED, About::origin(origin), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::class::{Class, Level};
    use super::super::super::facts::SourceId;
    use super::super::super::terms::SourceKind;
    use super::super::super::testing::{Log, World, at, found};
    use crate::policy::Policy;
    use crate::stored::Codec;

    #[test]
    fn a_source_that_cannot_be_read_is_unknown_and_never_absent() {
        for named in [false, true] {
            let mut shop = World::shop();
            let log = shop.world.logs.pop().unwrap();
            shop.world.vouch();
            let origin = log.origin().to_string();
            let report = shop.world.judge_with(|judge| {
                let source = judge.source("https://c1", SourceKind::Collector);
                judge.unreadable(source, named.then_some(origin.as_str()), "connection refused");
            });
            // What only log 1 holds is unknown, not missing.
            assert_eq!(found(&report), [(Class::Unreadable, Level::Unknown)]);
            assert_eq!(report.exit, 4);
            assert!(report.findings[0].text.contains("https://c1"));
        }
    }

    #[test]
    fn a_log_whose_key_was_not_given_is_not_judged() {
        let mut shop = World::shop();
        let other = Log::new("shop/other", 50);
        shop.world.terms.policy = Policy::from_log_keys([other.signer.verifier_key().clone()]).unwrap();
        let report = shop.world.judge();
        let unknown = found(&report).into_iter().filter(|found| *found == (Class::UnknownKey, Level::Unknown));
        assert_eq!(unknown.count(), 2);
        assert!(report.logs.is_empty() && report.chains.is_empty());
    }

    #[test]
    fn a_source_that_breaks_off_has_not_lost_what_it_did_not_get_to_show() {
        let mut shop = World::shop();
        // All was signed; the connection broke after four leaves.
        shop.world.logs[1].entries.truncate(4);
        shop.world.terms.now = at(3600);
        let origin = shop.world.logs[1].origin().to_string();
        let report = shop.world.judge_with(|judge| {
            judge.unreadable(SourceId(1), Some(&origin), "connection reset");
        });
        assert_eq!(
            (report.exit, found(&report)),
            (4, vec![(Class::Unreadable, Level::Unknown)]),
            "{:#?}",
            report.findings
        );

        // What it did show must still be what was signed.
        let mut shop = World::shop_before_signing();
        shop.world.sign_all();
        shop.world.logs.iter_mut().for_each(|log| log.seal(at(60)));
        shop.world.logs[1].entries.pop();
        *shop.world.logs[1].entries[0].leaf.last_mut().unwrap() ^= 1;
        let report = shop.world.judge_with(|judge| {
            judge.unreadable(SourceId(1), Some(&origin), "connection reset");
        });
        assert_eq!(report.exit, 1);
    }

    #[test]
    fn nothing_to_verify_is_exit_4() {
        let mut world = World::new();
        world.logs.clear();
        world.terms.policy = Policy::from_log_keys([]).unwrap();
        assert_eq!(world.judge().exit, 4);
    }

    #[test]
    fn bodies_that_are_not_given_out_are_unknown_and_their_positions_are_not_missing() {
        let mut shop = World::shop();
        shop.world.terms.now = at(3600);
        let entry = &mut shop.world.logs[1].entries[3];
        entry.codec = Codec::Withheld;
        entry.body.clear();
        let report = shop.world.judge();
        assert_eq!(found(&report), [(Class::Unreadable, Level::Unknown)]);
        assert_eq!((report.exit, report.chains[0].records), (4, 41));
        assert!(report.findings[0].text.contains("records 10 to 19"));

        let mut shop = World::shop();
        let entry = &mut shop.world.logs[1].entries[5];
        entry.codec = Codec::Withheld;
        entry.body.clear();
        assert_eq!(found(&shop.world.judge()), [(Class::Unreadable, Level::Unknown)]);
    }
}
