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
