//! Every bound of the sidecar, with its name and its reason.
//!
//! Capture's are first, forwarding's follow. What is full is a visible state, never a silent loss.

use std::time::Duration;

// ---- capture ----

/// Reading of a chain stops while this many bytes of canonical bodies are not receipted (format 1.1).
pub const MAX_UNRECEIPTED_CHAIN: u64 = 4 << 20;
/// Reading of all chains stops while this many bytes of canonical bodies are not receipted (format 1.1).
pub const MAX_UNRECEIPTED_SIDECAR: u64 = 16 << 20;
/// What a batch counts towards the two bounds above beside its body: its commitment, its queue entries, its cursor.
pub const BATCH_OVERHEAD_BYTES: u64 = 512;
/// How often directories are looked at whether or not a change was announced.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);
