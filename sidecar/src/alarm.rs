//! The one timer that the loop sleeps on: a timerfd.
//!
//! The runtime's own timers come in steps of their wheel, so a sleep of a second wakes the process two or three times.
//! An idle sidecar runs in every pod of a cluster; it wakes once.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A timer that can be set again at any time.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<OwnedFd>,
}

impl Alarm {
    /// Makes the timer. Must be called inside the runtime.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(deprecated, reason = "its successor needs unsafe code; an OwnedFd keeps the promise that it asks for")]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self { timer })
    }

    /// Waits for `sleep`. May be dropped and called again: the timer is set anew.
    pub async fn after(&mut self, sleep: Duration) {
        // A timer of zero would be one that is switched off.
        let sleep = sleep.max(Duration::from_nanos(1));
        let due = Timespec {
            tv_sec: i64::try_from(sleep.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(sleep.subsec_nanos()),
        };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let set = Itimerspec { it_interval: never, it_value: due };
        if timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &set).is_err() {
            // Cannot happen with a valid time; if it does, the runtime's timer does it as well.
            return tokio::time::sleep(sleep).await;
        }
        while let Ok(mut ready) = self.timer.readable().await {
            // It may be ready from an earlier setting that nobody waited for: then there is nothing to read.
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0; 8])?));
            if matches!(read, Ok(Ok(_))) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_rings_when_it_is_due_and_not_for_a_setting_that_was_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut alarm = Alarm::new().unwrap();
            alarm.after(Duration::ZERO).await;
            let start = Instant::now();
            // Given up after it is set, before it rings.
            assert!(tokio::time::timeout(Duration::ZERO, alarm.after(Duration::from_hours(1))).await.is_err());
            alarm.after(Duration::from_millis(50)).await;
            assert!(start.elapsed() >= Duration::from_millis(50));
        });
    }
}
