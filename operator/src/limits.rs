//! Every bound of the operator, by name.

use std::time::Duration;

/// How long a Lease holds without renewal.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long the holder goes on without a renewal that was answered; less than the duration, whatever clocks say.
pub const LEASE_RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often it is looked at and renewed.
pub const LEASE_RETRY: Duration = Duration::from_secs(5);

/// Scrapes and probes at once.
pub const MAX_SCRAPES: usize = 16;
/// How long a client may take over its request.
pub const SCRAPE_PATIENCE: Duration = Duration::from_secs(5);
/// How long the program takes to end once it was told to.
pub const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);
/// How long `check` waits for one answer.
pub const CHECK_PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that `check` reads.
pub const MAX_CHECK_ANSWER_BYTES: usize = 64 << 10;
/// Collectors of one pool.
pub const MAX_POOL_COLLECTORS: u32 = 100;
/// The longest message of a condition, in bytes.
pub const MAX_CONDITION_MESSAGE: usize = 1_024;
/// Objects of one kind that are read of one pool.
pub const MAX_LISTED: u32 = 500;
/// Refusals of pods or claims that are shown.
pub const MAX_REFUSALS: usize = 3;
/// Events that one object gets at once.
pub const EVENT_BURST: u32 = 10;
/// After these one in so many seconds.
pub const EVENT_REFILL_SECONDS: i64 = 60;
/// Objects whose Events are counted at once.
pub const EVENT_OBJECTS: usize = 1_024;
/// The longest note of an Event, in bytes: the API's limit.
pub const MAX_EVENT_NOTE: usize = 1_000;
/// From here on a volume is said to be nearly full.
pub const STORAGE_LOW_PERCENT: u64 = 75;
/// Changes that come within this time of each other are looked at together.
pub const DEBOUNCE: Duration = Duration::from_millis(200);
/// A pass that failed is tried again after this, then after twice as long, and so on.
pub const RETRY_FIRST: Duration = Duration::from_secs(1);
/// ... and at last after this.
pub const RETRY_LAST: Duration = Duration::from_mins(5);
/// What was read of a pool is read again after this although nothing was heard of: PersistentVolumes are not watched.
pub const FRESH: Duration = Duration::from_mins(10);
/// A status that changes only in its numbers is written this often at most.
pub const STATUS_INTERVAL: Duration = Duration::from_mins(1);
/// One whose numbers of pods change: people wait for these after a rollout.
pub const COVERAGE_INTERVAL: Duration = Duration::from_secs(15);

/// Bytes of a PEM text in a Secret: a bundle of some CAs fits many times.
pub const MAX_PEM_BYTES: usize = 64 << 10;
/// Pods that a message names; it says how many there are.
pub const NAMED_PODS: usize = 5;
/// How long the webhook's certificate waits after a failure before it is tried again.
pub const WEBHOOK_RETRY: Duration = Duration::from_secs(5);
/// For how long injection rests in a namespace after a pod was refused because of the sidecar.
pub const TRIP_DURATION: Duration = Duration::from_mins(10);
/// Namespaces in which it rests at once; a further one is not noticed.
pub const MAX_TRIPPED_NAMESPACES: usize = 1024;
/// Characters of the API server's words that are kept of each.
pub const MAX_TRIP_MESSAGE: usize = 512;

/// Connections to the webhook at once; a further one waits.
pub const MAX_ADMISSION_CONNECTIONS: usize = 256;
/// Requests at once on one of them; the API server waits with further ones.
pub const MAX_ADMISSION_STREAMS: u32 = 64;
/// How long TLS, headers, a body or the API server's answer may take; the API server waits for 5 s for ours.
pub const ADMISSION_PATIENCE: Duration = Duration::from_secs(2);
/// How often a connection that is silent is asked whether anybody is there.
pub const ADMISSION_KEEPALIVE: Duration = Duration::from_secs(30);
/// The largest request, 413 beyond it: the API server takes no larger object than 3 MiB.
pub const MAX_REVIEW_BYTES: u64 = 4 << 20;
/// Larger ones are read few at a time.
pub const SMALL_REVIEW_BYTES: u64 = 64 << 10;
/// So many.
pub const LARGE_REVIEWS: usize = 4;
/// How long until the API server is asked again for what it did not answer at the start.
pub const DISCOVERY_RETRY: Duration = Duration::from_secs(2);
/// Pods that wait for the desk; a further one waits in its connection.
pub const QUEUED_ADMISSIONS: usize = 256;

