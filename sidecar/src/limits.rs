//! Every bound of the sidecar, with its name and its reason.
//!
//! Capture's are first, forwarding's follow. What is full is a visible state, never a silent loss.

use std::time::Duration;

// ---- capture ----

/// Reading of a chain stops while this many bytes of canonical bodies are not receipted (format 1.1); while what an
/// earlier run handed out is repeated, twice as many, of all chains too.
pub const MAX_UNRECEIPTED_CHAIN: u64 = 4 << 20;
/// Reading of all chains stops while this many bytes of canonical bodies are not receipted (format 1.1).
pub const MAX_UNRECEIPTED_SIDECAR: u64 = 16 << 20;
/// What a batch counts towards the two bounds above beside its body: its commitment, its queue entries, its cursor.
pub const BATCH_OVERHEAD_BYTES: u64 = 512;
/// How often directories are looked at whether or not a change was announced.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes that are read from a file at once; a raw line of up to this length is judged in one piece.
pub const READ_WINDOW: usize = 128 << 10;
/// Bytes that one chain reads in one call of `work`, so that others have their turn.
pub const READ_PER_CALL: u64 = 1 << 20;
/// What a closed line's buffer keeps for the next one.
pub const KEPT_LINE_BUFFER: usize = 64 << 10;
/// First bytes of a file that its identity is the digest of (format 1.1).
pub const IDENTITY_BYTES: usize = 256;
/// A file that was left is watched at least this long (format 1.1).
pub const WATCH: Duration = Duration::from_secs(10);
/// A file that cannot be read is tried again this long before its bytes are given up.
pub const READ_RETRY: Duration = Duration::from_secs(10);
/// A raw line that was written to a file after it had been left, longer than this, is taken for malformed.
pub const MAX_LATE_LINE: usize = 1 << 20;
/// Collectors have this long to say whether they know a chain (format 1.2).
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// A chain is replaced because it was rejected at most once in this time (format 1.2).
pub const REJECTED_INTERVAL: Duration = Duration::from_hours(1);
/// While this many batches of a chain are not receipted, further ones are sealed when they are full, not by time.
pub const MAX_SMALL_BATCHES: usize = 64;
/// Cursors that wait for receipts, a chain; more are thinned out, which only makes the cursor move in larger steps.
pub const MAX_CURSORS: usize = 256;
/// Bytes of open lines in cursors that wait for receipts, a chain; thinned out likewise.
pub const MAX_CURSOR_BYTES: usize = 1 << 20;
/// A journal is written anew when it has grown by this much since the last time.
pub const JOURNAL_GROWTH: u64 = 1 << 20;
/// Longest entry of a journal: two open lines of `max_record_bytes` and their surroundings, or a long table of files.
pub const MAX_JOURNAL_ENTRY: usize = 4 << 20;
/// Runs that may die one after the other between asking for a chain and beginning it; after more of them it counts as known.
pub const MAX_ASKED: usize = 16;
/// Listings in a row that find something new before the directory is left alone until the next turn.
pub const MAX_LISTINGS: usize = 16;
/// Files of one container that are known at once; more stay in the directory until some of them are done and removed,
/// and the chain is not ended before that.
pub const MAX_FILES: usize = 4096;
/// Wakes a second that changes of files may cause.
pub const MAX_WAKES: u32 = 50;
/// With `--fail-open`, the pod's containers wait this long for their log directory to be listed.
pub const ARM_PATIENCE: Duration = Duration::from_secs(10);
/// Containers of a pod; a directory beyond them is not captured, which is logged.
pub const MAX_CONTAINERS: usize = 512;

// ---- forwarding ----

/// Members of a pool that a sidecar takes note of.
pub const MAX_COLLECTORS: usize = 256;
/// Connections while little is sent: two, so that a session is vouched for by more than one log.
pub const CONNECTIONS_QUIET: usize = 2;
/// Connections while more is sent.
pub const CONNECTIONS_BUSY: usize = 9;
/// The first batches of a session that go to one collector, so that a short-lived pod touches one log.
pub const FIRST_BATCHES: u64 = 16;
/// Batches that one collector has unanswered.
pub const MAX_IN_FLIGHT: usize = 32;
/// Their bytes, but for a last batch that goes over it: what a slow link carries within [`REQUEST_TIMEOUT`], and what a
/// fast one needs to be busy.
pub const MAX_IN_FLIGHT_BYTES: u64 = 4 << 20;
/// Waiting batches that are looked at for one that can go somewhere, so that a long queue costs no more than a short
/// one. The chains share it, and each has at least one.
pub const MAX_LOOK_AHEAD: usize = 256;
/// Logs whose newest receipt is kept.
pub const MAX_KEPT_LOGS: usize = 64;
/// The first pause after a failure.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest pause after failures.
pub const BACKOFF_MOST: Duration = Duration::from_secs(10);
/// The longest pause that a collector may ask for.
pub const RETRY_AFTER_MOST: Duration = Duration::from_mins(5);
/// Connections that nothing waits for are made within this time, not at once with all other pods'.
pub const RECONNECT_SPREAD: Duration = Duration::from_secs(10);
/// The longest a connection may take, from the name to the log's identity.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest one address of a name may take to accept a connection.
pub const ADDRESS_TIMEOUT: Duration = Duration::from_secs(3);
/// Addresses of one name that are tried.
pub const MAX_ADDRESSES: usize = 4;
/// The longest a request may be unanswered.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest answer that is read: receipts, problems.
pub const MAX_ANSWER_BYTES: usize = 64 << 10;
/// The longest list of the pool, CA bundle included.
pub const MAX_POOL_BYTES: usize = 1 << 20;
/// The longest token file.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;
/// The longest CA bundle.
pub const MAX_CA_BYTES: usize = 1 << 20;
/// Events of the edges that the owner has not taken yet; then the edges wait.
pub const MAX_EVENTS: usize = 256;
/// Scrapes that wait for the owner, and connections to the metrics port.
pub const MAX_SCRAPES: usize = 4;
