//! What became of what is missing: the first that fits of withheld, pruned, pending, gap; and what an integrity finding
//! explains is not reported as a gap too.
//!
//! Owns which receipts convict their log, which logs cannot account for all leaves they signed, and from both the
//! [`Fate`] of every missing position. Pruned ranges have their place in the order and come with the archive.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::batch::MAX_BATCH_RECORDS;
use crate::digest::Digest;
use crate::id::{LeafIndex, Seq, Time};
use crate::leaf::Leaf;

use super::case::Case;
use super::facts::{ChainNo, ReceiptFact, ViewId};
use super::join::{Missing, holes};
use super::limits::{QUIET, RECEIPT_LAG};

/// What became of missing positions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// The leaf that a log changed or lost after it had signed it; known by index where the evidence is exact.
    Lost {
        /// The logs that may have had it: one, where the evidence is exact.
        views: Vec<ViewId>,
        /// The leaf.
        index: Option<LeafIndex>,
    },
    /// On their way, as far as can be told.
    Pending,
    /// They may be where nobody could look.
    Elsewhere,
    /// Missing.
    Gap,
}

/// A leaf that a view no longer shows as it was, and that is known to have been this batch.
#[derive(Clone, Copy, Debug)]
struct LostBatch {
    first: Seq,
    next: Seq,
    view: ViewId,
    index: LeafIndex,
}

/// Missing positions and what became of them.
#[derive(Debug)]
pub(super) struct Loss {
    pub(super) chain: ChainNo,
    pub(super) first: Seq,
    pub(super) next: Seq,
    pub(super) fate: Fate,
}

/// Who answers for what.
#[derive(Debug, Default)]
pub(super) struct Blame {
    /// Receipts, by number, whose log shows something else or nothing: and the view that does.
    pub(super) convicted: Vec<(usize, ViewId)>,
    /// All missing positions of chains in scope but those of convicted receipts.
    pub(super) losses: Vec<Loss>,
    lost: BTreeMap<ChainNo, Vec<LostBatch>>,
    /// Ranges of convicted receipts.
    excused: BTreeMap<ChainNo, Vec<(u64, u64)>>,
    receipts: BTreeMap<ChainNo, Vec<usize>>,
    /// Views that cannot account for all leaves that they signed, and it is not known which these were.
    vague: Vec<ViewId>,
    /// The newest leaf of the log that was fetched furthest behind.
    behind: Option<Time>,
}

impl Blame {
    /// Of a case with its standings and sources.
    pub(super) fn of(case: &Case<'_>) -> Self {
        let mut blame = Self { behind: behind(case), ..Self::default() };
        blame.find_lost(case);
        blame.judge_receipts(case);
        blame.lost.values_mut().for_each(|lost| lost.sort_by_key(|lost| lost.first));
        blame.excused.values_mut().for_each(|ranges| ranges.sort_unstable());
        for receipts in blame.receipts.values_mut() {
            receipts.sort_by_key(|receipt| case.facts.receipts[*receipt].first_seq);
        }
        for chain in case.numbers().filter(|chain| case.in_scope(*chain)) {
            for missing in &case.of(chain).missing {
                blame.lose(case, chain, *missing);
            }
        }
        blame
    }

    /// The views to which missing positions of chains in scope are put down.
    pub(super) fn answering(&self) -> BTreeSet<ViewId> {
        let views = self.losses.iter().filter_map(|loss| match &loss.fate {
            Fate::Lost { views, .. } => Some(views.iter().copied()),
            Fate::Pending | Fate::Elsewhere | Fate::Gap => None,
        });
        views.flatten().collect()
    }

