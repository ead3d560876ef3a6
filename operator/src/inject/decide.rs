//! Whether a pod gets a sidecar.
//!
//! Pure. The order of the questions is that of who decides: the cluster's admin by the namespace, the pod's author by
//! its labels, the security team by the AuditLog; then whether it can be done. What cannot be done is said in words that
//! name the remedy: as a warning where auditing is wanted, as a refusal where it is enforced.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::core::{Selector, SelectorExt as _};

use super::facts::{Cluster, Facts, Namespace, Pool, Trust};
use super::source::{self, NoSource, Source};
use crate::api::AuditLogSpec;
use crate::names::LABEL_INJECT;
use crate::observed::PoolName;

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Whether<'a> {
    /// Nobody asked for it.
    No,
    /// It is asked for and cannot be done.
    Cannot(Obstacle),
    /// It is done.
    Yes(Target<'a>),
}

/// All that the patch needs to know of the pool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target<'a> {
    /// The pool.
    pub name: &'a PoolName,
    /// What is asked for.
    pub spec: &'a AuditLogSpec,
    /// Where sidecars begin: an IP address, as it stands in a URL.
    pub address: &'a str,
    /// By what they know a collector.
    pub trust: &'a Trust,
    /// Where they find logs.
    pub source: Source,
}

/// Why a pod that should be audited cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each is")]
pub enum Obstacle {
    #[error("the namespace's label indelible.dev/audit-log is {0:?}, and must be <namespace>.<name> of an AuditLog")]
    BadLabel(String),
    #[error("there is no AuditLog {0}: create it, or correct the namespace's label indelible.dev/audit-log")]
    NoAuditLog(PoolName),
    #[error("AuditLog {0} is in a namespace that is not served: add {ns} to auditLogNamespaces of the chart, or correct the namespace's label indelible.dev/audit-log", ns = .0.namespace)]
    NotServed(PoolName),
    #[error(
        "AuditLog {0} has no Service address or CA yet: wait until kubectl get auditlog says that it is Ready, then create the pod again"
    )]
    NotReady(PoolName),
    #[error("Windows pods cannot be audited: run it elsewhere, or in a namespace that is not opted in")]
    Windows,
    #[error(
        "nodes with the label {0} are virtual and cannot run sidecars (injection.skipNodeSelectors): schedule it elsewhere"
    )]
    VirtualNode(String),
    #[error("node {node} runs kubelet {version}, and sidecars need 1.29 on all nodes: upgrade it")]
    OldKubelet { node: String, version: String },
    #[error("pods with the sidecar were refused here in the last minutes, so none is added for a while: {0}")]
    Rejected(String),
    #[error(transparent)]
    Source(#[from] NoSource),
    #[error(
        "the namespace's LimitRange leaves {left} of {resource} for the sidecar of this pod, which needs {needed}: raise its max of type Pod, or lower the limits of the pod's containers"
    )]
    NoRoom { resource: &'static str, left: String, needed: String },
}

/// Whether, and if so towards which pool and by which source.
pub fn decide<'a>(pod: &Pod, facts: &Facts<'a>) -> Whether<'a> {
    let Some(label) = opted_in(facts.namespace, facts.cluster) else { return Whether::No };
    if is_mirror(pod) {
        return Whether::No;
    }
    match pool(label, facts) {
        Err(obstacle) if is_wanted(pod, None, facts.namespace) => Whether::Cannot(obstacle),
        Err(_) => Whether::No,
        Ok((_, pool)) if !is_wanted(pod, Some(&pool.spec), facts.namespace) => Whether::No,
        Ok((name, pool)) => match possible(pod, name, pool, facts) {
            Ok(target) => Whether::Yes(target),
            Err(obstacle) => Whether::Cannot(obstacle),
        },
    }
}

/// The label of a namespace in which pods are audited.
pub fn opted_in<'a>(namespace: &'a Namespace, cluster: &Cluster) -> Option<&'a str> {
    namespace.audit_log().filter(|_| !cluster.excluded.contains(&namespace.name))
}

