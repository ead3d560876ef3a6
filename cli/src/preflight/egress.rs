//! Whether network policies let pods reach the collectors.
//!
//! Core: the rules of NetworkPolicy for egress, as its API documents them: a pod that no egress policy selects may go
//! anywhere; one that is selected may go where any of them allows. A network that enforces none is not told apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use super::facts::{Check, Facts, Level};
use crate::cluster::audit_log::{PORT, PoolName};
use crate::text::one_line;

const OF: &str = "egress";

/// Where the collectors are.
struct Target<'a> {
    /// Labels of their namespace.
    namespace: &'a BTreeMap<String, String>,
    /// Labels and addresses of each.
    pods: Vec<(&'a BTreeMap<String, String>, Option<IpAddr>)>,
    /// Whether they are in the namespace of the policies.
    is_own: bool,
}

/// The check.
pub fn check(facts: &Facts, pool: &PoolName, pods: &[&Pod]) -> Check {
    let target = match target(facts) {
        Ok(target) => target,
        Err(why) => return Check::unknown(OF, why),
    };
    let policies = match &facts.policies {
        Ok(policies) => policies,
        Err(why) => return Check::unknown(OF, why),
    };
    let labels: Vec<&BTreeMap<String, String>> = pods.iter().map(|pod| pod.labels()).collect();
    let mut blamed = BTreeSet::new();
    let mut cut_off = 0_usize;
    for labels in &labels {
        let selecting: Vec<_> = policies.iter().filter(|policy| is_egress(policy) && selects(policy, labels)).collect();
        if !selecting.is_empty() && !selecting.iter().any(|policy| allows(policy, &target)) {
            cut_off += 1;
            blamed.extend(selecting.iter().map(|policy| policy.name_any()));
        }
    }
    // A policy for all pods is one for those to come too.
    let for_all: Vec<_> = policies.iter().filter(|policy| is_egress(policy) && selects_all(policy)).collect();
    if pods.is_empty() && !for_all.is_empty() && !for_all.iter().any(|policy| allows(policy, &target)) {
        blamed.extend(for_all.iter().map(|policy| policy.name_any()));
    }
    if blamed.is_empty() {
        return Check::new(OF, Level::Fine, format!("no network policy keeps pods from the collectors (TCP {PORT})"));
    }
    let blamed: Vec<_> = blamed.iter().map(|name| one_line(name)).collect();
    let whom = if cut_off == 0 { "every pod".to_owned() } else { format!("{cut_off} of {} pods", pods.len()) };
    let text = format!(
        "{} keeps {whom} from the collectors (TCP {PORT} in namespace {}): nothing would be recorded. Apply this first",
        blamed.join(", "),
        pool.namespace
    );
    Check::new(OF, Level::Problem, text).apply(policy(&facts.namespace.name_any(), pool))
}

fn target(facts: &Facts) -> Result<Target<'_>, &String> {
    let namespace = facts.pool_namespace.as_ref()?;
    let collectors = facts.collectors.as_ref()?;
    let address = |pod: &Pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok();
    Ok(Target {
        namespace: namespace.labels(),
        pods: collectors.iter().map(|pod| (pod.labels(), address(pod))).collect(),
        is_own: namespace.name_any() == facts.namespace.name_any(),
    })
}

/// The policy to add.
fn policy(namespace: &str, pool: &PoolName) -> String {
    let PoolName { namespace: of, name } = pool;
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: indelible-collectors\n  namespace: \
         {namespace}\nspec:\n  podSelector: {{}}\n  policyTypes: [Egress]\n  egress:\n    - to:\n        - namespaceSelector:\n            \
         matchLabels: {{ kubernetes.io/metadata.name: {of} }}\n          podSelector:\n            matchLabels: {{ \
         app.kubernetes.io/name: indelible, app.kubernetes.io/instance: {name} }}\n      ports:\n        - {{ protocol: TCP, port: \
         {PORT} }}\n"
    )
}

fn is_egress(policy: &NetworkPolicy) -> bool {
    let Some(spec) = &policy.spec else { return false };
    match &spec.policy_types {
        Some(types) if !types.is_empty() => types.iter().any(|of| of == "Egress"),
        _ => spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
    }
}

fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

fn selects(policy: &NetworkPolicy, labels: &BTreeMap<String, String>) -> bool {
    let selector = policy.spec.as_ref().and_then(|spec| spec.pod_selector.clone()).unwrap_or_default();
    Selector::try_from(selector).is_ok_and(|selector| selector.matches(labels))
}

fn selects_all(policy: &NetworkPolicy) -> bool {
    let selector = policy.spec.as_ref().and_then(|spec| spec.pod_selector.clone()).unwrap_or_default();
    selector == LabelSelector::default()
}

/// Whether a policy lets pods reach all collectors: a session goes to any of them.
fn allows(policy: &NetworkPolicy, target: &Target<'_>) -> bool {
    let rules = policy.spec.as_ref().and_then(|spec| spec.egress.as_deref()).unwrap_or_default();
    let rules: Vec<_> = rules.iter().filter(|rule| opens(rule)).collect();
    let reaches = |labels: &BTreeMap<String, String>, address: Option<IpAddr>| {
        rules.iter().any(|rule| match rule.to.as_deref() {
            None | Some([]) => true,
            Some(peers) => peers.iter().any(|peer| is_peer(peer, target, labels, address)),
        })
    };
    if target.pods.is_empty() {
        return rules.iter().any(|rule| rule.to.as_deref().is_none_or(<[_]>::is_empty));
    }
    target.pods.iter().all(|(labels, address)| reaches(labels, *address))
}

