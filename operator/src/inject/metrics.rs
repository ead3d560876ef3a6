//! What is counted of admission: outcomes, and how long answers take.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Answer;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// A sidecar was added.
    Injected,
    /// Nobody asked for one.
    Left,
    /// One was asked for and could not be added.
    Uncovered,
    /// The pod was refused.
    Denied,
    /// The request was not understood, or not answered.
    Malformed,
}

impl Outcome {
    /// Of an answer.
    pub fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Inject { .. } => Self::Injected,
            Answer::Leave { warning: None } => Self::Left,
            Answer::Leave { warning: Some(_) } => Self::Uncovered,
            Answer::Deny(_) => Self::Denied,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: Outcome,
}

/// The counters.
#[derive(Clone, Debug)]
pub struct Metrics {
    reviews: Family<Labels, Counter>,
    seconds: Histogram,
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            reviews: Family::default(),
            seconds: Histogram::new([0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5]),
        };
        registry.register("admission_reviews", "Admission requests, by outcome", metrics.reviews.clone());
        registry.register("admission_seconds", "Time from a request's headers to its answer", metrics.seconds.clone());
        metrics
    }

    /// A request was answered.
    pub fn answered(&self, outcome: Outcome, after: Duration) {
        self.reviews.get_or_create(&Labels { outcome }).inc();
        self.seconds.observe(after.as_secs_f64());
    }
}
