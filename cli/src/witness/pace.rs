//! How fast one log may grow here: each larger checkpoint costs a write to disk, and one log must not take all of them.

use std::time::Duration;

use indelible_chain::id::Time;

use crate::limits::{LOG_BURST, LOG_INTERVAL};

/// Steps that a log may still make now: [`LOG_BURST`] at once, then one each [`LOG_INTERVAL`].
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// When the log will have all of its steps again.
    full_at: Time,
}

impl Pace {
    /// Of a log that has made no step.
    pub const fn new() -> Self {
        Self { full_at: Time::from_nanos(0) }
    }

    /// Takes a step, if there is one.
    pub fn step(&mut self, now: Time) -> bool {
        let most = nanos(LOG_INTERVAL).saturating_mul(i64::from(LOG_BURST));
        // A clock that fell must not hold a log up for longer than a burst takes.
        let full_at = self.full_at.nanos().clamp(now.nanos(), now.nanos().saturating_add(most));
        let next = full_at.saturating_add(nanos(LOG_INTERVAL));
        let may = next <= now.nanos().saturating_add(most);
        self.full_at = Time::from_nanos(if may { next } else { full_at });
        may
    }
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(pace: &mut Pace, now: i64) -> u32 {
        (0..10 * LOG_BURST).map(|_| u32::from(pace.step(Time::from_nanos(now)))).sum()
    }

    #[test]
    fn a_log_makes_a_burst_and_then_a_step_each_interval() {
        let (mut pace, start) = (Pace::new(), 1_795_400_000 * Time::SECOND);
        let interval = nanos(LOG_INTERVAL);
        assert_eq!(steps(&mut pace, start), LOG_BURST);
        assert_eq!(steps(&mut pace, start + interval - 1), 0);
        assert_eq!(steps(&mut pace, start + 3 * interval), 3);
        assert_eq!(steps(&mut pace, start + 1000 * interval), LOG_BURST);
    }

    #[test]
    fn a_clock_that_falls_holds_no_log_up() {
        let (mut pace, start) = (Pace::new(), 1_795_400_000 * Time::SECOND);
        steps(&mut pace, start);
        let before = start - 3600 * Time::SECOND;
        steps(&mut pace, before);
        assert_eq!(steps(&mut pace, before + nanos(LOG_INTERVAL)), 1);
    }
}
