//! The model's join of chains over honest logs: what is missing, what has not ended, what is not recent.
//!
//! Only rules that can apply to a prefix of an honest log stand here; whatever else is wrong is a fault of a directory.

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use super::note::Policy;
use super::view::View;
use crate::tamper::actor::MINUTE;
use crate::tamper::story::History;
use crate::tamper::wire::Digest;

/// Younger than this, nothing is missed yet.
const GRACE: i64 = 11 * MINUTE;
/// The default of `--max-age`.
const MAX_AGE: i64 = 24 * 60 * MINUTE;

/// Verdicts over all logs.
pub(super) struct Joined {
    pub(super) completeness: Verdict,
    pub(super) freshness: Verdict,
}

#[derive(Default)]
struct Chain {
    /// Positions that are stored: from, to.
    stored: Vec<(u64, u64)>,
    /// The position after the highest that a leaf states, and when that leaf was received.
    stated: Vec<(u64, i64)>,
    is_closed: bool,
    /// The newest sign of life.
    newest: Option<i64>,
}

/// Joins the logs.
pub(super) fn join(history: &History, policy: &Policy, views: &[View], is_unreadable: bool) -> Joined {
    let mut chains: BTreeMap<Digest, Chain> = BTreeMap::new();
    for view in views {
        for (chain, received) in &view.chains {
            chains.entry(*chain).or_default().alive(*received);
        }
        for batch in &view.batches {
            let chain = chains.entry(batch.chain).or_default();
            chain.stored.push((batch.first, batch.next()));
            chain.stated.push((batch.next(), batch.received));
            chain.is_closed |= batch.is_final;
            chain.alive(batch.age_from());
        }
        for (chain, next, received) in &view.resumed {
            let chain = chains.entry(*chain).or_default();
            chain.stated.push((*next, *received));
            chain.is_closed = true;
        }
        for (head, received) in &view.heads {
            let chain = chains.entry(head.chain).or_default();
            chain.stated.push((head.next, *received));
            chain.alive(head.time.min(*received));
        }
    }
    let is_absent = is_absent(policy, views, is_unreadable);
    let behind = views.iter().map(|view| view.newest).min().unwrap_or(i64::MAX);
    let is_pending = |shown: i64| history.now - shown < GRACE || shown > behind;
    let has_gap = chains.values().any(|chain| chain.first_missing().is_some_and(|shown| !is_pending(shown)));
    let is_elsewhere = is_unreadable || is_absent;
    let open = chains.values().filter(|chain| !chain.is_closed).filter_map(|chain| chain.newest);
    let open = open.map(|newest| match grade(history.now - newest) {
        // Its end may be in what was not read.
        Verdict::Warn | Verdict::Fail if is_elsewhere => Verdict::Unknown,
        grade => grade,
    });
    let logs = views.iter().filter(|view| !view.is_sealed).map(|view| grade(history.now - view.newest));
    let freshness = open.chain(logs).max().unwrap_or(Verdict::Pass);
    let completeness = match (is_absent, has_gap, is_unreadable) {
        (true, ..) | (false, true, false) => Verdict::Fail,
        (false, true, true) => Verdict::Unknown,
        (false, false, _) => Verdict::Pass,
    };
    Joined { completeness, freshness }
}

/// Whether a log that the policy names is not there.
fn is_absent(policy: &Policy, views: &[View], is_unreadable: bool) -> bool {
    let there: BTreeSet<_> = views.iter().map(|view| view.origin.as_str()).collect();
    policy.logs.iter().any(|log| !there.contains(log.name.as_str())) && !is_unreadable
}

/// Whether somebody has seen more of a log than is there.
pub(super) fn is_short(history: &History, view: &View) -> bool {
    let mut seen = history.seen.iter().filter_map(|note| {
        let mut lines = note.lines();
        Some((lines.next()?, lines.next()?.parse::<usize>().ok()?))
    });
    seen.any(|(origin, size)| origin == view.origin && view.size < size)
}

const fn grade(age: i64) -> Verdict {
    match age {
        GRACE.. if age > MAX_AGE => Verdict::Fail,
        GRACE.. if age > GRACE => Verdict::Warn,
        _ => Verdict::Pass,
    }
}

impl Chain {
    fn alive(&mut self, at: i64) {
        self.newest = self.newest.max(Some(at));
    }

    /// When it was first shown that the first position that is not stored exists; `None` if none is missing.
    fn first_missing(&self) -> Option<i64> {
        let mut stored = self.stored.clone();
        stored.sort_unstable();
        let next = stored.iter().fold(0, |next, (from, to)| if *from <= next { next.max(*to) } else { next });
        self.stated.iter().filter(|(stated, _)| *stated > next).map(|(_, received)| *received).min()
    }
}
