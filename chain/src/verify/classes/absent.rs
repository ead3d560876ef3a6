//! The class `absent`: a log that others name is not among the sources.
//!
//! What only it could hold is unknown, not missing; it is told here, log by log, so that it is said where to look.

use super::super::blame::Fate;
use super::super::case::Case;
use super::super::class::Class;
use super::super::limits::NAMED;
use super::super::text::{Records, list};
use super::findings::{About, Findings, MISSING};
use super::gap::printed;

/// A log that policy, receipt, witness, statement 3 or archive names is not among the sources: completeness fail, that
/// log; what only it could hold is unknown, not missing.
///
/// The same holds for the rest of a log of which a copy shows less than is known to exist; if another log continues
/// it, that is `abandoned`.
pub(super) fn absent(case: &Case<'_>, out: &mut Findings) {
    let unknown = elsewhere(case);
    for absent in &case.sources.absent {
        let text = format!(
            "log {} is named by {} and is not among the sources.{unknown} Add its collector, a copy of its volume, or its \
             archive.",
            absent.origin, absent.named_by,
        );
        out.add(Class::Absent, MISSING, About::origin(&absent.origin), text);
    }
    for (log, (size, by)) in &case.sources.short {
        if case.sources.is_continued(*log) {
            continue;
        }
        let origin = case.terms.policy.logs()[*log].origin().as_str();
        let views = case.sources.views[*log]
            .iter()
            .map(|view| format!("{} shows {}", case.log(*view), case.facts.view(*view).size()));
        let text = format!(
            "log {origin} had {size} leaves ({by}), and {}: the rest of it is not among the sources.{unknown} Add its \
             collector, or a newer copy.",
            list(views, NAMED),
        );
        out.add(Class::Absent, MISSING, About::origin(origin), text);
    }
}

/// The records that may be in what is not there.
pub(super) fn elsewhere(case: &Case<'_>) -> String {
    let losses: Vec<_> = case.blame.losses.iter().filter(|loss| loss.fate == Fate::Elsewhere).collect();
    if losses.is_empty() {
        return String::new();
    }
    let named = losses.iter().take(NAMED).map(|loss| {
        format!(
            "{} of {}, printed {}",
            Records(loss.first, loss.next),
            case.who(loss.chain),
            printed(case, loss.chain, loss.first, loss.next),
        )
    });
    let more = losses.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more ranges") } else { String::new() };
    format!(" These may be there and are in no other source: {}{more}.", list(named, NAMED))
}

#[cfg(test)]
mod tests {
    use super::super::super::class::Class;
    use super::super::super::testing::{Log, World, assert_only, at};
    use super::super::findings::MISSING;

    #[test]
    fn a_log_of_the_policy_that_is_left_out_is_named_with_what_only_it_could_hold() {
        let mut shop = World::shop();
        shop.world.logs.pop();
        shop.world.terms.now = at(3600);
        shop.world.vouch();
        let report = shop.world.judge();
        let text = assert_only(&report, Class::Absent, MISSING);
        for part in [
            "shop/c1-",
            "records 10 to 19 of container app of pod shop/cart-0",
            "printed between 2026-",
            "records 30 to 39",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(report.exit, 2);
    }

    #[test]
    fn a_log_that_only_a_receipt_names_is_absent() {
        let mut shop = World::shop_before_signing();
        let mut other = Log::new("shop/c9", 19);
        let index = other.batch(&shop.batches[0], at(12));
        let origin = other.origin().to_string();
        let beat = shop.sidecar.heartbeat_with(&[], vec![(origin, other.receipt(index))], at(34));
        shop.world.logs[0].heartbeats(&[beat], at(34));
        shop.world.sign_all();
        let text = assert_only(&shop.world.judge(), Class::Absent, MISSING);
        assert!(text.contains("shop/c9-") && text.contains("a heartbeat in leaf 6"), "{text}");
    }
}
