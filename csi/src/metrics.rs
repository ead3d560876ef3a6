//! Metrics: `indelible_csi_<what>`, each with a closed set of labels, and the plain HTTP page that shows them beside
//! `/livez` and `/readyz`.

mod page;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use page::serve;

type Labels = [(&'static str, &'static str); 2];

/// All metrics of the driver.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    operations: Family<Labels, Counter>,
    /// Whether the kubelet has registered the driver.
    pub registered: Gauge,
    pods_with_state: Gauge,
    states_swept: Counter,
}

/// What is done on the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// `NodePublishVolume`.
    Publish,
    /// `NodeUnpublishVolume`.
    Unpublish,
    /// Looking for the state of pods that are gone.
    Sweep,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// As asked.
    Done,
    /// There was nothing to do.
    Already,
    /// What a dead driver left was put right.
    Repaired,
    /// It was not a call that is served.
    Refused,
    /// The node did not let us.
    Failed,
}

impl Operation {
    /// As a label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Unpublish => "unpublish",
            Self::Sweep => "sweep",
        }
    }
}

impl Outcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Already => "already",
            Self::Repaired => "repaired",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("indelible_csi"),
            operations: Family::default(),
            registered: Gauge::default(),
            pods_with_state: Gauge::default(),
            states_swept: Counter::default(),
        };
        let registry = &mut metrics.registry;
        let help = "What was done on the node, by how it ended";
        registry.register("operations", help, metrics.operations.clone());
        registry.register("registered", "Whether the kubelet has registered the driver", metrics.registered.clone());
        let help = "Pods of the node that have state, as last counted";
        registry.register("pods_with_state", help, metrics.pods_with_state.clone());
        let help = "Pods that were gone and whose state was removed";
        registry.register("states_swept", help, metrics.states_swept.clone());
        metrics
    }

    /// Something was done.
    pub fn count(&self, operation: Operation, outcome: Outcome) {
        let labels = [("operation", operation.label()), ("outcome", outcome.label())];
        self.operations.get_or_create(&labels).inc();
    }

    /// State of pods that are gone was looked for.
    pub fn swept(&self, kept: usize, removed: usize) {
        self.count(Operation::Sweep, Outcome::Done);
        self.pods_with_state.set(i64::try_from(kept).unwrap_or(i64::MAX));
        self.states_swept.inc_by(removed as u64);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_counted_by_how_it_ended() {
        let metrics = Metrics::new();
        metrics.count(Operation::Publish, Outcome::Refused);
        metrics.swept(2, 3);
        let text = metrics.encode();
        for line in [
            "indelible_csi_operations_total{operation=\"publish\",outcome=\"refused\"} 1",
            "indelible_csi_pods_with_state 2",
            "indelible_csi_states_swept_total 3",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
