//! How a pool is reached, and by whom: Services, the NetworkPolicy, the PodDisruptionBudget, the reader's account.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServiceAccount, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Plot, owned};
use crate::names::{COLLECTOR_PORT, METRICS_PORT, READER_CLUSTER_ROLE};

/// The port that collectors serve, by the name that their container gives it.
pub(super) const HTTPS: &str = "https";
/// Metrics and probes.
pub(super) const METRICS: &str = "metrics";

fn https() -> ServicePort {
    ServicePort {
        name: Some(HTTPS.to_owned()),
        port: i32::from(COLLECTOR_PORT),
        target_port: Some(IntOrString::String(HTTPS.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}

/// Bootstrap, and people: any ready collector.
pub(super) fn service(plot: &Plot<'_>) -> Service {
    let spec = ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        selector: Some(plot.pool.name.selector()),
        ports: Some(vec![https()]),
        ..ServiceSpec::default()
    };
    Service { metadata: owned(plot, plot.pool.name.name.clone()), spec: Some(spec), ..Service::default() }
}

/// A name for each collector, also while it is not ready.
pub(super) fn pods_service(plot: &Plot<'_>) -> Service {
    let spec = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        selector: Some(plot.pool.name.selector()),
        ports: Some(vec![https()]),
        publish_not_ready_addresses: Some(true),
        ..ServiceSpec::default()
    };
    Service { metadata: owned(plot, plot.pool.name.pods_service()), spec: Some(spec), ..Service::default() }
}

/// A drain takes one collector at a time, and never waits for one that does not work anyway.
pub(super) fn budget(plot: &Plot<'_>) -> PodDisruptionBudget {
    let spec = PodDisruptionBudgetSpec {
        max_unavailable: Some(IntOrString::Int(1)),
        selector: Some(selector(plot)),
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        ..PodDisruptionBudgetSpec::default()
    };
    let metadata = owned(plot, plot.pool.name.name.clone());
    PodDisruptionBudget { metadata, spec: Some(spec), ..PodDisruptionBudget::default() }
}

/// Anyone may come to the port that TLS and tokens guard; metrics are for the monitoring namespaces. No egress rule: what
/// collectors talk to (API server, witnesses) cannot be named by labels.
pub(super) fn policy(plot: &Plot<'_>) -> NetworkPolicy {
    let port = |number: u16| NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    };
    let mut ingress = vec![NetworkPolicyIngressRule {
        ports: Some(vec![port(COLLECTOR_PORT)]),
        ..NetworkPolicyIngressRule::default()
    }];
    if !plot.config.monitoring_namespaces.is_empty() {
        let from = plot.config.monitoring_namespaces.iter().map(|namespace| NetworkPolicyPeer {
            namespace_selector: Some(LabelSelector {
                match_labels: Some([("kubernetes.io/metadata.name".to_owned(), namespace.clone())].into()),
                ..LabelSelector::default()
            }),
            ..NetworkPolicyPeer::default()
        });
        ingress.push(NetworkPolicyIngressRule { from: Some(from.collect()), ports: Some(vec![port(METRICS_PORT)]) });
    }
    let spec = NetworkPolicySpec {
        pod_selector: Some(LabelSelector { match_labels: Some(pool_pods(plot)), ..LabelSelector::default() }),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(ingress),
        ..NetworkPolicySpec::default()
    };
    NetworkPolicy { metadata: owned(plot, plot.pool.name.name.clone()), spec: Some(spec) }
}

/// Collectors, and readers of kept volumes.
fn pool_pods(plot: &Plot<'_>) -> BTreeMap<String, String> {
    let mut labels = plot.pool.name.selector();
    labels.remove("app.kubernetes.io/component");
    labels
}

/// The collectors.
pub(super) fn selector(plot: &Plot<'_>) -> LabelSelector {
    LabelSelector { match_labels: Some(plot.pool.name.selector()), ..LabelSelector::default() }
}

/// The account whose tokens read every record. No pod runs as it.
pub(super) fn reader(plot: &Plot<'_>) -> ServiceAccount {
    ServiceAccount {
        metadata: owned(plot, plot.pool.name.reader()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// That it may, in this namespace.
pub(super) fn reader_binding(plot: &Plot<'_>) -> RoleBinding {
    RoleBinding {
        metadata: owned(plot, plot.pool.name.reader()),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: READER_CLUSTER_ROLE.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: plot.pool.name.reader(),
            namespace: Some(plot.pool.name.namespace.clone()),
            ..Subject::default()
        }]),
    }
}
