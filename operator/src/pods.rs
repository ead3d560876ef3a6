//! Pods, as far as coverage and the authority need them: one watch for each opted-in namespace.
//!
//! The watch is of whole pods, since phase, node and the reason for an end stand in the status and come in order with
//! everything else, but only [`Pod`] is kept of each: a label list and a few words. In steady state nothing is sent.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

use crate::clock;
use crate::names::LABEL_INJECTED;

const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// A pod as it comes over the wire: what is not named here is not kept.
#[derive(Debug, Clone, Deserialize)]
pub struct Sketch {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    node_selector: BTreeMap<String, String>,
    os: Option<Os>,
}

#[derive(Debug, Clone, Deserialize)]
struct Os {
    name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: Option<String>,
    reason: Option<String>,
}

impl Resource for Sketch {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> std::borrow::Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> std::borrow::Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its uid.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was created.
    pub created: Timestamp,
    /// Where it runs, once that is decided.
    pub node: Option<String>,
    /// How far it is.
    pub phase: Phase,
    /// Whether its deletion has begun.
    pub is_deleting: bool,
    /// Whether no sidecar can ever be in it: a static pod's mirror, another operating system.
    pub is_foreign: bool,
    /// The node selector, by which virtual nodes are told.
    pub node_selector: BTreeMap<String, String>,
}

/// How far a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not started.
    Pending,
    /// It runs.
    Running,
    /// All of its containers have ended, and will not start again.
    Ended,
    /// The kubelet evicted it.
    Evicted,
    /// The node has not been heard of.
    Lost,
}

impl Pod {
    /// From what came over the wire; none without a uid.
    pub fn of(sketch: Sketch) -> Option<Self> {
        let Sketch { metadata, spec, status } = sketch;
        let has_mirror = metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR_ANNOTATION));
        let is_windows = spec.os.is_some_and(|os| os.name != "linux")
            || spec.node_selector.get("kubernetes.io/os").is_some_and(|os| os != "linux");
        Some(Self {
            uid: metadata.uid?,
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            labels: metadata.labels.unwrap_or_default(),
            created: metadata.creation_timestamp.map(|time| clock::from_time(&time)).unwrap_or_default(),
            node: spec.node_name,
            phase: phase(status.phase.as_deref(), status.reason.as_deref()),
            is_deleting: metadata.deletion_timestamp.is_some(),
            is_foreign: has_mirror || is_windows,
            node_selector: spec.node_selector,
        })
    }

    /// Whether it says that it has the sidecar of this pool (`N.A`).
    pub fn is_injected(&self, label: &str) -> bool {
        self.labels.get(LABEL_INJECTED).is_some_and(|value| value == label)
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

fn phase(phase: Option<&str>, reason: Option<&str>) -> Phase {
    match (phase, reason) {
        (_, Some("Evicted")) => Phase::Evicted,
        (_, Some("NodeLost")) | (Some("Unknown"), _) => Phase::Lost,
        (Some("Running"), _) => Phase::Running,
        (Some("Succeeded" | "Failed"), _) => Phase::Ended,
        _ => Phase::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(json: serde_json::Value) -> Pod {
        Pod::of(serde_json::from_value(json).unwrap()).unwrap()
    }

    #[test]
    fn what_is_needed_of_a_pod_is_read_and_the_rest_is_not_kept() {
        let pod = pod(serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "cart-0", "namespace": "shop", "uid": "u1", "creationTimestamp": "2026-11-27T12:00:00Z",
                "labels": {"app": "cart", "indelible.dev/injected": "audit.payments"}},
            "spec": {"nodeName": "n1", "containers": [{"name": "cart"}]},
            "status": {"phase": "Running", "conditions": []},
        }));
        assert_eq!(
            (pod.full_name(), pod.phase, pod.node.as_deref()),
            ("shop/cart-0".to_owned(), Phase::Running, Some("n1"))
        );
        assert!(pod.is_injected("audit.payments") && !pod.is_injected("audit.other"));
        assert!(!pod.is_foreign && !pod.is_deleting);
    }

    #[test]
    fn the_kubelets_words_for_an_end_are_known() {
        assert_eq!(phase(Some("Failed"), Some("Evicted")), Phase::Evicted);
        assert_eq!(phase(Some("Running"), Some("NodeLost")), Phase::Lost);
        assert_eq!(phase(Some("Succeeded"), None), Phase::Ended);
        assert_eq!(phase(Some("Failed"), Some("DeadlineExceeded")), Phase::Ended);
        assert_eq!(phase(None, None), Phase::Pending);
    }

    #[test]
    fn mirror_pods_and_windows_pods_can_have_no_sidecar() {
        let with = |annotations: serde_json::Value, spec: serde_json::Value| {
            pod(serde_json::json!({"metadata": {"uid": "u", "annotations": annotations}, "spec": spec})).is_foreign
        };
        assert!(with(serde_json::json!({"kubernetes.io/config.mirror": "x"}), serde_json::json!({})));
        assert!(with(serde_json::json!({}), serde_json::json!({"os": {"name": "windows"}})));
        assert!(with(serde_json::json!({}), serde_json::json!({"nodeSelector": {"kubernetes.io/os": "windows"}})));
        assert!(!with(serde_json::json!({}), serde_json::json!({"nodeSelector": {"kubernetes.io/os": "linux"}})));
    }
}
