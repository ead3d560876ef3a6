//! How long something took, as counts below fixed bounds: what a histogram shows, without its locks.
//!
//! A plain value that its owner keeps among its other numbers.

use std::time::Duration;

/// Upper bounds: from a receipt on a fast disk to an outage of a minute.
const BOUNDS: [Duration; 14] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_mins(1),
];

/// How long something took each time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spread {
    /// How often it took at most so long and more than the bound before; the last is without a bound.
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Spread {
    /// It took so long once more.
    pub fn observe(&mut self, took: Duration) {
        self.counts[BOUNDS.partition_point(|bound| *bound < took)] += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// How often it happened.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of it together, in seconds.
    pub const fn sum(&self) -> f64 {
        self.sum.as_secs_f64()
    }

    /// Each bound in seconds, the last one infinite, with how often it took that long and more than the bound before.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(Duration::as_secs_f64).chain([f64::MAX]);
        bounds.zip(self.counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_counted_below_the_first_bound_that_it_does_not_exceed() {
        let mut spread = Spread::default();
        for millis in [0, 1, 2, 100, 101, 3_600_000] {
            spread.observe(Duration::from_millis(millis));
        }
        let buckets = spread.buckets();
        let at = |bound: f64| buckets.iter().find(|(b, _)| (b - bound).abs() < 1e-9).unwrap().1;
        assert_eq!((at(0.001), at(0.005), at(0.1), at(0.25)), (2, 1, 1, 1));
        assert_eq!(buckets.last().unwrap().1, 1);
        assert_eq!(spread.count(), 6);
        assert!((spread.sum() - 3600.204).abs() < 1e-9, "{}", spread.sum());
    }
}
