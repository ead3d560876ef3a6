//! The collectors: the StatefulSet, and the Deployments that serve volumes whose collector was scaled away.
//!
//! Pods pass Pod Security level Restricted. A collector's log key never leaves its volume: init container `key` tells its
//! public half by its termination message, init container `certificate` waits for the certificate that names it.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec,
};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, LocalObjectReference,
    ObjectFieldSelector, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource,
    PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource,
    SecurityContext, TopologySpreadConstraint, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::access::{HTTPS, METRICS, selector};
use super::{Plot, owned};
use crate::names::{COLLECTOR_PORT, COLLECTOR_SERVICE_ACCOUNT, METRICS_PORT};

/// Collectors' user and group; nobody else's on purpose.
const UID: i64 = 60654;
/// How long a collector has to answer what is on its way, seal its log and sign its last checkpoint.
const GRACE_SECONDS: i64 = 60;
const DATA: &str = "/var/lib/indelible";
const TLS: &str = "/etc/indelible/tls";
/// Where every pod finds the keys of who issues tokens.
const JWKS: &str = "https://kubernetes.default.svc/openid/v1/jwks";

/// Which collector a pod is, as its flags have it.
#[derive(Clone, Copy)]
enum Place {
    /// Of the StatefulSet: the pod's own name and index say it.
    Own,
    /// The reader of this ordinal's volume.
    Kept(u32),
}

pub(super) fn set(plot: &Plot<'_>) -> StatefulSet {
    let name = &plot.pool.name;
    let spec = StatefulSetSpec {
        replicas: i32::try_from(plot.scale.replicas).ok(),
        service_name: Some(name.pods_service()),
        pod_management_policy: Some("Parallel".to_owned()),
        selector: selector(plot),
        template: template(plot, name.labels(), Place::Own),
        volume_claim_templates: Some(vec![claim(plot)]),
        persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
            when_deleted: Some("Retain".to_owned()),
            when_scaled: Some("Retain".to_owned()),
        }),
        revision_history_limit: Some(3),
        ..StatefulSetSpec::default()
    };
    StatefulSet { metadata: owned(plot, name.name.clone()), spec: Some(spec), ..StatefulSet::default() }
}

fn claim(plot: &Plot<'_>) -> PersistentVolumeClaim {
    let storage = &plot.pool.spec.collectors.storage;
    let class = &storage.storage_class_name;
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("data".to_owned()),
            labels: Some(plot.pool.name.labels()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: Some(class.clone()).filter(|class| !class.is_empty()),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(storage.size.clone()))].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

pub(super) fn reader(plot: &Plot<'_>, ordinal: u32) -> Deployment {
    let name = &plot.pool.name;
    let selector = name.kept_selector(ordinal);
    let mut labels = name.labels();
    labels.extend(selector.clone());
    let metadata = ObjectMeta { labels: Some(labels.clone()), ..owned(plot, name.kept(ordinal)) };
    let spec = DeploymentSpec {
        replicas: Some(1),
        selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
        // Two pods cannot have one volume.
        strategy: Some(DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None }),
        revision_history_limit: Some(1),
        template: template(plot, labels, Place::Kept(ordinal)),
        ..DeploymentSpec::default()
    };
    Deployment { metadata, spec: Some(spec), ..Deployment::default() }
}

fn template(plot: &Plot<'_>, labels: BTreeMap<String, String>, place: Place) -> PodTemplateSpec {
    let asked = &plot.pool.spec.collectors;
    let secrets = &plot.config.image_pull_secrets;
    let spread = match place {
        Place::Own if asked.topology_spread_constraints.is_empty() => spread(plot),
        Place::Own => asked.topology_spread_constraints.clone(),
        Place::Kept(_) => Vec::new(),
    };
    let spec = PodSpec {
        service_account_name: Some(COLLECTOR_SERVICE_ACCOUNT.to_owned()),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(pod_security(plot)),
        init_containers: Some(vec![key(plot, place), certificate(plot, place)]),
        containers: vec![collector(plot, place)],
        volumes: Some(volumes(plot, place)),
        node_selector: some(asked.node_selector.clone(), BTreeMap::is_empty),
        tolerations: some(asked.tolerations.clone(), Vec::is_empty),
        affinity: if matches!(place, Place::Own) { asked.affinity.clone() } else { None },
        topology_spread_constraints: some(spread, Vec::is_empty),
        priority_class_name: some(asked.priority_class_name.clone(), String::is_empty),
        image_pull_secrets: some(
            secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect(),
            Vec::is_empty,
        ),
        ..PodSpec::default()
    };
    let annotations = [("kubectl.kubernetes.io/default-container".to_owned(), "collector".to_owned())];
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations.into()),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    }
}

/// What is empty is not written: the API server would not keep it either.
fn some<T>(value: T, is_empty: impl Fn(&T) -> bool) -> Option<T> {
    (!is_empty(&value)).then_some(value)
}

/// Over zones and nodes as far as there are any.
fn spread(plot: &Plot<'_>) -> Vec<TopologySpreadConstraint> {
    let constraint = |key: &str| TopologySpreadConstraint {
        topology_key: key.to_owned(),
        max_skew: 1,
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector(plot)),
        ..TopologySpreadConstraint::default()
    };
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"].map(constraint).into()
}

