//! A namespace's facts, each changed in one way, and what the looks come to.

use serde_json::{Value, json};

use super::*;

fn of<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn pool() -> PoolName {
    PoolName { namespace: "audit".into(), name: "payments".into() }
}

/// Where nothing stands in the way.
fn good() -> Facts {
    let node = json!({"metadata": {"name": "n1"}, "status": {"nodeInfo": {"kubeletVersion": "v1.33.1",
        "architecture": "", "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "",
        "machineID": "", "operatingSystem": "", "osImage": "", "systemUUID": ""}}});
    let csi = json!({"metadata": {"name": "n1"}, "spec": {"drivers": [{"name": CSI_DRIVER, "nodeID": "n1"}]}});
    let ready = json!([{"type": "Ready", "status": "True", "reason": "r", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    Facts {
        namespace: of(json!({"metadata": {"name": "shop"}})),
        log: Ok(of(json!({"metadata": {"name": "payments", "namespace": "audit"}, "status": {"conditions": ready}}))),
        injector: Ok(true),
        driver: Ok(true),
        csi_nodes: Ok(vec![of(csi)]),
        nodes: Ok(vec![of(node)]),
        pods: Ok(vec![pod(
            "cart-abc-x",
            &json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-abc", "uid": "", "controller": true}]),
        )]),
        quotas: Ok(vec![]),
        limit_ranges: Ok(vec![]),
        policies: Ok(vec![]),
        collectors: Ok(vec![of(json!({"metadata": {"name": "payments-0"}}))]),
        pool_namespace: Ok(of(
            json!({"metadata": {"name": "audit", "labels": {"kubernetes.io/metadata.name": "audit"}}}),
        )),
    }
}

fn pod(name: &str, owners: &Value) -> Pod {
    of(json!({"metadata": {"name": name, "labels": {"pod-template-hash": "abc"}, "ownerReferences": owners},
        "spec": {"containers": [{"name": "app"}]}, "status": {"phase": "Running"}}))
}

fn look(change: impl FnOnce(&mut Facts)) -> Vec<Check> {
    let mut facts = good();
    change(&mut facts);
    checks(&facts, Some(&pool()))
}

fn level(checks: &[Check], of: &str) -> (Level, String) {
    let check = checks.iter().find(|check| check.of == of).unwrap();
    (check.level, check.text.clone())
}

fn labelled(facts: &mut Facts, key: &str, value: &str) {
    facts.namespace.labels_mut().insert(key.to_owned(), value.to_owned());
}

#[test]
fn where_nothing_stands_in_the_way_the_pods_to_restart_are_named_by_their_deployment() {
    let checks = look(|_| ());
    assert!(checks.iter().all(|check| matches!(check.level, Level::Fine | Level::Note)), "{checks:#?}");
    let restarts = checks.iter().find(|check| check.of == "restarts").unwrap();
    assert_eq!(restarts.apply, "kubectl rollout restart deployment/cart -n shop");
    assert!(level(&checks, "requests").1.contains("in 1 pod that is cpu 5m and memory 16Mi more"));
}

#[test]
fn the_source_follows_from_the_driver_and_the_pod_security_level() {
    for (driver, security, wanted, expected, says) in [
        (true, Some("restricted"), "Auto", Level::Fine, "Auto takes Volume"),
        (false, Some("privileged"), "Auto", Level::Fine, "Auto takes HostPath"),
        (false, Some("restricted"), "Auto", Level::Problem, "csi.enabled=true"),
        (false, None, "Auto", Level::Problem, "assumed"),
        (false, Some("privileged"), "Volume", Level::Problem, "not installed"),
        (true, Some("baseline"), "HostPath", Level::Problem, "forbids"),
        (true, Some("privileged"), "HostPath", Level::Fine, "HostPath"),
    ] {
        let checks = look(|facts| {
            facts.driver = Ok(driver);
            if let Some(level) = security {
                labelled(facts, POD_SECURITY, level);
            }
            wanted.clone_into(&mut facts.log.as_mut().unwrap().spec.capture.source);
        });
        let (level, text) = level(&checks, "source");
        assert!(level == expected && text.contains(says), "{driver} {security:?} {wanted}: {text}");
    }
}

#[test]
fn a_node_that_is_too_old_or_without_the_driver_is_named() {
    let checks = look(|facts| {
        let node = &mut facts.nodes.as_mut().unwrap()[0];
        "v1.28.9-eks".clone_into(&mut node.status.as_mut().unwrap().node_info.as_mut().unwrap().kubelet_version);
    });
    assert!(matches!(level(&checks, "nodes"), (Level::Problem, text) if text.contains("n1")));
    let checks = look(|facts| facts.csi_nodes = Ok(vec![]));
    assert!(matches!(level(&checks, "source"), (Level::Problem, text) if text.contains("n1")));
}

#[test]
fn a_default_deny_is_a_problem_that_comes_with_the_policy_to_add() {
    let checks = look(|facts| {
        facts.policies =
            Ok(vec![of(json!({"metadata": {"name": "deny"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"]}}))]);
    });
    let egress = checks.iter().find(|check| check.of == "egress").unwrap();
    assert!(egress.level == Level::Problem && egress.text.contains("deny keeps 1 of 1 pods"), "{}", egress.text);
    assert!(egress.apply.contains("namespace: shop") && egress.apply.contains("port: 7443"), "{}", egress.apply);
}

#[test]
fn what_may_not_be_seen_is_unknown_and_never_taken_for_good() {
    let no = || "you may not".to_owned();
    let checks = look(|facts| {
        (facts.injector, facts.nodes, facts.quotas) = (Err(no()), Err(no()), Err(no()));
        (facts.limit_ranges, facts.policies, facts.driver) = (Err(no()), Err(no()), Err(no()));
        (facts.pods, facts.log) = (Err(no()), Err(no()));
    });
    for of in ["injector", "nodes", "quota", "limits", "egress", "source", "restarts", "auditlog"] {
        assert_eq!(level(&checks, of).0, Level::Unknown, "{of}");
    }
}

#[test]
fn the_collectors_own_and_system_namespaces_are_never_injected() {
    for name in ["kube-system", "audit"] {
        let checks = look(|facts| facts.namespace.metadata.name = Some(name.to_owned()));
        assert_eq!(level(&checks, "namespace").0, Level::Problem, "{name}");
    }
    let checks = look(|facts| labelled(facts, LABEL, "sec.other"));
    assert!(matches!(level(&checks, "namespace"), (Level::Note, text) if text.contains("sec.other")));
}

#[test]
fn an_audit_log_that_is_not_ready_is_a_problem() {
    let checks = look(|facts| facts.log.as_mut().unwrap().status.conditions[0].status = "False".to_owned());
    assert_eq!(level(&checks, "auditlog").0, Level::Problem);
    let checks = look(|facts| facts.log.as_mut().unwrap().status.conditions.clear());
    assert!(matches!(level(&checks, "auditlog"), (Level::Problem, text) if text.contains("no operator")));
}
