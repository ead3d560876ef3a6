//! What opting a namespace in comes to: one function a question, in the order in which they are shown.
//!
//! Core. A problem is what keeps pods from being audited or from being created; a note is to be known.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use super::facts::{Check, Facts, Level};
use super::{egress, room};
use crate::cluster::audit_log::{AuditLog, CSI_DRIVER, ENFORCED, ENFORCEMENT, LABEL, PoolName};
use crate::cluster::audited::{OptedIn, Selects, Spared, is_injected};
use crate::report::people::count;
use crate::text::one_line;

/// The label with the Pod Security level that is enforced.
const POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";
/// The oldest kubelet with native sidecars.
const MIN_KUBELET: (u32, u32) = (1, 29);
/// Namespaces that are never injected.
const SYSTEM: [&str; 2] = ["kube-system", "kube-node-lease"];

/// All of them.
pub fn checks(facts: &Facts, pool: Option<&PoolName>) -> Vec<Check> {
    let log = facts.log.as_ref().ok();
    let pods = wanted(facts, log);
    let share = room::Share::of(log);
    // Who has a sidecar already is in the quotas' numbers.
    let new: Vec<&Pod> = pods.iter().copied().filter(|pod| !is_injected(pod)).collect();
    let mut checks = vec![namespace(facts, pool), audit_log(facts), injector(facts), source(facts), nodes(facts)];
    checks.extend([room::quotas(facts, share, &new), room::limit_ranges(facts, share, &new)]);
    if let Some(pool) = pool {
        checks.push(egress::check(facts, pool, &pods));
    }
    checks.push(restarts(facts, &pods));
    checks.push(room::requests(share, &new));
    checks
}

/// The pods that would be audited.
fn wanted<'a>(facts: &'a Facts, log: Option<&AuditLog>) -> Vec<&'a Pod> {
    let selects = Selects::of(&log.cloned().unwrap_or_default());
    let namespace = OptedIn::of(&facts.namespace);
    let pods = facts.pods.as_deref().unwrap_or_default().iter();
    let has_ended = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed")) || pod.metadata.deletion_timestamp.is_some()
    };
    pods.filter(|pod| !has_ended(pod) && selects.spares_new(&namespace, pod).is_none()).collect()
}

/// The namespace itself.
fn namespace(facts: &Facts, pool: Option<&PoolName>) -> Check {
    const OF: &str = "namespace";
    let name = facts.namespace.name_any();
    if SYSTEM.contains(&name.as_str()) || pool.is_some_and(|pool| pool.namespace == name) {
        let text = format!("pods of {name} are never injected: it is the cluster's or the collectors' own namespace");
        return Check::new(OF, Level::Problem, text);
    }
    if facts.namespace.metadata.deletion_timestamp.is_some() {
        return Check::new(OF, Level::Problem, format!("{name} is being deleted"));
    }
    let labels = facts.namespace.labels();
    let enforced = labels.get(ENFORCEMENT).is_some_and(|value| value == ENFORCED);
    let strict = if enforced { "; it is enforced, so that no pod can opt out" } else { "" };
    match (labels.get(LABEL), pool.map(PoolName::label)) {
        (None, _) => Check::new(OF, Level::Fine, format!("{name} has not opted in yet{strict}")),
        (Some(now), Some(wanted)) if *now == wanted => {
            Check::new(OF, Level::Note, format!("{name} has opted in to {} already{strict}", one_line(now)))
        }
        (Some(now), _) => {
            let text = format!(
                "{name} has opted in to {} and would change to another pool: what is recorded there stays there",
                one_line(now)
            );
            Check::new(OF, Level::Note, text)
        }
    }
}

/// The AuditLog.
fn audit_log(facts: &Facts) -> Check {
    const OF: &str = "auditlog";
    let log = match &facts.log {
        Ok(log) => log,
        Err(why) => return Check::unknown(OF, why),
    };
    let name = log.pool_name();
    match log.condition("Ready") {
        Some(ready) if ready.status == "True" => Check::new(OF, Level::Fine, format!("AuditLog {name} is ready")),
        Some(ready) => {
            let why = one_line(&format!("{}: {}", ready.reason, ready.message));
            Check::new(OF, Level::Problem, format!("AuditLog {name} is not ready ({why})"))
        }
        None => {
            let text = format!("AuditLog {name} is served by no operator yet: see auditLogNamespaces of the chart");
            Check::new(OF, Level::Problem, text)
        }
    }
}

