//! What a collector is told that runs in a cluster: whom it asks, which objects of it are its own.

use std::path::PathBuf;

use clap::Args;

use super::values::ObjectName;

#[derive(Debug, Args)]
pub(super) struct ClusterArgs {
    /// ConfigMap <namespace>/<name> that is watched through the API server [default: none]; its keys pool.json and
    /// namespaces.json take the place of --pool and --namespaces, which hold until the first answer
    #[arg(long, env = "INDELIBLE_CONFIGMAP", value_name = "NAMESPACE/NAME")]
    configmap: Option<ObjectName>,
    /// AuditLog <namespace>/<name> whose records are read here: with --readers tokenreview, who may `get auditlogs/records` of
    /// it reads everything, who may `get pods/log` in an opted-in namespace reads what that namespace's pods printed
    #[arg(long, env = "INDELIBLE_READ_RESOURCE", value_name = "NAMESPACE/NAME")]
    pub(super) read_resource: Option<ObjectName>,
    /// Directory with the pod's own token and ca.crt, which the API server is asked with; read again as they change
    #[arg(long, env = "INDELIBLE_KUBE_CREDENTIALS", value_name = "DIR", default_value = crate::kube::CREDENTIALS)]
    kube_credentials: PathBuf,
}

/// What a cluster adds to a collector.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the flags, explained at each of them")]
pub struct Cluster {
    pub configmap: Option<ObjectName>,
    pub kube_credentials: PathBuf,
}

impl ClusterArgs {
    pub(super) fn validate(self) -> Cluster {
        Cluster { configmap: self.configmap, kube_credentials: self.kube_credentials }
    }
}
