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
