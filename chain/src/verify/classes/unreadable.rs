//! The classes `unreadable` and `unknown-key`: what was named and could not be judged.
//!
//! What only such a source could hold is unknown, not missing.

use super::super::case::Case;
use super::super::class::{Axis, Class, Level};
use super::super::facts::ViewId;
use super::findings::{About, Findings, UNJUDGED};

/// A source that was named cannot be read, or its key is unknown: exit 4; never absent; what only it could hold is
/// unknown, not missing.
///
/// So are: a log of which no checkpoint meets the policy, a checkpoint or receipt that was given and does not hold, and
/// bodies that are not given out to this reader.
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
        if !view.heads.is_empty() && !view.heads.iter().any(|head| head.is_met) {
            let text = format!(
                "no checkpoint of {} has the cosignatures that the policy asks for. Ask its witnesses, or judge by the \
                 log's key alone (--log-key).",
                case.log(id),
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
    for (label, why, is_unknown) in &case.sources.bad_known {
        let class = if *is_unknown { Class::UnknownKey } else { Class::BadCheckpoint };
        let text = format!("the checkpoint {label} that was given does not hold: {why}. Nothing was compared with it.");
        out.add(class, UNJUDGED, About::default(), text);
    }
    for (label, why) in &case.facts.bad_receipts {
        let text = format!("the receipt {label} that was given does not hold: {why}.");
        out.add(Class::Unreadable, UNJUDGED, About::default(), text);
    }
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
