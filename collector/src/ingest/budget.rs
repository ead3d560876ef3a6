//! How many bytes of records may be written: by one pod in a second, by the pods of one namespace in a day.
//!
//! A pod has a level that what it writes raises and that sinks by its limit each second; while it is above one second's
//! worth, the pod waits. A namespace has a window of a day that begins with its first batch. Both count what was taken
//! on: what was not stored is given back. The counts are in memory, of this collector alone, and bounded; when they are
//! full those go that say the least.

use std::collections::HashMap;
use std::time::Duration;

use indelible_chain::id::Time;

use super::Refusal;
use crate::limits::{MAX_BUDGET_RETRY, MAX_COUNTED_PODS, MAX_NAMESPACES};

const DAY: i64 = 24 * 3600 * Time::SECOND;

/// What may be written; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ByteLimits {
    /// By one pod in a second.
    pub pod: u64,
    /// By the pods of one namespace in a day.
    pub namespace: u64,
}

impl ByteLimits {
    /// Whether there is any.
    pub const fn are_set(self) -> bool {
        self.pod > 0 || self.namespace > 0
    }
}

/// A batch that is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spending {
    /// The pod's UID.
    pub pod_uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Bytes of records.
    pub bytes: u32,
}

/// What has been written.
#[derive(Debug, Default)]
pub struct Budget {
    limits: ByteLimits,
    pods: HashMap<String, Level>,
    namespaces: HashMap<String, Day>,
}

/// What a pod has written and not yet sat out.
#[derive(Debug, Clone, Copy)]
struct Level {
    bytes: u64,
    at: Time,
}

/// What a namespace has written in its day.
#[derive(Debug, Clone, Copy)]
struct Day {
    bytes: u64,
    from: Time,
}

impl Level {
    /// The level at a later time.
    fn now(self, limit: u64, now: Time) -> Self {
        // A clock that was set back stands still for the pod.
        let passed = u128::from(now.since(self.at).max(0).unsigned_abs());
        let sunk = u128::from(limit) * passed / u128::from(Time::SECOND.unsigned_abs());
        Self { bytes: self.bytes.saturating_sub(u64::try_from(sunk).unwrap_or(u64::MAX)), at: now }
    }
}

impl Day {
    fn is_open(&self, now: Time) -> bool {
        (0..DAY).contains(&now.since(self.from))
    }
}

