//! Which positions of a chain were shown.
//!
//! They are runs with holes between them, and of each run the links at both its ends are known. A batch belongs where it
//! begins, ends or leads over the end of a run, and must have the same link there; what it has beside the runs is new.
//! So records that fill a hole later are shown when they come, and none is shown twice.

use std::ops::Range;

use indelible_chain::id::{ChainId, Head, Seq};

/// The runs of one chain, in order; between two of them is a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs(Vec<Run>);

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
        Self(vec![Run { start, end: start }])
    }

    /// Takes a batch in, by the chain's heads before each of its records and after its last one.
    pub fn take(&mut self, heads: &[Head]) -> Taken {
        let (Some(first), Some(last)) = (heads.first().copied(), heads.last().copied()) else {
            return Taken::Shows(Vec::new());
        };
        let from = self.0.partition_point(|run| run.end.next_seq < first.next_seq);
        let to = self.0.partition_point(|run| run.start.next_seq <= last.next_seq);
        if from >= to {
            return Taken::Early;
        }
        let met = &self.0[from..to];
        let differs = |of: Head| {
            let at = usize::try_from(of.next_seq.get().checked_sub(first.next_seq.get())?).ok()?;
            (heads.get(at)?.link != of.link).then_some(of.next_seq)
        };
        if let Some(at) = met.iter().flat_map(|run| [run.start, run.end]).find_map(differs) {
            return Taken::Forks(at);
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
        self.0.splice(from..to, [all]);
        Taken::Shows(shows)
    }

    /// Goes on at a head that no run leads to. Gives where the hole before it begins.
    pub fn begin(&mut self, head: Head) -> Seq {
        let at = self.0.partition_point(|run| run.end.next_seq < head.next_seq);
        self.0.insert(at, Run { start: head, end: head });
        at.checked_sub(1).map_or(Seq::ZERO, |before| self.0[before].end.next_seq)
    }
}

#[cfg(test)]
mod tests {
    use indelible_chain::digest::Digest;

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
        assert_eq!(runs.0, [Run { start: head(0), end: head(12) }]);
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
        assert_eq!(runs.0.len(), 1);
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
}
