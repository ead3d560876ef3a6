//! Places at which a test kills the process.
//!
//! In a build with debug assertions, `INDELIBLE_FAILPOINT=<step>[:n[:ms]]` ends the process by SIGKILL when it comes to
//! that step for the n-th time (the first, if n is not given), or so many milliseconds later; `INDELIBLE_SLOW=<step>:<ms>`
//! makes a step take so long each time, as a slow disk does. A release is built without them, and nothing is here. The
//! steps are named where they are taken.

/// A named step.
#[cfg(not(debug_assertions))]
#[inline]
pub const fn failpoint(_step: &str) {}

/// A named step.
#[cfg(debug_assertions)]
pub fn failpoint(step: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    struct Chosen {
        step: String,
        left: AtomicU64,
        later: Duration,
    }

    static CHOSEN: LazyLock<Option<Chosen>> = LazyLock::new(|| {
        let chosen = std::env::var("INDELIBLE_FAILPOINT").ok()?;
        let mut words = chosen.split(':');
        let step = words.next()?.to_owned();
        let left = words.next().map_or(Some(1), |n| n.parse().ok())?;
        let later = words.next().map_or(Some(0), |ms| ms.parse().ok())?;
        Some(Chosen { step, left: AtomicU64::new(left), later: Duration::from_millis(later) })
    });
    static SLOW: LazyLock<Option<(String, Duration)>> = LazyLock::new(|| {
        let slow = std::env::var("INDELIBLE_SLOW").ok()?;
        let (step, ms) = slow.split_once(':')?;
        Some((step.to_owned(), Duration::from_millis(ms.parse().ok()?)))
    });
    if let Some((_, takes)) = SLOW.as_ref().filter(|(slow, _)| slow == step) {
        std::thread::sleep(*takes);
    }
    if let Some(Chosen { step: chosen, left, later }) = &*CHOSEN
        && chosen == step
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        if later.is_zero() {
            end();
        } else {
            std::thread::spawn(|| {
                std::thread::sleep(*later);
                end();
            });
        }
    }
}

#[cfg(debug_assertions)]
fn end() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}