fn pod_security(plot: &Plot<'_>) -> PodSecurityContext {
    // Where the cluster chooses uids, it chooses the group of volumes as well.
    let id = (!plot.cluster.chooses_uids).then_some(UID);
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: id,
        run_as_group: id,
        fs_group: id,
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

fn volumes(plot: &Plot<'_>, place: Place) -> Vec<Volume> {
    let name = &plot.pool.name;
    let tls = Volume {
        name: "tls".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(name.tls_secret()),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    match place {
        // The StatefulSet adds the claim.
        Place::Own => vec![tls],
        Place::Kept(ordinal) => {
            let claim = PersistentVolumeClaimVolumeSource { claim_name: name.claim(ordinal), read_only: None };
            let data = Volume { name: "data".to_owned(), persistent_volume_claim: Some(claim), ..Volume::default() };
            vec![tls, data]
        }
    }
}

/// What all containers of a pod have in common.
fn container(plot: &Plot<'_>, place: Place, name: &str, args: Vec<String>) -> Container {
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.to_owned(), api_version: Some("v1".to_owned()) }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let env = match place {
        Place::Own => {
            vec![field("POD", "metadata.name"), field("ORDINAL", "metadata.labels['apps.kubernetes.io/pod-index']")]
        }
        Place::Kept(_) => Vec::new(),
    };
    Container {
        name: name.to_owned(),
        image: Some(plot.config.collector_image.clone()),
        image_pull_policy: Some(plot.config.image_pull_policy.as_str().to_owned()),
        args: Some(args),
        env: some(env, Vec::is_empty),
        security_context: Some(container_security()),
        ..Container::default()
    }
}

fn mount(name: &str, path: &str, read_only: Option<bool>) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), read_only, ..VolumeMount::default() }
}

fn resources(cpu: &str, memory: &str, limit: &str) -> ResourceRequirements {
    let amount = |text: &str| Quantity(text.to_owned());
    ResourceRequirements {
        requests: Some([("cpu".to_owned(), amount(cpu)), ("memory".to_owned(), amount(memory))].into()),
        limits: Some([("memory".to_owned(), amount(limit))].into()),
        ..ResourceRequirements::default()
    }
}

/// The log's name without its key's fingerprint.
fn origin(plot: &Plot<'_>, place: Place) -> String {
    let ordinal = match place {
        Place::Own => "$(ORDINAL)".to_owned(),
        Place::Kept(ordinal) => ordinal.to_string(),
    };
    plot.pool.name.origin(&plot.cluster.uid, &ordinal)
}

/// The flags that name the certificate's files.
fn certificate_flags(plot: &Plot<'_>, place: Place) -> [String; 2] {
    let pod = match place {
        Place::Own => "$(POD)".to_owned(),
        Place::Kept(ordinal) => plot.pool.name.pod(ordinal),
    };
    [format!("--tls-cert={TLS}/{pod}.crt"), format!("--tls-key={TLS}/{pod}.key")]
}

/// Makes the log's key if there is none, and tells its public half.
fn key(plot: &Plot<'_>, place: Place) -> Container {
    let args = vec![
        "init".to_owned(),
        format!("--data={DATA}"),
        format!("--origin={}", origin(plot, place)),
        "--termination-message=/dev/termination-log".to_owned(),
    ];
    Container {
        volume_mounts: Some(vec![mount("data", DATA, None)]),
        resources: Some(resources("10m", "16Mi", "64Mi")),
        ..container(plot, place, "key", args)
    }
}

/// Waits for a certificate that names the log.
fn certificate(plot: &Plot<'_>, place: Place) -> Container {
    let mut args = vec!["await".to_owned(), format!("--data={DATA}")];
    args.extend(certificate_flags(plot, place));
    Container {
        volume_mounts: Some(vec![mount("data", DATA, Some(true)), mount("tls", TLS, Some(true))]),
        resources: Some(resources("10m", "16Mi", "64Mi")),
        ..container(plot, place, "certificate", args)
    }
}

fn collector(plot: &Plot<'_>, place: Place) -> Container {
    let asked = &plot.pool.spec.collectors.resources;
    let port = |name: &str, number: u16| ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    let given =
        if *asked == ResourceRequirements::default() { resources("100m", "128Mi", "1Gi") } else { asked.clone() };
    Container {
        ports: Some(vec![port(HTTPS, COLLECTOR_PORT), port(METRICS, METRICS_PORT)]),
        volume_mounts: Some(vec![mount("data", DATA, None), mount("tls", TLS, Some(true))]),
        resources: Some(given),
        // A log is read from its newest mark on before anything is served: a full segment at most, but volumes can be slow.
        startup_probe: Some(probe("/livez", 2, 300)),
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        ..container(plot, place, "collector", collector_flags(plot, place))
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(METRICS.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn collector_flags(plot: &Plot<'_>, place: Place) -> Vec<String> {
    let (name, pool) = (&plot.pool.name, plot.pool);
    let mut flags = vec![
        format!("--data={DATA}"),
        format!("--origin={}", origin(plot, place)),
        format!("--cluster-uid={}", plot.cluster.uid),
        format!("--listen=[::]:{COLLECTOR_PORT}"),
        format!("--metrics=[::]:{METRICS_PORT}"),
    ];
    flags.extend(certificate_flags(plot, place));
    flags.extend([
        format!("--issuer={}", plot.cluster.issuer),
        format!("--jwks={JWKS}"),
        format!("--audience={}", name.write_audience()),
        format!("--reader-audience={}", name.read_audience()),
        "--readers=tokenreview".to_owned(),
        format!("--read-resource={name}"),
        format!("--configmap={}/{}", name.namespace, name.pool_config()),
        format!("--authority={}", plot.keys.authority),
    ]);
    let limits =
        [("--limit-pod-bytes", pool.pod_bytes_per_second), ("--limit-namespace-bytes", pool.namespace_bytes_per_day)];
    flags.extend(limits.iter().filter(|(_, bytes)| *bytes > 0).map(|(flag, bytes)| format!("{flag}={bytes}")));
    if matches!(place, Place::Kept(_)) {
        flags.push("--read-only".to_owned());
    }
    flags
}
