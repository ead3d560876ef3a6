//! What tests of injection begin with: a pod, and a cluster in which it gets a sidecar.

use k8s_openapi::api::core::v1::LimitRange;
use serde_json::{Value, json};

use super::facts::{Cluster, Facts, Namespace, Pool, Trust};
use crate::api::AuditLogSpec;
use crate::config::PodSecurity;
use crate::names::{ENFORCED, LABEL_AUDIT_LOG, LABEL_ENFORCEMENT};
use crate::observed::PoolName;

/// The facts of one request, owned.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) namespace: Namespace,
    pub(super) name: PoolName,
    pub(super) pool: Pool,
    pub(super) limit_ranges: Vec<LimitRange>,
    pub(super) cpu_limit_demanded: bool,
    pub(super) rejected: Option<&'static str>,
    pub(super) cluster: Cluster,
}

impl Default for Scene {
    fn default() -> Self {
        let trust = Trust { server_name: "payments.audit.svc".to_owned(), bundle: "-----BEGIN".to_owned() };
        Self {
            namespace: namespace(),
            name: PoolName::new("audit", "payments"),
            pool: Pool { spec: AuditLogSpec::default(), address: Some("10.96.7.7".to_owned()), trust: Some(trust) },
            limit_ranges: Vec::new(),
            cpu_limit_demanded: false,
            rejected: None,
            cluster: cluster(),
        }
    }
}

impl Scene {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            namespace: &self.namespace,
            pool: Some((&self.name, &self.pool)),
            limit_ranges: self.limit_ranges.iter().collect(),
            cpu_limit_demanded: self.cpu_limit_demanded,
            rejected: self.rejected,
            cluster: &self.cluster,
        }
    }

    pub(super) fn enforced(mut self) -> Self {
        self.namespace.labels.insert(LABEL_ENFORCEMENT.to_owned(), ENFORCED.to_owned());
        self
    }

    /// Without the driver, where hostPath is allowed.
    pub(super) fn host_path(mut self) -> Self {
        self.cluster.csi = false;
        self.cluster.pod_security_default = PodSecurity::Privileged;
        self
    }
}

pub(super) fn namespace() -> Namespace {
    Namespace {
        name: "pay".to_owned(),
        labels: [(LABEL_AUDIT_LOG.to_owned(), "audit.payments".to_owned())].into(),
        annotations: [].into(),
    }
}

pub(super) fn cluster() -> Cluster {
    Cluster {
        uid: "c1".to_owned(),
        served: ["audit".to_owned()].into(),
        excluded: ["kube-system", "audit", "indelible"].map(str::to_owned).into(),
        csi: true,
        openshift: false,
        pod_security_default: PodSecurity::Baseline,
        skip_node_selectors: vec![("type".to_owned(), "virtual-kubelet".to_owned())],
        image: "ghcr.io/indelible-dev/indelible-sidecar:1.2.3".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
        old_kubelet: None,
    }
}

/// As the API server sends it: defaults filled in, no name yet.
pub(super) fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "app-7d9-", "namespace": "pay", "labels": {"app": "app"}},
        "spec": {
            "containers": [{"name": "app", "image": "app:1", "resources": {}}],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 45,
            "securityContext": {},
        },
    })
}
