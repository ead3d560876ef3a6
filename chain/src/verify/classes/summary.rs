//! The report's lists: logs, chains, counts, and where the records can be read.
//!
//! Owns what is shown of a log and a chain; the findings are the classes'.

use crate::digest::Digest;
use crate::genesis::Genesis;
use crate::id::Seq;

use super::super::blame::Fate;
use super::super::case::{Admission, Case};
use super::super::class::Level;
use super::super::facts::{ChainNo, Place, ViewId};
use super::super::join::{Edge, Joined};
use super::super::limits::NAMED;
use super::super::report::{ChainSummary, Counts, LogSummary, Report, Route, Stretch, exit_code, verdicts};
use super::super::sources::by_source;
use super::super::terms::Scope;
use super::findings::Findings;

/// Puts the report together.
pub(super) fn report(case: &Case<'_>, findings: Findings) -> Report {
    let mut numbers: Vec<ChainNo> = case.numbers().filter(|chain| is_shown(case, *chain)).collect();
    numbers.sort_by_cached_key(|chain| {
        let genesis = case.genesis(*chain);
        let names = genesis.map(|genesis| {
            let Genesis { namespace, pod_name, container, incarnation, .. } = genesis.clone();
            (namespace, pod_name, container, incarnation)
        });
        (names, case.facts.of_chain(*chain).id)
    });
    let chains: Vec<_> = numbers.iter().map(|chain| chain_summary(case, *chain, &findings)).collect();
    let routes = numbers.iter().map(|chain| route(case, *chain)).filter(|route| !route.stretches.is_empty()).collect();
    let logs: Vec<_> = (0..case.facts.views.len()).map(|view| log_summary(case, ViewId(view))).collect();
    let counts = counts(case, &numbers);
    let findings = findings.into_sorted(case);
    // A filter that meets no chain leaves nothing to verify either: a name that was misspelt must not pass.
    let Scope { namespace, pod, container, since: _, until: _ } = &case.terms.scope;
    let is_named = [namespace, pod, container].iter().any(|name| name.is_some());
    let anything = logs.iter().any(|log| log.size > 0) && !(is_named && chains.is_empty());
    let verdicts = verdicts(&findings, anything);
    let unknown = findings.iter().any(|finding| finding.level == Level::Unknown && finding.accepted.is_none());
    let exit = exit_code(&verdicts, anything, unknown);
    Report { verdicts, logs, chains, findings, counts, exit, routes }
}

/// A chain is shown if it is in scope and something of it is in evidence.
fn is_shown(case: &Case<'_>, chain: ChainNo) -> bool {
    let joined = case.of(chain);
    let is_there = !joined.edges.is_empty()
        || !joined.stated.is_empty()
        || !joined.rejected.is_empty()
        || !case.facts.of_chain(chain).introductions.is_empty();
    is_there && case.in_scope(chain)
}

fn chain_summary(case: &Case<'_>, chain: ChainNo, findings: &Findings) -> ChainSummary {
    let joined = case.of(chain);
    let facts = case.facts.of_chain(chain);
    let name = |of: fn(&Genesis) -> &String| case.genesis(chain).map(|genesis| of(genesis).clone()).unwrap_or_default();
    let commitments = || joined.batches().map(|number| &case.facts.batches[number].commitment);
    ChainSummary {
        chain_id: facts.id,
        namespace: name(|genesis| &genesis.namespace),
        pod: name(|genesis| &genesis.pod_name),
        pod_uid: name(|genesis| &genesis.pod_uid),
        container: name(|genesis| &genesis.container),
        records: joined.covered,
        first_seq: joined.edges.first().map_or(Seq::ZERO, |edge| edge.first),
        next_seq: joined.next_seq(),
        head: joined.last().map_or(*facts.id.digest(), |edge| edge.last),
        closed: joined.end.is_some() || case.closed_by.contains_key(&chain),
        first_time: commitments().map(|c| c.first_time.min(c.last_time)).min(),
        last_time: commitments().map(|c| c.first_time.max(c.last_time)).max(),
        findings: findings.of_chain(chain),
    }
}

