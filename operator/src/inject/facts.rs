//! What admission is decided from, beside the pod itself.
//!
//! Values only: the edge `desk` keeps them from watches and hands out what belongs to one request.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::LimitRange;

use crate::api::AuditLogSpec;
use crate::config::PodSecurity;
use crate::names::{ENFORCED, LABEL_AUDIT_LOG, LABEL_ENFORCEMENT};
use crate::observed::PoolName;

const LABEL_POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";

/// A namespace as its labels and annotations tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations, those that count for a pod without one of its own.
    pub annotations: BTreeMap<String, String>,
}

impl Namespace {
    /// What the label says whose it is; none: it is not opted in.
    pub fn audit_log(&self) -> Option<&str> {
        self.labels.get(LABEL_AUDIT_LOG).map(String::as_str)
    }

    /// Whether no pod may run unaudited.
    pub fn enforced(&self) -> bool {
        self.labels.get(LABEL_ENFORCEMENT).is_some_and(|value| value == ENFORCED)
    }

    /// The Pod Security level that is enforced, `default` where no label says it.
    pub fn level(&self, default: PodSecurity) -> PodSecurity {
        match self.labels.get(LABEL_POD_SECURITY).map(String::as_str) {
            None => default,
            Some("privileged") => PodSecurity::Privileged,
            Some("baseline") => PodSecurity::Baseline,
            // Pod Security takes what it does not know for restricted.
            Some(_) => PodSecurity::Restricted,
        }
    }
}

/// An AuditLog, and where sidecars begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// What is asked for.
    pub spec: AuditLogSpec,
    /// The ClusterIP of its Service, as it stands in a URL; none until there is one.
    pub address: Option<String>,
    /// The name in the collectors' certificates and the CA bundle; none until there is one.
    pub trust: Option<Trust>,
}

/// By what a sidecar knows a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// `A.N.svc`.
    pub server_name: String,
    /// The CA bundle, PEM.
    pub bundle: String,
}

/// What holds for the whole cluster: from flags, discovery and nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The uid of namespace kube-system.
    pub uid: String,
    /// Namespaces of AuditLogs that are served.
    pub served: BTreeSet<String>,
    /// Namespaces in which nothing is injected, by name: the operator's, the collectors', the cluster's own.
    pub excluded: BTreeSet<String>,
    /// Whether the CSI driver is installed.
    pub csi: bool,
    /// Whether security context constraints choose uids (OpenShift).
    pub openshift: bool,
    /// What a namespace without a Pod Security label counts as.
    pub pod_security_default: PodSecurity,
    /// Node labels whose nodes cannot have sidecars (virtual nodes).
    pub skip_node_selectors: Vec<(String, String)>,
    /// The sidecar's image.
    pub image: String,
    /// Its pull policy.
    pub pull_policy: String,
    /// A ready node whose kubelet has no native sidecars, with its version.
    pub old_kubelet: Option<(String, String)>,
}

/// What belongs to one request.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The pod's namespace.
    pub namespace: &'a Namespace,
    /// The AuditLog that the namespace names, if there is one.
    pub pool: Option<(&'a PoolName, &'a Pool)>,
    /// The namespace's LimitRanges.
    pub limit_ranges: Vec<&'a LimitRange>,
    /// Whether a quota of the namespace demands a cpu limit of each container.
    pub cpu_limit_demanded: bool,
    /// Pods with a sidecar were refused here lately: what the API server said.
    pub rejected: Option<&'a str>,
    /// The cluster.
    pub cluster: &'a Cluster,
}
