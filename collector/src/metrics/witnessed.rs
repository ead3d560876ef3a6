//! How far behind each witness is: since when a checkpoint has been there that it has not cosigned.
//!
//! A witness is named by its place in the list of witnesses, 1 first, so that labels are a closed set; in a cluster the
//! first is the operator's own.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::MAX_WITNESSES;

/// Places in the list, as labels.
const PLACES: [&str; MAX_WITNESSES] =
    ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];

/// What the witnesses have cosigned, in the order of their list.
#[derive(Debug, Default)]
pub struct Witnessed(Mutex<Vec<Covered>>);

#[derive(Clone, Copy, Debug)]
struct Covered {
    /// Leaves under the checkpoint that was cosigned.
    size: u64,
    /// When that checkpoint was the newest. Whatever it does not cover came later.
    at: Instant,
}

impl Witnessed {
    /// There are so many witnesses from now on. Of none is known yet what it has cosigned.
    pub fn begin(&self, witnesses: usize, now: Instant) {
        *self.covered() = vec![Covered { size: 0, at: now }; witnesses.min(MAX_WITNESSES)];
    }

    /// A witness cosigned the checkpoint of `size` leaves, which was the newest at `at`.
    pub fn cosigned(&self, place: usize, size: u64, at: Instant) {
        if let Some(covered) = self.covered().get_mut(place) {
            *covered = Covered { size, at };
        }
    }

    /// The age of what each has not cosigned of a log whose newest checkpoint covers `size` leaves.
    pub(super) fn ages(&self, size: u64) -> Vec<(&'static str, Duration)> {
        let age = |covered: &Covered| if covered.size < size { covered.at.elapsed() } else { Duration::ZERO };
        PLACES.into_iter().zip(self.covered().iter().map(age)).collect()
    }

    fn covered(&self) -> MutexGuard<'_, Vec<Covered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_witness_has_not_cosigned_gets_older_until_it_does() {
        let (witnessed, long_ago) = (Witnessed::default(), Instant::now().checked_sub(Duration::from_mins(2)).unwrap());
        assert!(witnessed.ages(7).is_empty(), "there is none");
        witnessed.begin(2, long_ago);
        witnessed.cosigned(0, 7, Instant::now());
        let ages = witnessed.ages(7);
        assert_eq!(ages[0], ("1", Duration::ZERO));
        assert!(ages[1].0 == "2" && ages[1].1 >= Duration::from_mins(2), "{ages:?}");
        assert!(witnessed.ages(8)[0].1 > Duration::ZERO, "a newer checkpoint is there");
        witnessed.begin(1, Instant::now());
        assert_eq!(witnessed.ages(7).len(), 1, "those of another list are not shown any more");
    }
}
