//! The sidecar as a pod has it: its container, its volumes, the annotations and labels that go with them.
//!
//! Pure. Nothing that identifies the pod is written in, since it has neither name nor uid yet: the downward API and the
//! token carry them. Everything else that the sidecar needs to begin stands in its environment, so that it depends on no
//! object of the pod's namespace.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::decide::Target;
use super::facts::{Cluster, Namespace};
use super::names::{BINARY, CONTAINER, DRIVER, LOGS, MOUNTS, STATE, TOKEN, UID};
use super::source::Source;
use crate::names::{COLLECTOR_PORT, LABEL_INJECTED};
use crate::quantity::Quantity;

/// How long the pod's token lives: as long as an outage of the API server may last without a line being lost.
const TOKEN_SECONDS: u32 = 43_200;
/// The kubelet's own default.
const GRACE_SECONDS: i64 = 30;
/// After how many seconds a sidecar that is not armed is started again; with `--fail-open` it says that it is after 10.
const STARTUP_SECONDS: u32 = 60;

const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
const ISTIO_PORTS: &str = "traffic.sidecar.istio.io/excludeOutboundPorts";
const LINKERD_PORTS: &str = "config.linkerd.io/skip-outbound-ports";

/// The container.
pub fn container(
    pod: &Pod,
    target: &Target,
    namespace: &Namespace,
    cluster: &Cluster,
    resources: Option<Value>,
) -> Value {
    let mut container = json!({
        "name": CONTAINER,
        "image": cluster.image,
        "imagePullPolicy": cluster.pull_policy,
        "restartPolicy": "Always",
        "env": environment(pod, target, namespace, cluster),
        "volumeMounts": mounts(target.source),
        "startupProbe": {
            "exec": {"command": [BINARY, "armed"]},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": STARTUP_SECONDS,
        },
        "securityContext": security_context(target, cluster),
    });
    if let Some(resources) = resources {
        container["resources"] = resources;
    }
    container
}

fn security_context(target: &Target, cluster: &Cluster) -> Value {
    let mut context = json!({
        "runAsNonRoot": true,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
        // Log files belong to group 0; no Pod Security level forbids it.
        "runAsGroup": match target.source {
            Source::Volume => 0,
            Source::HostPath => target.spec.sidecar.run_as_group,
        },
    });
    if !cluster.openshift {
        context["runAsUser"] = json!(UID);
    }
    if let Some(options) = &target.spec.sidecar.se_linux_options {
        context["seLinuxOptions"] = json!(options);
    }
    context
}

fn environment(pod: &Pod, target: &Target, namespace: &Namespace, cluster: &Cluster) -> Vec<Value> {
    let spec = target.spec;
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let value = |name: &str, value: &str| json!({"name": name, "value": value.replace('$', "$$")});
    let bytes = |text: &str| Quantity::parse(text).map_or_else(|| text.to_owned(), |size| size.units().to_string());
    let grace = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(GRACE_SECONDS);
    let mut environment = vec![
        field("INDELIBLE_NAMESPACE", "metadata.namespace"),
        field("INDELIBLE_POD_NAME", "metadata.name"),
        field("INDELIBLE_POD_UID", "metadata.uid"),
        field("INDELIBLE_NODE_NAME", "spec.nodeName"),
        field("INDELIBLE_SERVICE_ACCOUNT", "spec.serviceAccountName"),
        value("INDELIBLE_CLUSTER_UID", &cluster.uid),
        value("INDELIBLE_AUDIT_LOG", &target.name.to_string()),
        value("INDELIBLE_COLLECTORS", &format!("https://{}:{COLLECTOR_PORT}", target.address)),
        value("INDELIBLE_SERVER_NAME", &target.trust.server_name),
        value("INDELIBLE_CA_PEM", &target.trust.bundle),
        value("INDELIBLE_TOKEN", &format!("{}/token", MOUNTS[2])),
        value("INDELIBLE_LOGS", MOUNTS[0]),
        value("INDELIBLE_STATE", MOUNTS[1]),
        value("INDELIBLE_OWN_CONTAINER", CONTAINER),
        value("INDELIBLE_COPIES", &spec.delivery.copies.to_string()),
        value("INDELIBLE_FLUSH_INTERVAL", &spec.delivery.flush_interval),
        value("INDELIBLE_MAX_BATCH_BYTES", &bytes(&spec.delivery.max_batch_bytes)),
        value("INDELIBLE_MAX_HELD_BYTES", &bytes(&spec.capture.max_held_bytes)),
        value("INDELIBLE_MIN_NODE_FREE_PERCENT", &spec.capture.min_node_free_percent.to_string()),
        value("INDELIBLE_GRACE_PERIOD", &format!("{grace}s")),
        value("INDELIBLE_TERMINATION_MESSAGE", "/dev/termination-log"),
    ];
    if spec.sidecar.metrics_port != 0 {
        environment.push(value("INDELIBLE_METRICS", &format!("[::]:{}", spec.sidecar.metrics_port)));
    }
    if !namespace.enforced() {
        environment.push(value("INDELIBLE_FAIL_OPEN", "true"));
        if !spec.containers.exclude.is_empty() {
            environment.push(value("INDELIBLE_EXCLUDE_CONTAINER", &spec.containers.exclude.join(",")));
        }
    }
    environment
}

