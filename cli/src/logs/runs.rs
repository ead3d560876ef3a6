//! Which positions of a chain were shown.
//!
//! They are runs with holes between them. Of each run the links at both its ends are known, and those at the ends of the
//! batches that were taken last, up to a bound. A batch belongs where it begins, ends or leads over the end of a run, and
//! must have the same link wherever one is known; what it has beside the runs is new. So records that fill a hole later
//! are shown when they come, and none is shown twice. A link stands for all records before it: a batch that ends inside
//! a run, where no link is known any more, is counted as not compared.

use std::collections::BTreeMap;
use std::ops::Range;

use indelible_chain::digest::Digest;
use indelible_chain::id::{ChainId, Head, Seq};

use crate::limits::MAX_COMPARED_ENDS;

/// What was shown of one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    /// In order; between two of them is a hole.
    shown: Vec<Run>,
    /// The links at the ends of the batches that were taken last.
    ends: BTreeMap<Seq, Digest>,
    uncompared: u64,
}

/// The heads before its first record and after its last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start: Head,
    end: Head,
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It meets no run: records before it have to come first.
    Early,
    /// It has another link before this position than the chain has.
    Forks(Seq),
    /// These of its positions were not shown before, and are now.
    Shows(Vec<Range<Seq>>),
}

impl Runs {
    /// A chain of which nothing was shown.
    pub fn new(chain: ChainId) -> Self {
        let start = Head::start_of(chain);
        Self { shown: vec![Run { start, end: start }], ends: BTreeMap::new(), uncompared: 0 }
    }

    /// Batches that came again, and could not be held against what was shown.
    pub const fn uncompared(&self) -> u64 {
        self.uncompared
    }

    /// Takes a batch in, by the chain's heads before each of its records and after its last one.
    pub fn take(&mut self, heads: &[Head]) -> Taken {
        let (Some(first), Some(last)) = (heads.first().copied(), heads.last().copied()) else {
            return Taken::Shows(Vec::new());
        };
        let from = self.shown.partition_point(|run| run.end.next_seq < first.next_seq);
        let to = self.shown.partition_point(|run| run.start.next_seq <= last.next_seq);
        if from >= to {
            return Taken::Early;
        }
        let met = &self.shown[from..to];
        let differs = |of: Head| {
            let at = usize::try_from(of.next_seq.get().checked_sub(first.next_seq.get())?).ok()?;
            (heads.get(at)?.link != of.link).then_some(of.next_seq)
        };
        let ends = self.ends.range(first.next_seq..=last.next_seq);
        let ends = ends.map(|(next_seq, link)| Head { next_seq: *next_seq, link: *link });
        if let Some(at) = met.iter().flat_map(|run| [run.start, run.end]).chain(ends).find_map(differs) {
            return Taken::Forks(at);
        }
        let is_inside = |run: &Run| run.start.next_seq < last.next_seq && last.next_seq < run.end.next_seq;
        if met.iter().any(is_inside) && !self.ends.contains_key(&last.next_seq) {
            self.uncompared += 1;
        } else {
            self.ends.insert(last.next_seq, last.link);
        }
        if self.ends.len() > MAX_COMPARED_ENDS {
            self.ends.pop_first();
        }
        let mut shows = Vec::new();
        let mut all = Run { start: first, end: first };
        for run in met {
            if all.end.next_seq < run.start.next_seq {
                shows.push(all.end.next_seq..run.start.next_seq);
            }
            if run.start.next_seq < all.start.next_seq {
                all.start = run.start;
            }
            if run.end.next_seq > all.end.next_seq {
                all.end = run.end;
            }
        }
        if all.end.next_seq < last.next_seq {
            shows.push(all.end.next_seq..last.next_seq);
            all.end = last;
        }
        self.shown.splice(from..to, [all]);
        Taken::Shows(shows)
    }

