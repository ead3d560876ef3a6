//! Every bound of the collector, by name: queues, bodies, groups, caches, files that are open.
//!
//! A number that limits something stands here and nowhere else. What is full is a visible state: each doc comment says
//! what a caller sees then.

use std::time::Duration;

/// Requests that wait for the store's writer; beyond it `AppendError::Busy`.
pub const QUEUED_APPENDS: usize = 4096;
/// Bytes of the requests that wait for the store's writer; beyond it `AppendError::Busy`.
pub const QUEUED_APPEND_BYTES: usize = 64 << 20;
/// Requests that one group commit takes; the others wait for the next.
pub const GROUP_ITEMS: usize = 4096;
/// Bytes after which a group commit takes no further request.
pub const GROUP_BYTES: usize = 8 << 20;

/// The default of `--segment-bytes`.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// The least `--segment-bytes`.
pub const MIN_SEGMENT_BYTES: u64 = 1 << 10;
/// The most `--segment-bytes`: offsets in an index have 32 bits, and a group may go beyond.
pub const MAX_SEGMENT_BYTES: u64 = 2 << 30;
/// The default of `--checkpoint-interval`.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// Free bytes of the volume under which nothing new is taken (`AppendError::NoSpace`): two segments of the default
/// size, so that tiles, checkpoints and the seal still fit.
pub const MIN_FREE_BYTES: u64 = 2 * SEGMENT_BYTES;

/// Conflicts that are stored for one chain; a further batch that contradicts gets `AppendError::TooManyConflicts`.
pub const CONFLICTS_PER_CHAIN: u32 = 16;
/// For how long sessions and chains stay in memory after they were last written; then they are found on disk.
pub const REMEMBERED: Duration = Duration::from_secs(3600);
/// Sessions, and likewise chains, that stay in memory; beyond it those written longest ago are found on disk.
pub const REMEMBERED_ITEMS: usize = 32_768;
