//! The two facts about time that come from outside: what time it is, and which boot of the node this is.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use indelible_chain::id::Time;

/// The wall clock's time.
#[expect(clippy::disallowed_methods, reason = "this is the module through which time enters")]
pub fn now() -> Time {
    let nanos = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        // Before 1970: the clock is wrong, and all that follows says so.
        Err(_) => 0,
    };
    Time::from_nanos(nanos.saturating_add(step()))
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

/// Where the kernel says which boot of the node this is.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The node's boot id: another one than the state names means that page caches were lost in between.
pub fn boot_id(file: &Path) -> std::io::Result<String> {
    Ok(std::fs::read_to_string(file)?.trim().to_owned())
}
