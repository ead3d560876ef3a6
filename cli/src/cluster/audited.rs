//! Which pods should be audited, and which of their containers run.
//!
//! Core: the rules of injection, read off namespaces and pods. In a namespace that is enforced nothing that a tenant
//! writes takes a pod out.

use indelible_chain::id::Time;
use indelible_chain::verify::Expected;
use k8s_openapi::api::core::v1::{ContainerStatus, Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use super::audit_log::{AuditLog, ENFORCED, ENFORCEMENT, INJECT, LABEL, SIDECAR};

/// A namespace that has opted in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptedIn {
    /// Its name.
    pub name: String,
    /// Whether it is enforced.
    pub enforced: bool,
    /// When it opted in, as far as its metadata tell.
    pub since: Option<Time>,
}

impl OptedIn {
    /// Of a namespace.
    pub fn of(namespace: &Namespace) -> Self {
        let enforced = namespace.labels().get(ENFORCEMENT).is_some_and(|value| value == ENFORCED);
        let owns = |of: &&v1::ManagedFieldsEntry| {
            let fields = of.fields_v1.as_ref().map(|fields| &fields.0);
            fields.is_some_and(|fields| !fields["f:metadata"]["f:labels"][format!("f:{LABEL}")].is_null())
        };
        // Who wrote the label may have written something else since: this is the latest that it can have been.
        let since = namespace.managed_fields().iter().find(owns).and_then(|of| of.time.as_ref());
        Self { name: namespace.name_any(), enforced, since: since.map(time) }
    }
}

/// A time of the API.
pub fn time(time: &v1::Time) -> Time {
    Time::from_nanos(i64::try_from(time.0.as_nanosecond()).unwrap_or_default())
}

/// Why a pod of an opted-in namespace need not be audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spared {
    /// It does not run, or is being deleted.
    NotRunning,
    /// It opted out by its label.
    OptedOut,
    /// The AuditLog's podSelector does not select it.
    NotSelected,
    /// It runs on Windows.
    Windows,
    /// A static pod: its node runs it, whatever the API server says.
    Static,
}

/// Which pods an AuditLog selects.
#[derive(Debug, Clone)]
pub struct Selects {
    selector: Selector,
    exclude: Vec<String>,
}

impl Selects {
    /// Those of its spec; one that cannot be read selects everything, so that nothing is overlooked.
    pub fn of(log: &AuditLog) -> Self {
        let selector = Selector::try_from(log.spec.pod_selector.clone()).unwrap_or_default();
        Self { selector, exclude: log.spec.containers.exclude.clone() }
    }

    /// Whether a pod need not be audited, and why.
    pub fn spares(&self, namespace: &OptedIn, pod: &Pod) -> Option<Spared> {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if phase != Some("Running") || pod.metadata.deletion_timestamp.is_some() {
            return Some(Spared::NotRunning);
        }
        self.spares_new(namespace, pod)
    }

    /// The same for a pod that may not run yet.
    pub fn spares_new(&self, namespace: &OptedIn, pod: &Pod) -> Option<Spared> {
        if pod.annotations().contains_key("kubernetes.io/config.mirror") {
            return Some(Spared::Static);
        }
        if is_windows(pod) {
            return Some(Spared::Windows);
        }
        if namespace.enforced {
            return None;
        }
        if pod.labels().get(INJECT).is_some_and(|value| value == "false") {
            return Some(Spared::OptedOut);
        }
        (!self.selector.matches(pod.labels())).then_some(Spared::NotSelected)
    }

    /// Whether containers may be left out in a namespace.
    pub fn excludes(&self, namespace: &OptedIn) -> bool {
        !namespace.enforced && !self.exclude.is_empty()
    }

    /// What of a pod should be in the evidence: each container that runs now, since when it does.
    pub fn expected(&self, namespace: &OptedIn, pod: &Pod) -> Vec<Expected> {
        if self.spares(namespace, pod).is_some() {
            return Vec::new();
        }
        let expected = running(pod).filter(|(container, _)| {
            *container != SIDECAR && (namespace.enforced || !self.exclude.iter().any(|name| name == container))
        });
        let expected = expected.map(|(container, running_since)| Expected {
            namespace: namespace.name.clone(),
            pod: pod.name_any(),
            pod_uid: pod.uid().unwrap_or_default(),
            containers: vec![container.to_owned()],
            running_since,
        });
        expected.collect()
    }
}