// The witness.

/// Bytes of a request to cosign: a proof of the greatest length and a note with some cosignatures fit.
pub const MAX_WITNESS_BODY_BYTES: usize = 16 << 10;
/// Clients of the witness at once; further ones wait to be accepted.
pub const MAX_WITNESS_CONNECTIONS: usize = 256;
/// How long a client of the witness may take over the head of a request.
pub const WITNESS_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request to the witness may take, the write that it waits for included; collectors wait for 20 s.
pub const WITNESS_REQUEST_TIMEOUT: Duration = Duration::from_secs(18);
/// How long the witness waits after a connection that could not be accepted.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// The time between two writes of a pool's witness memory.
pub const MEMORY_WRITE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a change that nobody waits for may wait for the next write of the memory.
pub const LAZY_WRITE_INTERVAL: Duration = Duration::from_mins(1);
/// How long the API server may take over the memory.
pub const MEMORY_API_TIMEOUT: Duration = Duration::from_secs(7);
/// How long a memory that could not be read or written waits before it is read again.
pub const MEMORY_RETRY: Duration = Duration::from_secs(2);
/// Questions that wait for the keeper of a memory.
pub const QUEUED_ASKS: usize = 64;
/// Cosignatures that wait for one write; further questions wait until it is done.
pub const WAITING_COSIGNATURES: usize = 256;
/// Logs of a pool that are pinned, those included whose volumes were set aside; a further one gets no certificate.
pub const MAX_LOGS_PER_POOL: usize = 256;
/// Alarms of a pool that stand at a time; further ones are raised when one is over.
pub const MAX_ALARMS: usize = 32;
/// Accepted findings that are remembered; the oldest are forgotten, and would be raised again.
pub const MAX_ACCEPTED: usize = 256;
/// Bytes of the memory without the pods.
pub const MAX_MEMORY_BYTES: usize = 384 << 10;

// The authority.

/// Audited pods of a pool that are known to be alive: further ones are found in what collectors report.
pub const MAX_LIVE_PODS: usize = 16_000;
/// Pods that are gone and wait for a statement: further ones are found when all pods are listed again.
pub const MAX_ENDED_PODS: usize = 4096;
/// Statements that one poll sends.
pub const STATEMENTS_PER_POLL: usize = 256;
/// Bytes of the annotation that acknowledges a finding.
pub const MAX_ACKNOWLEDGE_BYTES: usize = 4096;
/// Bytes of who acknowledges, and of why.
pub const MAX_REASON_BYTES: usize = 1024;
/// How long an acknowledgement waits for the memory to be written.
pub const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(30);

// Collectors.

/// How often collectors are asked.
pub const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// How soon they are asked after a pod has come or changed: its sidecar speaks within seconds.
pub const POLL_SOON: Duration = Duration::from_secs(10);
/// How long changes are gathered before they are told.
pub const OBSERVE_DEBOUNCE: Duration = Duration::from_millis(500);
/// How long a connection to a collector may take.
pub const COLLECTOR_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a collector may take over an answer.
pub const COLLECTOR_TIMEOUT: Duration = Duration::from_secs(10);
/// Sessions of one page of coverage.
pub const COVERAGE_PAGE: usize = 1000;
/// Sessions that are taken from one collector.
pub const MAX_COVERED_SESSIONS: usize = 32_000;
/// Bytes of an answer of a collector: a page of sessions with all of their chains.
pub const MAX_COLLECTOR_ANSWER_BYTES: usize = 32 << 20;
/// Bytes of what a collector says of a refusal.
pub const MAX_PROBLEM_BYTES: usize = 16 << 10;
/// Tiles that are read to see whether a log extends a tree: two for each level, and some.
pub const MAX_PROOF_TILES: usize = 32;
/// How long a reader's token lives.
pub const READER_TOKEN_LIFE: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);
/// Pods of one page when a namespace is listed.
pub const PODS_PER_PAGE: u32 = 100;
/// Events of pods that wait to be taken note of.
pub const QUEUED_POD_EVENTS: usize = 256;
/// Samples of how full a volume is, one in [`STORAGE_SAMPLE_EVERY`].
pub const STORAGE_SAMPLES: usize = 72;
/// The time between two samples of how full a volume is.
pub const STORAGE_SAMPLE_EVERY: Duration = Duration::from_mins(5);