/// Whether the pod's author and the AuditLog want it audited. Where it is enforced nobody is asked.
fn is_wanted(pod: &Pod, spec: Option<&AuditLogSpec>, namespace: &Namespace) -> bool {
    let none = BTreeMap::new();
    let labels = pod.metadata.labels.as_ref().unwrap_or(&none);
    if namespace.enforced() {
        return true;
    }
    let opted_out = labels.get(LABEL_INJECT).is_some_and(|value| value == "false");
    !opted_out && spec.is_none_or(|spec| selects(spec, labels))
}

/// Whether `podSelector` selects a pod. One that cannot be read selects all: nothing is left out by a slip.
pub fn selects(spec: &AuditLogSpec, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(spec.pod_selector.clone()).map_or(true, |selector| selector.matches(labels))
}

/// Made by a kubelet of a static pod, or taken for such a one, which no kubelet runs.
fn is_mirror(pod: &Pod) -> bool {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.is_some_and(|annotations| annotations.contains_key("kubernetes.io/config.mirror"))
}

fn pool<'a>(label: &str, facts: &Facts<'a>) -> Result<(&'a PoolName, &'a Pool), Obstacle> {
    let name = PoolName::from_label(label).ok_or_else(|| Obstacle::BadLabel(label.to_owned()))?;
    if !facts.cluster.served.contains(&name.namespace) {
        return Err(Obstacle::NotServed(name));
    }
    facts.pool.filter(|(found, _)| **found == name).ok_or(Obstacle::NoAuditLog(name))
}

fn possible<'a>(pod: &Pod, name: &'a PoolName, pool: &'a Pool, facts: &Facts<'a>) -> Result<Target<'a>, Obstacle> {
    if is_windows(pod) {
        return Err(Obstacle::Windows);
    }
    let mut virtual_nodes = facts.cluster.skip_node_selectors.iter();
    if let Some((key, value)) = virtual_nodes.find(|(key, value)| node_label(pod, key) == Some(value)) {
        return Err(Obstacle::VirtualNode(format!("{key}={value}")));
    }
    if let Some((node, version)) = facts.cluster.old_kubelet.clone() {
        return Err(Obstacle::OldKubelet { node, version });
    }
    if let Some(message) = facts.rejected.filter(|_| !facts.namespace.enforced()) {
        return Err(Obstacle::Rejected(message.to_owned()));
    }
    let source = source::choose(pool.spec.capture.source, facts.namespace, facts.cluster)?;
    let (Some(address), Some(trust)) = (&pool.address, &pool.trust) else {
        return Err(Obstacle::NotReady(name.clone()));
    };
    Ok(Target { name, spec: &pool.spec, address, trust, source })
}

fn is_windows(pod: &Pod) -> bool {
    let os = pod.spec.as_ref().and_then(|spec| spec.os.as_ref()).map(|os| os.name.as_str());
    os == Some("windows") || node_label(pod, "kubernetes.io/os") == Some("windows")
}

