//! Small builders of objects: JSON that `kubectl apply` takes.

use serde_json::{Value, json};

pub const BUSYBOX: &str = "docker.io/library/busybox:1.36";

/// A namespace that opts in to the suite's AuditLog, at a Pod Security level.
pub fn namespace(name: &str, level: &str, opted_in: bool, enforced: bool) -> Value {
    let mut labels = json!({"pod-security.kubernetes.io/enforce": level, "indelible.dev/e2e": "true"});
    if opted_in {
        labels["indelible.dev/audit-log"] = json!(format!("{}.{}", crate::suite::HOME, crate::suite::POOL));
    }
    if enforced {
        labels["indelible.dev/enforcement"] = json!("enforced");
    }
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// A container that runs a script, as the restricted level wants it, with a place to count.
pub fn container(name: &str, script: &str) -> Value {
    json!({
        "name": name,
        "image": BUSYBOX,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", script],
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "runAsNonRoot": true,
            "runAsUser": 1000,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "count", "mountPath": "/count"}],
    })
}

/// A pod's spec of such containers.
pub fn pod_spec(init: &[Value], containers: &[Value], restart: &str) -> Value {
    json!({
        "initContainers": init,
        "containers": containers,
        "volumes": [{"name": "count", "emptyDir": {}}],
        "restartPolicy": restart,
        "terminationGracePeriodSeconds": 20,
        "automountServiceAccountToken": false,
    })
}

/// A bare pod.
pub fn pod(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": name}},
        "spec": spec,
    })
}

/// A Deployment.
pub fn deployment(namespace: &str, name: &str, replicas: u32, spec: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    })
}

/// A Job.
pub fn job(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": {"app": name}}, "spec": spec}},
    })
}

/// A CronJob that runs each minute.
pub fn cron_job(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "schedule": "* * * * *",
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": {"backoffLimit": 0, "template": {"metadata": {"labels": {"app": name}}, "spec": spec}}},
        },
    })
}

/// An AuditLog in the release's namespace.
pub fn audit_log(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "indelible.dev/v1alpha1", "kind": "AuditLog",
        "metadata": {"namespace": crate::suite::HOME, "name": name},
        "spec": spec,
    })
}

/// Several objects for one `kubectl apply`.
pub fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}
