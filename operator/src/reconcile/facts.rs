//! What is in the cluster of one pool, as values: the input of `validate` and `build`.
//!
//! Pure. `dereference` fills it from objects; every field that a decision needs is here and nothing else, so that tests
//! write it down.

use std::collections::BTreeMap;
use std::net::IpAddr;

use indelible_chain::note::VerifierKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::certificates::Secrets;
use crate::observed::OptedIn;

/// What is true of the whole cluster and read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The uid of namespace kube-system.
    pub uid: String,
    /// Who issues pods' tokens, as their `iss` has it.
    pub issuer: String,
    /// Whether the cluster chooses uids itself (OpenShift's security context constraints).
    pub chooses_uids: bool,
}

/// One pool's objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dereferenced {
    /// Certificates.
    pub secrets: Secrets,
    /// The version of the Secret with the CA: it is written over this one and no other.
    pub ca_version: Option<String>,
    /// The ConfigMap that collectors watch.
    pub config: Option<PoolConfig>,
    /// The StatefulSet.
    pub set: Option<Set>,
    /// Pods of collectors and of readers of kept volumes.
    pub pods: Vec<Pod>,
    /// Claims, by ordinal.
    pub claims: BTreeMap<u32, Claim>,
    /// Ordinals with a reader's Deployment.
    pub readers: Vec<u32>,
    /// The StorageClass that the spec names.
    pub storage_class: Class,
    /// Opted-in namespaces, by name.
    pub namespaces: Vec<OptedIn>,
    /// Volumes that were set aside, as `A-volumes` has them.
    pub set_aside: Vec<SetAsideVolume>,
    /// Why the API server refused pods or claims, newest first; only asked while some are missing.
    pub refusals: Vec<String>,
}

/// The ConfigMap `A-pool`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolConfig {
    /// Its data.
    pub data: BTreeMap<String, String>,
    /// A scale-down that has begun.
    pub leaving: Option<Leaving>,
}

/// Collectors from `to` on have been taken out of the pool's list, and leave 10 s after `since`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// How many collectors stay.
    pub to: u32,
    /// When the list without the others was written.
    pub since: Timestamp,
}

/// The StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// What it is asked for.
    pub replicas: u32,
    /// Whether its controller has seen that.
    pub observed: bool,
    /// Pods it has.
    pub pods: u32,
    /// Pods of the newest template.
    pub updated: u32,
    /// The size in its claim template.
    pub storage: String,
    /// It is being deleted.
    pub deleting: bool,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its ordinal.
    pub ordinal: u32,
    /// It reads a kept volume, and is none of the StatefulSet's.
    pub kept: bool,
    /// Its address.
    pub address: Option<IpAddr>,
    /// The kubelet says that it is ready.
    pub ready: bool,
    /// It is being deleted.
    pub terminating: bool,
    /// The key that its init container told.
    pub told_key: Option<VerifierKey>,
    /// What holds it up, in the kubelet's words: container, reason, message.
    pub trouble: Option<String>,
}

/// A claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Its uid: a claim of the same name may be another one.
    pub uid: String,
    /// The size it asks for.
    pub requested: String,
    /// The volume that it is bound to.
    pub volume: Option<String>,
    /// The StorageClass that it has; none where there was no default.
    pub class: Option<String>,
    /// It is being deleted.
    pub deleting: bool,
    /// What becomes of its volume when it is deleted, where that is known.
    pub reclaim: Option<Reclaim>,
}

/// A PersistentVolume's reclaim policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reclaim {
    /// Kept.
    Retain,
    /// Deleted with its claim.
    Delete,
}

/// A StorageClass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// The spec names none: the cluster's default is taken.
    #[default]
    Default,
    /// It is there.
    Found,
    /// There is none of that name.
    Missing,
}

/// A volume that was set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAsideVolume {
    /// The ordinal that it was of.
    pub ordinal: u32,
    /// The PersistentVolume.
    pub volume: String,
    /// The claim that was deleted, by uid: while that one is there, it is not done yet.
    pub claim_uid: String,
    /// The log's verifier key, where it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// When that was asked for.
    pub since: Timestamp,
    /// Another claim has taken its place, and the annotation that asked for it is gone.
    #[serde(default)]
    pub done: bool,
}

impl Dereferenced {
    /// The StatefulSet's pod of that ordinal.
    pub fn pod(&self, ordinal: u32) -> Option<&Pod> {
        self.pods.iter().find(|pod| pod.ordinal == ordinal && !pod.kept)
    }

    /// The kept reader's pod of that ordinal.
    pub fn reader_pod(&self, ordinal: u32) -> Option<&Pod> {
        self.pods.iter().find(|pod| pod.ordinal == ordinal && pod.kept)
    }
}
