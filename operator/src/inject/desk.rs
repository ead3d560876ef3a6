//! The one owner of what admission is decided from.
//!
//! Pure: events of watches in, answers out; the edge `watches` brings both. Injection's own conditions (a kubelet that is
//! too old, namespaces where the breaker has tripped) are published from here.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, Namespace as CoreNamespace, Node, ResourceQuota, Service};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Resource as _, ResourceExt as _};
use std::collections::BTreeMap;

use super::breaker::{Breaker, Refusal};
use super::facts::{Cluster, Facts, Namespace, Pool, Trust};
use super::mirror::Mirror;
use super::{Answer, Incoming, admit};
use crate::api::{AuditLog, AuditLogSpec};
use crate::observed::{Injection, PoolName};

/// Kubelets since this minor version have native sidecars.
const SIDECARS_SINCE: (u32, u32) = (1, 29);

/// Something that a watch has shown.
pub enum Change {
    /// A namespace: its metadata.
    Namespace(Event<PartialObjectMeta<CoreNamespace>>),
    /// An AuditLog.
    AuditLog(Event<AuditLog>),
    /// A pool's Service.
    Service(Event<Service>),
    /// A pool's ConfigMap.
    Config(Event<ConfigMap>),
    /// A LimitRange.
    LimitRange(Event<LimitRange>),
    /// A quota.
    Quota(Event<ResourceQuota>),
    /// A node.
    Node(Event<Node>),
    /// An Event of a controller that could not create a pod.
    Refused(Box<k8s_openapi::api::core::v1::Event>),
}

/// All that is known.
pub struct Desk {
    cluster: Cluster,
    namespaces: Mirror<Namespace>,
    specs: Mirror<AuditLogSpec>,
    addresses: Mirror<String>,
    trusts: Mirror<Trust>,
    limit_ranges: Mirror<LimitRange>,
    cpu_quotas: Mirror<()>,
    old_kubelets: Mirror<String>,
    breaker: Breaker,
    pools: BTreeMap<PoolName, Pool>,
}

impl Desk {
    /// Nothing is known yet but what flags and discovery say.
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            namespaces: Mirror::default(),
            specs: Mirror::default(),
            addresses: Mirror::default(),
            trusts: Mirror::default(),
            limit_ranges: Mirror::default(),
            cpu_quotas: Mirror::default(),
            old_kubelets: Mirror::default(),
            breaker: Breaker::default(),
            pools: BTreeMap::new(),
        }
    }

    /// Takes in what a watch has shown.
    pub fn apply(&mut self, change: Change, now: Timestamp) {
        let touches_pools = matches!(change, Change::AuditLog(_) | Change::Service(_) | Change::Config(_));
        match change {
            Change::Namespace(event) => {
                if let Event::Apply(object) | Event::InitApply(object) = &event
                    && object.name_any() == "kube-system"
                {
                    self.cluster.uid = object.uid().unwrap_or_default();
                }
                self.namespaces.apply(event, |object| Some(namespace(object)));
            }
            Change::AuditLog(event) => self.specs.apply(event, |object| Some(object.spec.clone())),
            Change::Service(event) => self.addresses.apply(event, address),
            Change::Config(event) => self.trusts.apply(event, trust),
            Change::LimitRange(event) => self.limit_ranges.apply(event, |object| Some(object.clone())),
            Change::Quota(event) => self.cpu_quotas.apply(event, limits_cpu),
            Change::Node(event) => {
                let cluster = &self.cluster;
                self.old_kubelets.apply(event, |node| old_kubelet(node, cluster));
                let first = self.old_kubelets.iter().next();
                self.cluster.old_kubelet = first.map(|((_, node), version)| (node.clone(), version.clone()));
            }
            Change::Refused(event) => {
                if let Some(refusal) = Refusal::of(&event) {
                    self.refused(refusal, now);
                }
            }
        }
        if touches_pools {
            self.pools = self.assemble();
        }
    }

    fn assemble(&self) -> BTreeMap<PoolName, Pool> {
        let pool = |((namespace, name), spec): (&(String, String), &AuditLogSpec)| {
            let pool = PoolName::new(namespace, name);
            let address = self.addresses.get(namespace, name).cloned();
            let trust = self.trusts.get(namespace, &pool.pool_config()).cloned();
            (pool, Pool { spec: spec.clone(), address, trust })
        };
        self.specs.iter().map(pool).collect()
    }

    fn refused(&mut self, refusal: Refusal, now: Timestamp) {
        let Some(namespace) = self.namespaces.get("", &refusal.namespace) else { return };
        if namespace.audit_log().is_none() || namespace.enforced() {
            return;
        }
        let (name, message) = (refusal.namespace.clone(), refusal.message.clone());
        if self.breaker.refused(refusal, now) {
            tracing::warn!(
                namespace = name,
                reason = message,
                "pods with a sidecar were refused: none is added there for a while"
            );
        }
    }

    /// Whether everything was listed once that an answer needs.
    pub fn is_complete(&self) -> bool {
        self.namespaces.is_complete()
            && self.specs.is_complete()
            && self.limit_ranges.is_complete()
            && self.old_kubelets.is_complete()
    }

    /// The answer for a pod of `name`. None where the namespace is not known as opted in: the API server, which asks only
    /// for those, knows better, and `live` is what it says.
    pub fn answer(&self, name: &str, incoming: &Incoming, live: Option<&Namespace>, now: Timestamp) -> Option<Answer> {
        if self.cluster.excluded.contains(name) {
            return Some(Answer::Leave { warning: None });
        }
        let known = self.namespaces.get("", name).filter(|namespace| namespace.audit_log().is_some());
        let namespace = known.or(live)?;
        let pool = namespace.audit_log().and_then(PoolName::from_label);
        Some(admit(
            incoming,
            &Facts {
                namespace,
                pool: pool.and_then(|pool| self.pools.get_key_value(&pool)),
                limit_ranges: self.limit_ranges.of(name).collect(),
                cpu_limit_demanded: self.cpu_quotas.of(name).next().is_some(),
                rejected: self.breaker.trip(name, now).map(|trip| trip.message.as_str()),
                cluster: &self.cluster,
            },
        ))
    }

    /// Forgets what is over, and says when to come again for that.
    pub fn expire(&mut self, now: Timestamp) -> Option<std::time::Duration> {
        self.breaker.expire(now);
        self.breaker.next(now)
    }

    /// What holds injection up.
    pub fn injection(&self) -> Injection {
        let stopped = self.cluster.old_kubelet.as_ref().map(|(node, version)| {
            let text = format!("node {node} runs kubelet {version}, and sidecars need 1.29 on all nodes: nothing is injected until it is upgraded");
            ("OldKubelet", text)
        });
        Injection { stopped, rejected: self.breaker.messages() }
    }
}

