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
    Time::from_nanos(nanos)
}

/// Where the kernel says which boot of the node this is.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The node's boot id: another one than the state names means that page caches were lost in between.
pub fn boot_id(file: &Path) -> std::io::Result<String> {
    Ok(std::fs::read_to_string(file)?.trim().to_owned())
}
