//! A, B, A, B, …: runs in pairs, and what their ratios are.
//!
//! A machine is never the same for long. Two runs that follow each other see nearly the same one, so that the ratio of
//! the two says more than either figure; the median of several such ratios says it well.

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// The middle and the ends of some figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of these figures; none of them gives zeros.
    pub fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |n: usize| sorted.get(n).copied().unwrap_or_default();
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        } else {
            at(middle)
        };
        Self { median, min: at(0), max: at(sorted.len().saturating_sub(1)) }
    }
}

/// What came out of some pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct Pairs {
    /// Ours by theirs.
    pub ratio: Spread,
    /// Ours.
    pub ours: Spread,
    /// Theirs.
    pub theirs: Spread,
}

/// Runs pairs: theirs, ours, theirs, ours, … Each gives a figure.
pub fn run(
    count: usize,
    mut theirs: impl FnMut() -> Result<f64>,
    mut ours: impl FnMut() -> Result<f64>,
) -> Result<Pairs> {
    let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let (their, our) = (theirs()?, ours()?);
        a.push(their);
        b.push(our);
        ratios.push(our / their);
    }
    Ok(Pairs { ratio: Spread::of(&ratios), ours: Spread::of(&b), theirs: Spread::of(&a) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_of_the_pairs_ratios_and_not_of_the_figures() {
        let (mut theirs, mut ours) = ([1.0, 10.0, 100.0].into_iter(), [4.0, 20.0, 300.0].into_iter());
        let pairs = run(3, || Ok(theirs.next().unwrap()), || Ok(ours.next().unwrap())).unwrap();
        assert_eq!(pairs.ratio, Spread { median: 3.0, min: 2.0, max: 4.0 });
        assert_eq!((pairs.ours.median, pairs.theirs.median), (20.0, 10.0));
    }

    #[test]
    fn of_an_even_number_the_median_is_between_the_two_in_the_middle() {
        assert_eq!(Spread::of(&[4.0, 1.0, 3.0, 2.0]), Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of(&[]), Spread { median: 0.0, min: 0.0, max: 0.0 });
    }
}