/// What the pod demands of its node's label.
fn node_label<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    let spec = pod.spec.as_ref()?;
    let selected = spec.node_selector.as_ref().and_then(|selector| selector.get(key));
    selected.map(String::as_str).or_else(|| {
        let required = spec.affinity.as_ref()?.node_affinity.as_ref()?;
        let terms = &required.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
        // Terms are alternatives: only what the one term there is demands is sure.
        let [term] = terms.as_slice() else { return None };
        let mut demands = term.match_expressions.iter().flatten();
        let demand = demands.find(|demand| demand.key == key && demand.operator == "In")?;
        match demand.values.as_deref()? {
            [value] => Some(value),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::samples::{self, Scene};
    use super::*;
    use crate::config::PodSecurity;
    use crate::names::LABEL_AUDIT_LOG;

    fn of(pod: &Value, scene: &Scene) -> Result<Option<Source>, String> {
        let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
        match decide(&pod, &scene.facts()) {
            Whether::No => Ok(None),
            Whether::Yes(target) => Ok(Some(target.source)),
            Whether::Cannot(obstacle) => Err(obstacle.to_string()),
        }
    }

    fn labelled(key: &str, value: &str) -> Value {
        let mut pod = samples::pod();
        pod["metadata"]["labels"][key] = json!(value);
        pod
    }

    #[test]
    fn a_namespace_opts_in_by_its_label_and_excluded_ones_cannot() {
        let mut scene = Scene::default();
        assert_eq!(of(&samples::pod(), &scene), Ok(Some(Source::Volume)));
        scene.namespace.name = "kube-system".to_owned();
        assert_eq!(of(&samples::pod(), &scene), Ok(None));
        scene.namespace = Namespace { name: "other".to_owned(), ..Namespace::default() };
        assert_eq!(of(&samples::pod(), &scene), Ok(None));
    }

    #[test]
    fn a_label_that_leads_nowhere_says_what_to_change() {
        for (label, words) in [
            ("payments", "must be <namespace>.<name>"),
            ("audit.other", "there is no AuditLog audit/other"),
            ("elsewhere.payments", "add elsewhere to auditLogNamespaces"),
        ] {
            let mut scene = Scene::default();
            scene.namespace.labels.insert(LABEL_AUDIT_LOG.to_owned(), label.to_owned());
            let text = of(&samples::pod(), &scene).unwrap_err();
            assert!(text.contains(words), "{text}");
            // Who opted out is told nothing.
            assert_eq!(of(&labelled(LABEL_INJECT, "false"), &scene), Ok(None));
        }
    }

    #[test]
    fn opting_out_and_the_selector_count_unless_it_is_enforced() {
        let mut scene = Scene::default();
        scene.pool.spec.pod_selector = serde_json::from_value(json!({
            "matchLabels": {"audited": "yes"},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["test"]}],
        }))
        .unwrap();
        let mut chosen = labelled("audited", "yes");
        assert_eq!(of(&chosen, &scene), Ok(Some(Source::Volume)));
        chosen["metadata"]["labels"]["tier"] = json!("test");
        let mut out = labelled("audited", "yes");
        out["metadata"]["labels"][LABEL_INJECT] = json!("false");
        for pod in [samples::pod(), chosen, out] {
            assert_eq!(of(&pod, &scene), Ok(None));
            assert_eq!(of(&pod, &scene.clone().enforced()), Ok(Some(Source::Volume)));
        }
        assert_eq!(of(&labelled(LABEL_INJECT, "true"), &Scene::default()), Ok(Some(Source::Volume)));
    }

    #[test]
    fn what_cannot_run_a_sidecar_is_left_alone_and_said() {
        let with = |path: &str, value: Value| {
            let mut pod = samples::pod();
            pod["spec"][path] = value;
            pod
        };
        let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "type", "operator": "In", "values": ["virtual-kubelet"]}]}]}}});
        for (pod, words) in [
            (with("os", json!({"name": "windows"})), "Windows"),
            (with("nodeSelector", json!({"kubernetes.io/os": "windows"})), "Windows"),
            (with("nodeSelector", json!({"type": "virtual-kubelet"})), "label type=virtual-kubelet"),
            (with("affinity", affinity), "label type=virtual-kubelet"),
        ] {
            let text = of(&pod, &Scene::default()).unwrap_err();
            assert!(text.contains(words), "{text}");
        }
        let mut mirror = samples::pod();
        mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        assert_eq!(of(&mirror, &Scene::default().enforced()), Ok(None));
        let linux = with("nodeSelector", json!({"kubernetes.io/os": "linux"}));
        assert_eq!(of(&linux, &Scene::default()), Ok(Some(Source::Volume)));
    }

    #[test]
    fn what_is_wrong_with_cluster_pool_or_namespace_is_said() {
        let mut old = Scene::default();
        old.cluster.old_kubelet = Some(("n7".to_owned(), "v1.28.4".to_owned()));
        let mut early = Scene::default();
        early.pool.trust = None;
        let mut addressless = Scene::default();
        addressless.pool.address = None;
        let mut sourceless = Scene::default();
        sourceless.cluster.csi = false;
        sourceless.cluster.pod_security_default = PodSecurity::Baseline;
        let rejected = Scene { rejected: Some("forbidden: it says"), ..Scene::default() };
        for (scene, words) in [
            (old, "node n7 runs kubelet v1.28.4"),
            (early, "no Service address or CA yet"),
            (addressless, "no Service address or CA yet"),
            (sourceless, "csi.enabled=true"),
            (rejected.clone(), "forbidden: it says"),
        ] {
            let text = of(&samples::pod(), &scene).unwrap_err();
            assert!(text.contains(words), "{text}");
        }
        // Where it is enforced, no refusal opens the way.
        assert_eq!(of(&samples::pod(), &rejected.enforced()), Ok(Some(Source::Volume)));
    }
}
