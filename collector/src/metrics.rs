//! Metrics: `indelible_collector_<what>_<unit>`, each with a closed set of labels, and the plain HTTP page that shows
//! them beside `/livez` and `/readyz`.
//!
//! What happens is counted where it happens; what is (sizes, ages, free bytes) is read when the page is asked for.
//! No label comes from outside: no pod, namespace, path or token.

mod page;
mod witnessed;

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub use page::{Health, serve};
pub use witnessed::Witnessed;

type Label = [(&'static str, &'static str); 1];
type Refusal = [(&'static str, &'static str); 2];

/// All metrics of a collector.
#[derive(Debug)]
#[expect(missing_docs, reason = "the registration below explains each")]
pub struct Metrics {
    registry: Registry,
    appended_leaves: Family<Label, Counter>,
    batches: Family<Label, Counter>,
    rejected: Family<Refusal, Counter>,
    refused_connections: Family<Label, Counter>,
    uncosigned: Family<Label, Gauge<f64, AtomicU64>>,
    reloads: Family<Label, Counter>,
    api_calls: Family<Label, Counter>,
    key_fetches: Family<Label, Counter>,
    reviews: Family<Label, Counter>,
    cosignatures: Family<Label, Counter>,
    pub witnessed: Witnessed,
    pub cosigned_leaves: Gauge,
    pub appended_records: Counter,
    pub appended_bytes: Counter,
    pub append_seconds: Histogram,
    pub fsync_seconds: Histogram,
    pub checkpoint_seconds: Histogram,
    pub queued_appends: Gauge,
    pub queued_bytes: Gauge,
    pub heartbeats: Counter,
    pub body_bytes: Gauge,
    pub answer_bytes: Gauge,
    pub requests: Gauge,
    pub writes: Gauge,
    pub connections: Gauge,
    pub strangers: Gauge,
    pub sessions_heard: Gauge,
    pub tree_leaves: Gauge,
    pub durable_leaves: Gauge,
    pub checkpoint_age: Gauge<f64, AtomicU64>,
    pub writer_busy: Gauge<f64, AtomicU64>,
    pub stored_bytes: Gauge,
    pub free_bytes: Gauge,
    pub volume_bytes: Gauge,
}

/// Types of leaves that requests append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words are the format's")]
pub enum LeafType {
    Session,
    Genesis,
    Batch,
    Authority,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says it")]
pub enum BatchOutcome {
    Stored,
    Known,
    Conflict,
    Refused,
}

/// Why a connection ended unserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unserved {
    /// There are as many as there may be.
    Limit,
    /// Too many that have shown no token came after it.
    Crowd,
    /// The TLS handshake failed, or took too long.
    Handshake,
    /// No good token was shown in time, or its pod has no place left.
    NotAdmitted,
    /// An answer was not taken in time.
    Untaken,
}

/// Whether a changed file could be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says it")]
pub enum ReloadOutcome {
    Used,
    Refused,
}

/// What became of a request to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says it")]
pub enum ApiOutcome {
    Answered,
    Refused,
    Garbage,
    Away,
}

/// What became of a fetch of an issuer's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says it")]
pub enum FetchOutcome {
    Changed,
    Same,
    Failed,
}

/// What became of a request to a witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says it")]
pub enum CosignOutcome {
    Cosigned,
    Refused,
    Contradicted,
    Away,
}

