//! What the reconciler and the observing tasks tell each other of a pool: views out, observations back.
//!
//! Owns no state: each side publishes a whole map by `watch` and reads the other's. The reconciler's `PoolView` is what
//! it found at its last pass; the observing task's `Observed` is what it learned beside the API since it leads. Both are
//! caches of the leader: after a restart they come again, and nothing that counts rests on them alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use indelible_chain::note::VerifierKey;
use jiff::Timestamp;

use crate::api::{AuditLogSpec, Coverage, LogState};

/// An AuditLog by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName {
    /// The AuditLog's namespace, in which its pool runs.
    pub namespace: String,
    /// The AuditLog's name.
    pub name: String,
}

impl PoolName {
    /// Of these two.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// `N/A`, as audiences and origins have it.
impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// All pools, as the reconciler found them.
pub type PoolViews = BTreeMap<PoolName, Arc<PoolView>>;

/// All pools, as they were observed.
pub type Observations = BTreeMap<PoolName, Arc<Observed>>;

/// A pool as the reconciler found it.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolView {
    /// The AuditLog's uid.
    pub uid: String,
    /// The spec that is in force.
    pub spec: AuditLogSpec,
    /// The name that collectors' certificates have: `A.N.svc`.
    pub server_name: String,
    /// The CA bundle, PEM; empty until there is one.
    pub bundle: String,
    /// Collectors with a pod, by ordinal; also those that only read a kept volume.
    pub collectors: Vec<CollectorView>,
    /// Opted-in namespaces, by name.
    pub namespaces: Vec<OptedIn>,
    /// Logs whose volume was set aside by `indelible.dev/replace-volume`: their ordinal may have another key since.
    pub set_aside: Vec<SetAside>,
    /// The annotation `indelible.dev/acknowledge`, as it stands.
    pub acknowledge: Option<String>,
}

/// One collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorView {
    /// Its pod's name, which is `A-<ordinal>` but for readers of kept volumes.
    pub pod: String,
    /// Its place in the pool.
    pub ordinal: u32,
    /// Its pod's address, once it has one.
    pub address: Option<IpAddr>,
    /// Whether the kubelet says that it is ready.
    pub ready: bool,
    /// The verifier key that its init container `key` told. Not pinned: what is, is in [`ObservedLog::public_key`].
    pub told_key: Option<VerifierKey>,
    /// Whether it only reads the volume of a collector that was scaled away.
    pub kept: bool,
}

/// A namespace with the label `indelible.dev/audit-log` of this pool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct OptedIn {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// When it was created.
    pub created: Timestamp,
    /// Whether it has the label `indelible.dev/enforcement: enforced`.
    pub enforced: bool,
}

/// A log on a volume that was set aside because it could not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its collector's ordinal.
    pub ordinal: u32,
    /// The PersistentVolume that keeps it.
    pub volume: String,
    /// The log's verifier key, where it was pinned.
    pub public_key: Option<VerifierKey>,
}

/// What the leader knows of a pool beside the API.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Logs that are pinned, by ordinal and, within it, by age.
    pub logs: Vec<ObservedLog>,
    /// Pods that should be audited against those that are; none until that was counted once.
    pub coverage: Option<Covered>,
    /// What is wrong with a log and not acknowledged.
    pub alarms: Vec<Alarm>,
    /// Which bundles sidecars have.
    pub confirmed: Confirmed,
    /// Volumes of collectors that answered, by pod.
    pub storage: BTreeMap<String, Storage>,
    /// Versions of sidecars that were heard of.
    pub sidecar_versions: BTreeSet<String>,
}

/// One log, as its collector and the witness memory have it.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedLog {
    /// Its collector's ordinal.
    pub ordinal: u32,
    /// Its collector's pod.
    pub collector: String,
    /// The key that was seen first and is pinned since. A collector whose told key is another one gets no certificate.
    pub public_key: VerifierKey,
    /// Leaves under the newest checkpoint that was seen.
    pub tree_size: u64,
    /// When the newest of them was received.
    pub newest_leaf_time: Option<Timestamp>,
    /// Up to which size the operator has cosigned it.
    pub witnessed_size: u64,
    /// Whether it still grows.
    pub state: LogState,
}

/// Coverage with its reasons.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Covered {
    /// The numbers, as the status shows them.
    pub numbers: Coverage,
    /// Why pods are not audited, in the order of their weight; empty when all are.
    pub missing: Vec<Missing>,
}

/// Pods that are not audited for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// `NeverConnected`, `Unreadable`, `NotInjected`, `NeedsRestart`, `PodRejected`, ...
    pub reason: &'static str,
    /// How many.
    pub pods: u64,
    /// One sentence for people, with the remedy and the first few names.
    pub message: String,
}

/// What is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The finding's id, as `kubectl indelible acknowledge --finding` takes it.
    pub id: String,
    /// CamelCase: `RolledBack`, `Forked`, `KeyChanged`, ...
    pub reason: &'static str,
    /// One sentence for people: which log, what was seen.
    pub message: String,
}

/// Which CA bundles live sessions have reported, for the rotation of certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// Whether every collector answered: until then nothing is known of the sessions.
    pub complete: bool,
    /// By pod (`namespace/name`) of a live session: SHA-256 of the bundle it has, lower-case hex.
    pub bundles: BTreeMap<String, String>,
}

/// The volume of a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes there are.
    pub size_bytes: u64,
    /// Bytes written a second, over the last hours; 0 where that is not known.
    pub growth_bytes_per_second: u64,
}

/// The public halves of the operator's own keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKeys {
    /// Cosigns checkpoints.
    pub witness: VerifierKey,
    /// Signs statements.
    pub authority: VerifierKey,
}

/// What holds injection up, beside coverage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Injection {
    /// A reason that holds for the whole cluster: `OldKubelet`, with its sentence.
    pub stopped: Option<(&'static str, String)>,
    /// Namespaces where pods with a sidecar were refused (`PodRejected`), with the API server's message.
    pub rejected: BTreeMap<String, String>,
}
