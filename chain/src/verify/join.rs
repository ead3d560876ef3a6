//! One chain, joined over all logs: which positions are in evidence, and which are shown to be missing.
//!
//! Every batch that takes part covers its positions and states links; a heartbeat, and a chain that took over, state a
//! link and thereby that everything before it exists. Owns the arithmetic of positions; whether the links agree is
//! `fork`, what a missing position means is the classes'.
//!
//! Invariant: both branches of a fork cover and state alike; a batch that takes no part does neither.

use crate::digest::Digest;
use crate::id::{Seq, Time};

use super::case::{Admission, Case};
use super::facts::ChainNo;

/// Batches of a chain with the same ends: one of them proves what all say.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) first: Seq,
    pub(super) next: Seq,
    pub(super) prev: Digest,
    pub(super) last: Digest,
    /// Numbers of the batches.
    pub(super) batches: Vec<usize>,
}

/// A link that is stated without records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stated {
    pub(super) next: Seq,
    pub(super) link: Digest,
    pub(super) received_at: Time,
    pub(super) by: Stater,
}

/// Who states a link without records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stater {
    /// The number of a heartbeat's head.
    Heartbeat(usize),
    /// The number of a batch whose record 0 is `resumed`.
    Resumed(usize),
}

/// What shows that everything before a position exists: of all that state this position or a later one, the one that was
/// received first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) next: Seq,
    pub(super) received_at: Time,
    pub(super) by: Shower,
}

/// Who shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shower {
    /// The number of a batch.
    Batch(usize),
    /// Someone who states a link.
    Stated(Stater),
}

/// Positions that something shows to exist and that no batch covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Missing {
    pub(super) first: Seq,
    pub(super) next: Seq,
    /// When the earliest leaf that shows it was received.
    pub(super) shown_at: Time,
}

/// A chain joined.
#[derive(Debug, Default)]
pub(super) struct Joined {
    /// In the order of (`first_seq`, count, links).
    pub(super) edges: Vec<Edge>,
    /// For each edge, how far it and those before it reach.
    reached: Vec<Seq>,
    /// In order of position.
    pub(super) stated: Vec<Stated>,
    /// Numbers of batches that take no part and whose positions are accounted for by the finding on them.
    pub(super) rejected: Vec<usize>,
    /// In order of position.
    pub(super) shown: Vec<Shown>,
    /// In order of position, without what is accounted for by findings on batches.
    pub(super) missing: Vec<Missing>,
    /// Records in evidence.
    pub(super) covered: u64,
    /// Records stored again.
    pub(super) repeated: u64,
    /// The position after `end`, the first if there are several.
    pub(super) end: Option<Seq>,
}

impl Joined {
    /// The position after the last record in evidence.
    pub(super) fn next_seq(&self) -> Seq {
        self.edges.iter().map(|edge| edge.next).max().unwrap_or_default()
    }

    /// The edge that ends last.
    pub(super) fn last(&self) -> Option<&Edge> {
        self.edges.iter().rev().max_by_key(|edge| edge.next)
    }

    /// Whether one batch covers all of these positions.
    pub(super) fn holds(&self, first: Seq, next: Seq) -> bool {
        let begun = self.edges.partition_point(|edge| edge.first <= first);
        begun.checked_sub(1).is_some_and(|at| next <= self.reached[at])
    }

    /// What shows that everything before a position exists, if anything does.
    pub(super) fn showing(&self, next: Seq) -> Option<Shown> {
        self.shown.get(self.shown.partition_point(|shown| shown.next < next)).copied()
    }

    /// The batches next to positions that none covers: before and behind.
    pub(super) fn neighbours(&self, first: Seq, next: Seq) -> (Option<usize>, Option<usize>) {
        let before = self.edges.partition_point(|edge| edge.first < first).checked_sub(1);
        let behind = self.edges.partition_point(|edge| edge.first < next);
        let batch = |at: usize| self.edges.get(at).map(|edge| edge.batches[0]);
        (before.and_then(batch), batch(behind))
    }

    /// All batches that take part.
    pub(super) fn batches(&self) -> impl Iterator<Item = usize> {
        self.edges.iter().flat_map(|edge| edge.batches.iter().copied())
    }
}

impl Case<'_> {
    /// Joins a chain. `never` is the position from which on nothing is missing, because another chain took over.
    pub(super) fn join(&self, chain: ChainNo, batches: &[usize], stated: Vec<Stated>, never: Option<Seq>) -> Joined {
        let mut joined = Joined { stated, ..Joined::default() };
        joined.stated.sort_by_key(|stated| (stated.next, stated.received_at));
        let mut sorted = Vec::new();
        for &number in batches {
            let batch = &self.facts.batches[number];
            debug_assert_eq!(batch.chain, chain);
            match self.admissions[number] {
                Admission::TakesPart | Admission::Unproven => sorted.push(number),
                Admission::Forged | Admission::BadBody | Admission::Unknown => joined.rejected.push(number),
                Admission::Foreign | Admission::ByForeign => {}
            }
        }
        sorted.sort_by_key(|number| {
            let batch = &self.facts.batches[*number];
            let c = &batch.commitment;
            (c.first_seq, c.count, c.prev_link, c.last_link, batch.place)
        });
        for number in sorted {
            joined.add(number, &self.facts.batches[number].commitment);
        }
        joined.count();
        joined.find_missing(self, never);
        joined
    }
}

