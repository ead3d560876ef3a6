//! What the operator has seen of an `AuditLog`. A view for people: nothing is decided from it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator has seen. It is a view: nobody should trust it as evidence.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditLogStatus {
    /// The generation of the spec that the rest of the status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many collectors exist, for the scale subresource.
    pub replicas: i32,
    /// Which pods are collectors, for the scale subresource.
    pub selector: String,
    /// Collectors that are ready, of those that are asked for, as one word: 3/3.
    pub collectors: String,
    /// Pods whose output arrives, of those that are selected, as one word: 41/42.
    pub pods: String,
    /// How many of the pods that should be audited are.
    pub coverage: Coverage,
    /// The logs of this pool, one for each collector that ever wrote.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["origin"]))]
    pub logs: Vec<LogStatus>,
    /// Volumes with evidence that no collector writes to any more: its collector was scaled away, or the volume was set aside
    /// by the annotation indelible.dev/replace-volume.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["volume"]))]
    pub volumes: Vec<KeptVolume>,
    /// The verifier key of the operator's witness, which cosigns the checkpoints of the pool's logs.
    pub witness_key: String,
    /// The verifier key of the operator's authority, which signs what is known of pods that are gone and of acknowledged
    /// findings.
    pub authority_key: String,
    /// Versions of the sidecars that are running.
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub sidecar_versions: Vec<String>,
    /// Ready, Progressing, Degraded, Covered, Intact, Durable, StorageLow and Injecting, by the conventions of the Kubernetes API.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How many of the pods that should be audited are.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Coverage {
    /// Running pods of the opted-in namespaces that the AuditLog selects.
    pub selected: i64,
    /// Those of them that have a sidecar.
    pub injected: i64,
    /// Those of them whose sidecar was heard of in the last 90 seconds.
    pub streaming: i64,
    /// Those that are older than the opt-in and must be restarted to get a sidecar.
    pub needs_restart: i64,
}

/// One log: what one collector has signed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LogStatus {
    /// The log's name, as in its checkpoints.
    pub origin: String,
    /// The verifier key that was seen first and is pinned since.
    pub public_key: String,
    /// The collector's pod.
    pub collector: String,
    /// How many leaves its newest checkpoint covers.
    #[serde(default)]
    pub tree_size: i64,
    /// When the newest of these leaves was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_leaf_time: Option<Time>,
    /// Up to which size the operator has cosigned it.
    #[serde(default)]
    pub witnessed_size: i64,
    /// Whether the log still grows.
    pub state: LogState,
}

/// Whether a log still grows.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "a comment on a variant would change the schema")]
pub enum LogState {
    Open,
    Sealed,
}

/// A volume with evidence that no collector writes to any more.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KeptVolume {
    /// The PersistentVolume.
    pub volume: String,
    /// The PersistentVolumeClaim that holds it; empty when the volume was set aside and nothing claims it.
    #[serde(default)]
    pub claim: String,
    /// The log on it.
    pub origin: String,
    /// The Deployment that serves it; empty when nobody does.
    #[serde(default)]
    pub reader: String,
}