/// What is kept of a namespace.
pub fn namespace(object: &PartialObjectMeta<CoreNamespace>) -> Namespace {
    // Of annotations only those that a pod's own would hide.
    let mesh = |name: &String| name.starts_with("config.linkerd.io/");
    Namespace {
        name: object.name_any(),
        labels: object.labels().clone(),
        annotations: object.annotations().clone().into_iter().filter(|(name, _)| mesh(name)).collect(),
    }
}

fn address(service: &Service) -> Option<String> {
    let address = service.spec.as_ref()?.cluster_ip.as_deref()?;
    let address: std::net::IpAddr = address.parse().ok()?;
    Some(if address.is_ipv6() { format!("[{address}]") } else { address.to_string() })
}

fn trust(config: &ConfigMap) -> Option<Trust> {
    #[derive(serde::Deserialize)]
    struct Pool {
        server_name: String,
        ca_pem: String,
    }
    let text = config.data.as_ref()?.get("pool.json")?;
    let Pool { server_name, ca_pem } = serde_json::from_str(text).ok()?;
    (!server_name.is_empty() && !ca_pem.is_empty()).then_some(Trust { server_name, bundle: ca_pem })
}

fn limits_cpu(quota: &ResourceQuota) -> Option<()> {
    quota.spec.as_ref()?.hard.as_ref()?.contains_key("limits.cpu").then_some(())
}

/// The version of a ready node's kubelet, if it has no native sidecars. Virtual nodes have versions that mean nothing.
fn old_kubelet(node: &Node, cluster: &Cluster) -> Option<String> {
    let has =
        |(key, value): &(String, String)| node.meta().labels.as_ref().and_then(|labels| labels.get(key)) == Some(value);
    let status = node.status.as_ref()?;
    let is_ready = status.conditions.iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True");
    if !is_ready || cluster.skip_node_selectors.iter().any(has) {
        return None;
    }
    let version = &status.node_info.as_ref()?.kubelet_version;
    is_old(version).then(|| version.clone())
}

/// `v1.28.4+k3s1` is. What is no version is not: nothing is stopped by a word.
fn is_old(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map(|part| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..digits].parse::<u32>().ok()
    });
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) < SIDECARS_SINCE,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
