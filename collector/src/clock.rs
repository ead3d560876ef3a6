//! Where time enters the collector.
//!
//! Owns the only reading of the system clock. Everything else takes a [`Clock`] or a [`Time`], so that decisions can
//! be tested at any time of day. Whether time falls is not decided here: the store keeps `received_at` from falling.

use std::sync::atomic::{AtomicI64, Ordering};

use indelible_chain::id::Time;

/// A source of the time of day, UTC. Reading it has no effect; it may step either way between two readings.
pub trait Clock: std::fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Time;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the crate's clock module")]
    fn now(&self) -> Time {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A clock before 1970 reads as 1970, one after 2262 as the end of the format's range.
        let nanos = since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
        Time::from_nanos(nanos.saturating_add(step()))
    }
}

/// What a test adds to the clock, in nanoseconds: the content of the file that `INDELIBLE_CLOCK_FILE` names, as it is
/// within 50 ms of being written. A release is built without it.
#[cfg(debug_assertions)]
fn step() -> i64 {
    use std::sync::{LazyLock, Mutex, PoisonError};
    use std::time::{Duration, Instant};

    static FILE: LazyLock<Option<std::ffi::OsString>> = LazyLock::new(|| std::env::var_os("INDELIBLE_CLOCK_FILE"));
    static READ: Mutex<Option<(Instant, i64)>> = Mutex::new(None);
    let Some(file) = &*FILE else { return 0 };
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, step)) = *read
        && at.elapsed() < Duration::from_millis(50)
    {
        return step;
    }
    let step = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    *read = Some((Instant::now(), step));
    step
}

#[cfg(not(debug_assertions))]
const fn step() -> i64 {
    0
}

/// A clock that stands still until it is set: the twin for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Stands at `now`.
    pub const fn new(now: Time) -> Self {
        Self(AtomicI64::new(now.nanos()))
    }

    /// Steps to another time, earlier ones included.
    pub fn set(&self, now: Time) {
        self.0.store(now.nanos(), Ordering::SeqCst);
    }

    /// Goes on by some nanoseconds.
    pub fn advance(&self, nanos: i64) {
        self.0.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        Time::from_nanos(self.0.load(Ordering::SeqCst))
    }
}