/// The webhook.
fn injector(facts: &Facts) -> Check {
    const OF: &str = "injector";
    match &facts.injector {
        Ok(true) => Check::new(OF, Level::Fine, "the webhook that injects sidecars is installed"),
        Ok(false) => Check::new(
            OF,
            Level::Problem,
            "there is no webhook indelible-injector: install the chart, else nothing is injected",
        ),
        Err(why) => Check::unknown(OF, why),
    }
}

/// From where a sidecar reads its pod's logs.
fn source(facts: &Facts) -> Check {
    const OF: &str = "source";
    let driver = match &facts.driver {
        Ok(driver) => *driver,
        Err(why) => return Check::unknown(OF, why),
    };
    let level = facts.namespace.labels().get(POD_SECURITY).map(String::as_str);
    let (shown, assumed) = match level {
        Some(level) => (one_line(level), ""),
        None => (
            "baseline".to_owned(),
            ", which is assumed because the namespace says nothing (injection.podSecurityDefault)",
        ),
    };
    let host_path = shown == "privileged";
    let wanted = facts.log.as_ref().map_or("Auto", |log| log.spec.capture.source.as_str());
    let none = |why: &str| {
        let strict = "pods would be admitted and not audited, and refused where the namespace is enforced";
        Check::new(OF, Level::Problem, format!("{why}: {strict}"))
    };
    match (wanted, driver) {
        ("HostPath", _) if !host_path => {
            none(&format!("capture.source is HostPath, which Pod Security {shown} forbids{assumed}: set it to Auto"))
        }
        ("HostPath", _) => {
            Check::new(OF, Level::Fine, "HostPath, as capture.source says; Pod Security privileged allows it")
        }
        (_, true) => without_driver(facts, &shown),
        ("Volume", false) => none(&format!("the CSI driver {CSI_DRIVER} is not installed (csi.enabled of the chart)")),
        (_, false) if host_path => {
            Check::new(OF, Level::Fine, "Auto takes HostPath: there is no CSI driver, and Pod Security is privileged")
        }
        (_, false) => none(&format!(
            "the CSI driver {CSI_DRIVER} is not installed, and Pod Security {shown} forbids hostPath{assumed}: set \
             csi.enabled=true in the chart"
        )),
    }
}

/// With the driver: whether it runs on each node.
fn without_driver(facts: &Facts, level: &str) -> Check {
    const OF: &str = "source";
    let fine = format!("Auto takes Volume: the CSI driver is installed, and works at Pod Security {level}");
    let (Ok(csi_nodes), Ok(nodes)) = (&facts.csi_nodes, &facts.nodes) else {
        return Check::new(OF, Level::Fine, fine);
    };
    let has = |name: &str| {
        csi_nodes.iter().any(|node| node.name_any() == name && node.spec.drivers.iter().any(|of| of.name == CSI_DRIVER))
    };
    let lacking: Vec<_> = nodes
        .iter()
        .filter(|node| !is_windows(node) && !is_virtual(node))
        .map(ResourceExt::name_any)
        .filter(|name| !has(name))
        .map(|name| one_line(&name))
        .collect();
    if lacking.is_empty() {
        return Check::new(OF, Level::Fine, fine);
    }
    let text = format!(
        "the CSI driver does not run on {}: injected pods would wait there; see the DaemonSet indelible-csi",
        lacking.join(", ")
    );
    Check::new(OF, Level::Problem, text)
}

/// The nodes.
fn nodes(facts: &Facts) -> Check {
    const OF: &str = "nodes";
    let nodes = match &facts.nodes {
        Ok(nodes) => nodes,
        Err(why) => return Check::unknown(OF, why),
    };
    let names = |is: &dyn Fn(&Node) -> bool| {
        let names: Vec<_> = nodes.iter().filter(|node| is(node)).map(|node| one_line(&node.name_any())).collect();
        names.join(", ")
    };
    let old = names(&|node| !is_virtual(node) && kubelet(node).is_some_and(|version| version < MIN_KUBELET));
    if !old.is_empty() {
        let text = format!(
            "the kubelet of {old} is older than 1.29 and has no native sidecars: nothing is injected in the whole cluster until \
             it is upgraded"
        );
        return Check::new(OF, Level::Problem, text);
    }
    let (windows, virtuals) = (names(&is_windows), names(&is_virtual));
    let mut notes = Vec::new();
    if !windows.is_empty() {
        notes.push(format!("pods on Windows ({windows}) are not audited"));
    }
    if !virtuals.is_empty() {
        notes.push(format!(
            "pods on virtual nodes ({virtuals}) are not audited: name the nodes in injection.skipNodeSelectors"
        ));
    }
    if notes.is_empty() {
        let text = format!("{} with native sidecars", count(nodes.len() as u64, "node", "nodes"));
        Check::new(OF, Level::Fine, text)
    } else {
        Check::new(OF, Level::Note, notes.join("; "))
    }
}

