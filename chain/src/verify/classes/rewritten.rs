//! The class `rewritten`: a log contradicts what it signed before, or what others saw of it.
//!
//! A log only grows, so every tree head that it ever signed is the root of its first leaves. Heads are compared where
//! the leaves are those of the largest checkpoint; where they are not, `bad-leaf` tells that, and a smaller head can
//! neither be confirmed nor refuted.

use std::collections::BTreeSet;

use crate::digest::Digest;

use super::super::case::Case;
use super::super::class::Class;
use super::super::facts::{Head, ViewId};
use super::super::limits::NAMED;
use super::super::settle::Roots;
use super::super::sources::Claim;
use super::super::terms::SourceKind;
use super::super::text::list;
use super::findings::{About, Findings, TAMPERED};

/// How a view contradicts a tree head.
#[derive(Clone, Debug)]
pub(in super::super) struct Rewrite {
    size: u64,
    by: String,
    /// The view shows fewer leaves than the head has.
    is_smaller: bool,
}

/// A checkpoint inconsistent with one that is known, or, for a log read from its collector, smaller than one known
/// before it was fetched (of a copy or an archive the rest is then as absent): seen earlier (`--checkpoint`,
/// `--state`), or held by a witness, an archive: integrity fail, that log. (What a statement 3 says of another log is
/// only its own log's word: `abandoned`.)
pub(super) fn rewritten(case: &Case<'_>, out: &mut Findings) {
    for (number, rewrites) in case.rewrites.iter().enumerate().filter(|(_, rewrites)| !rewrites.is_empty()) {
        let view = ViewId(number);
        let facts = case.facts.view(view);
        let heads = rewrites.iter().map(|Rewrite { size, by, is_smaller }| match is_smaller {
            true => format!("{by} has a head of {size} leaves, and it shows only {}", facts.size()),
            false => format!("{by} has another head of {size} leaves"),
        });
        // Below the smallest head that is contradicted the change cannot be bounded from the evidence.
        let smallest = rewrites.iter().map(|rewrite| rewrite.size).min().unwrap_or(0);
        let chains = concerned(case, view, smallest);
        let (log, heads) = (case.log(view), list(heads, NAMED));
        let text = if rewrites.iter().all(|rewrite| rewrite.is_smaller) {
            format!(
                "{log} is shorter than it was: {heads}. Either what was read here is an older copy of its data, or its \
                 end was cut off; which of the two cannot be told from it.{chains} Read the collector itself or a newer \
                 copy: one that goes on to that head clears this one. If there is none, leaves were taken back; trust \
                 what others hold of it (witness, archive, receipts), and keep both as evidence.",
            )
        } else {
            format!(
                "{log} is not the log that it was: {heads}. Leaves were changed or removed and the log signed \
                 again.{chains} Trust what others hold of it (witness, archive, receipts), and keep both as evidence.",
            )
        };
        out.add(Class::Rewritten, TAMPERED, About::log(case, view), text);
    }
}

/// The pods whose output the log holds near where it was changed: those that last wrote before, and what follows.
fn concerned(case: &Case<'_>, view: ViewId, size: u64) -> String {
    let near: Vec<_> = case.facts.batches_among(view, 0, u64::MAX).collect();
    let mut chains: Vec<_> = near.iter().rev().map(|batch| (batch.place.index.get() >= size, batch.chain)).collect();
    chains.sort_unstable();
    chains.dedup_by_key(|(_, chain)| *chain);
    if chains.is_empty() {
        return String::new();
    }
    let facts = case.facts.view(view);
    let until = facts.newest.map(|time| format!(" up to {}", super::super::text::Utc(time))).unwrap_or_default();
    format!(" It holds output of {}{until}.", list(chains.iter().map(|(_, chain)| case.who(*chain)), NAMED))
}

/// The heads that a view contradicts.
pub(in super::super) fn rewrites(case: &Case<'_>, view: ViewId) -> Vec<Rewrite> {
    let (facts, standing) = (case.facts.view(view), &case.standings[view.0]);
    let own = standing.contradicted.iter().map(|head| Rewrite {
        size: head.size,
        by: "one of its own checkpoints".into(),
        is_smaller: false,
    });
    let mut rewrites: Vec<_> = own.collect();
    let mut told: BTreeSet<(u64, &str)> = BTreeSet::new();
    let claims = &case.sources.claims[facts.log];
    let roots = Roots::at_sizes(facts, claims.iter().map(|claim| claim.size).filter(|size| *size <= facts.size()));
    let is_collector = case.facts.source_of(view).kind == SourceKind::Collector;
    for claim in claims {
        let Claim { size, root, by, is_older, .. } = claim;
        let is_smaller = *size > facts.size();
        let contradicts = if is_smaller {
            is_collector && *is_older
        } else {
            here(&facts.heads, *size, roots.at(*size).filter(|_| standing.is_true)).is_some_and(|here| here != *root)
        };
        if contradicts && told.insert((*size, by)) {
            rewrites.push(Rewrite { size: *size, by: by.clone(), is_smaller });
        }
    }
    rewrites
}

