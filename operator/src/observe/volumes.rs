//! How full a collector's volume is, and how fast it fills. Pure.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::limits::{STORAGE_SAMPLE_EVERY, STORAGE_SAMPLES};
use crate::observed::Storage;

/// What was seen of a volume over the last hours.
#[derive(Debug, Clone, Default)]
pub struct Volume {
    samples: VecDeque<(Instant, u64)>,
    newest: Option<(u64, u64)>,
}

impl Volume {
    /// It has `free` of `total` bytes now.
    pub fn saw(&mut self, free: u64, total: u64, now: Instant) {
        let used = total.saturating_sub(free);
        self.newest = Some((used, total));
        let is_due = self.samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= STORAGE_SAMPLE_EVERY);
        if is_due {
            self.samples.push_back((now, used));
            if self.samples.len() > STORAGE_SAMPLES {
                self.samples.pop_front();
            }
        }
    }

    /// What is told of it. A volume that was seen for less than one sample's time has no growth yet.
    pub fn storage(&self, now: Instant) -> Option<Storage> {
        let (used_bytes, size_bytes) = self.newest?;
        let growth = self.samples.front().and_then(|(at, before)| {
            let seconds = now.duration_since(*at).as_secs();
            (seconds >= STORAGE_SAMPLE_EVERY.as_secs()).then(|| used_bytes.saturating_sub(*before) / seconds)
        });
        // Rounded up to a mebibyte: what changes by less wakes nobody.
        let coarse = |bytes: u64| bytes.div_ceil(1 << 20) << 20;
        let growth = growth.unwrap_or(0) >> 8 << 8;
        Some(Storage { used_bytes: coarse(used_bytes), size_bytes, growth_bytes_per_second: growth })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_volume_that_fills_has_a_growth_after_a_while() {
        let (mut volume, start) = (Volume::default(), Instant::now());
        assert_eq!(volume.storage(start), None);
        let total = 20 << 30;
        for n in 0..200_u32 {
            let now = start + n * Duration::from_secs(30);
            volume.saw(total - u64::from(n) * 30 * 1024, total, now);
        }
        let end = start + 199 * Duration::from_secs(30);
        let storage = volume.storage(end).unwrap();
        assert_eq!((storage.size_bytes, storage.used_bytes, storage.growth_bytes_per_second), (total, 6 << 20, 1024));
        assert!(volume.samples.len() <= STORAGE_SAMPLES);
    }

    #[test]
    fn a_volume_that_was_seen_once_or_is_emptied_does_not_grow() {
        let (mut volume, start) = (Volume::default(), Instant::now());
        volume.saw(5 << 20, 10 << 20, start);
        assert_eq!(volume.storage(start).unwrap().growth_bytes_per_second, 0);
        let later = start + STORAGE_SAMPLE_EVERY;
        volume.saw(9 << 20, 10 << 20, later);
        let storage = volume.storage(later).unwrap();
        assert_eq!((storage.used_bytes, storage.growth_bytes_per_second), (1 << 20, 0));
    }
}
