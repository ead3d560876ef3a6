//! What a witness counts, as Prometheus reads it.

use indelible_chain::checkpoint::Origin;
use indelible_chain::cosignature::UnixSeconds;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// Cosigned.
    Cosigned,
    /// The newest checkpoint of a log was shown.
    Shown,
    /// The log has another size here, or another root.
    Conflict,
    /// Not signed by the log, or no proof.
    Refused,
    /// Of a log that is not known.
    Unknown,
    /// Nothing that can be read.
    Malformed,
    /// The log grows faster than it may.
    TooFast,
    /// Too many at once, too slow, or it cannot be written.
    Away,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLog {
    log: String,
}

/// The counts.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Of, Counter>,
    leaves: Family<OfLog, Gauge>,
    cosigned_at: Family<OfLog, Gauge>,
    contradictions: Family<OfLog, Counter>,
    /// Writes that failed.
    pub failed_writes: Counter,
    /// Connections that are open.
    pub connections: Gauge,
    /// Connections that were closed before their time, or refused.
    pub cut_off: Counter,
}

impl Metrics {
    /// All at nothing.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("indelible_witness"),
            requests: Family::default(),
            leaves: Family::default(),
            cosigned_at: Family::default(),
            contradictions: Family::default(),
            failed_writes: Counter::default(),
            connections: Gauge::default(),
            cut_off: Counter::default(),
        };
        let of = &mut metrics.registry;
        of.register("requests", "Requests by what became of them", metrics.requests.clone());
        of.register("log_leaves", "Leaves of the largest tree of a log that was cosigned", metrics.leaves.clone());
        of.register("log_cosigned_at_seconds", "When that was, in seconds since 1970", metrics.cosigned_at.clone());
        of.register(
            "log_contradictions",
            "Logs that have signed two roots for one size, since the start",
            metrics.contradictions.clone(),
        );
        of.register("failed_writes", "Checkpoints that could not be written", metrics.failed_writes.clone());
        of.register("connections", "Open connections", metrics.connections.clone());
        of.register(
            "cut_off_connections",
            "Connections that were refused, or closed because others needed their place or nothing came",
            metrics.cut_off.clone(),
        );
        metrics
    }

    /// A request was answered.
    pub fn answered(&self, outcome: Outcome) {
        self.requests.get_or_create(&Of { outcome }).inc();
    }

    /// A log is known, with so many leaves.
    pub fn log(&self, origin: &Origin, size: u64) {
        self.leaves.get_or_create(&of(origin)).set(gauge(size));
        drop(self.contradictions.get_or_create(&of(origin)));
    }

    /// A larger tree was cosigned.
    pub fn stored(&self, origin: &Origin, size: u64, at: UnixSeconds) {
        self.leaves.get_or_create(&of(origin)).set(gauge(size));
        self.cosigned_at.get_or_create(&of(origin)).set(gauge(at.get()));
    }

    /// A log has signed two roots for one size.
    pub fn contradicted(&self, origin: &Origin) {
        self.contradictions.get_or_create(&of(origin)).inc();
    }

    /// All of them, as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn of(origin: &Origin) -> OfLog {
    OfLog { log: origin.to_string() }
}

fn gauge(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
