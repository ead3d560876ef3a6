//! Bounds of everything that a benchmark waits for, writes or keeps.

use std::time::Duration;

/// How long one side of one pair may take.
pub const CASE: Duration = Duration::from_mins(1);
/// How long a process may take until it is ready.
pub const READY: Duration = Duration::from_secs(20);
/// How long a process may take to end by itself.
pub const END: Duration = Duration::from_secs(20);
/// The step of a poll.
pub const POLL: Duration = Duration::from_millis(5);
/// Most bytes of an input file.
pub const MAX_INPUT_BYTES: u64 = 2 << 30;
/// Most address space of a process, in KiB; what a benchmark holds small it measures.
pub const MEMORY_KIB: u64 = 8 << 20;
/// Longest request body that the sink takes.
pub const MAX_BODY_BYTES: usize = 64 << 20;
/// Longest answer of a metrics endpoint.
pub const MAX_METRICS_BYTES: u64 = 1 << 20;
/// Most pairs.
pub const MAX_PAIRS: usize = 101;
/// Most pods that send at a time.
pub const MAX_SENDERS: usize = 256;
/// Most connections that are held at a time.
pub const MAX_CONNECTIONS: usize = 16_384;
