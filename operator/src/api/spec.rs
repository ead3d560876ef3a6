//! What a user asks for in an `AuditLog`.
//!
//! The doc comments here are the field descriptions of the CRD: `kubectl explain` and `docs/reference/auditlog.md` show
//! them as they stand, so they speak to whoever writes the manifest. Every field has a default. A rule's message says
//! what to change. Fields whose function does not exist yet are not in the schema: nothing is accepted and ignored.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, ResourceRequirements, SELinuxOptions, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::AuditLogStatus;

/// The desired state: whose output is audited, and the pool of collectors that keeps it.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "indelible.dev",
    version = "v1alpha1",
    kind = "AuditLog",
    namespaced,
    shortname = "alog",
    category = "audit",
    status = "AuditLogStatus",
    derive = "PartialEq",
    doc = "An immutable audit log: what the pods of the opted-in namespaces print is chained, signed and stored append-only by a pool of collectors, and can be verified offline. A namespace opts in with the label indelible.dev/audit-log: <namespace>.<name> of this object.",
    scale(
        spec_replicas_path = ".spec.collectors.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status",
        description = "Whether the pool accepts and keeps records"
    ),
    printcolumn(
        name = "Collectors",
        type_ = "string",
        json_path = ".status.collectors",
        description = "Collectors that are ready, of those that are asked for"
    ),
    printcolumn(
        name = "Pods",
        type_ = "string",
        json_path = ".status.pods",
        description = "Pods whose output arrives, of those that are selected"
    ),
    printcolumn(
        name = "Intact",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Intact')].status",
        description = "False is the alarm: a log was rolled back, forked or changed its key"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 30 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be at most 30 characters, lower case letters, digits and '-', beginning with a letter: the names of the pool's pods and Services are made from it")
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "self.delivery.copies <= self.collectors.replicas", "message": "delivery.copies may not exceed collectors.replicas, because each copy goes to another collector: raise replicas, or lower copies"}]))]
pub struct AuditLogSpec {
    /// Which pods of the opted-in namespaces are audited. Empty selects all of them. It does not apply in namespaces with
    /// the label indelible.dev/enforcement: enforced, where every pod is audited.
    pub pod_selector: LabelSelector,
    /// Which containers of a pod are audited.
    pub containers: Containers,
    /// How a sidecar reads the output of its pod.
    pub capture: Capture,
    /// The pool of collectors that stores the records.
    pub collectors: Collectors,
    /// How records travel from a sidecar to the collectors.
    pub delivery: Delivery,
    /// How much one pod, or the pods of one namespace, may send. What is over a limit waits on the node and is not lost
    /// before capture.maxHeldBytes.
    pub limits: Limits,
    /// Witnesses outside of this cluster that cosign the collectors' checkpoints. The operator is always one.
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub witnesses: Vec<Witness>,
    /// The sidecar that is added to each audited pod.
    pub sidecar: Sidecar,
    /// Stops every change to what this AuditLog owns. Collectors and sidecars go on as they are.
    pub paused: bool,
}

/// Which containers of a pod are audited.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Containers {
    /// Names of containers that are left out. The exclusion itself is part of the evidence. It does not apply in namespaces
    /// with the label indelible.dev/enforcement: enforced.
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub exclude: Vec<String>,
}

/// How a sidecar reads the output of its pod.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Capture {
    /// Where the sidecar finds its pod's log files. Auto takes Volume where the CSI driver is installed, else HostPath where
    /// the namespace's Pod Security level allows it. Volume is an ephemeral CSI volume (logs.csi.indelible.dev) that shows
    /// one pod's logs and works at every Pod Security level. HostPath mounts that pod's directory below /var/log/pods,
    /// read-only.
    pub source: CaptureSource,
    /// Output that is kept on the node while the collectors cannot be reached and the kubelet has already rotated it away.
    /// Beyond it the oldest unread file is given up, and the gap is declared in the evidence.
    #[schemars(length(max = 20), regex(pattern = r"^[0-9]+(k|M|G|Ki|Mi|Gi)?$"))]
    pub max_held_bytes: String,
    /// Held output is given up earlier when less than this percentage of the node's log file system is free.
    #[schemars(range(min = 0, max = 99))]
    pub min_node_free_percent: i32,
}

impl Default for Capture {
    fn default() -> Capture {
        Capture { source: CaptureSource::Auto, max_held_bytes: "64Mi".to_owned(), min_node_free_percent: 20 }
    }
}

/// Where a sidecar finds its pod's log files.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "a comment on a variant would change the schema; capture.source describes them")]
pub enum CaptureSource {
    #[default]
    Auto,
    Volume,
    HostPath,
}

/// The pool of collectors that stores the records.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Collectors {
    /// How many collectors the pool has. kubectl scale and an autoscaler may change it too. The log of a collector that is
    /// scaled away is sealed, its volume is kept and stays readable.
    #[schemars(range(min = 1, max = 100))]
    pub replicas: i32,
    /// The volume of each collector.
    pub storage: Storage,
    /// Compute resources of each collector.
    pub resources: ResourceRequirements,
    /// Labels that a node must have to run a collector.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that collectors tolerate.
    pub tolerations: Vec<Toleration>,
    /// Where collectors prefer or refuse to run. The default spreads them over zones and nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How collectors are spread. The default spreads them over zones and nodes as far as there are any.
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// The PriorityClass of the collectors' pods.
    pub priority_class_name: String,
}