/// Whether a rule speaks of the collectors' port.
fn opens(rule: &NetworkPolicyEgressRule) -> bool {
    let is_ours = |port: &NetworkPolicyPort| {
        let tcp = port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
        let number = match &port.port {
            None => true,
            Some(IntOrString::Int(first)) => {
                let last = port.end_port.unwrap_or(*first);
                (*first..=last).contains(&i32::from(PORT))
            }
            // The name of the collectors' port, which only their pods can say.
            Some(IntOrString::String(name)) => name == "https",
        };
        tcp && number
    };
    rule.ports.as_deref().is_none_or(|ports| ports.is_empty() || ports.iter().any(is_ours))
}

fn is_peer(
    peer: &NetworkPolicyPeer,
    target: &Target<'_>,
    labels: &BTreeMap<String, String>,
    address: Option<IpAddr>,
) -> bool {
    if let Some(block) = &peer.ip_block {
        let except = block.except.as_deref().unwrap_or_default();
        return address
            .is_some_and(|address| is_in(&block.cidr, address) && !except.iter().any(|except| is_in(except, address)));
    }
    let namespace = match &peer.namespace_selector {
        Some(selector) => matches(selector, target.namespace),
        None => target.is_own,
    };
    namespace && peer.pod_selector.as_ref().is_none_or(|selector| matches(selector, labels))
}

fn is_in(cidr: &str, address: IpAddr) -> bool {
    let Some((base, bits)) = cidr.split_once('/') else { return false };
    let (Ok(base), Ok(bits)) = (base.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) if bits <= 32 => {
            u64::from(base.to_bits() ^ address.to_bits()) >> (32 - bits) == 0
        }
        (IpAddr::V6(_), IpAddr::V6(_)) if bits == 0 => true,
        (IpAddr::V6(base), IpAddr::V6(address)) if bits <= 128 => {
            (base.to_bits() ^ address.to_bits()) >> (128 - bits) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(spec: &Value) -> NetworkPolicy {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn is_cut_off(specs: &[Value]) -> bool {
        let policies: Vec<_> = specs.iter().map(policy).collect();
        let namespace = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), "audit".to_owned())]);
        let collector = BTreeMap::from([("app.kubernetes.io/name".to_owned(), "indelible".to_owned())]);
        let pods = vec![(&collector, Some("10.0.3.4".parse().unwrap()))];
        let target = Target { namespace: &namespace, pods, is_own: false };
        let labels = BTreeMap::from([("app".to_owned(), "cart".to_owned())]);
        let selecting: Vec<_> =
            policies.iter().filter(|policy| is_egress(policy) && selects(policy, &labels)).collect();
        !selecting.is_empty() && !selecting.iter().any(|policy| allows(policy, &target))
    }

    #[test]
    fn what_no_egress_policy_selects_may_go_anywhere() {
        assert!(!is_cut_off(&[]));
        assert!(!is_cut_off(&[json!({"podSelector": {}, "policyTypes": ["Ingress"]})]));
        assert!(!is_cut_off(&[json!({"podSelector": {"matchLabels": {"app": "other"}}, "policyTypes": ["Egress"]})]));
    }

    #[test]
    fn a_default_deny_keeps_pods_from_the_collectors_until_another_policy_allows_them() {
        let deny = json!({"podSelector": {}, "policyTypes": ["Egress"]});
        assert!(is_cut_off(std::slice::from_ref(&deny)));
        let to = |rule: Value| json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [rule]});
        let audit = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "audit"}}});
        for (rule, cut_off) in [
            (json!({}), false),
            (json!({"to": [audit]}), false),
            (json!({"to": [audit], "ports": [{"port": 7443}]}), false),
            (json!({"to": [audit], "ports": [{"port": 7000, "endPort": 8000}]}), false),
            (json!({"to": [audit], "ports": [{"port": 443}]}), true),
            (json!({"to": [audit], "ports": [{"port": 7443, "protocol": "UDP"}]}), true),
            (json!({"to": [{"podSelector": {}}]}), true),
            (
                json!({"to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app.kubernetes.io/name": "indelible"}}}]}),
                false,
            ),
            (json!({"to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "dns"}}}]}), true),
            (json!({"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}), false),
            (json!({"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.3.0/24"]}}]}), true),
            (json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 53, "protocol": "UDP"}]}), true),
        ] {
            assert_eq!(is_cut_off(&[deny.clone(), to(rule.clone())]), cut_off, "{rule}");
        }
    }

    #[test]
    fn addresses_are_in_blocks_of_their_own_family() {
        for (cidr, address, inside) in [
            ("0.0.0.0/0", "1.2.3.4", true),
            ("10.0.0.0/8", "10.9.9.9", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("::/0", "fd00::1", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("0.0.0.0/0", "fd00::1", false),
            ("nonsense", "10.0.0.1", false),
            ("10.0.0.0/99", "10.0.0.1", false),
        ] {
            assert_eq!(is_in(cidr, address.parse().unwrap()), inside, "{cidr} {address}");
        }
    }
}
