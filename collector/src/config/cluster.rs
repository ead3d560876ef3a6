//! What a collector is told that runs in a cluster: whom it asks, what it limits, whose statements it takes.

use std::path::PathBuf;

use clap::Args;
use indelible_chain::note::VerifierKey;

use super::values::{self, ObjectName, Witness};
use super::{ConfigError, refused};
use crate::ingest::ByteLimits;
use crate::limits::{MAX_AUTHORITIES, MAX_WITNESSES};

#[derive(Debug, Args)]
pub(super) struct ClusterArgs {
    /// ConfigMap that is watched through the API server [default: none]; its keys pool.json,
    /// namespaces.json and witnesses (lines VKEY=URL) take the place of --pool, --namespaces and --witness, which hold until the
    /// first answer
    #[arg(long, env = "INDELIBLE_CONFIGMAP", value_name = "NAMESPACE/NAME")]
    configmap: Option<ObjectName>,
    /// AuditLog whose records are read here: with --readers tokenreview, who may `get auditlogs/records` of
    /// it reads everything, who may `get pods/log` in an opted-in namespace reads what that namespace's pods printed
    #[arg(long, env = "INDELIBLE_READ_RESOURCE", value_name = "NAMESPACE/NAME")]
    pub(super) read_resource: Option<ObjectName>,
    /// Directory with the pod's own token and ca.crt, which the API server is asked with; read again as they change
    #[arg(long, env = "INDELIBLE_KUBE_CREDENTIALS", value_name = "DIR", default_value = crate::kube::CREDENTIALS)]
    kube_credentials: PathBuf,
    /// Verifier key of an authority (repeatable) [default: none]: its statements are taken with a reader's token too, and refused
    /// where its signature does not hold
    #[arg(long, env = "INDELIBLE_AUTHORITY", value_name = "VKEY", value_delimiter = ',', value_parser = values::authority)]
    authority: Vec<VerifierKey>,
    /// Witness that is asked to cosign this log's checkpoints (repeatable) [default: none]: its verifier key, and its URL below
    /// which /add-checkpoint is; http will do, since what it answers is signed
    #[arg(long, env = "INDELIBLE_WITNESS", value_name = "VKEY=URL", value_delimiter = ',')]
    witness: Vec<Witness>,
    /// Bytes of records a second, unpacked, that one pod may write here; more gets 429; 0 is no limit
    #[arg(long, env = "INDELIBLE_LIMIT_POD_BYTES", value_name = "SIZE", default_value = "0", value_parser = values::size)]
    limit_pod_bytes: u64,
    /// Bytes of records a day, unpacked, that the pods of one namespace may write here; more gets 429; 0 is no limit
    #[arg(long, env = "INDELIBLE_LIMIT_NAMESPACE_BYTES", value_name = "SIZE", default_value = "0", value_parser = values::size)]
    limit_namespace_bytes: u64,
    /// Serve the log that is in --data to readers as it is: nothing is written to it, nothing is taken
    #[arg(long, env = "INDELIBLE_READ_ONLY")]
    read_only: bool,
}

/// What a cluster adds to a collector.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the flags, explained at each of them")]
pub struct Cluster {
    pub configmap: Option<ObjectName>,
    pub kube_credentials: PathBuf,
    pub authorities: Vec<VerifierKey>,
    pub witnesses: Vec<Witness>,
    pub read_only: bool,
    pub limits: ByteLimits,
}

impl ClusterArgs {
    pub(super) fn validate(self) -> Result<Cluster, ConfigError> {
        if self.authority.len() > MAX_AUTHORITIES {
            let given = self.authority.len();
            return refused(format!("--authority is given {given} times: at most {MAX_AUTHORITIES} are known"));
        }
        if self.witness.len() > MAX_WITNESSES {
            let given = self.witness.len();
            return refused(format!("--witness is given {given} times: at most {MAX_WITNESSES} are asked"));
        }
        Ok(Cluster {
            configmap: self.configmap,
            kube_credentials: self.kube_credentials,
            authorities: self.authority,
            witnesses: self.witness,
            read_only: self.read_only,
            limits: ByteLimits { pod: self.limit_pod_bytes, namespace: self.limit_namespace_bytes },
        })
    }
}
