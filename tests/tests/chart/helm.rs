//! What Helm makes of the chart. `HELM` names the program; without it the one in the path is taken.

use std::process::{Command, Output};

use serde_json::Value;

use super::bundle::documents;
use super::files::{assert_generated, chart};

fn helm(arguments: &[&str]) -> Output {
    let program = std::env::var_os("HELM").unwrap_or_else(|| "helm".into());
    let answer = Command::new(&program).args(arguments).current_dir(chart()).output();
    answer.unwrap_or_else(|e| {
        panic!("{}: {e}: name a Helm in HELM, such as the one that tests/cluster/up builds", program.to_string_lossy())
    })
}

fn rendered(arguments: &[&str]) -> String {
    let mut all = vec!["template", "indelible", ".", "--namespace", "indelible", "--kube-version", "1.36.0"];
    all.extend(arguments);
    let output = helm(&all);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(setting: &str) -> String {
    let output = helm(&["template", "indelible", ".", "--kube-version", "1.36.0", "--set", setting]);
    assert!(!output.status.success(), "{setting} was taken");
    String::from_utf8(output.stderr).unwrap()
}

const BUNDLE: &str = "\
# Indelible for `kubectl apply --server-side -f deploy/indelible.yaml`: the chart with its default values in namespace indelible.
# Made by `make generate`. Do not edit: for other values use the chart.
---
apiVersion: v1
kind: Namespace
metadata:
  name: indelible
  labels:
    # The node driver mounts the node's log directory.
    pod-security.kubernetes.io/enforce: privileged
";

#[test]
fn the_bundle_is_what_the_chart_renders() {
    let text = rendered(&["--skip-tests", "--set", "crds.keep=false,csi.keep=false"]);
    // Helm is not who manages these objects.
    let foreign = ["helm.sh/chart:", "app.kubernetes.io/managed-by: Helm"];
    let lines = text.lines().filter(|line| !foreign.iter().any(|word| line.trim_start().starts_with(word)));
    let body = lines.fold(String::new(), |body, line| body + line.trim_end() + "\n");
    // Helm 3 leaves out an empty line between documents.
    let body = body.replace("\n\n---\n", "\n---\n");
    assert!(!body.contains("helm.sh/"), "the bundle speaks of Helm");
    assert_generated("deploy/indelible.yaml", &format!("{BUNDLE}{body}"));
}

#[test]
fn helm_has_nothing_to_complain_of() {
    let output = helm(&["lint", "--strict", "."]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_misspelt_or_impossible_value_is_refused_by_name() {
    for (setting, named) in [
        ("operator.replica=3", "replica"),
        ("image.regsitry=r.example", "regsitry"),
        ("csi.image.pullPolicy=Always", "pullPolicy"),
        ("operator.tolerations[0].efect=NoSchedule", "efect"),
        ("injection.podSecurityDefault=Baseline", "podSecurityDefault"),
        ("operator.image.digest=sha256:1", "digest"),
        ("auditLogNamespaces[0]=Audit", "auditLogNamespaces"),
        ("commonLabels.app\\.kubernetes\\.io/name=x", "propertyName"),
        ("image.registry=", "registry"),
        ("webhook.port=9464", "port"),
    ] {
        let message = refused(setting);
        assert!(message.contains(named), "{setting}: {message}");
    }
}

/// Settings that people make, one line each; all that is rendered is YAML that names its kind.
#[test]
fn every_switch_renders() {
    for settings in [
        "crds.enabled=false",
        "csi.enabled=false",
        "auditLogNamespaces={audit,other}",
        "webhook.hostNetwork=true,webhook.port=9443,webhook.timeoutSeconds=3",
        "image.pullSecrets={mirror},image.registry=mirror.example:5000/x,image.tag=1.2.3",
        "monitoringNamespaces={monitoring},serviceMonitor.enabled=true,prometheusRule.enabled=true,dashboard.enabled=true",
        "operator.replicas=1,operator.priorityClassName=,csi.priorityClassName=,networkPolicy.enabled=false",
        "injection.skipNodeSelectors={type=virtual-kubelet},injection.podSecurityDefault=restricted",
        "roles.enabled=false",
        "roles.aggregate=false,commonLabels.team=security",
    ] {
        for document in documents(&rendered(&["--set", settings])) {
            assert!(document["kind"].is_string() && document["metadata"]["name"].is_string(), "{settings}: {document}");
        }
    }
}

fn images(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("image").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| images(value, found));
        }
        Value::Array(all) => all.iter().for_each(|value| images(value, found)),
        Value::String(text) => found.extend(text.split_once("-image=").map(|(_, image)| image.to_owned())),
        _ => {}
    }
}

#[test]
fn one_value_moves_all_images_to_another_registry() {
    let mut found = Vec::new();
    let settings = format!("image.registry=mirror.example,sidecar.image.digest=sha256:{}", "a".repeat(64));
    for document in documents(&rendered(&["--set", &settings])) {
        images(&document, &mut found);
    }
    assert!(found.len() >= 5, "{found:?}");
    for image in &found {
        assert!(image.starts_with("mirror.example/indelible-dev/indelible-"), "{image}");
    }
    assert!(found.iter().any(|image| image.ends_with(&format!("indelible-sidecar@sha256:{}", "a".repeat(64)))));
}

#[test]
fn what_must_outlive_the_release_is_kept_unless_told_otherwise() {
    let kept = |arguments: &[&str]| -> Vec<String> {
        let documents = documents(&rendered(arguments));
        let keeps = |document: &&Value| document["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep";
        let mut kinds: Vec<String> =
            documents.iter().filter(keeps).map(|document| document["kind"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    };
    // Pods with the driver's volumes end by it; collectors go on, and keep the rights that they have.
    let driver = ["CSIDriver", "DaemonSet", "ServiceAccount"];
    assert_eq!(kept(&["--set", "crds.keep=false"]), driver);
    let roles =
        ["ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Role", "RoleBinding", "ServiceAccount"];
    assert_eq!(kept(&["--set", "csi.keep=false"]), roles);
    assert_eq!(kept(&["--set", "crds.keep=false,csi.keep=false"]), Vec::<String>::new());
}

#[test]
fn the_definition_that_is_rendered_is_the_one_in_crds() {
    let found = documents(&rendered(&["--show-only", "templates/crd.yaml"]));
    let expected: Value = serde_saphyr::from_str(&super::files::read("crds/auditlogs.indelible.dev.yaml")).unwrap();
    // Helm writes 0 for 0.0. Too long to be shown.
    assert!(plain(&found[0]["spec"]) == plain(&expected["spec"]), "they differ");
    assert_eq!(found[0]["metadata"]["name"], expected["metadata"]["name"]);
}

fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        Value::Array(all) => all.iter().map(plain).collect(),
        Value::Number(number) => number.as_f64().into(),
        other => other.clone(),
    }
}