fn log_summary(case: &Case<'_>, view: ViewId) -> LogSummary {
    let facts = case.facts.view(view);
    let largest = facts.heads.last();
    LogSummary {
        origin: facts.origin.clone(),
        source: case.facts.source_of(view).label.clone(),
        size: facts.size(),
        root: largest.map_or(Digest::default(), |head| head.root),
        newest_leaf_time: facts.newest,
        sealed: facts.sealed.is_some(),
        witnesses: case.witnessed[view.0].as_ref().map(|witnessed| witnessed.by.clone()).unwrap_or_default(),
        bound_by: bound_by(case, view),
    }
}

/// What was kept of a log elsewhere and compared with what this view shows: cosignatures, heads that others hold,
/// receipts. An empty tree binds nothing, and a larger one than is shown was compared with nothing.
fn bound_by(case: &Case<'_>, view: ViewId) -> Vec<String> {
    let facts = case.facts.view(view);
    let itself = by_source(case, view);
    let cosigned = facts.heads.iter().filter(|head| head.size > 0).flat_map(|head| &head.witnesses);
    let cosigned = cosigned.map(|name| format!("the witness {name}"));
    let held = case.sources.claims[facts.log].iter();
    let held = held.filter(|claim| (1..=facts.size()).contains(&claim.size) && claim.by != itself);
    let mut by: Vec<_> = cosigned.chain(held.map(|claim| claim.by.clone())).collect();
    by.sort_unstable();
    by.dedup();
    by.truncate(NAMED);
    match case.facts.receipts.iter().filter(|receipt| receipt.log == facts.log).count() {
        0 => {}
        1 => by.push("one receipt".into()),
        receipts => by.push(format!("{receipts} receipts")),
    }
    by
}

fn counts(case: &Case<'_>, chains: &[ChainNo]) -> Counts {
    let of = |count: fn(&Joined) -> u64| chains.iter().map(|chain| count(case.of(*chain))).sum();
    let pending = case.blame.losses.iter().filter(|loss| loss.fate == Fate::Pending);
    let takes_part = |admission: &&Admission| matches!(admission, Admission::TakesPart | Admission::Unproven);
    Counts {
        records: of(|joined| joined.covered),
        batches: case.admissions.iter().filter(takes_part).count() as u64,
        duplicates: of(|joined| joined.repeated),
        bytes: case.facts.bytes,
        // What a heartbeat states may be any number.
        pending: pending.fold(0, |sum: u64, loss| sum.saturating_add(loss.next.get() - loss.first.get())),
    }
}

/// The batches that show each position once, following the links where there is a choice.
fn route(case: &Case<'_>, chain: ChainNo) -> Route {
    let joined = case.of(chain);
    let held = |edge: &Edge| -> Option<Place> {
        let batch = edge.batches.iter().find(|number| case.admissions[**number] == Admission::TakesPart)?;
        Some(case.facts.batches[*batch].place)
    };
    let mut stretches = Vec::new();
    let (mut reached, mut link) = (Seq::ZERO, *case.facts.of_chain(chain).id.digest());
    let mut edges = joined.edges.iter().peekable();
    let mut begun: Vec<&Edge> = Vec::new();
    loop {
        while let Some(edge) = edges.next_if(|edge| edge.first <= reached) {
            begun.push(edge);
        }
        begun.retain(|edge| edge.next > reached);
        let follows = |edge: &Edge| edge.first == reached && edge.prev == link;
        let Some(edge) = begun.iter().copied().max_by_key(|edge| (held(edge).is_some(), follows(edge), edge.next))
        else {
            match edges.peek() {
                // A hole: go on behind it.
                Some(edge) => reached = edge.first,
                None => break,
            }
            continue;
        };
        if let Some(Place { view, index }) = held(edge) {
            let (first_seq, from_seq, next_seq) = (edge.first, reached, edge.next);
            stretches.push(Stretch { view, index, first_seq, from_seq, next_seq });
        }
        (reached, link) = (edge.next, edge.last);
    }
    Route { chain_id: case.facts.of_chain(chain).id, stretches }
}