    /// Goes on at a head that no run leads to. Gives where the hole before it begins.
    pub fn begin(&mut self, head: Head) -> Seq {
        let at = self.shown.partition_point(|run| run.end.next_seq < head.next_seq);
        self.shown.insert(at, Run { start: head, end: head });
        at.checked_sub(1).map_or(Seq::ZERO, |before| self.shown[before].end.next_seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> ChainId {
        ChainId::new(Digest::sha256(b"chain"))
    }

    fn head(seq: u64) -> Head {
        if seq == 0 {
            return Head::start_of(chain());
        }
        Head { next_seq: Seq::new(seq), link: Digest::sha256(&seq.to_be_bytes()) }
    }

    /// The heads of a batch of the records `[from, to)`.
    fn batch(from: u64, to: u64) -> Vec<Head> {
        (from..=to).map(head).collect()
    }

    fn shows(ranges: &[(u64, u64)]) -> Taken {
        Taken::Shows(ranges.iter().map(|(from, to)| Seq::new(*from)..Seq::new(*to)).collect())
    }

    #[test]
    fn records_that_fill_a_hole_are_shown_and_none_is_shown_twice() {
        let mut runs = Runs::new(chain());
        assert_eq!(runs.take(&batch(0, 3)), shows(&[(0, 3)]));
        assert_eq!(runs.take(&batch(5, 8)), Taken::Early);
        assert_eq!(runs.begin(head(5)), Seq::new(3));
        assert_eq!(runs.take(&batch(5, 8)), shows(&[(5, 8)]));
        assert_eq!(runs.take(&batch(8, 9)), shows(&[(8, 9)]), "what comes after a hole goes on");
        assert_eq!(runs.take(&batch(2, 6)), shows(&[(3, 5)]), "the hole's own records");
        assert_eq!(runs.take(&batch(0, 12)), shows(&[(9, 12)]));
        assert_eq!(runs.take(&batch(4, 7)), shows(&[]));
        assert_eq!(runs.shown, [Run { start: head(0), end: head(12) }]);
    }

    #[test]
    fn a_batch_over_several_holes_shows_what_is_in_each() {
        let mut runs = Runs::new(chain());
        for from in [4, 8] {
            runs.begin(head(from));
            assert_eq!(runs.take(&batch(from, from + 1)), shows(&[(from, from + 1)]));
        }
        assert_eq!(
            runs.take(&batch(1, 10)),
            Taken::Shows(vec![Seq::new(1)..Seq::new(4), Seq::new(5)..Seq::new(8), Seq::new(9)..Seq::new(10)])
        );
        assert_eq!(runs.take(&batch(0, 1)), shows(&[(0, 1)]));
        assert_eq!(runs.shown.len(), 1);
    }

    #[test]
    fn another_link_at_either_end_of_a_run_is_a_fork() {
        let mut runs = Runs::new(chain());
        runs.take(&batch(0, 3));
        runs.begin(head(5));
        runs.take(&batch(5, 8));
        let before = runs.clone();
        for (from, to, at) in [(3, 4, 3), (1, 4, 3), (4, 5, 5), (4, 6, 5), (8, 9, 8), (0, 2, 0)] {
            let mut heads = batch(from, to);
            let changed = usize::try_from(at - from).unwrap();
            heads[changed].link = Digest::sha256(b"another");
            assert_eq!(runs.take(&heads), Taken::Forks(Seq::new(at)), "[{from}, {to})");
        }
        assert_eq!(runs, before);
    }

    #[test]
    fn another_link_inside_a_run_is_a_fork_and_what_cannot_be_compared_is_counted() {
        let mut runs = Runs::new(chain());
        for from in 0..4 {
            runs.take(&batch(3 * from, 3 * from + 3));
        }
        for (from, to, at) in [(3, 6, 6), (4, 7, 6), (2, 8, 3), (0, 20, 9)] {
            let mut heads = batch(from, to);
            heads[usize::try_from(at - from).unwrap()].link = Digest::sha256(b"another");
            assert_eq!(runs.take(&heads), Taken::Forks(Seq::new(at)), "[{from}, {to})");
        }
        assert_eq!(runs.take(&batch(4, 9)), shows(&[]));
        assert_eq!(runs.take(&batch(10, 14)), shows(&[(12, 14)]));
        assert_eq!(runs.uncompared(), 0, "each ends where a link is known");
        assert_eq!(runs.take(&batch(4, 5)), shows(&[]));
        assert_eq!(runs.take(&batch(5, 7)), shows(&[]));
        assert_eq!(runs.uncompared(), 2, "records after the last link that is known");
    }
}
