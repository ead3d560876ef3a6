//! Metrics: `indelible_collector_<what>_<unit>`, each with a closed set of labels, and the plain HTTP page that shows
//! them beside `/livez` and `/readyz`.
//!
//! What happens is counted where it happens; what is (sizes, ages, free bytes) is read when the page is asked for.
//! No label comes from outside: no pod, namespace, path or token.

mod page;

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

pub use page::{Health, serve};

type Label = [(&'static str, &'static str); 1];

/// All metrics of a collector.
#[derive(Debug)]
#[expect(missing_docs, reason = "the registration below explains each")]
pub struct Metrics {
    registry: Registry,
    appended_leaves: Family<Label, Counter>,
    batches: Family<Label, Counter>,
    rejected: Family<Label, Counter>,
    reloads: Family<Label, Counter>,
    api_calls: Family<Label, Counter>,
    key_fetches: Family<Label, Counter>,
    reviews: Family<Label, Counter>,
    cosignatures: Family<Label, Counter>,
    pub cosigned_leaves: Gauge,
    pub appended_records: Counter,
    pub appended_bytes: Counter,
    pub append_seconds: Histogram,
    pub fsync_seconds: Histogram,
    pub queued_appends: Gauge,
    pub queued_bytes: Gauge,
    pub heartbeats: Counter,
    pub body_bytes: Gauge,
    pub connections: Gauge,
    pub refused_connections: Counter,
    pub sessions_heard: Gauge,
    pub tree_leaves: Gauge,
    pub durable_leaves: Gauge,
    pub checkpoint_age: Gauge<f64, AtomicU64>,
    pub free_bytes: Gauge,
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
            queued_appends: Gauge::default(),
            queued_bytes: Gauge::default(),
            heartbeats: Counter::default(),
            body_bytes: Gauge::default(),
            connections: Gauge::default(),
            refused_connections: Counter::default(),
            sessions_heard: Gauge::default(),
            tree_leaves: Gauge::default(),
            durable_leaves: Gauge::default(),
            checkpoint_age: Gauge::default(),
            free_bytes: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("appended_leaves", "Leaves appended for requests, by type", self.appended_leaves.clone());
        r.register("batches", "Batches by what became of them", self.batches.clone());
        r.register("rejected_requests", "Requests that were refused, by status", self.rejected.clone());
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
        r.register_with_unit("fsync", "A group commit's fdatasync", Unit::Seconds, fsync);
        r.register("queued_appends", "Requests that wait for the store's writer", self.queued_appends.clone());
        r.register("queued_bytes", "Bytes that wait for the store's writer", self.queued_bytes.clone());
        r.register_with_unit("append", "From a checked request to its receipt", Unit::Seconds, append);
        r.register_with_unit("checkpoint_age", "Age of the newest checkpoint", Unit::Seconds, age);
        r.register("heartbeats", "Heartbeats that were noted", self.heartbeats.clone());
        r.register("body_in_flight_bytes", "Bytes of request bodies that are held", self.body_bytes.clone());
        r.register("open_connections", "Connections that are open", self.connections.clone());
        r.register("refused_connections", "Connections that ended unserved", self.refused_connections.clone());
        r.register("heard_sessions", "Sessions whose newest heartbeat is held", self.sessions_heard.clone());
        r.register("tree_leaves", "Leaves under the newest checkpoint", self.tree_leaves.clone());
        r.register("durable_leaves", "Leaves that are durable", self.durable_leaves.clone());
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

    /// A request was refused.
    pub fn rejected(&self, status: u16) {
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
        self.rejected.get_or_create(&[("status", word)]).inc();
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