impl Joined {
    fn add(&mut self, number: usize, c: &crate::batch::Commitment) {
        if c.is_final {
            self.end = Some(self.end.map_or(c.next_seq(), |end| end.min(c.next_seq())));
        }
        let (first, next, prev, last) = (c.first_seq, c.next_seq(), c.prev_link, c.last_link);
        match self.edges.last_mut() {
            Some(edge) if (edge.first, edge.next, edge.prev, edge.last) == (first, next, prev, last) => {
                edge.batches.push(number);
            }
            _ => self.edges.push(Edge { first, next, prev, last, batches: vec![number] }),
        }
    }

    fn count(&mut self) {
        let (mut stored, mut reached) = (0, 0);
        for edge in &self.edges {
            let (first, next) = (edge.first.get(), edge.next.get());
            stored += (next - first) * edge.batches.len() as u64;
            self.covered += next.saturating_sub(first.max(reached));
            reached = reached.max(next);
            self.reached.push(Seq::new(reached));
        }
        self.repeated = stored - self.covered;
    }

    fn find_missing(&mut self, case: &Case<'_>, never: Option<Seq>) {
        let stated = self.stated.iter().map(|stated| {
            let Stated { next, link: _, received_at, by } = *stated;
            Shown { next, received_at, by: Shower::Stated(by) }
        });
        let batches = self.batches().map(|number| {
            let batch = &case.facts.batches[number];
            let (next, received_at) = (batch.commitment.next_seq(), batch.received_at);
            Shown { next, received_at, by: Shower::Batch(number) }
        });
        let mut shown: Vec<Shown> = stated.chain(batches).collect();
        shown.sort_by_key(|shown| (shown.next, shown.received_at));
        // What states a later position shows all earlier ones too: the earliest of them counts.
        for at in (1..shown.len()).rev() {
            if shown[at].received_at < shown[at - 1].received_at {
                (shown[at - 1].received_at, shown[at - 1].by) = (shown[at].received_at, shown[at].by);
            }
        }
        let Some(Shown { next: last, .. }) = shown.last().copied() else { return };
        self.shown = shown;
        let end = never.map_or(last, |never| never.min(last)).get();
        let claimed = self.rejected.iter().map(|number| {
            let commitment = &case.facts.batches[*number].commitment;
            (commitment.first_seq.get(), commitment.next_seq().get())
        });
        let covered = self.edges.iter().map(|edge| (edge.first.get(), edge.next.get()));
        for (first, next) in holes(covered.chain(claimed), end) {
            self.push_missing(first, next);
        }
    }

    /// Splits a hole where it is shown by leaves of different times.
    fn push_missing(&mut self, first: u64, next: u64) {
        let mut from = first;
        while from < next {
            // The first statement beyond `from`; what lies between two statements is shown by the later ones alone.
            let Some(Shown { next: seq, received_at: shown_at, .. }) = self.showing(Seq::new(from + 1)) else { return };
            let to = seq.get().min(next);
            match self.missing.last_mut() {
                Some(last) if last.next.get() == from && last.shown_at == shown_at => last.next = Seq::new(to),
                _ => self.missing.push(Missing { first: Seq::new(from), next: Seq::new(to), shown_at }),
            }
            from = to;
        }
    }
}

/// The parts of `0..end` that no range covers, ascending.
pub(super) fn holes(ranges: impl Iterator<Item = (u64, u64)>, end: u64) -> Vec<(u64, u64)> {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_unstable();
    let (mut holes, mut reached) = (Vec::new(), 0);
    for (first, next) in ranges {
        if first > reached && reached < end {
            holes.push((reached, first.min(end)));
        }
        reached = reached.max(next);
    }
    if reached < end {
        holes.push((reached, end));
    }
    holes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_what_no_range_covers() {
        assert_eq!(holes([(0, 5), (3, 8), (10, 12)].into_iter(), 15), [(8, 10), (12, 15)]);
        assert_eq!(holes([(2, 5)].into_iter(), 3), [(0, 2)]);
        assert_eq!(holes([].into_iter(), 3), [(0, 3)]);
        assert_eq!(holes([(0, 9), (1, 2)].into_iter(), 9), []);
    }

    #[test]
    fn a_hole_is_split_where_older_evidence_stops_showing_it() {
        let (old, new) = (Time::from_nanos(1), Time::from_nanos(2));
        let shown = [(3, old), (5, old), (7, old), (12, new)].map(|(next, received_at)| Shown {
            next: Seq::new(next),
            received_at,
            by: Shower::Batch(0),
        });
        let mut joined = Joined { shown: shown.to_vec(), ..Joined::default() };
        joined.push_missing(3, 9);
        let missing = |first, next, shown_at| Missing { first: Seq::new(first), next: Seq::new(next), shown_at };
        assert_eq!(joined.missing, [missing(3, 7, old), missing(7, 9, new)]);
    }
}