impl Default for Collectors {
    fn default() -> Collectors {
        Collectors {
            replicas: 3,
            storage: Storage::default(),
            resources: ResourceRequirements::default(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            topology_spread_constraints: Vec::new(),
            priority_class_name: String::new(),
        }
    }
}

/// The volume of each collector.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Storage {
    /// The size of each volume. It can grow, where the StorageClass allows expansion, and never shrink.
    #[schemars(length(max = 20), regex(pattern = r"^[1-9][0-9]*(M|G|T|P|Mi|Gi|Ti|Pi)$"))]
    #[schemars(extend("x-kubernetes-validations" = [{"rule": "quantity(self).compareTo(quantity(oldSelf)) >= 0", "message": "collectors.storage.size can grow but not shrink: evidence is never moved to a smaller volume. For less space make another AuditLog"}]))]
    pub size: String,
    /// The StorageClass of the volumes. Empty means the cluster's default. It cannot be changed later: volumes stay where they
    /// are.
    #[schemars(length(max = 253))]
    #[schemars(extend("x-kubernetes-validations" = [{"rule": "self == oldSelf", "message": "collectors.storage.storageClassName cannot be changed, because volumes with evidence stay where they are: make another AuditLog with the other StorageClass, and move namespaces to it by their label"}]))]
    pub storage_class_name: String,
}

impl Default for Storage {
    fn default() -> Storage {
        Storage { size: "20Gi".to_owned(), storage_class_name: String::new() }
    }
}

/// How records travel from a sidecar to the collectors.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Delivery {
    /// On how many collectors each record is stored before the sidecar lets go of it.
    #[schemars(range(min = 1, max = 3))]
    pub copies: i32,
    /// How long a record waits for others to share its batch.
    #[schemars(length(max = 20), regex(pattern = r"^[0-9]+(ms|s)$"))]
    #[schemars(extend("x-kubernetes-validations" = [{"rule": "duration(self) >= duration('10ms') && duration(self) <= duration('10s')", "message": "delivery.flushInterval must be from 10ms to 10s"}]))]
    pub flush_interval: String,
    /// The largest batch, from 4Ki to 1Mi.
    #[schemars(length(max = 20), regex(pattern = r"^[0-9]+(k|Ki|M|Mi)?$"))]
    #[schemars(extend("x-kubernetes-validations" = [{"rule": "quantity(self).compareTo(quantity('4Ki')) >= 0 && quantity(self).compareTo(quantity('1Mi')) <= 0", "message": "delivery.maxBatchBytes must be from 4Ki to 1Mi"}]))]
    pub max_batch_bytes: String,
}

impl Default for Delivery {
    fn default() -> Delivery {
        Delivery { copies: 1, flush_interval: "250ms".to_owned(), max_batch_bytes: "256Ki".to_owned() }
    }
}

/// How much may be sent. 0 means no limit.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Bytes a second of one pod, at each collector.
    #[schemars(length(max = 20), regex(pattern = r"^[0-9]+(k|M|G|Ki|Mi|Gi)?$"))]
    pub per_pod_bytes_per_second: String,
    /// Bytes a day of all pods of one namespace, at each collector.
    #[schemars(length(max = 20), regex(pattern = r"^[0-9]+(k|M|G|T|Ki|Mi|Gi|Ti)?$"))]
    pub per_namespace_bytes_per_day: String,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { per_pod_bytes_per_second: "64Mi".to_owned(), per_namespace_bytes_per_day: "0".to_owned() }
    }
}

/// A witness (C2SP tlog-witness): it cosigns a checkpoint after it has checked that it extends the last one it saw.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Witness {
    /// A name for people, unique in this list.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Where it takes checkpoints; /add-checkpoint is added to it.
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^\s?#]+$"))]
    pub url: String,
    /// Its verifier key (C2SP signed-note vkey): name+hash+base64, of a cosignature/v1 key.
    #[schemars(length(max = 512), regex(pattern = r"^[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+={0,2}$"))]
    pub public_key: String,
}

/// The sidecar that is added to each audited pod.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    /// Compute resources. The default requests 5m of cpu and 16Mi of memory and limits memory to 48Mi. Values are kept within
    /// the namespace's LimitRange.
    pub resources: ResourceRequirements,
    /// A TCP port on which each sidecar serves /metrics; 0 for none. A port that is taken is a warning, never a failure.
    #[schemars(range(min = 0, max = 65535))]
    #[schemars(extend("x-kubernetes-validations" = [{"rule": "self == 0 || self >= 1024", "message": "sidecar.metricsPort must be 0 (none) or 1024 to 65535: the sidecar does not run as root"}]))]
    pub metrics_port: i32,
    /// SELinux labels of the sidecar, where reading the node's log files needs them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub se_linux_options: Option<SELinuxOptions>,
    /// The group of the sidecar's process where it reads through HostPath. Log files belong to group 0.
    #[schemars(range(min = 0))]
    pub run_as_group: i64,
    /// Secrets in the audited pods' namespaces with which the sidecar's image is pulled.
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<LocalObjectReference>,
}