/// The root that a view stands for at a size: of its leaves if they are true, else what it signed.
pub(in super::super) fn here(heads: &[Head], size: u64, root: Option<Digest>) -> Option<Digest> {
    let head = heads.get(heads.partition_point(|head| head.size < size)).filter(|head| head.size == size);
    root.or_else(|| head.map(|head| head.root))
}

#[cfg(test)]
mod tests {
    use super::super::super::class::Class;
    use super::super::super::terms::{Known, KnownBy, SourceKind};
    use super::super::super::testing::{Log, Shop, World, assert_honest, assert_only, at, found};
    use super::super::findings::{MISSING, TAMPERED};

    fn known(log: &Log, by: KnownBy) -> Known {
        Known { by, label: "seen".into(), note: log.notes[0].1.clone() }
    }

    /// A middle batch of log 1 removed and the log signed again with its own key; what was seen before is given.
    fn rebuilt(by: KnownBy) -> Shop {
        let mut shop = World::shop();
        let before = known(&shop.world.logs[1], by);
        shop.world.terms.known.push(before);
        shop.world.logs[1].entries.remove(3);
        shop.world.logs[1].start(at(61));
        shop.world.logs[1].seal(at(62));
        shop.world.logs[1].sign_anew();
        shop
    }

    #[test]
    fn a_log_signed_anew_contradicts_what_anyone_saw_of_it_and_its_holes_are_its_own() {
        for by in [KnownBy::Operator, KnownBy::State, KnownBy::Witness] {
            let report = rebuilt(by).world.judge();
            let mut classes = found(&report);
            classes.sort_unstable();
            assert_eq!(classes, [(Class::Rewritten, TAMPERED.1), (Class::BadLeaf, TAMPERED.1)]);
            assert!(report.findings.iter().all(|finding| finding.text.contains("pod shop/cart-0")));
        }
    }

    #[test]
    fn an_own_checkpoint_that_was_kept_convicts_as_well() {
        let mut shop = World::shop_before_signing();
        shop.world.sign_all();
        shop.world.logs[1].entries[3].leaf = shop.world.logs[1].entries[2].leaf.clone();
        shop.world.logs[1].entries[3].body.clear();
        shop.world.logs[1].seal(at(60));
        assert!(found(&shop.world.judge()).contains(&(Class::Rewritten, TAMPERED.1)));
    }

    #[test]
    fn a_collector_that_shows_less_than_was_known_has_taken_it_back_and_a_copy_is_incomplete() {
        for kind in [SourceKind::Collector, SourceKind::Copy] {
            let mut shop = World::shop();
            let before = known(&shop.world.logs[1], KnownBy::Operator);
            shop.world.terms.known.push(before);
            shop.world.logs[1].kind = kind;
            // The heartbeat and the seal are cut off.
            shop.world.logs[1].entries.truncate(5);
            shop.world.logs[1].sign_anew();
            let report = shop.world.judge();
            let text = match kind {
                SourceKind::Collector => assert_only(&report, Class::Rewritten, TAMPERED),
                SourceKind::Copy => assert_only(&report, Class::Absent, MISSING),
            };
            assert!(text.contains("shop/c1-"), "{text}");
            assert_eq!(
                kind == SourceKind::Collector,
                text.contains("an older copy of its data, or its end was cut off"),
                "what cannot be told is not said: {text}"
            );
        }
    }

    #[test]
    fn what_was_seen_earlier_of_a_log_that_grew_is_honest() {
        let mut shop = World::shop_before_signing();
        shop.world.logs[0].sign();
        let before = known(&shop.world.logs[0], KnownBy::State);
        shop.world.terms.known.push(before);
        shop.world.logs[0].notes.clear();
        shop.world.logs.iter_mut().for_each(|log| log.seal(at(60)));
        shop.world.logs.iter_mut().for_each(|log| log.kind = SourceKind::Collector);
        assert_honest(&shop.world.judge());
    }

    #[test]
    fn two_sources_of_one_log_must_show_one_log() {
        for differs in [false, true] {
            let mut shop = World::shop();
            let mut copy = Log::new("shop/c1", 11);
            copy.entries.clone_from(&shop.world.logs[1].entries);
            if differs {
                copy.entries.remove(5);
                copy.start(at(60));
            }
            copy.sign();
            shop.world.logs.push(copy);
            let report = shop.world.judge();
            if differs {
                assert_eq!(found(&report), [(Class::Rewritten, TAMPERED.1); 2]);
            } else {
                assert_honest(&report);
                assert_eq!((report.logs.len(), report.counts.records), (3, 41));
            }
        }
    }
}