#[cfg(test)]
mod tests {
    use super::super::super::terms::{Known, KnownBy, SourceKind};
    use super::super::super::testing::{Shop, World, at};
    use crate::cosignature::Cosigner;
    use crate::id::LeafIndex;

    fn bound_by(shop: Shop) -> Vec<Vec<String>> {
        shop.world.judge().logs.into_iter().map(|log| log.bound_by).collect()
    }

    fn known(by: KnownBy, note: Vec<u8>) -> Known {
        Known { by, label: "kept".into(), note }
    }

    #[test]
    fn a_log_of_which_nothing_is_kept_elsewhere_is_bound_by_nothing() {
        assert_eq!(bound_by(World::shop()), [[""; 0]; 2]);
    }

    #[test]
    fn a_witness_binds_the_log_that_it_cosigned_wherever_that_is_kept() {
        let witness = Cosigner::new("w1".parse().unwrap(), &[90; 32]);
        let mut shop = World::shop();
        shop.world.ask_for(&witness);
        shop.world.logs[0].sign_with(&witness, at(61));
        assert_eq!(bound_by(shop), [vec!["the witness w1"], vec![]]);
        let mut shop = World::shop();
        let (_, note) = shop.world.logs[1].notes[0].clone();
        shop.world.terms.known.push(known(KnownBy::Witness, note));
        assert_eq!(bound_by(shop), [vec![], vec!["the witness kept"]]);
    }

    #[test]
    fn an_earlier_checkpoint_binds_a_log_as_far_as_it_can_be_compared() {
        for (is_cut, is_empty, expected) in
            [(false, false, vec!["an earlier verification (kept)"]), (false, true, vec![]), (true, false, vec![])]
        {
            let mut shop = World::shop();
            let log = &mut shop.world.logs[0];
            let all = log.entries.clone();
            if is_empty {
                log.entries.clear();
                log.sign_anew();
            }
            let note = log.notes[0].1.clone();
            log.entries = all;
            log.entries.truncate(log.entries.len() - usize::from(is_cut));
            log.sign_anew();
            shop.world.terms.known.push(known(KnownBy::State, note));
            assert_eq!(bound_by(shop)[0], expected, "cut {is_cut}, empty {is_empty}");
        }
    }

    #[test]
    fn receipts_bind_the_log_that_gave_them() {
        for (count, expected) in [(1, "one receipt"), (2, "2 receipts")] {
            let mut shop = World::shop_before_signing();
            let (origin, first) = (shop.world.logs[0].origin().to_string(), LeafIndex::new(3));
            let kept = (0..count).map(|n| (origin.clone(), shop.world.logs[0].receipt(first.plus(n)))).collect();
            let beat = shop.sidecar.heartbeat_with(&[], kept, at(34));
            shop.world.logs[1].heartbeats(&[beat], at(35));
            shop.world.sign_all();
            assert_eq!(bound_by(shop), [vec![expected], vec![]]);
        }
    }

    #[test]
    fn another_source_binds_a_log_and_its_own_does_not() {
        let shop = World::shop();
        let (notes, origin) = (shop.world.logs[0].notes.clone(), shop.world.logs[0].origin());
        let report = World::shop().world.judge_with(|judge| {
            let copy = judge.source("./copy", SourceKind::Copy);
            judge.log(copy, Some(origin.as_str()), &notes).unwrap();
        });
        let of_first: Vec<_> = report.logs.iter().filter(|log| log.origin == origin.as_str()).collect();
        assert_eq!(of_first[0].bound_by, ["the source ./copy"]);
        assert_eq!(of_first[1].bound_by, ["the source ./c0"]);
    }
}
