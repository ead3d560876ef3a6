//! Who is killed when: a schedule that follows from a seed.

use std::time::Duration;

/// Who is killed with SIGKILL and started again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The sidecar of a pod, by the pod's position in the recording (taken modulo their number).
    Sidecar(usize),
    /// A collector, by its ordinal.
    Collector(usize),
}

/// Kills, in order of time in the recording.
#[derive(Debug, Clone, Default)]
pub struct Kills(Vec<(Duration, Victim)>, u64);

impl Kills {
    /// Nobody is killed.
    pub fn none() -> Self {
        Self::default()
    }

    /// `count` kills of sidecars at random times before `end`.
    pub fn random(seed: u64, count: usize, end: Duration) -> Self {
        let mut kills = Self(Vec::new(), seed);
        for _ in 0..count {
            let victim = Victim::Sidecar(usize::try_from(kills.next() % 4).unwrap_or_default());
            kills.add(end, victim);
        }
        kills
    }

    /// And one kill of each of `collectors`.
    #[must_use]
    pub fn with_each_collector(mut self, collectors: usize) -> Self {
        let end = self.0.last().map_or(Duration::from_mins(1), |(at, _)| *at);
        for n in 0..collectors {
            self.add(end, Victim::Collector(n));
        }
        self
    }

    /// The kills.
    pub fn iter(&self) -> impl Iterator<Item = &(Duration, Victim)> {
        self.0.iter()
    }

    fn add(&mut self, end: Duration, victim: Victim) {
        let end = u64::try_from(end.as_millis()).unwrap_or(u64::MAX).max(1);
        let at = Duration::from_millis(self.next() % end);
        self.0.push((at, victim));
        self.0.sort_by_key(|(at, _)| *at);
    }

    /// `SplitMix64`: enough to spread times, and the same everywhere.
    fn next(&mut self) -> u64 {
        self.1 = self.1.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.1;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
