//! The class `gap`, and missing positions that a log's damage explains.
//!
//! What became of each missing position is decided in `blame`, in the table's order; here it is told, with the
//! neighbours that bound it in time and place.

use crate::id::{LeafIndex, Seq};

use super::super::blame::{Fate, Loss};
use super::super::case::Case;
use super::super::class::Class;
use super::super::facts::{ChainNo, Place, ViewId};
use super::super::join::{Shower, Shown, Stater};
use super::super::limits::NAMED;
use super::super::text::{Between, Records, Utc, list};
use super::findings::{About, Findings, MISSING, TAMPERED};

/// Other missing positions: completeness fail.
pub(super) fn gap(case: &Case<'_>, out: &mut Findings) {
    for loss in &case.blame.losses {
        match &loss.fate {
            Fate::Gap => out.add(Class::Gap, MISSING, About::default().of(case, loss), missing(case, loss)),
            Fate::Lost { views, index } => {
                let (about, text) = lost(case, loss, views, *index);
                out.add(Class::BadLeaf, TAMPERED, about, text);
            }
            // Pending is counted; what may be elsewhere is told with the log that is not there.
            Fate::Pending | Fate::Elsewhere => {}
        }
    }
}

impl About {
    fn of(self, case: &Case<'_>, loss: &Loss) -> Self {
        self.chain(case, loss.chain).records(loss.first, loss.next)
    }
}

fn missing(case: &Case<'_>, loss: &Loss) -> String {
    let receipts = receipts(case, loss);
    let promised = match receipts.as_str() {
        "" => "No receipt for them is in evidence, so which log had them cannot be told.".to_owned(),
        receipts => format!("Receipts say where they were: {receipts}."),
    };
    format!(
        "{} of {} are missing in all sources; they were printed {}. That they existed shows {}. {promised} Look for \
         copies of the pool's logs that are not among the sources.",
        Records(loss.first, loss.next),
        case.who(loss.chain),
        printed(case, loss.chain, loss.first, loss.next),
        evidence(case, loss),
    )
}

fn lost(case: &Case<'_>, loss: &Loss, views: &[ViewId], index: Option<LeafIndex>) -> (About, String) {
    let about = match (views, index) {
        ([view], Some(index)) => About::leaf(case, Place { view: *view, index }),
        (views, _) => About::log(case, views[0]),
    };
    let wheres = views.iter().map(|view| {
        let place = match (index, case.standings[view.0].suspects) {
            (Some(index), _) => format!("leaf {index}"),
            (None, Some((from, to))) if to > from + 1 => format!("a leaf from {from} to {}", to - 1),
            (None, Some((from, _))) => format!("leaf {from}"),
            (None, None) => "its past".to_owned(),
        };
        format!("{} ({place})", case.log(*view))
    });
    let held = match index {
        Some(_) => "are gone: a log no longer shows the leaf that it signed for them",
        None => "are missing, and a log that no longer shows all leaves it signed may have held them",
    };
    let text = format!(
        "{} of {}, printed {}, {held}: {}. A leaf was changed or removed there after it had been signed. Compare with \
         other copies of that log, and keep this one as evidence.",
        Records(loss.first, loss.next),
        case.who(loss.chain),
        printed(case, loss.chain, loss.first, loss.next),
        list(wheres, NAMED),
    );
    (about.of(case, loss), text)
}

/// When missing records were printed: between their neighbours.
pub(super) fn printed(case: &Case<'_>, chain: ChainNo, first: Seq, next: Seq) -> Between {
    let joined = case.of(chain);
    let commitment = |batch: usize| &case.facts.batches[batch].commitment;
    let (before, behind) = joined.neighbours(first, next);
    // With nothing behind them, they are no younger than what shows them.
    let shown = || joined.showing(next).map(|shown| shown.received_at);
    Between(before.map(|batch| commitment(batch).last_time), behind.map(|b| commitment(b).first_time).or_else(shown))
}

/// What shows that missing positions existed.
fn evidence(case: &Case<'_>, loss: &Loss) -> String {
    let Some(Shown { received_at, by, .. }) = case.of(loss.chain).showing(loss.next) else {
        return "what follows them".to_owned();
    };
    let (what, place) = match by {
        Shower::Batch(batch) => ("the batch in", case.facts.batches[batch].place),
        Shower::Stated(Stater::Heartbeat(head)) => ("a heartbeat in", case.facts.heads[head].place),
        Shower::Stated(Stater::Resumed(batch)) => ("the chain that took over, by", case.facts.batches[batch].place),
    };
    format!("{what} leaf {} of {}, received at {}", place.index, case.log(place.view), Utc(received_at))
}

/// Receipts that cover missing positions.
fn receipts(case: &Case<'_>, loss: &Loss) -> String {
    let of = case.blame.receipts(case, loss.chain, loss.first, loss.next).take(NAMED + 1);
    let named = of.map(|receipt| {
        let origin = case.terms.policy.logs()[receipt.log].origin();
        format!("leaf {} of log {origin} at {}", receipt.index, Utc(receipt.received_at))
    });
    list(named, NAMED)
}

#[cfg(test)]
mod tests {
    use super::super::super::class::Class;
    use super::super::super::report::Verdict;
    use super::super::super::testing::{Shop, World, assert_honest, assert_only, at, found, seq};
    use super::super::findings::MISSING;

