//! Every name and label that more than one part uses. The table stands in ARCHITECTURE.md, section Kubernetes.
//!
//! Pure: strings from strings. Who makes an object and who looks for it take its name from here.

use std::collections::BTreeMap;

use crate::observed::PoolName;

/// The field manager of everything that the operator applies.
pub const FIELD_MANAGER: &str = "indelible-operator";

/// On a namespace: `N.A` opts it in. On what belongs to a pool: whose it is.
pub const LABEL_AUDIT_LOG: &str = "indelible.dev/audit-log";
/// On a namespace: `enforced` makes auditing strict there.
pub const LABEL_ENFORCEMENT: &str = "indelible.dev/enforcement";
/// The value of [`LABEL_ENFORCEMENT`] that counts.
pub const ENFORCED: &str = "enforced";
/// On a pod: `"false"` opts it out.
pub const LABEL_INJECT: &str = "indelible.dev/inject";
/// On a pod that has a sidecar: `N.A`.
pub const LABEL_INJECTED: &str = "indelible.dev/injected";
/// On what belongs to one collector: its ordinal.
pub const LABEL_ORDINAL: &str = "indelible.dev/ordinal";

/// On an AuditLog: the pod whose volume is set aside.
pub const ANNOTATION_REPLACE_VOLUME: &str = "indelible.dev/replace-volume";
/// On an AuditLog: `{"finding","by","reason"}`.
pub const ANNOTATION_ACKNOWLEDGE: &str = "indelible.dev/acknowledge";

/// On an AuditLog: a value that was not there before asks for another CA.
pub const ANNOTATION_ROTATE_CA: &str = "indelible.dev/rotate-ca";

/// What collectors run as; the chart's.
pub const COLLECTOR_SERVICE_ACCOUNT: &str = "indelible-collector";
/// The ClusterRole that may read all records of an AuditLog; the chart's.
pub const READER_CLUSTER_ROLE: &str = "indelible-record-reader";
/// The Lease of the operator that reconciles.
pub const LEASE: &str = "indelible-operator";
/// The Service of the operator's witness.
pub const WITNESS_SERVICE: &str = "indelible-witness";
/// The Secret with the seeds of the witness' and the authority's key.
pub const KEYS_SECRET: &str = "indelible-keys";
/// The Secret with the webhook's certificate.
pub const WEBHOOK_SECRET: &str = "indelible-webhook-tls";
/// The MutatingWebhookConfiguration; the chart's.
pub const WEBHOOK_CONFIGURATION: &str = "indelible-injector";
/// The Service of the webhook.
pub const WEBHOOK_SERVICE: &str = "indelible-webhook";

/// Collectors' HTTPS.
pub const COLLECTOR_PORT: u16 = 7443;
/// Metrics and probes of collectors, operator and csi.
pub const METRICS_PORT: u16 = 9464;
/// The operator's witness.
pub const WITNESS_PORT: u16 = 7444;

/// The names of what belongs to one pool.
impl PoolName {
    /// `N.A`, a label's value.
    pub fn label(&self) -> String {
        format!("{}.{}", self.namespace, self.name)
    }

    /// From a label's value. A namespace has no dot, nor has an AuditLog's name.
    pub fn from_label(value: &str) -> Option<Self> {
        let (namespace, name) = value.split_once('.')?;
        (!namespace.is_empty() && !name.is_empty() && !name.contains('.')).then(|| Self::new(namespace, name))
    }

    /// The headless Service of the pods.
    pub fn pods_service(&self) -> String {
        format!("{}-pods", self.name)
    }

    /// `A.N.svc`, which each collector's certificate has.
    pub fn server_name(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }

    /// A collector's pod.
    pub fn pod(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.name)
    }

    /// The ordinal of a collector's pod.
    pub fn ordinal(&self, pod: &str) -> Option<u32> {
        let digits = pod.strip_prefix(self.name.as_str())?.strip_prefix('-')?;
        let ordinal: u32 = digits.parse().ok()?;
        // Neither signs nor leading zeros: one name, one ordinal.
        (ordinal.to_string() == digits).then_some(ordinal)
    }

    /// A collector's claim.
    pub fn claim(&self, ordinal: u32) -> String {
        format!("data-{}", self.pod(ordinal))
    }

    /// The ordinal of a collector's claim.
    pub fn claim_ordinal(&self, claim: &str) -> Option<u32> {
        self.ordinal(claim.strip_prefix("data-")?)
    }

    /// The Secret with the CA.
    pub fn ca_secret(&self) -> String {
        format!("{}-ca", self.name)
    }

    /// The Secret with the collectors' certificates.
    pub fn tls_secret(&self) -> String {
        format!("{}-tls", self.name)
    }

    /// The ConfigMap that collectors watch.
    pub fn pool_config(&self) -> String {
        format!("{}-pool", self.name)
    }

    /// The ConfigMap that lists volumes that were set aside; kept.
    pub fn volumes_config(&self) -> String {
        format!("{}-volumes", self.name)
    }

    /// The ServiceAccount whose tokens read everything.
    pub fn reader(&self) -> String {
        format!("{}-reader", self.name)
    }

    /// The Deployment that serves a volume whose collector was scaled away.
    pub fn kept(&self, ordinal: u32) -> String {
        format!("{}-kept-{ordinal}", self.name)
    }

    /// The audience of tokens that pods write with.
    pub fn write_audience(&self) -> String {
        format!("indelible.dev/{self}")
    }

    /// The audience of tokens that readers read with.
    pub fn read_audience(&self) -> String {
        format!("read.indelible.dev/{self}")
    }

    /// A log's origin without its key's fingerprint.
    pub fn origin(&self, cluster_uid: &str, ordinal: &str) -> String {
        format!("{cluster_uid}/{self}/{ordinal}")
    }

    /// The labels that tell collectors' pods from all others.
    pub fn selector(&self) -> BTreeMap<String, String> {
        self.component("collector")
    }

    /// The labels of the reader of one kept volume.
    pub fn kept_selector(&self, ordinal: u32) -> BTreeMap<String, String> {
        let mut labels = self.component("kept-collector");
        labels.insert(LABEL_ORDINAL.to_owned(), ordinal.to_string());
        labels
    }

    fn component(&self, component: &str) -> BTreeMap<String, String> {
        [
            ("app.kubernetes.io/name", "indelible"),
            ("app.kubernetes.io/component", component),
            ("app.kubernetes.io/instance", &self.name),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// The labels of everything that belongs to the pool.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        labels.insert("app.kubernetes.io/managed-by".to_owned(), FIELD_MANAGER.to_owned());
        labels.insert(LABEL_AUDIT_LOG.to_owned(), self.label());
        labels
    }

    /// A selector of all that belongs to the pool.
    pub fn owned_selector(&self) -> String {
        format!("app.kubernetes.io/managed-by={FIELD_MANAGER},{LABEL_AUDIT_LOG}={}", self.label())
    }
}

/// The ConfigMap of the witness' memory of a pool, in the operator's namespace; kept.
pub fn witness_config(pool: &PoolName) -> String {
    format!("indelible-witness-{}-{}", pool.namespace, pool.name)
}

/// Labels as a selector's text.
pub fn selector_text(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> PoolName {
        PoolName::new("audit", "payments")
    }

    #[test]
    fn a_pods_name_gives_its_ordinal_and_no_other_name_does() {
        assert_eq!(pool().ordinal(&pool().pod(12)), Some(12));
        assert_eq!(pool().claim_ordinal(&pool().claim(0)), Some(0));
        for other in ["payments", "payments-", "payments-x", "payments-01", "payments-+1", "other-1", "payments-kept-1"]
        {
            assert_eq!(pool().ordinal(other), None, "{other}");
        }
    }

    #[test]
    fn a_label_names_namespace_and_audit_log() {
        assert_eq!(PoolName::from_label(&pool().label()), Some(pool()));
        for wrong in ["", "payments", ".payments", "audit.", "a.b.c"] {
            assert_eq!(PoolName::from_label(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_longest_names_fit_what_kubernetes_allows() {
        let pool = PoolName::new("n".repeat(32), "a".repeat(30));
        assert!(pool.label().len() <= 63);
        // Of a StatefulSet's name Kubernetes makes a label with a hash, which leaves 52; of a Deployment's, 47.
        assert!(pool.pod(99).len() <= 52 && pool.kept(99).len() <= 47);
        assert!(pool.pods_service().len() <= 63 && pool.server_name().len() <= 253);
    }
}