impl Budget {
    /// Nothing written yet.
    pub fn new(limits: ByteLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Counts a batch, or refuses it.
    pub fn spend(&mut self, what: &Spending, now: Time) -> Result<(), Refusal> {
        let level = self.level(&what.pod_uid, now)?;
        let day = self.day(&what.namespace, now)?;
        if let Some(Level { bytes, at }) = level {
            self.make_room_for_pod(&what.pod_uid, now);
            let level = Level { bytes: bytes.saturating_add(what.bytes.into()), at };
            self.pods.insert(what.pod_uid.clone(), level);
        }
        if let Some(Day { bytes, from }) = day {
            self.make_room_for_namespace(&what.namespace, now);
            let day = Day { bytes: bytes.saturating_add(what.bytes.into()), from };
            self.namespaces.insert(what.namespace.clone(), day);
        }
        Ok(())
    }

    /// Takes back a batch that was not stored.
    pub fn give_back(&mut self, what: &Spending) {
        if let Some(level) = self.pods.get_mut(&what.pod_uid) {
            level.bytes = level.bytes.saturating_sub(what.bytes.into());
        }
        if let Some(day) = self.namespaces.get_mut(&what.namespace) {
            day.bytes = day.bytes.saturating_sub(what.bytes.into());
        }
    }

    /// Where the pod stands, if that is counted and it may write.
    fn level(&self, pod_uid: &str, now: Time) -> Result<Option<Level>, Refusal> {
        let limit = self.limits.pod;
        if limit == 0 {
            return Ok(None);
        }
        let level = self.pods.get(pod_uid).map_or(Level { bytes: 0, at: now }, |level| level.now(limit, now));
        if level.bytes < limit {
            return Ok(Some(level));
        }
        // Until it is below one second's worth.
        let after = Duration::from_secs((level.bytes - limit) / limit + 1);
        Err(Refusal::PodBytes { pod_uid: pod_uid.to_owned(), limit, after: after.min(MAX_BUDGET_RETRY) })
    }

    /// Where the namespace stands, likewise.
    fn day(&self, namespace: &str, now: Time) -> Result<Option<Day>, Refusal> {
        let limit = self.limits.namespace;
        if limit == 0 {
            return Ok(None);
        }
        let day = self.namespaces.get(namespace).copied().filter(|day| day.is_open(now));
        let day = day.unwrap_or(Day { bytes: 0, from: now });
        if day.bytes < limit {
            return Ok(Some(day));
        }
        let after = Duration::from_nanos((DAY - now.since(day.from)).unsigned_abs());
        let namespace = namespace.to_owned();
        Err(Refusal::NamespaceBytes { namespace, limit, after: after.min(MAX_BUDGET_RETRY) })
    }

    fn make_room_for_pod(&mut self, pod_uid: &str, now: Time) {
        if self.pods.len() < MAX_COUNTED_PODS || self.pods.contains_key(pod_uid) {
            return;
        }
        let limit = self.limits.pod;
        self.pods.retain(|_, level| level.now(limit, now).bytes > 0);
        keep_fullest(&mut self.pods, MAX_COUNTED_PODS, |level| level.bytes);
    }

    fn make_room_for_namespace(&mut self, namespace: &str, now: Time) {
        if self.namespaces.len() < MAX_NAMESPACES || self.namespaces.contains_key(namespace) {
            return;
        }
        self.namespaces.retain(|_, day| day.is_open(now));
        keep_fullest(&mut self.namespaces, MAX_NAMESPACES, |day| day.bytes);
    }
}

/// Makes room where there is none: a sixteenth goes, so that not each new one pays for the search.
fn keep_fullest<T>(counts: &mut HashMap<String, T>, most: usize, bytes: impl Fn(&T) -> u64) {
    if counts.len() < most {
        return;
    }
    let mut names: Vec<(u64, String)> = counts.iter().map(|(name, count)| (bytes(count), name.clone())).collect();
    names.select_nth_unstable(most / 16);
    for (_, name) in names.drain(..=most / 16) {
        counts.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Time {
        Time::from_nanos(millis * (Time::SECOND / 1000))
    }

    fn of(pod: &str, namespace: &str, bytes: u32) -> Spending {
        Spending { pod_uid: pod.into(), namespace: namespace.into(), bytes }
    }

    fn limited(pod: u64, namespace: u64) -> Budget {
        Budget::new(ByteLimits { pod, namespace })
    }

    #[test]
    fn a_pod_over_its_second_waits_until_it_has_sat_it_out_and_others_do_not() {
        let mut budget = limited(1000, 0);
        assert_eq!(budget.spend(&of("a", "shop", 3500), at(0)), Ok(()), "a batch is taken whole");
        let refused = budget.spend(&of("a", "shop", 1), at(0)).unwrap_err();
        assert_eq!((refused.status(), refused.retry_after()), (429, Some(Duration::from_secs(3))));
        assert_eq!(budget.spend(&of("b", "shop", 1), at(0)), Ok(()));
        assert_eq!(budget.spend(&of("a", "shop", 1), at(2400)).unwrap_err().status(), 429);
        assert_eq!(budget.spend(&of("a", "shop", 1), at(2600)), Ok(()));
    }

    #[test]
    fn a_namespace_over_its_day_waits_for_the_next_and_what_was_not_stored_is_not_counted() {
        let mut budget = limited(0, 1000);
        for pod in ["a", "b"] {
            assert_eq!(budget.spend(&of(pod, "shop", 600), at(0)), Ok(()));
        }
        let refused = budget.spend(&of("c", "shop", 1), at(1)).unwrap_err();
        assert_eq!((refused.status(), refused.retry_after()), (429, Some(MAX_BUDGET_RETRY)));
        assert_eq!(budget.spend(&of("c", "other", 1), at(1)), Ok(()));
        budget.give_back(&of("b", "shop", 600));
        assert_eq!(budget.spend(&of("c", "shop", 600), at(2)), Ok(()));
        assert_eq!(budget.spend(&of("c", "shop", 1), at(86_399_999)).unwrap_err().status(), 429);
        assert_eq!(budget.spend(&of("c", "shop", 1), at(86_400_000)), Ok(()));
    }

    #[test]
    fn a_refusal_by_one_limit_counts_for_neither() {
        let mut budget = limited(10_000, 1000);
        budget.spend(&of("a", "shop", 1000), at(0)).unwrap();
        for _ in 0..20 {
            assert!(budget.spend(&of("a", "shop", 1000), at(0)).is_err());
        }
        assert_eq!(budget.pods["a"].bytes, 1000);
    }

    #[test]
    fn counts_take_bounded_memory_and_who_has_written_most_stays_counted() {
        let mut budget = limited(1000, 1000);
        for n in 0..MAX_COUNTED_PODS + 100 {
            let bytes = if n == 0 { 5000 } else { 1 };
            let _ = budget.spend(&of(&n.to_string(), &n.to_string(), bytes), at(0));
            assert!(budget.pods.len() <= MAX_COUNTED_PODS && budget.namespaces.len() <= MAX_NAMESPACES);
        }
        assert!(budget.spend(&of("0", "x", 1), at(0)).is_err());
        assert!(budget.spend(&of("x", "0", 1), at(0)).is_err());
    }

    proptest! {
        #[test]
        fn over_any_time_no_pod_writes_more_than_its_limit_allows(steps in proptest::collection::vec((0..3000i64, 0..2000u32), 1..60)) {
            let mut budget = limited(1000, 0);
            let (mut now, mut taken) = (0, 0);
            for (pause, bytes) in steps {
                now += pause;
                if budget.spend(&of("a", "shop", bytes), at(now)).is_ok() {
                    taken += u64::from(bytes);
                }
            }
            // One second's worth at once, and the batch that went over it.
            prop_assert!(taken <= 1000 + 2000 + u64::try_from(now).unwrap());
        }
    }
}
