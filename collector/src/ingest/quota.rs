//! How much one pod may introduce: sessions an hour, chains a day, statements an hour.
//!
//! Counted by pod UID in fixed windows that begin with the first of their kind. Only what is new to the log counts:
//! an introduction that is sent again costs nothing, and what was not stored is given back. The counts are in memory,
//! so a restart begins anew. Bounded by a number of pods; when it is full of open windows, those that began longest
//! ago give way: it would take as many pods to forget one's own count as to have so many counts, and a new pod never waits.

use std::collections::HashMap;
use std::time::Duration;

use indelible_chain::id::Time;

use super::Refusal;
use crate::limits::{MAX_CHAINS_PER_DAY, MAX_COUNTED_PODS, MAX_SESSIONS_PER_HOUR, MAX_STATEMENTS_PER_HOUR};

const HOUR: i64 = 3600 * Time::SECOND;
const DAY: i64 = 24 * HOUR;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words are the format's")]
pub enum Introduced {
    Session,
    Chain,
    Statement,
}

/// Counts of all pods.
#[derive(Debug, Default)]
pub struct Quota {
    pods: HashMap<String, [Window; 3]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    from: Option<Time>,
    count: u32,
}

impl Window {
    fn is_open(&self, length: i64, now: Time) -> bool {
        // A clock that was set back opens no window for ever.
        self.from.is_some_and(|from| (0..length).contains(&now.since(from)))
    }
}

impl Introduced {
    const ALL: [Self; 3] = [Self::Session, Self::Chain, Self::Statement];

    const fn length(self) -> i64 {
        match self {
            Self::Session | Self::Statement => HOUR,
            Self::Chain => DAY,
        }
    }

    const fn limit(self) -> u32 {
        match self {
            Self::Session => MAX_SESSIONS_PER_HOUR,
            Self::Chain => MAX_CHAINS_PER_DAY,
            Self::Statement => MAX_STATEMENTS_PER_HOUR,
        }
    }

    fn refusal(self, pod_uid: &str, after: Duration) -> Refusal {
        match self {
            Self::Session => Refusal::TooManySessions(pod_uid.to_owned(), after),
            Self::Chain => Refusal::TooManyChains(pod_uid.to_owned(), after),
            Self::Statement => Refusal::TooManyStatements(pod_uid.to_owned(), after),
        }
    }
}

impl Quota {
    /// Counts one more of a pod, or refuses it.
    pub fn take(&mut self, pod_uid: &str, what: Introduced, now: Time) -> Result<(), Refusal> {
        if !self.pods.contains_key(pod_uid) {
            self.make_room(now);
        }
        let window = &mut self.pods.entry(pod_uid.to_owned()).or_default()[what as usize];
        if !window.is_open(what.length(), now) {
            *window = Window { from: Some(now), count: 0 };
        }
        if window.count >= what.limit() {
            let left = what.length() - window.from.map_or(0, |from| now.since(from));
            return Err(what.refusal(pod_uid, Duration::from_nanos(left.unsigned_abs())));
        }
        window.count += 1;
        Ok(())
    }

    /// Takes back one of a pod: what was counted was not stored.
    pub fn give_back(&mut self, pod_uid: &str, what: Introduced) {
        if let Some(windows) = self.pods.get_mut(pod_uid) {
            let count = &mut windows[what as usize].count;
            *count = count.saturating_sub(1);
        }
    }

    fn make_room(&mut self, now: Time) {
        if self.pods.len() < MAX_COUNTED_PODS {
            return;
        }
        self.pods.retain(|_, windows| {
            Introduced::ALL.iter().any(|what| windows[*what as usize].is_open(what.length(), now))
        });
        if self.pods.len() < MAX_COUNTED_PODS {
            return;
        }
        // Some at a time, so that not each new pod pays for the search.
        let newest = |windows: &[Window; 3]| windows.iter().filter_map(|window| window.from).max();
        let mut begun: Vec<_> = self.pods.values().map(newest).collect();
        let (_, last, _) = begun.select_nth_unstable(MAX_COUNTED_PODS / 16);
        let last = *last;
        self.pods.retain(|_, windows| newest(windows) > last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_nanos(seconds * Time::SECOND)
    }

    #[test]
    fn the_61st_session_of_a_pod_within_an_hour_waits_for_the_hour_to_end() {
        let mut quota = Quota::default();
        for i in 0..60 {
            assert_eq!(quota.take("a", Introduced::Session, at(i)), Ok(()));
        }
        let refused = quota.take("a", Introduced::Session, at(600)).unwrap_err();
        assert_eq!((refused.status(), refused.retry_after()), (429, Some(Duration::from_mins(50))));
        assert_eq!(quota.take("b", Introduced::Session, at(600)), Ok(()));
        assert_eq!(quota.take("a", Introduced::Chain, at(600)), Ok(()));
        assert_eq!(quota.take("a", Introduced::Session, at(3600)), Ok(()));
    }

    #[test]
    fn the_257th_chain_of_a_pod_within_a_day_waits_for_the_day_to_end() {
        let mut quota = Quota::default();
        for _ in 0..256 {
            assert_eq!(quota.take("a", Introduced::Chain, at(0)), Ok(()));
        }
        assert_eq!(quota.take("a", Introduced::Chain, at(86_399)).unwrap_err().status(), 429);
        assert_eq!(quota.take("a", Introduced::Chain, at(86_400)), Ok(()));
    }

    #[test]
    fn pods_are_counted_in_bounded_memory_and_no_new_pod_waits() {
        let mut quota = Quota::default();
        let pods = i64::try_from(MAX_COUNTED_PODS).unwrap();
        let newest = (pods - 1).to_string();
        for i in 0..pods {
            quota.take(&i.to_string(), Introduced::Session, Time::from_nanos(i)).unwrap();
        }
        for pod in ["0", &newest] {
            (1..60).for_each(|_| quota.take(pod, Introduced::Session, at(1)).unwrap());
        }
        for i in 0..pods / 8 {
            assert_eq!(quota.take(&format!("new {i}"), Introduced::Session, at(1)), Ok(()));
            assert!(quota.pods.len() <= MAX_COUNTED_PODS);
        }
        assert_eq!(quota.take(&newest, Introduced::Session, at(1)).unwrap_err().status(), 429, "it is still counted");
        assert_eq!(quota.take("0", Introduced::Session, at(1)), Ok(()), "the one that began first has given way");
    }

    #[test]
    fn what_is_given_back_may_be_taken_again() {
        let mut quota = Quota::default();
        quota.give_back("a", Introduced::Session);
        for _ in 0..60 {
            quota.take("a", Introduced::Session, at(0)).unwrap();
        }
        quota.give_back("a", Introduced::Session);
        quota.give_back("b", Introduced::Session);
        assert_eq!(quota.take("a", Introduced::Session, at(1)), Ok(()));
        assert_eq!(quota.take("a", Introduced::Session, at(1)).unwrap_err().status(), 429);
    }
}
