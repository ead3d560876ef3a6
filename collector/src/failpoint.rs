//! Places at which a test kills the process.
//!
//! In a build with debug assertions, `INDELIBLE_FAILPOINT=<step>[:n]` ends the process by SIGKILL when it comes to that
//! step for the n-th time (the first, if n is not given). A release is built without them, and nothing is here.
//! The steps are named where they are taken.

/// A named step.
#[cfg(not(debug_assertions))]
#[inline]
pub const fn failpoint(_step: &str) {}

/// A named step.
#[cfg(debug_assertions)]
pub fn failpoint(step: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static CHOSEN: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let chosen = std::env::var("INDELIBLE_FAILPOINT").ok()?;
        let (step, left) = chosen.split_once(':').unwrap_or((&chosen, "1"));
        Some((step.to_owned(), AtomicU64::new(left.parse().ok()?)))
    });
    if let Some((chosen, left)) = &*CHOSEN
        && chosen == step
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
