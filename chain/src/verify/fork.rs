//! Do all links that are stated for a chain agree, and if not, from which position on do they differ?
//!
//! A link determines every link before it, so two batches that agree at one position agree below it as far as both go.
//! It is therefore enough to compare each end with one batch that reaches beyond it: whatever holds together is then one
//! history. Where the end falls inside that batch, its inner link is needed, which the first reading did not keep:
//! such questions go back to the caller, a few positions of a few frames.
//!
//! Only a chain that turns out to be forked is looked at closer, to find the lowest position. Owns the comparison and
//! its questions; who is to blame is the class `fork`'s.

use std::collections::{BTreeMap, BTreeSet};

use crate::batch::MAX_BATCH_RECORDS;
use crate::digest::Digest;
use crate::id::Seq;

use super::case::Case;
use super::join::{Edge, Joined, Stater};
use super::judge::Links;
use super::prepare::Body;

/// Positions that are asked for, by batch number, ascending.
pub(super) type Questions = BTreeMap<usize, BTreeSet<Seq>>;

/// What is known of a chain's links.
#[derive(Debug)]
pub(super) enum Agreement {
    /// All that can be compared is equal. Holds the number of comparisons that could not be made.
    One(u64),
    /// Some inner links are needed.
    Asks(Questions),
    /// Two links for one position.
    Forked(Fork),
}

/// Two or more links for one position.
#[derive(Debug)]
pub(super) struct Fork {
    /// The lowest position with two links.
    pub(super) seq: Seq,
    /// Who states which link, at that position or the next higher one at which all of them state one.
    pub(super) branches: Vec<Branch>,
}

/// Those who state one of the links.
#[derive(Debug, Default)]
pub(super) struct Branch {
    /// Numbers of batches.
    pub(super) batches: Vec<usize>,
    /// Numbers of heartbeats' heads.
    pub(super) heads: Vec<usize>,
}

/// A link, if it is known.
enum Known {
    Is(Digest),
    /// The batch to ask.
    Ask(usize),
    /// No frame can tell.
    Never,
}

/// Compares the links of one chain.
pub(super) struct Comparison<'a> {
    case: &'a Case<'a>,
    joined: &'a Joined,
    links: &'a Links,
    /// For each edge the one among it and those before it that ends last.
    farthest: Vec<usize>,
    /// What heartbeats state, by position: the head's number and its link.
    heads: BTreeMap<Seq, Vec<(usize, Digest)>>,
    questions: Questions,
    never: u64,
}

impl<'a> Comparison<'a> {
    /// Of a chain.
    pub(super) fn of(case: &'a Case<'a>, joined: &'a Joined, links: &'a Links) -> Self {
        let mut farthest = Vec::with_capacity(joined.edges.len());
        let mut best = 0;
        for (at, edge) in joined.edges.iter().enumerate() {
            if edge.next > joined.edges[best].next {
                best = at;
            }
            farthest.push(best);
        }
        let mut heads: BTreeMap<Seq, Vec<_>> = BTreeMap::new();
        for stated in &joined.stated {
            match stated.by {
                Stater::Heartbeat(head) => heads.entry(stated.next).or_default().push((head, stated.link)),
                // Judged by the class `resumed`.
                Stater::Resumed(_) => {}
            }
        }
        Self { case, joined, links, farthest, heads, questions: Questions::new(), never: 0 }
    }

    /// Compares as far as what is known allows.
    pub(super) fn run(mut self) -> Agreement {
        let Some(highest) = self.lowest_mismatch() else {
            return if self.questions.is_empty() {
                Agreement::One(self.never)
            } else {
                Agreement::Asks(self.questions)
            };
        };
        if !self.questions.is_empty() {
            return Agreement::Asks(self.questions);
        }
        let (below, at) = self.narrow(highest);
        if !self.questions.is_empty() {
            return Agreement::Asks(self.questions);
        }
        let seq = self.lowest(below, at);
        if !self.questions.is_empty() {
            return Agreement::Asks(self.questions);
        }
        Agreement::Forked(Fork { seq: Seq::new(seq.get() - 1), branches: self.branches(at) })
    }

    /// The ends that are stated: of batches, and by heartbeats.
    fn ends(&self) -> Vec<(Seq, Digest)> {
        let edges = self.joined.edges.iter().map(|edge| (edge.next, edge.last));
        let heads = self.heads.iter().flat_map(|(next, heads)| heads.iter().map(|(_, link)| (*next, *link)));
        edges.chain(heads).collect()
    }

    /// The lowest end that differs from what the batch that reaches farthest beyond it says. If there is none, every
    /// two batches that touch agree: each agrees with one that ends later, and so on to the last.
    fn lowest_mismatch(&mut self) -> Option<Seq> {
        let mut lowest: Option<Seq> = None;
        for (next, link) in self.ends() {
            let Some(edge) = self.reaching(next) else { continue };
            if self.ask(edge, next).is_some_and(|there| there != link) {
                lowest = Some(lowest.map_or(next, |lowest| lowest.min(next)));
            }
        }
        lowest
    }

