//! Do all links that are stated for a chain agree, and if not, from which position on do they differ?
//!
//! A link determines every link before it, so two batches that agree at one position agree below it as far as both go.
//! Whatever is stated for a position without a body (where batches begin and end, what heartbeats state) is compared with
//! everything else that is stated so, and with the one batch with a body that begins before and reaches farthest:
//! whatever holds together is then one history. Where the position falls inside that batch, its inner link is needed,
//! which the first reading did not keep: such questions go back to the caller, a few positions of a few frames.
//!
//! Only a chain that turns out to be forked is looked at closer. Below the lowest position at which that comparison
//! differs there is one history, and what leaves it does so inside a batch that reaches that position: where, is found
//! by halving. So a chain costs one question a position where something begins or ends, and a fork a few more for each
//! of its versions, whatever a source shows.
//!
//! Owns the comparison and its questions; who is to blame is the class `fork`'s.

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

/// A link that is stated for a position by nobody's body: where batches begin or end, or by a heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Free {
    at: Seq,
    link: Digest,
    /// Whether a batch with a body begins there, and nothing ends: where it ends tells as much.
    begins: bool,
}

/// Which positions are compared with the batch that reaches farthest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Compared {
    /// Those where something ends, or a batch without a body begins: enough to see that all is one history.
    Ends,
    /// All: what is needed to find the lowest.
    All,
}

/// Compares the links of one chain.
pub(super) struct Comparison<'a> {
    case: &'a Case<'a>,
    joined: &'a Joined,
    links: &'a Links,
    /// For each edge, of it and those before it, the one with a body that ends last.
    answers: Vec<Option<usize>>,
    /// In order of position.
    free: Vec<Free>,
    /// What heartbeats state, by position: the head's number and its link.
    heads: BTreeMap<Seq, Vec<(usize, Digest)>>,
    questions: Questions,
    never: u64,
}

impl<'a> Comparison<'a> {
    /// Of a chain.
    pub(super) fn of(case: &'a Case<'a>, joined: &'a Joined, links: &'a Links) -> Self {
        let answers = farthest(&joined.edges, |edge| holds(case, edge));
        let mut heads: BTreeMap<Seq, Vec<_>> = BTreeMap::new();
        for stated in &joined.stated {
            match stated.by {
                Stater::Heartbeat(head) => heads.entry(stated.next).or_default().push((head, stated.link)),
                // Judged by the class `resumed`.
                Stater::Resumed(_) => {}
            }
        }
        let edges = joined.edges.iter().flat_map(|edge| {
            let Edge { first, next, prev, last, .. } = *edge;
            [Free { at: first, link: prev, begins: holds(case, edge) }, Free { at: next, link: last, begins: false }]
        });
        let stated = heads.iter().flat_map(|(at, heads)| heads.iter().map(|(_, link)| (*at, *link)));
        let mut free: Vec<Free> = edges.chain(stated.map(|(at, link)| Free { at, link, begins: false })).collect();
        free.sort_unstable();
        free.dedup();
        Self { case, joined, links, answers, free, heads, questions: Questions::new(), never: 0 }
    }

    /// Compares as far as what is known allows.
    pub(super) fn run(mut self) -> Agreement {
        self.find_untold();
        let is_one = self.lowest_mismatch(Compared::Ends).is_none();
        if !self.questions.is_empty() {
            return Agreement::Asks(self.questions);
        }
        if is_one {
            return Agreement::One(self.never);
        }
        let at = self.lowest_mismatch(Compared::All);
        if !self.questions.is_empty() {
            return Agreement::Asks(self.questions);
        }
        let at = at.expect("what differs where something ends differs among all positions");
        let branches = self.branches(at);
        if !self.questions.is_empty() {
            return Agreement::Asks(self.questions);
        }
        let seq = self.lowest(at);
        if !self.questions.is_empty() {
            return Agreement::Asks(self.questions);
        }
        Agreement::Forked(Fork { seq: Seq::new(seq.get() - 1), branches })
    }

    /// The lowest of the compared positions at which what is stated differs, or the batch that reaches farthest says
    /// otherwise. If there is none, every two batches that touch agree: each with a body agrees where the one that ends
    /// first ends, and so on to the last; one without a body says no more than where it begins and ends.
    fn lowest_mismatch(&mut self, compared: Compared) -> Option<Seq> {
        let free = std::mem::take(&mut self.free);
        let mut lowest = None;
        for said in free.chunk_by(|one, other| one.at == other.at) {
            let Free { at, link, .. } = said[0];
            let mut differs = said.iter().any(|other| other.link != link);
            if compared == Compared::All || said.iter().any(|said| !said.begins) {
                let reaching = self.reaching(at);
                differs |= reaching.and_then(|edge| self.ask(edge, at)).is_some_and(|there| there != link);
            }
            if differs {
                lowest = Some(at);
                break;
            }
        }
        self.free = free;
        lowest
    }

