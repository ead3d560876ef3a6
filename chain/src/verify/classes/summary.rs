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
use super::super::report::{ChainSummary, Counts, LogSummary, Report, Route, Stretch, exit_code, verdicts};
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
    }
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