fn kubelet(node: &Node) -> Option<(u32, u32)> {
    let version = &node.status.as_ref()?.node_info.as_ref()?.kubelet_version;
    let mut parts = version.strip_prefix('v')?.split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn is_windows(node: &Node) -> bool {
    node.labels().get("kubernetes.io/os").is_some_and(|os| os == "windows")
}

/// What runs pods and is no machine, as such nodes say of themselves.
fn is_virtual(node: &Node) -> bool {
    let labels = node.labels();
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    labels.get("type").is_some_and(|of| of == "virtual-kubelet")
        || labels.get("eks.amazonaws.com/compute-type").is_some_and(|of| of == "fargate")
        || taints.iter().any(|taint| taint.key == "virtual-kubelet.io/provider")
}

/// Which pods have no sidecar until they are made anew, by what makes them.
fn restarts(facts: &Facts, pods: &[&Pod]) -> Check {
    const OF: &str = "restarts";
    let all = match &facts.pods {
        Ok(all) => all,
        Err(why) => return Check::unknown(OF, why),
    };
    let without: Vec<_> = pods.iter().filter(|pod| !is_injected(pod)).collect();
    let mut commands: BTreeSet<String> = BTreeSet::new();
    let mut others: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let namespace = facts.namespace.name_any();
    for pod in &without {
        match owner(pod) {
            Owner::Rolls(what) => {
                commands.insert(format!("kubectl rollout restart {what} -n {namespace}"));
            }
            Owner::Ends => others.entry("audited from their next run on").or_default().push(one_line(&pod.name_any())),
            Owner::Nobody => others.entry("to be created anew by hand").or_default().push(one_line(&pod.name_any())),
        }
    }
    let spared = spared(facts);
    if without.is_empty() {
        return Check::new(OF, Level::Fine, format!("no pod must be restarted (of {}){spared}", all.len()));
    }
    let others = others.iter().map(|(what, names)| format!("; {what}: {}", names.join(", ")));
    let text = format!(
        "{} to be restarted to get a sidecar{}{spared}",
        count(without.len() as u64, "pod has", "pods have"),
        others.collect::<String>(),
    );
    Check::new(OF, Level::Note, text).apply(commands.into_iter().collect::<Vec<_>>().join("\n"))
}

/// Pods that would not be audited by choice.
fn spared(facts: &Facts) -> String {
    let selects = Selects::of(&facts.log.clone().unwrap_or_default());
    let namespace = OptedIn::of(&facts.namespace);
    let pods = facts.pods.as_deref().unwrap_or_default().iter();
    let of = |wanted: Spared| pods.clone().filter(|pod| selects.spares(&namespace, pod) == Some(wanted)).count();
    let shown = [
        (Spared::OptedOut, "opted out by label"),
        (Spared::NotSelected, "not selected by podSelector"),
        (Spared::Windows, "on Windows"),
        (Spared::Static, "static"),
    ];
    let shown = shown.map(|(spared, what)| (of(spared), what)).into_iter().filter(|(n, _)| *n > 0);
    shown.fold(String::new(), |text, (n, what)| format!("{text}; {n} {what}"))
}

enum Owner {
    /// Something that `kubectl rollout restart` takes.
    Rolls(String),
    /// Something whose pods end by themselves.
    Ends,
    /// Nobody that makes it anew.
    Nobody,
}

fn owner(pod: &Pod) -> Owner {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    let Some(owner) = owners.iter().find(|owner| owner.controller == Some(true)) else { return Owner::Nobody };
    match owner.kind.as_str() {
        "ReplicaSet" => {
            let hash = pod.labels().get("pod-template-hash");
            let deployment = hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
            deployment.map_or(Owner::Nobody, |name| Owner::Rolls(format!("deployment/{}", one_line(name))))
        }
        "StatefulSet" | "DaemonSet" => Owner::Rolls(format!("{}/{}", owner.kind.to_lowercase(), one_line(&owner.name))),
        "Job" => Owner::Ends,
        _ => Owner::Nobody,
    }
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