    /// The batch that begins at or before a position and ends last, if it ends at or beyond it.
    fn reaching(&self, next: Seq) -> Option<usize> {
        let begun = self.joined.edges.partition_point(|edge| edge.first <= next);
        let edge = self.farthest[begun.checked_sub(1)?];
        (self.joined.edges[edge].next >= next).then_some(edge)
    }

    /// The lowest position, of those where something begins or ends, at which links differ; and the one before it.
    fn narrow(&mut self, highest: Seq) -> (Seq, Seq) {
        let mut positions: BTreeSet<Seq> = self.joined.edges.iter().flat_map(|edge| [edge.first, edge.next]).collect();
        positions.extend(self.heads.keys());
        let positions: Vec<Seq> = positions.into_iter().filter(|position| *position <= highest).collect();
        let mut below = Seq::ZERO;
        for &position in &positions {
            let mut links: BTreeSet<Digest> = BTreeSet::new();
            for edge in self.touching(position) {
                links.extend(self.ask(edge, position));
            }
            links.extend(self.heads.get(&position).into_iter().flatten().map(|(_, link)| *link));
            if links.len() > 1 && self.questions.is_empty() {
                return (below, position);
            }
            below = position;
        }
        (below, highest)
    }

    /// The lowest position above `below` and up to `at` at which two of the batches that differ at `at` differ.
    fn lowest(&mut self, below: Seq, at: Seq) -> Seq {
        let mut one_of_each: BTreeMap<Digest, usize> = BTreeMap::new();
        for edge in self.touching(at) {
            if let Some(link) = self.ask(edge, at) {
                one_of_each.entry(link).or_insert(edge);
            }
        }
        let edges: Vec<usize> = one_of_each.into_values().collect();
        // None of them states anything before it begins: so it is a batch's length to look through, at the most.
        let Some(begin) = edges.iter().map(|edge| self.joined.edges[*edge].first).min() else { return at };
        for position in begin.get().max(below.get() + 1)..at.get() {
            let position = Seq::new(position);
            let mut links = BTreeSet::new();
            for &edge in &edges {
                if self.joined.edges[edge].first <= position {
                    links.extend(self.ask(edge, position));
                }
            }
            if links.len() > 1 {
                return position;
            }
        }
        at
    }

    /// The batches that state a link at a position.
    fn touching(&self, position: Seq) -> Vec<usize> {
        let edges = &self.joined.edges;
        let from = position.get().saturating_sub(MAX_BATCH_RECORDS.into());
        let from = edges.partition_point(|edge| edge.first.get() < from);
        let to = edges.partition_point(|edge| edge.first <= position);
        (from..to).filter(|at| edges[*at].next >= position).collect()
    }

    fn branches(&mut self, at: Seq) -> Vec<Branch> {
        let mut branches: BTreeMap<Digest, Branch> = BTreeMap::new();
        for edge in self.touching(at) {
            if let Some(link) = self.ask(edge, at) {
                let batches = &self.joined.edges[edge].batches;
                branches.entry(link).or_default().batches.extend(batches);
            }
        }
        for (head, link) in self.heads.get(&at).into_iter().flatten() {
            branches.entry(*link).or_default().heads.push(*head);
        }
        branches.into_values().collect()
    }

    /// The link of an edge before a position, or a question.
    fn ask(&mut self, edge: usize, position: Seq) -> Option<Digest> {
        match known(self.case, &self.joined.edges[edge], self.links, position) {
            Known::Is(link) => return Some(link),
            Known::Ask(batch) => {
                self.questions.entry(batch).or_default().insert(position);
            }
            Known::Never => self.never += 1,
        }
        None
    }
}

/// What is known of an edge's link before a position.
fn known(case: &Case<'_>, edge: &Edge, links: &Links, position: Seq) -> Known {
    if position == edge.first {
        return Known::Is(edge.prev);
    }
    if position == edge.next {
        return Known::Is(edge.last);
    }
    let mut ask = Known::Never;
    for &batch in &edge.batches {
        match links.get(&batch).and_then(|answers| answers.get(&position)) {
            Some(Some(link)) => return Known::Is(*link),
            None if case.facts.batches[batch].body == Body::Holds && matches!(ask, Known::Never) => {
                ask = Known::Ask(batch);
            }
            Some(None) | None => {}
        }
    }
    ask
}

/// Whether a link stands in evidence before a position of a chain.
pub(super) enum Evidence {
    /// A batch that takes part says the same.
    Same,
    /// Only other links stand there.
    Other,
    /// The position is missing.
    Missing,
    /// It can be told after a second look.
    Asks(Questions),
}

/// Looks for a link that a chain which took over states.
pub(super) fn evidence(case: &Case<'_>, joined: &Joined, links: &Links, next: Seq, link: Digest) -> Evidence {
    let mut comparison = Comparison::of(case, joined, links);
    let mut is_other = false;
    for edge in comparison.touching(next) {
        match comparison.ask(edge, next) {
            Some(there) if there == link => return Evidence::Same,
            Some(_) => is_other = true,
            None => {}
        }
    }
    if !comparison.questions.is_empty() {
        Evidence::Asks(comparison.questions)
    } else if is_other {
        Evidence::Other
    } else {
        Evidence::Missing
    }
}
