//! An AuditLog and what it refers to become a `Pool`, or a reason why not.
//!
//! Pure. The API server has checked what the schema says; this is what a schema cannot say, and what it could not say
//! when an older object was written. Each reason has words for its condition and tells what to change.

use indelible_chain::note::{Algorithm, VerifierKey};

use super::facts::{Class, Dereferenced};
use crate::api::{AuditLog, AuditLogSpec};
use crate::limits::MAX_POOL_COLLECTORS;
use crate::observed::PoolName;
use crate::quantity::Quantity;

/// A valid AuditLog.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Namespace and name.
    pub name: PoolName,
    /// The AuditLog's uid.
    pub uid: String,
    /// The spec's generation.
    pub generation: i64,
    /// The spec.
    pub spec: AuditLogSpec,
    /// How many collectors are asked for.
    pub replicas: u32,
    /// The size of each volume, in bytes.
    pub storage_bytes: u64,
    /// Bytes a second of one pod; 0 for no limit.
    pub pod_bytes_per_second: u64,
    /// Bytes a day of one namespace; 0 for no limit.
    pub namespace_bytes_per_day: u64,
    /// Witnesses beside the operator's.
    pub witnesses: Vec<Witness>,
    /// The ordinal whose volume is to be set aside.
    pub replace_volume: Option<u32>,
    /// Requests that cannot be carried out, which stop nothing else.
    pub remarks: Vec<String>,
}

/// A witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its key.
    pub key: VerifierKey,
    /// Where it takes checkpoints.
    pub url: String,
}

/// Why there is no pool. The text is the condition's message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each is")]
pub enum Invalid {
    #[error(
        "AuditLogs are not served in namespace {0}: make it in one of {1}, or add {0} to auditLogNamespaces of the chart"
    )]
    NamespaceNotServed(String, String),
    #[error("{field}: {text:?} is no {what}: {remedy}")]
    Value { field: &'static str, text: String, what: &'static str, remedy: &'static str },
    #[error("{0}")]
    Field(String),
    #[error(
        "there is no StorageClass {0}: make it, or make this AuditLog again with another collectors.storage.storageClassName"
    )]
    StorageClassNotFound(String),
}

impl Invalid {
    /// The condition's reason.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NamespaceNotServed(..) => "NamespaceNotServed",
            Self::Value { .. } | Self::Field(_) => "InvalidSpec",
            Self::StorageClassNotFound(_) => "StorageClassNotFound",
        }
    }
}

/// Whether AuditLogs of this namespace are served.
pub fn served(namespace: &str, served: &[String]) -> Result<(), Invalid> {
    if served.iter().any(|name| name == namespace) {
        return Ok(());
    }
    Err(Invalid::NamespaceNotServed(namespace.to_owned(), served.join(", ")))
}

/// What a schema cannot say.
pub fn validate(log: &AuditLog, found: &Dereferenced) -> Result<Pool, Invalid> {
    let spec = log.spec.clone();
    let metadata = &log.metadata;
    let name = PoolName::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
    let replicas = u32::try_from(spec.collectors.replicas).ok().filter(|n| (1..=MAX_POOL_COLLECTORS).contains(n));
    let replicas = replicas.ok_or(Invalid::Value {
        field: "collectors.replicas",
        text: spec.collectors.replicas.to_string(),
        what: "number of collectors",
        remedy: "give 1 to 100",
    })?;
    if !(1..=3).contains(&spec.delivery.copies) || u32::try_from(spec.delivery.copies).is_ok_and(|n| n > replicas) {
        let (copies, replicas) = (spec.delivery.copies, spec.collectors.replicas);
        return Err(Invalid::Field(format!(
            "delivery.copies is {copies} and collectors.replicas {replicas}: each copy goes to another collector, so give 1 \
             to 3 copies and as many collectors at least"
        )));
    }
    kube::core::Selector::try_from(spec.pod_selector.clone())
        .map_err(|error| Invalid::Field(format!("podSelector: {error}: correct its matchExpressions")))?;
    let storage_bytes = bytes("collectors.storage.size", &spec.collectors.storage.size)?;
    if found.storage_class == Class::Missing {
        return Err(Invalid::StorageClassNotFound(spec.collectors.storage.storage_class_name));
    }
    bytes("capture.maxHeldBytes", &spec.capture.max_held_bytes)?;
    bytes("delivery.maxBatchBytes", &spec.delivery.max_batch_bytes)?;
    let pod_bytes_per_second = bytes("limits.perPodBytesPerSecond", &spec.limits.per_pod_bytes_per_second)?;
    let namespace_bytes_per_day = bytes("limits.perNamespaceBytesPerDay", &spec.limits.per_namespace_bytes_per_day)?;
    let (replace_volume, remarks) = match replace_volume(log, &name) {
        Ok(ordinal) => (ordinal, Vec::new()),
        Err(remark) => (None, vec![remark]),
    };
    Ok(Pool {
        uid: metadata.uid.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        replicas,
        storage_bytes,
        pod_bytes_per_second,
        namespace_bytes_per_day,
        witnesses: spec.witnesses.iter().map(witness).collect::<Result<_, _>>()?,
        replace_volume,
        remarks,
        name,
        spec,
    })
}

