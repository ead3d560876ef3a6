//! An `AuditLog`, as far as this program reads it, and the names that follow from its own.
//!
//! Core. Everything in it is somebody's word: the spec is its author's, the status the operator's. Fields that an API
//! server does not serve are empty, so that a newer or older operator can be read.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::Resource;
use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};

/// A namespace and a name in it: an AuditLog, and with that a pool; or a ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolName {
    /// The namespace.
    pub namespace: String,
    /// The name there.
    pub name: String,
}

impl PoolName {
    /// What a reader's token must be for.
    pub fn reader_audience(&self) -> String {
        format!("read.indelible.dev/{self}")
    }

    /// What the certificates of its collectors are for.
    pub fn server_name(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }

    /// The value of the labels that name it.
    pub fn label(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// Its ServiceAccount for readers.
    pub fn reader(&self) -> Self {
        Self { namespace: self.namespace.clone(), name: format!("{}-reader", self.name) }
    }

    /// Its ConfigMap.
    pub fn config_map(&self) -> String {
        format!("{}-pool", self.name)
    }

    /// Which pods are its collectors, and readers of kept volumes.
    pub fn pods(&self) -> String {
        format!("app.kubernetes.io/name=indelible,{LABEL}={}", self.label())
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Text that is no namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected NAMESPACE/NAME, such as audit/payments-reader")]
pub struct NotAName;

impl FromStr for PoolName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (namespace, name) = text.split_once('/').ok_or(NotAName)?;
        // Kubernetes judges names; what it takes for a part of a path or a query is not let through to it.
        let is_plain = |part: &str| {
            !part.is_empty()
                && part.len() <= 253
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
        };
        if !is_plain(namespace) || !is_plain(name) {
            return Err(NotAName);
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

/// The label by which a namespace opts in, and by which the objects of a pool say whose they are.
pub const LABEL: &str = "indelible.dev/audit-log";
/// The label that makes a namespace strict, with the value [`ENFORCED`].
pub const ENFORCEMENT: &str = "indelible.dev/enforcement";
/// Every pod is audited.
pub const ENFORCED: &str = "enforced";
/// The label by which a pod opts out, with the value `false`.
pub const INJECT: &str = "indelible.dev/inject";
/// The container that is injected.
pub const SIDECAR: &str = "indelible-sidecar";
/// The annotation by which a finding is acknowledged.
pub const ACKNOWLEDGE: &str = "indelible.dev/acknowledge";
/// The driver that gives a sidecar its pod's log directory.
pub const CSI_DRIVER: &str = "logs.csi.indelible.dev";
/// Where collectors listen.
pub const PORT: u16 = 7443;

/// The object.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditLog {
    pub metadata: ObjectMeta,
    pub spec: Spec,
    pub status: Status,
}

/// What its author asks for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    pub pod_selector: LabelSelector,
    pub containers: Containers,
    pub capture: Capture,
    pub sidecar: Sidecar,
    pub witnesses: Vec<Witness>,
}

/// A witness outside of the cluster.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Witness {
    pub name: String,
    pub public_key: String,
}

/// Which containers are left out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Containers {
    pub exclude: Vec<String>,
}

/// How a sidecar reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Capture {
    pub source: String,
}

/// What the sidecar is given.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    pub resources: k8s_openapi::api::core::v1::ResourceRequirements,
    pub metrics_port: i32,
}

/// What the operator says.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    pub logs: Vec<LogStatus>,
    pub witness_key: String,
    pub authority_key: String,
    pub conditions: Vec<Condition>,
}

/// A log, as the operator has pinned it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogStatus {
    pub origin: String,
    pub public_key: String,
    pub collector: String,
    pub state: String,
}

impl AuditLog {
    /// Its name, as far as the API server gave one.
    pub fn pool_name(&self) -> PoolName {
        PoolName {
            namespace: self.metadata.namespace.clone().unwrap_or_default(),
            name: self.metadata.name.clone().unwrap_or_default(),
        }
    }

    /// The condition of that type.
    pub fn condition(&self, of: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.type_ == of)
    }
}

impl Resource for AuditLog {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "AuditLog".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "indelible.dev".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1alpha1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "auditlogs".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_pool_follow_from_its_own() {
        let pool: PoolName = "audit/payments".parse().unwrap();
        assert_eq!(pool.reader_audience(), "read.indelible.dev/audit/payments");
        assert_eq!(pool.server_name(), "payments.audit.svc");
        assert_eq!(pool.pods(), "app.kubernetes.io/name=indelible,indelible.dev/audit-log=audit.payments");
        for bad in ["payments", "a/b/c", "/b", "a/", "a/b?x=y", "a/../b", "a b/c"] {
            assert_eq!(bad.parse::<PoolName>(), Err(NotAName), "{bad}");
        }
    }

    #[test]
    fn an_audit_log_of_another_version_is_read_as_far_as_it_goes() {
        let json = r#"{"apiVersion":"indelible.dev/v1alpha1","kind":"AuditLog","metadata":{"name":"payments","namespace":"audit"},
            "spec":{"capture":{"source":"Volume","later":1},"unknown":{}},
            "status":{"logs":[{"origin":"o","publicKey":"k","collector":"payments-0","state":"Open","treeSize":4}]}}"#;
        let log: AuditLog = serde_json::from_str(json).unwrap();
        assert_eq!(log.pool_name().to_string(), "audit/payments");
        assert_eq!((log.status.logs[0].public_key.as_str(), log.spec.capture.source.as_str()), ("k", "Volume"));
        assert!(serde_json::from_str::<AuditLog>(r#"{"metadata":{}}"#).unwrap().status.logs.is_empty());
    }
}
