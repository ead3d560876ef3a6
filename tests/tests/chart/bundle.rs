//! deploy/indelible.yaml is the chart as it is rendered by default: what it asks of a cluster is read off it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::files::read;

pub fn documents(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    all.into_iter().filter(|document| !document.is_null()).collect()
}

fn bundle() -> Vec<Value> {
    let all = documents(&read("deploy/indelible.yaml"));
    assert!(all.len() > 20, "{} documents", all.len());
    all
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|word| word.as_str().unwrap()).collect()
}

fn roles(all: &[Value]) -> impl Iterator<Item = &Value> {
    all.iter().filter(|document| matches!(text(document, "/kind"), "Role" | "ClusterRole"))
}

#[test]
fn no_rule_has_a_wildcard_or_a_verb_that_gives_any_other_right() {
    for role in roles(&bundle()) {
        for rule in role["rules"].as_array().unwrap() {
            for part in ["apiGroups", "resources", "verbs", "nonResourceURLs", "resourceNames"] {
                for word in words(&rule[part]) {
                    assert!(!word.contains('*'), "{}: {rule}", role["metadata"]["name"]);
                    assert!(!matches!(word, "escalate" | "impersonate"), "{}: {rule}", role["metadata"]["name"]);
                }
            }
            let named = rule["resourceNames"].as_array().is_some_and(|names| !names.is_empty());
            assert!(!words(&rule["verbs"]).contains(&"bind") || named, "{rule} binds any role");
        }
    }
}

/// What the operator and the collectors may change in the whole cluster.
#[test]
fn cluster_wide_little_is_written() {
    let all = bundle();
    let bound: BTreeSet<&str> = all
        .iter()
        .filter(|document| text(document, "/kind") == "ClusterRoleBinding")
        .map(|binding| text(binding, "/roleRef/name"))
        .collect();
    let mut written = BTreeSet::new();
    let cluster_roles = roles(&all).filter(|role| text(role, "/kind") == "ClusterRole");
    for role in cluster_roles.filter(|role| bound.contains(text(role, "/metadata/name"))) {
        for rule in role["rules"].as_array().unwrap() {
            let resources = words(&rule["resources"]);
            assert!(!resources.contains(&"secrets"), "{rule}");
            let verbs = words(&rule["verbs"]);
            for verb in verbs.into_iter().filter(|verb| !matches!(*verb, "get" | "list" | "watch")) {
                written.extend(resources.iter().map(|resource| format!("{verb} {resource}")));
            }
        }
    }
    let expected = [
        "create events",
        "create subjectaccessreviews",
        "create tokenreviews",
        "patch auditlogs/status",
        "patch events",
        "patch mutatingwebhookconfigurations",
    ];
    assert_eq!(written.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn reading_records_is_in_no_aggregated_role() {
    let mut readers = 0;
    for role in roles(&bundle()) {
        let reads = role["rules"]
            .as_array()
            .unwrap()
            .iter()
            .any(|rule| words(&rule["resources"]).contains(&"auditlogs/records"));
        readers += i32::from(reads);
        let labels = role["metadata"]["labels"].as_object().unwrap();
        let aggregated = labels.keys().any(|label| label.contains("aggregate-to"));
        assert!(!(reads && aggregated), "{}", role["metadata"]["name"]);
    }
    // The pool's reader and auditors; and the operator, in the namespaces that it serves.
    assert_eq!(readers, 3);
}

#[test]
fn every_object_is_labelled_as_kubernetes_recommends() {
    for document in bundle() {
        if text(&document, "/kind") == "Namespace" {
            continue;
        }
        let labels = &document["metadata"]["labels"];
        for label in ["name", "instance", "component", "version", "part-of"] {
            let key = format!("app.kubernetes.io/{label}");
            assert!(
                labels[&key].is_string(),
                "{} {} has no label {key}",
                document["kind"],
                document["metadata"]["name"]
            );
        }
    }
}

fn pod_specs(all: &[Value]) -> Vec<(&str, &Value)> {
    let kinds = ["Deployment", "DaemonSet", "Job"];
    all.iter()
        .filter(|document| kinds.contains(&text(document, "/kind")))
        .map(|document| (text(document, "/metadata/name"), &document["spec"]["template"]["spec"]))
        .collect()
}

#[test]
fn all_pods_but_the_drivers_are_fit_for_the_strictest_pod_security_level() {
    let all = bundle();
    let specs = pod_specs(&all);
    assert!(specs.len() >= 2, "{specs:?}");
    for (name, spec) in specs {
        let containers = spec["containers"].as_array().unwrap();
        for container in containers {
            let security = &container["securityContext"];
            assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
            assert!(!container["resources"]["requests"].is_null(), "{name}");
            assert!(!container["resources"]["limits"]["memory"].is_null(), "{name}");
            if name != "indelible-csi" {
                assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(words(&security["capabilities"]["drop"]), ["ALL"], "{name}");
            }
        }
        assert_eq!(text(spec, "/securityContext/seccompProfile/type"), "RuntimeDefault", "{name}");
        if name != "indelible-csi" {
            assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{name}");
            assert!(spec["volumes"].is_null() && spec["hostNetwork"].is_null(), "{name}");
        }
    }
}