/// What was found of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each says it")]
pub enum ReviewOutcome {
    Everything,
    Namespaces,
    Nothing,
    Unknown,
    Failed,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("indelible_collector"),
            appended_leaves: Family::default(),
            batches: Family::default(),
            rejected: Family::default(),
            refused_connections: Family::default(),
            uncosigned: Family::default(),
            witnessed: Witnessed::default(),
            reloads: Family::default(),
            api_calls: Family::default(),
            key_fetches: Family::default(),
            reviews: Family::default(),
            cosignatures: Family::default(),
            cosigned_leaves: Gauge::default(),
            appended_records: Counter::default(),
            appended_bytes: Counter::default(),
            // 250 µs to about 8 s: from a fast disk's fdatasync to one that is about to be given up.
            append_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            fsync_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            // 16 ms to about 9 minutes: from the shortest interval to one that nobody verifies by any more.
            checkpoint_seconds: Histogram::new(exponential_buckets(0.016, 2.0, 16)),
            queued_appends: Gauge::default(),
            queued_bytes: Gauge::default(),
            heartbeats: Counter::default(),
            body_bytes: Gauge::default(),
            answer_bytes: Gauge::default(),
            requests: Gauge::default(),
            writes: Gauge::default(),
            connections: Gauge::default(),
            strangers: Gauge::default(),
            sessions_heard: Gauge::default(),
            tree_leaves: Gauge::default(),
            durable_leaves: Gauge::default(),
            checkpoint_age: Gauge::default(),
            writer_busy: Gauge::default(),
            stored_bytes: Gauge::default(),
            free_bytes: Gauge::default(),
            volume_bytes: Gauge::default(),
        };
        metrics.register();
        metrics.begin();
        metrics
    }

    /// What can be counted is there from the start, at 0: of a counter that appears with its first count, the increase
    /// is not seen, and an alert on it stays silent. Of refusals those that alerts and people look for first.
    fn begin(&self) {
        let counters: [(&Family<Label, Counter>, &'static str, &[&'static str]); 8] = [
            (&self.appended_leaves, "type", &["session", "genesis", "batch", "authority"]),
            (&self.batches, "outcome", &["stored", "known", "conflict", "refused"]),
            (&self.reloads, "outcome", &["used", "refused"]),
            (&self.api_calls, "outcome", &["answered", "refused", "garbage", "away"]),
            (&self.key_fetches, "outcome", &["changed", "same", "failed"]),
            (&self.cosignatures, "outcome", &["cosigned", "refused", "contradicted", "away"]),
            (&self.reviews, "found", &["everything", "namespaces", "nothing", "unknown", "failed"]),
            (&self.refused_connections, "reason", &["limit", "crowd", "handshake", "not-admitted", "untaken"]),
        ];
        for (family, label, words) in counters {
            for word in words {
                family.get_or_create(&[(label, *word)]).inc_by(0);
            }
        }
        for (status, reason) in [
            ("400", "malformed"),
            ("408", "slow-body"),
            ("413", "too-large"),
            ("422", "batch-does-not-hold"),
            ("429", "overloaded"),
            ("503", "overloaded"),
            ("503", "stalled"),
            ("503", "stopped"),
            ("507", "no-space"),
        ] {
            self.rejected.get_or_create(&[("status", status), ("reason", reason)]).inc_by(0);
        }
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("appended_leaves", "Leaves appended for requests, by type", self.appended_leaves.clone());
        r.register("batches", "Batches by what became of them", self.batches.clone());
        let refused = "Requests that were refused, by status and by the last part of the problem's type";
        r.register("rejected_requests", refused, self.rejected.clone());
        let changed = "Changed files, and keys of the ConfigMap, by whether they could be used";
        r.register("reloads", changed, self.reloads.clone());
        r.register("api_requests", "Requests to the API server by what became of them", self.api_calls.clone());
        r.register("key_fetches", "Fetches of issuers' keys by what became of them", self.key_fetches.clone());
        r.register("witness_requests", "Requests to witnesses by what became of them", self.cosignatures.clone());
        r.register(
            "cosigned_leaves",
            "Leaves under the checkpoint that was cosigned last",
            self.cosigned_leaves.clone(),
        );
        r.register("reader_reviews", "Readers that were asked for by what they may read", self.reviews.clone());
        r.register("appended_records", "Records in batches that were appended", self.appended_records.clone());
        r.register("appended_bytes", "Bytes of appended batches as they came", self.appended_bytes.clone());
        let (append, fsync, age) =
            (self.append_seconds.clone(), self.fsync_seconds.clone(), self.checkpoint_age.clone());
        let public = "From a leaf's coming to the checkpoint over it, of the oldest leaf that is new in a checkpoint";
        r.register_with_unit("checkpoint", public, Unit::Seconds, self.checkpoint_seconds.clone());
        let uncosigned = "Age of what a witness has not cosigned, by its place in the list of witnesses";
        r.register_with_unit("uncosigned", uncosigned, Unit::Seconds, self.uncosigned.clone());
        r.register_with_unit("fsync", "A group commit's fdatasync", Unit::Seconds, fsync);
        r.register("queued_appends", "Requests that wait for the store's writer", self.queued_appends.clone());
        r.register("queued_bytes", "Bytes that wait for the store's writer", self.queued_bytes.clone());
        r.register_with_unit("append", "From a checked request to its receipt", Unit::Seconds, append);
        r.register_with_unit("checkpoint_age", "Age of the newest checkpoint", Unit::Seconds, age);
        r.register("heartbeats", "Heartbeats that were noted", self.heartbeats.clone());
        r.register("body_in_flight_bytes", "Bytes of request bodies that are held", self.body_bytes.clone());
        r.register("answer_in_flight_bytes", "Bytes of answers that are not sent yet", self.answer_bytes.clone());
        r.register("requests_in_flight", "Requests that are not answered to the last byte", self.requests.clone());
        r.register("writes_in_flight", "Of these, such as pods write with", self.writes.clone());
        r.register("open_connections", "Connections that are open", self.connections.clone());
        r.register("unadmitted_connections", "Of these, such as showed no good token yet", self.strangers.clone());
        let unserved = "Connections that ended unserved, by the reason";
        r.register("refused_connections", unserved, self.refused_connections.clone());
        r.register("heard_sessions", "Sessions whose newest heartbeat is held", self.sessions_heard.clone());
        r.register("tree_leaves", "Leaves under the newest checkpoint", self.tree_leaves.clone());
        r.register("durable_leaves", "Leaves that are durable", self.durable_leaves.clone());
        let busy = "How long the store's writer has been at one group: a disk that hangs shows here";
        r.register_with_unit("writer_busy", busy, Unit::Seconds, self.writer_busy.clone());
        r.register("stored_bytes", "Bytes of all segments that are durable", self.stored_bytes.clone());
        r.register("volume_bytes", "Bytes of the data directory's volume", self.volume_bytes.clone());
        r.register("volume_free_bytes", "Free bytes of the data directory's volume", self.free_bytes.clone());
    }

    /// A request appended a leaf.
    pub fn appended(&self, leaf: LeafType) {
        let word = match leaf {
            LeafType::Session => "session",
            LeafType::Genesis => "genesis",
            LeafType::Batch => "batch",
            LeafType::Authority => "authority",
        };
        self.appended_leaves.get_or_create(&[("type", word)]).inc();
    }

    /// A batch was answered.
    pub fn batch(&self, outcome: BatchOutcome) {
        let word = match outcome {
            BatchOutcome::Stored => "stored",
            BatchOutcome::Known => "known",
            BatchOutcome::Conflict => "conflict",
            BatchOutcome::Refused => "refused",
        };
        self.batches.get_or_create(&[("outcome", word)]).inc();
    }

    /// A request was refused. `reason` is the last part of the problem's stable type, one of a closed set.
    pub fn rejected(&self, status: u16, reason: &'static str) {
        let word = match status {
            400 => "400",
            401 => "401",
            403 => "403",
            404 => "404",
            405 => "405",
            408 => "408",
            409 => "409",
            412 => "412",
            413 => "413",
            415 => "415",
            422 => "422",
            429 => "429",
            503 => "503",
            507 => "507",
            _ => "other",
        };
        self.rejected.get_or_create(&[("status", word), ("reason", reason)]).inc();
    }

    /// A connection ended unserved.
    pub fn unserved(&self, why: Unserved) {
        let word = match why {
            Unserved::Limit => "limit",
            Unserved::Crowd => "crowd",
            Unserved::Handshake => "handshake",
            Unserved::NotAdmitted => "not-admitted",
            Unserved::Untaken => "untaken",
        };
        self.refused_connections.get_or_create(&[("reason", word)]).inc();
    }

    /// What each witness has not cosigned is this old now.
    fn show_uncosigned(&self, size: u64) {
        self.uncosigned.clear();
        for (place, age) in self.witnessed.ages(size) {
            self.uncosigned.get_or_create(&[("witness", place)]).set(age.as_secs_f64());
        }
    }

    /// A changed file was read.
    pub fn reloaded(&self, outcome: ReloadOutcome) {
        let word = match outcome {
            ReloadOutcome::Used => "used",
            ReloadOutcome::Refused => "refused",
        };
        self.reloads.get_or_create(&[("outcome", word)]).inc();
    }

    /// The API server was asked.
    pub fn api_call(&self, outcome: ApiOutcome) {
        let word = match outcome {
            ApiOutcome::Answered => "answered",
            ApiOutcome::Refused => "refused",
            ApiOutcome::Garbage => "garbage",
            ApiOutcome::Away => "away",
        };
        self.api_calls.get_or_create(&[("outcome", word)]).inc();
    }

    /// An issuer was asked for its keys.
    pub fn keys_fetched(&self, outcome: FetchOutcome) {
        let word = match outcome {
            FetchOutcome::Changed => "changed",
            FetchOutcome::Same => "same",
            FetchOutcome::Failed => "failed",
        };
        self.key_fetches.get_or_create(&[("outcome", word)]).inc();
    }

    /// A witness was asked.
    pub fn cosigned(&self, outcome: CosignOutcome) {
        let word = match outcome {
            CosignOutcome::Cosigned => "cosigned",
            CosignOutcome::Refused => "refused",
            CosignOutcome::Contradicted => "contradicted",
            CosignOutcome::Away => "away",
        };
        self.cosignatures.get_or_create(&[("outcome", word)]).inc();
    }

    /// It was asked what a reader may read.
    pub fn reviewed(&self, outcome: ReviewOutcome) {
        let word = match outcome {
            ReviewOutcome::Everything => "everything",
            ReviewOutcome::Namespaces => "namespaces",
            ReviewOutcome::Nothing => "nothing",
            ReviewOutcome::Unknown => "unknown",
            ReviewOutcome::Failed => "failed",
        };
        self.reviews.get_or_create(&[("found", word)]).inc();
    }

    /// The page, in the text form of `OpenMetrics`.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("writing to a String cannot fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