fn bytes(field: &'static str, text: &str) -> Result<u64, Invalid> {
    Quantity::parse(text).map(Quantity::units).ok_or_else(|| Invalid::Value {
        field,
        text: text.to_owned(),
        what: "size",
        remedy: "give a number with a unit, as 256Ki, 64Mi or 20Gi",
    })
}

fn witness(witness: &crate::api::Witness) -> Result<Witness, Invalid> {
    let refused = |why: String| {
        Invalid::Field(format!(
            "witnesses: publicKey of {:?}: {why}: ask the witness' operator for its vkey",
            witness.name
        ))
    };
    let key: VerifierKey = witness.public_key.parse().map_err(|error| refused(format!("{error}")))?;
    if key.algorithm() != Algorithm::CosignatureV1 {
        return Err(refused("this key does not cosign (it is not of type 0x04)".to_owned()));
    }
    Ok(Witness { key, url: witness.url.clone() })
}

/// The annotation's pod, if it is one of this pool.
fn replace_volume(log: &AuditLog, name: &PoolName) -> Result<Option<u32>, String> {
    let annotations = log.metadata.annotations.as_ref();
    let Some(pod) = annotations.and_then(|all| all.get(crate::names::ANNOTATION_REPLACE_VOLUME)) else {
        return Ok(None);
    };
    let ordinal = name.ordinal(pod).filter(|ordinal| i64::from(*ordinal) < i64::from(log.spec.collectors.replicas));
    ordinal.map(Some).ok_or_else(|| {
        format!(
            "annotation {}: {pod:?} is no collector of this pool: give the pod's name, as {}, or remove the annotation",
            crate::names::ANNOTATION_REPLACE_VOLUME,
            name.pod(0)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(spec: serde_json::Value) -> AuditLog {
        let mut log = AuditLog::new("payments", serde_json::from_value(spec).unwrap());
        log.metadata.namespace = Some("audit".to_owned());
        log
    }

    fn refusal(spec: serde_json::Value) -> Invalid {
        validate(&log(spec), &Dereferenced::default()).unwrap_err()
    }

    #[test]
    fn an_empty_spec_is_valid_and_says_what_its_defaults_mean() {
        let pool = validate(&log(serde_json::json!({})), &Dereferenced::default()).unwrap();
        assert_eq!((pool.replicas, pool.storage_bytes), (3, 20 << 30));
        assert_eq!((pool.pod_bytes_per_second, pool.namespace_bytes_per_day), (64 << 20, 0));
    }

    #[test]
    fn what_older_schemas_let_pass_is_refused_with_words_that_help() {
        use serde_json::json;
        for (spec, word) in [
            (json!({"collectors": {"replicas": 0}}), "give 1 to 100"),
            (json!({"collectors": {"replicas": 101}}), "give 1 to 100"),
            (json!({"delivery": {"copies": 3}, "collectors": {"replicas": 2}}), "as many collectors at least"),
            (json!({"collectors": {"storage": {"size": "much"}}}), "give a number with a unit"),
            (json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}), "matchExpressions"),
            (json!({"limits": {"perPodBytesPerSecond": "-1"}}), "give a number with a unit"),
            (json!({"witnesses": [{"name": "w", "url": "https://w", "publicKey": "w+00000000+AAAA"}]}), "vkey"),
        ] {
            let refusal = refusal(spec.clone());
            assert_eq!(refusal.reason(), "InvalidSpec", "{spec}");
            assert!(refusal.to_string().contains(word), "{refusal}");
        }
    }

    #[test]
    fn a_log_key_is_no_witness() {
        let key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        let text = refusal(serde_json::json!({"witnesses": [{"name": "w", "url": "https://w", "publicKey": key}]}));
        assert!(text.to_string().contains("does not cosign"), "{text}");
    }

    #[test]
    fn an_unknown_storage_class_and_a_namespace_that_is_not_served_have_their_own_reasons() {
        let found = Dereferenced { storage_class: Class::Missing, ..Dereferenced::default() };
        let log = log(serde_json::json!({"collectors": {"storage": {"storageClassName": "fast"}}}));
        let invalid = validate(&log, &found).unwrap_err();
        assert_eq!(invalid.reason(), "StorageClassNotFound");
        assert!(invalid.to_string().contains("no StorageClass fast"));
        assert_eq!(served("a", &["a".to_owned()]), Ok(()));
        assert_eq!(served("b", &["a".to_owned()]).unwrap_err().reason(), "NamespaceNotServed");
    }

    #[test]
    fn only_a_collector_of_the_pool_has_a_volume_to_replace() {
        let mut log = log(serde_json::json!({}));
        let annotate = |log: &mut AuditLog, pod: &str| {
            let name = crate::names::ANNOTATION_REPLACE_VOLUME.to_owned();
            log.metadata.annotations = Some([(name, pod.to_owned())].into());
        };
        annotate(&mut log, "payments-1");
        assert_eq!(validate(&log, &Dereferenced::default()).unwrap().replace_volume, Some(1));
        for pod in ["payments-3", "other-1", ""] {
            annotate(&mut log, pod);
            let pool = validate(&log, &Dereferenced::default()).unwrap();
            assert_eq!(pool.replace_volume, None);
            assert!(pool.remarks[0].contains("payments-0"), "{:?}", pool.remarks);
        }
    }
}
