//! Chance for decisions that need it: which collector is first, how long a backoff lasts.
//!
//! `SplitMix64` (Steele, Lea and Flood, 2014), seeded once from the operating system by the caller, so that the core
//! stays a function of its state and its events. Spreads load; keeps no secret.

use std::time::Duration;

/// A small generator of numbers that are evenly spread and not secret.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Begins at `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        // The bias is below 2^-32 for the pool sizes this is used with.
        usize::try_from(self.roll().checked_rem(bound).unwrap_or(0)).unwrap_or(0)
    }

    /// A duration from nothing to `limit`.
    pub fn up_to(&mut self, limit: Duration) -> Duration {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.roll() % nanos.saturating_add(1).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        let mut dice = Dice::new(1_234_567);
        assert_eq!([dice.roll(), dice.roll()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn every_number_below_the_bound_comes_up_and_none_above() {
        let mut dice = Dice::new(1);
        let mut seen = [0; 5];
        for _ in 0..5_000 {
            seen[dice.below(5)] += 1;
        }
        assert!(seen.iter().all(|n| (900..1_100).contains(n)), "{seen:?}");
        assert_eq!(dice.below(0), 0);
        assert!((0..1_000).all(|_| dice.up_to(Duration::from_secs(3)) <= Duration::from_secs(3)));
    }
}