    /// The shop without its second batch, removed before log 1 ever signed it.
    fn without_second() -> Shop {
        let mut shop = World::shop_before_signing();
        shop.world.logs[1].entries.remove(3);
        shop
    }

    #[test]
    fn missing_positions_are_named_with_pod_container_and_time() {
        let mut shop = without_second();
        shop.world.logs.iter_mut().for_each(|log| log.seal(at(60)));
        shop.world.terms.now = at(900);
        let report = shop.world.judge();
        let text = assert_only(&report, Class::Gap, MISSING);
        for part in ["records 10 to 19", "container app of pod shop/cart-0", "between 2026-", "leaf 4 of log shop/c0-"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let finding = &report.findings[0];
        assert_eq!((finding.first_seq, finding.last_seq), (Some(seq(10)), Some(seq(19))));
        assert_eq!((report.exit, report.chains[0].findings, report.counts.records), (2, 1, 31));
    }

    #[test]
    fn what_was_shown_to_be_missing_under_11_minutes_ago_is_pending() {
        // The third batch, received at 13 s, shows it.
        for (now, is_gap) in [(13 + 659, false), (13 + 660, true)] {
            let mut shop = without_second();
            shop.world.logs.iter_mut().for_each(|log| log.seal(at(60)));
            shop.world.terms.now = at(now);
            let report = shop.world.judge();
            if is_gap {
                assert_only(&report, Class::Gap, MISSING);
            } else {
                assert_honest(&report);
                assert_eq!(report.counts.pending, 10);
            }
        }
    }

    #[test]
    fn what_was_shown_after_the_newest_leaf_of_the_log_fetched_furthest_behind_is_pending() {
        let mut shop = World::shop_before_signing();
        // Log 1 was fetched before it had its second batch.
        shop.world.logs[1].entries.truncate(3);
        shop.world.logs[0].seal(at(60));
        shop.world.logs[1].sign();
        shop.world.terms.now = at(3600);
        let report = shop.world.judge();
        assert_eq!(report.counts.pending, 20);
        assert!(found(&report).iter().all(|(class, _)| *class == Class::Stale), "{:?}", report.findings);
    }

    #[test]
    fn a_heartbeat_alone_shows_what_is_missing_at_the_end() {
        let mut shop = World::shop_before_signing();
        shop.world.logs[0].entries.truncate(5);
        shop.world.logs.iter_mut().for_each(|log| log.seal(at(60)));
        shop.world.terms.now = at(33 + 660);
        let report = shop.world.judge();
        let [(Class::Gap, _), (Class::Unclosed, _)] = found(&report)[..] else { panic!("{:?}", report.findings) };
        assert_eq!((report.findings[0].first_seq, report.findings[0].last_seq), (Some(seq(40)), Some(seq(40))));
        assert!(
            report.findings[0].text.contains("a heartbeat in leaf 5 of log shop/c1-"),
            "{}",
            report.findings[0].text
        );
    }

    #[test]
    fn a_gap_says_where_receipts_put_the_records() {
        let mut shop = without_second();
        let kept = World::shop_before_signing().world.logs[1].receipt(crate::id::LeafIndex::new(3));
        let origin = shop.world.logs[1].origin().to_string();
        // The log ends too early to be convicted by it.
        let mut kept = kept;
        let (log, hash, time) = (kept.receipt.log, kept.receipt.leaf_hash, kept.receipt.received_at);
        let key = shop.world.logs[1].signer.private_key();
        kept.receipt = crate::receipt::Receipt::sign(key, log, crate::id::LeafIndex::new(50), hash, time);
        let beat = shop.sidecar.heartbeat_with(&[], vec![(origin, kept)], at(34));
        shop.world.logs[0].heartbeats(&[beat], at(34));
        shop.world.logs.iter_mut().for_each(|log| log.seal(at(60)));
        shop.world.terms.now = at(900);
        let text = assert_only(&shop.world.judge(), Class::Gap, MISSING);
        assert!(text.contains("leaf 50 of log shop/c1-"), "{text}");
    }

    #[test]
    fn an_accepted_gap_is_shown_and_not_counted() {
        let mut shop = without_second();
        shop.world.logs.iter_mut().for_each(|log| log.seal(at(60)));
        shop.world.terms.now = at(900);
        let id = super::super::super::report::finding_id(Class::Gap, "", Some(shop.chain.id), "10-19");
        shop.world.terms.accepted.insert(id.clone());
        let report = shop.world.judge();
        assert_eq!((report.exit, report.findings.len()), (0, 1));
        assert_eq!(report.findings[0].id, id);
        assert!(report.findings[0].accepted.is_some());
    }

    #[test]
    fn a_chain_out_of_scope_is_neither_shown_nor_judged() {
        let mut shop = without_second();
        shop.world.logs.iter_mut().for_each(|log| log.seal(at(60)));
        shop.world.terms.now = at(900);
        shop.world.terms.scope.container = Some("proxy".into());
        let report = shop.world.judge();
        assert!(report.chains.is_empty() && report.findings.is_empty());
        // A name that meets no chain is most likely misspelt: there was nothing to verify.
        assert_eq!((report.exit, report.verdicts.integrity), (4, Verdict::Unknown));
    }
}