fn mounts(source: Source) -> Value {
    let mut logs = json!({"name": LOGS, "mountPath": MOUNTS[0], "readOnly": true});
    if source == Source::HostPath {
        logs["subPathExpr"] = json!("$(INDELIBLE_NAMESPACE)_$(INDELIBLE_POD_NAME)_$(INDELIBLE_POD_UID)");
    }
    // The token stands where the API server would mount one for itself, so that it adds none.
    json!([
        logs,
        {"name": STATE, "mountPath": MOUNTS[1]},
        {"name": TOKEN, "mountPath": MOUNTS[2], "readOnly": true},
    ])
}

/// The volumes, in the order of their names' list.
pub fn volumes(target: &Target) -> [Value; 3] {
    let driver = |content: &str, read_only: bool| json!({"driver": DRIVER, "readOnly": read_only, "volumeAttributes": {"content": content}});
    let token = json!({"name": TOKEN, "projected": {"sources": [{"serviceAccountToken": {
        "path": "token", "audience": target.name.write_audience(), "expirationSeconds": TOKEN_SECONDS,
    }}]}});
    match target.source {
        Source::Volume => [
            json!({"name": LOGS, "csi": driver("logs", true)}),
            json!({"name": STATE, "csi": driver("state", false)}),
            token,
        ],
        // No type: a node with another log directory must not keep the pod from starting. No size limit: a breach of it
        // evicts the pod, and the state bounds itself.
        Source::HostPath => [
            json!({"name": LOGS, "hostPath": {"path": "/var/log/pods", "type": ""}}),
            json!({"name": STATE, "emptyDir": {}}),
            token,
        ],
    }
}

/// The label that says that a pod has a sidecar, and of which pool.
pub fn label(target: &Target) -> (&'static str, String) {
    (LABEL_INJECTED, target.name.label())
}

/// Annotations of others that would stand in our way, with ours merged into what is there.
pub fn annotations(pod: &Pod, target: &Target, namespace: &Namespace) -> Vec<(&'static str, String)> {
    let of_pod = |name: &str| pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(name));
    let port = COLLECTOR_PORT.to_string();
    // A proxy that stops before us must not take our last words with it.
    let mut annotations = vec![
        (ISTIO_PORTS, merge(of_pod(ISTIO_PORTS), &[&port])),
        // A pod's annotation hides its namespace's.
        (LINKERD_PORTS, merge(of_pod(LINKERD_PORTS).or_else(|| namespace.annotations.get(LINKERD_PORTS)), &[&port])),
    ];
    if target.source == Source::HostPath {
        annotations.push((SAFE_TO_EVICT, merge(of_pod(SAFE_TO_EVICT), &[LOGS, STATE])));
    }
    annotations
}

/// A comma-separated list with `more` in it, each once.
fn merge(list: Option<&String>, more: &[&str]) -> String {
    let mut entries: Vec<&str> = list.into_iter().flat_map(|list| list.split(',')).map(str::trim).collect();
    entries.retain(|entry| !entry.is_empty());
    for entry in more {
        if !entries.contains(entry) {
            entries.push(entry);
        }
    }
    entries.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_merged_and_nothing_stands_in_them_twice() {
        let list = |text: &str| Some(text.to_owned());
        for (there, merged) in
            [(None, "7443"), (list(""), "7443"), (list("9000, 7443,"), "9000,7443"), (list("1-9,25"), "1-9,25,7443")]
        {
            assert_eq!(merge(there.as_ref(), &["7443"]), merged);
            assert_eq!(merge(Some(&merged.to_owned()), &["7443"]), merged);
        }
    }
}