    /// The receipts of a chain, by number, that cover any of these positions.
    pub(super) fn receipts<'a>(
        &self,
        case: &Case<'a>,
        chain: ChainNo,
        first: Seq,
        next: Seq,
    ) -> impl Iterator<Item = &'a ReceiptFact> {
        let facts = case.facts;
        let of = self.receipts.get(&chain).map_or(&[][..], Vec::as_slice);
        let near = overlapping(of, |receipt| facts.receipts[*receipt].first_seq.get(), first.get(), next.get());
        near.iter().map(|receipt| &facts.receipts[*receipt]).filter(move |receipt| receipt.next_seq > first)
    }

    fn find_lost(&mut self, case: &Case<'_>) {
        for (number, (view, standing)) in case.facts.views.iter().zip(&case.standings).enumerate() {
            let view_id = ViewId(number);
            for (index, leaf) in &standing.lost {
                if let Some(Leaf::Batch { commitment, .. }) = leaf
                    && let Some(chain) = case.facts.chain_no(&commitment.chain)
                {
                    let (first, next) = (commitment.first_seq, commitment.next_seq());
                    self.lost.entry(chain).or_default().push(LostBatch { first, next, view: view_id, index: *index });
                }
            }
            let is_exact = standing.is_true || standing.is_cut || standing.is_exact();
            if !is_exact || !case.rewrites[number].is_empty() || !view.bad_notes.is_empty() {
                self.vague.push(view_id);
            }
        }
    }

    /// "A valid kept receipt of log X, and X has another leaf at that index, or X's largest signed checkpoint fetched
    /// does not cover it though a leaf under it is dated over 60 s later."
    ///
    /// The youngest leaf tells, wherever it is: an honest collector never dates a leaf before an earlier one, whatever its
    /// clock does, so a log whose times fall has no excuse in that.
    ///
    /// In a view whose leaves are not what it signed, an index means nothing: there a receipt whose leaf is shown
    /// nowhere names the leaf that is lost.
    fn judge_receipts(&mut self, case: &Case<'_>) {
        let mut shown: HashMap<ViewId, HashSet<Digest>> = HashMap::new();
        for (number, receipt) in case.facts.receipts.iter().enumerate() {
            self.receipts.entry(receipt.chain).or_default().push(number);
            for &view in &case.sources.views[receipt.log] {
                let (facts, standing) = (case.facts.view(view), &case.standings[view.0]);
                let shows = facts.leaf(receipt.index.get());
                if shows == Some(receipt.leaf_hash) || shows.is_none() && standing.is_cut {
                    continue;
                }
                let is_covered = receipt.index.get() < facts.size();
                if is_covered && !standing.is_true && !standing.is_cut {
                    let shown = shown.entry(view).or_insert_with(|| facts.hashes().collect());
                    if !shown.contains(&receipt.leaf_hash) {
                        self.lose_receipted(receipt, view);
                    }
                    continue;
                }
                let later = |newest: Time| newest.since(receipt.received_at) > RECEIPT_LAG;
                if is_covered || facts.latest_received.is_some_and(later) {
                    self.convicted.push((number, view));
                    let range = (receipt.first_seq.get(), receipt.next_seq.get());
                    self.excused.entry(receipt.chain).or_default().push(range);
                }
            }
        }
    }

    fn lose_receipted(&mut self, receipt: &ReceiptFact, view: ViewId) {
        let ReceiptFact { index, chain, first_seq: first, next_seq: next, .. } = *receipt;
        self.lost.entry(chain).or_default().push(LostBatch { first, next, view, index });
    }

    /// Puts missing positions down to the first that fits.
    fn lose(&mut self, case: &Case<'_>, chain: ChainNo, missing: Missing) {
        let (first, next) = (missing.first.get(), missing.next.get());
        let lost = self.lost.get(&chain).map_or(&[][..], Vec::as_slice);
        let lost = overlapping(lost, |lost| lost.first.get(), first, next).iter().copied();
        // Two witnesses of one lost leaf are one loss.
        let named: BTreeMap<(u64, u64), LostBatch> = lost
            .map(|lost| ((lost.first.get().max(first), lost.next.get().min(next)), lost))
            .filter(|((from, to), _)| from < to)
            .collect();
        let excused = self.excused.get(&chain).map_or(&[][..], Vec::as_slice);
        let excused = overlapping(excused, |(first, _)| *first, first, next);
        let fate = self.fate(case, missing.shown_at);
        let mut losses: Vec<(u64, u64, Fate)> = (named.iter())
            .map(|((from, to), lost)| (*from, *to, Fate::Lost { views: vec![lost.view], index: Some(lost.index) }))
            .collect();
        let told: Vec<(u64, u64)> = excused.iter().copied().chain(named.into_keys()).collect();
        losses.extend(without(&told, first, next).into_iter().map(|(from, to)| (from, to, fate.clone())));
        losses.sort_by_key(|(from, to, _)| (*from, *to));
        for (from, to, fate) in losses {
            self.push(chain, from, to, fate);
        }
    }

    fn fate(&self, case: &Case<'_>, shown_at: Time) -> Fate {
        if !self.vague.is_empty() {
            Fate::Lost { views: self.vague.clone(), index: None }
        } else if case.sources.may_be_elsewhere() {
            // Before pending: whoever reads that a log is not there asks first what may be in it.
            Fate::Elsewhere
        } else if case.terms.now.since(shown_at) < QUIET || self.behind.is_some_and(|behind| shown_at > behind) {
            Fate::Pending
        } else {
            Fate::Gap
        }
    }

    fn push(&mut self, chain: ChainNo, first: u64, next: u64, fate: Fate) {
        let (first, next) = (Seq::new(first), Seq::new(next));
        match self.losses.last_mut() {
            Some(last) if last.chain == chain && last.next == first && last.fate == fate => last.next = next,
            _ => self.losses.push(Loss { chain, first, next, fate }),
        }
    }
}

/// The newest leaf of the log that was fetched furthest behind. A sealed log is behind nobody: it has no more to show;
/// nor has one that another continues and that is there in full.
fn behind(case: &Case<'_>) -> Option<Time> {
    let is_over = |log: &usize| case.sources.is_continued(*log) && !case.sources.short.contains_key(log);
    let logs = case.sources.views.iter().enumerate().filter(|(log, views)| !views.is_empty() && !is_over(log));
    let newest = logs.filter_map(|(_, views)| {
        let is_sealed = |view: &&ViewId| case.facts.view(**view).sealed.is_some();
        if views.iter().any(|view| is_sealed(&view)) {
            return None;
        }
        views.iter().filter_map(|view| case.facts.view(*view).newest).max()
    });
    newest.min()
}

/// Of things by their first position, each no longer than a batch: those that may overlap `first..next`.
fn overlapping<T>(sorted: &[T], begin: impl Fn(&T) -> u64, first: u64, next: u64) -> &[T] {
    let from = first.saturating_sub(MAX_BATCH_RECORDS.into());
    let from = sorted.partition_point(|thing| begin(thing) < from);
    let to = sorted.partition_point(|thing| begin(thing) < next).max(from);
    &sorted[from..to]
}

/// What is left of `first..next` without the ranges.
fn without(ranges: &[(u64, u64)], first: u64, next: u64) -> Vec<(u64, u64)> {
    let ranges = ranges.iter().copied().chain([(0, first)]);
    holes(ranges, next)
}
