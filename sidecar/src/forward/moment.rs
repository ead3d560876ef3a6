//! Time as decisions about sending see it.
//!
//! Backoff, deadlines and heartbeats are measured on a clock that never jumps: a node's wall clock may be set while
//! the sidecar runs. The wall clock's time is only carried along for what is signed and shown.

use std::time::Duration;

use indelible_chain::id::Time;

/// A point on the monotonic clock: how long after the start of the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Moment(Duration);

impl Moment {
    /// The moment this long after the start of the process.
    pub const fn after_start(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// The moment `by` later.
    #[must_use]
    pub const fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// How long after `earlier`; nothing if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// What an event comes with: both clocks, read once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// For every decision.
    pub moment: Moment,
    /// For what is signed.
    pub time: Time,
}