/// The containers that run, and since when; init, ephemeral and other sidecar containers among them.
fn running(pod: &Pod) -> impl Iterator<Item = (&str, Time)> {
    statuses(pod).filter_map(|container| {
        let since = container.state.as_ref()?.running.as_ref()?.started_at.as_ref()?;
        Some((container.name.as_str(), time(since)))
    })
}

/// The statuses of all containers.
pub fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    status.into_iter().flat_map(|status| {
        let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
        lists.into_iter().flatten().flatten()
    })
}

/// Whether a pod has the sidecar.
pub fn is_injected(pod: &Pod) -> bool {
    let containers = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref());
    containers.into_iter().flatten().any(|container| container.name == SIDECAR)
}

fn is_windows(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let named = spec.os.as_ref().is_some_and(|os| os.name == "windows");
    let selector = spec.node_selector.as_ref().and_then(|labels| labels.get("kubernetes.io/os"));
    named || selector.is_some_and(|os| os == "windows")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shop(enforced: bool) -> OptedIn {
        OptedIn { name: "shop".into(), enforced, since: None }
    }

    fn selects(spec: &Value) -> Selects {
        Selects::of(&serde_json::from_value(json!({"spec": spec})).unwrap())
    }

    fn pod(labels: &Value, more: &Value) -> Pod {
        let running = |name: &str| {
            json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-31T12:00:00Z"}}})
        };
        let ended = json!({"name": "migrate", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"terminated": {"exitCode": 0}}});
        serde_json::from_value(json!({
            "metadata": {"name": "cart-0", "uid": "u-1", "labels": labels}, "spec": more,
            "status": {"phase": "Running", "initContainerStatuses": [running(SIDECAR), ended],
                "containerStatuses": [running("app"), running("proxy")]},
        }))
        .unwrap()
    }

    fn plain(labels: &Value) -> Pod {
        pod(labels, &json!({"containers": []}))
    }

    #[test]
    fn what_is_expected_are_the_containers_that_run_now_without_ours_and_those_excluded() {
        let selects = selects(&json!({"containers": {"exclude": ["proxy"]}}));
        let names = |enforced| {
            let expected = selects.expected(&shop(enforced), &plain(&json!({})));
            expected.into_iter().flat_map(|of| of.containers).collect::<Vec<_>>()
        };
        assert_eq!(names(false), ["app"]);
        assert_eq!(names(true), ["app", "proxy"], "nothing is excluded where it is enforced");
    }

    #[test]
    fn a_tenants_labels_spare_a_pod_only_where_nothing_is_enforced() {
        let selects = selects(
            &json!({"podSelector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["web"]}]}}),
        );
        for (labels, spared) in [
            (json!({"tier": "web"}), None),
            (json!({"tier": "db"}), Some(Spared::NotSelected)),
            (json!({}), Some(Spared::NotSelected)),
            (json!({"tier": "web", "indelible.dev/inject": "false"}), Some(Spared::OptedOut)),
            (json!({"tier": "web", "indelible.dev/inject": "true"}), None),
        ] {
            assert_eq!(selects.spares(&shop(false), &plain(&labels)), spared, "{labels}");
            assert_eq!(selects.spares(&shop(true), &plain(&labels)), None, "{labels}");
        }
    }

    #[test]
    fn windows_and_ended_pods_are_not_audited_anywhere() {
        let selects = selects(&json!({}));
        let windows = pod(&json!({}), &json!({"containers": [], "nodeSelector": {"kubernetes.io/os": "windows"}}));
        assert_eq!(selects.spares(&shop(true), &windows), Some(Spared::Windows));
        let mut ended = plain(&json!({}));
        ended.status.as_mut().unwrap().phase = Some("Succeeded".into());
        assert_eq!(selects.spares(&shop(true), &ended), Some(Spared::NotRunning));
    }

    #[test]
    fn when_a_namespace_opted_in_is_read_off_who_wrote_its_label() {
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "shop",
            "labels": {LABEL: "audit.payments", ENFORCEMENT: ENFORCED},
            "managedFields": [
                {"manager": "a", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:metadata": {"f:labels": {"f:other": {}}}}},
                {"manager": "b", "time": "2026-01-31T12:00:00Z",
                    "fieldsV1": {"f:metadata": {"f:labels": {"f:indelible.dev/audit-log": {}}}}}]}}))
        .unwrap();
        let since = Some(Time::from_nanos(1_769_860_800_000_000_000));
        assert_eq!(OptedIn::of(&namespace), OptedIn { name: "shop".into(), enforced: true, since });
    }
}