    /// The batch with a body that begins before a position and ends last, if it ends at or beyond it.
    fn reaching(&self, at: Seq) -> Option<usize> {
        let begun = self.joined.edges.partition_point(|edge| edge.first < at);
        let edge = self.answers[begun.checked_sub(1)?]?;
        (self.joined.edges[edge].next >= at).then_some(edge)
    }

    /// Counts the positions inside a batch without a body at which nobody can tell what it says: batches with bodies do
    /// not reach from there to its end, where it says so itself.
    fn find_untold(&mut self) {
        let edges = &self.joined.edges;
        let without = farthest(edges, |edge| !holds(self.case, edge));
        // What batches with bodies cover without a hole.
        let mut covered: Vec<(Seq, Seq)> = Vec::new();
        for edge in edges.iter().filter(|edge| holds(self.case, edge)) {
            match covered.last_mut() {
                Some((_, next)) if edge.first <= *next => *next = edge.next.max(*next),
                _ => covered.push((edge.first, edge.next)),
            }
        }
        let untold = self.free.chunk_by(|one, other| one.at == other.at).filter(|said| {
            let at = said[0].at;
            let begun = edges.partition_point(|edge| edge.first < at).checked_sub(1);
            let Some(next) = begun.and_then(|begun| without[begun]).map(|edge| edges[edge].next) else { return false };
            let cover = covered.partition_point(|(first, _)| *first <= at).checked_sub(1).map(|cover| covered[cover].1);
            next > at && cover.is_none_or(|cover| cover < next)
        });
        self.never += untold.count() as u64;
    }

    /// The lowest position at which one of the versions that differ at `at` leaves the history below it. They begin on
    /// it and reach `at`, so whoever has left it has left it at all later positions up to `at` too.
    fn lowest(&mut self, at: Seq) -> Seq {
        // Batches that agree at `at` agree below it: the one that begins first says what all of them do.
        let mut versions: BTreeMap<Digest, usize> = BTreeMap::new();
        let with_body: Vec<usize> =
            touching(self.joined, at).filter(|edge| holds(self.case, &self.joined.edges[*edge])).collect();
        for edge in with_body {
            if let Some(link) = self.ask(edge, at) {
                versions.entry(link).or_insert(edge);
            }
        }
        let versions: Vec<usize> = versions.into_values().collect();
        let Some(first) = versions.iter().map(|edge| self.joined.edges[*edge].first).min() else { return at };
        let (mut same, mut differs) = (first.get(), at.get());
        while versions.len() > 1 && differs - same > 1 {
            let middle = Seq::new(same + (differs - same) / 2);
            let begun = versions.iter().copied().filter(|edge| self.joined.edges[*edge].first <= middle);
            let asked: Vec<usize> = begun.chain(self.reaching(middle)).collect();
            let links: BTreeSet<Digest> = asked.into_iter().filter_map(|edge| self.ask(edge, middle)).collect();
            if !self.questions.is_empty() {
                break;
            }
            if links.len() > 1 { differs = middle.get() } else { same = middle.get() }
        }
        Seq::new(differs)
    }

    fn branches(&mut self, at: Seq) -> Vec<Branch> {
        let mut branches: BTreeMap<Digest, Branch> = BTreeMap::new();
        for edge in touching(self.joined, at) {
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

/// Whether the body of one of an edge's batches is there.
fn holds(case: &Case<'_>, edge: &Edge) -> bool {
    edge.batches.iter().any(|batch| case.facts.batches[*batch].body == Body::Holds)
}

/// For each edge, of it and those before it, the one that ends last among those that are asked for.
fn farthest(edges: &[Edge], is_asked: impl Fn(&Edge) -> bool) -> Vec<Option<usize>> {
    let mut best: Option<usize> = None;
    let of = edges.iter().enumerate().map(|(at, edge)| {
        if is_asked(edge) && best.is_none_or(|best| edge.next > edges[best].next) {
            best = Some(at);
        }
        best
    });
    of.collect()
}

/// The edges of a chain that state a link at a position, by where they begin.
fn touching(joined: &Joined, position: Seq) -> impl Iterator<Item = usize> + use<'_> {
    let edges = &joined.edges;
    let from = position.get().saturating_sub(MAX_BATCH_RECORDS.into());
    let from = edges.partition_point(|edge| edge.first.get() < from);
    let to = edges.partition_point(|edge| edge.first <= position);
    (from..to).filter(move |at| edges[*at].next >= position)
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
    let (mut questions, mut is_other) = (Questions::new(), false);
    for edge in touching(joined, next) {
        match known(case, &joined.edges[edge], links, next) {
            Known::Is(there) if there == link => return Evidence::Same,
            Known::Is(_) => is_other = true,
            Known::Ask(batch) => drop(questions.entry(batch).or_default().insert(next)),
            Known::Never => {}
        }
    }
    if !questions.is_empty() {
        Evidence::Asks(questions)
    } else if is_other {
        Evidence::Other
    } else {
        Evidence::Missing
    }
}
