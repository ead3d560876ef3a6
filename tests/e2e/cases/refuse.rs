//! What must not be taken, and what is said then.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::judge::all_is_there;
use crate::manifests::{audit_log, container, list, namespace, pod, pod_spec};
use crate::suite::{HOME, POD, POOL, RELEASE, Suite};
use crate::tools::{self, secs};
use crate::workloads::{brief, steady};

/// A spec with one field changed, and what the refusal must say.
const INVALID: &[(&str, &str, &[&str])] = &[
    ("/delivery", r#"{"copies": 3}"#, &["copies"]),
    ("/delivery", r#"{"flushInterval": "1h"}"#, &["flushInterval"]),
    ("/delivery", r#"{"maxBatchBytes": "2Mi"}"#, &["maxBatchBytes"]),
    ("/collectors", r#"{"replicas": 0}"#, &["replicas"]),
    ("/collectors", r#"{"replicas": 101}"#, &["replicas"]),
    ("/collectors", r#"{"storage": {"size": "a lot"}}"#, &["size"]),
    ("/capture", r#"{"source": "Magic"}"#, &["source", "Auto"]),
    ("/capture", r#"{"minNodeFreePercent": 100}"#, &["minNodeFreePercent"]),
    ("/sidecar", r#"{"metricsPort": 80}"#, &["metricsPort", "1024"]),
    ("/witnesses", r#"[{"name": "w", "url": "ftp://w", "publicKey": "x"}]"#, &["witnesses"]),
];

pub async fn invalid(suite: &Suite) -> Result<()> {
    for (field, value, words) in INVALID {
        let value: Value = serde_json::from_str(value)?;
        let mut spec = json!({"collectors": {"replicas": 2}});
        let field = field.trim_start_matches('/');
        match (spec.get_mut(field), &value) {
            (Some(Value::Object(there)), Value::Object(more)) => there.extend(more.clone()),
            _ => spec[field] = value,
        }
        suite.refused(&audit_log("wrong", &spec).to_string(), words)?;
    }
    suite.refused(&audit_log("a-name-that-is-longer-than-thirty", &json!({})).to_string(), &["30"])?;
    suite.refused(&audit_log("1st", &json!({})).to_string(), &["metadata.name"])?;
    suite.refused(&audit_log("wrong", &json!({"colectors": {}})).to_string(), &["colectors"])?;
    let shrink = suite.try_kubectl(
        &[
            "patch",
            "auditlog",
            "-n",
            HOME,
            POOL,
            "--type=merge",
            "-p",
            r#"{"spec":{"collectors":{"storage":{"size":"1Mi"}}}}"#,
        ],
        "",
    )?;
    ensure!(
        shrink.code != 0 && shrink.err.contains("shrink"),
        "a smaller volume was taken: {}{}",
        shrink.out,
        shrink.err
    );
    let scale = suite.try_kubectl(&["scale", "auditlog", "-n", HOME, POOL, "--replicas=500"], "")?;
    ensure!(scale.code != 0, "500 replicas were taken");
    suite.until(POOL, "Ready", "True", "", secs(10)).await?;
    Ok(())
}

pub async fn injection(suite: &Suite) -> Result<()> {
    let strict = "strict";
    suite
        .apply(&list(&[namespace(strict, "restricted", true, true), namespace("loose", "restricted", true, false)]))?;
    // Opting out: heeded where nothing is enforced, and not where it is.
    let mut out = brief("loose", "out", 3);
    out["metadata"]["labels"]["indelible.dev/inject"] = json!("false");
    let is_injected = |pod: &Value| {
        let first = pod.pointer("/spec/initContainers/0").unwrap_or(&Value::Null);
        first["name"] == "indelible-sidecar" && first["restartPolicy"] == "Always"
    };
    suite.apply(&out.to_string())?;
    ensure!(!is_injected(&suite.get(&POD, "loose", "out").await?), "a pod that opts out has a sidecar");
    out["metadata"]["namespace"] = json!(strict);
    suite.apply(&out.to_string())?;
    ensure!(is_injected(&suite.get(&POD, strict, "out").await?), "in an enforced namespace a pod opted out");
    // A tenant's own container under our name is replaced.
    let mut own = brief("loose", "own", 3);
    let mut forged = container("indelible-sidecar", "sleep 1000");
    forged["restartPolicy"] = json!("Always");
    own["spec"]["initContainers"] = json!([forged]);
    suite.apply(&own.to_string())?;
    let pod = suite.get(&POD, "loose", "own").await?;
    let image = pod.pointer("/spec/initContainers/0/image").and_then(Value::as_str).unwrap_or_default();
    ensure!(is_injected(&pod) && image.contains("indelible-sidecar:"), "a forged sidecar stayed: {image}");
    // Guaranteed stays Guaranteed.
    let mut guaranteed = brief("loose", "guaranteed", 3);
    guaranteed["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "20m", "memory": "16Mi"}, "limits": {"cpu": "20m", "memory": "16Mi"}});
    suite.apply(&guaranteed.to_string())?;
    let pod = suite.get(&POD, "loose", "guaranteed").await?;
    ensure!(is_injected(&pod), "a pod with limits was skipped");
    ensure!(pod["status"]["qosClass"] == "Guaranteed", "the QoS class became {}", pod["status"]["qosClass"]);
    shapes(suite, &is_injected)?;
    // Without the webhook an enforced namespace refuses, and says who does.
    suite.kubectl(&["scale", "-n", RELEASE, "deployment/indelible-operator", "--replicas=0"])?;
    tools::wait("the webhook is gone", secs(60), async || {
        let pods = suite.list(&POD, RELEASE, "app.kubernetes.io/component=operator").await?;
        ensure!(pods.is_empty(), "{} operators", pods.len());
        Ok(())
    })
    .await?;
    let refused = suite.refused(&brief(strict, "unaudited", 3).to_string(), &["indelible"]);
    let taken = suite.apply(&brief("loose", "unaudited", 3).to_string());
    suite.kubectl(&["scale", "-n", RELEASE, "deployment/indelible-operator", "--replicas=2"])?;
    suite.kubectl(&["rollout", "status", "-n", RELEASE, "deployment/indelible-operator", "--timeout=60s"])?;
    refused.context("an enforced namespace took a pod that is not audited")?;
    taken.context("a namespace that is not enforced refused a pod while the webhook was away")?;
    suite.kubectl(&["delete", "namespace", "loose", strict, "--wait=false"])?;
    Ok(())
}

/// What makes a pod special, and how it gets so.
type Shape = (&'static str, fn(&mut Value));

/// Pods of every shape get their sidecar, first.
fn shapes(suite: &Suite, is_injected: &dyn Fn(&Value) -> bool) -> Result<()> {
    let shapes: [Shape; 5] = [
        ("hostNetwork", |pod| pod["spec"]["hostNetwork"] = json!(true)),
        ("shareProcessNamespace", |pod| pod["spec"]["shareProcessNamespace"] = json!(true)),
        ("resources of the pod", |pod| pod["spec"]["resources"] = json!({"limits": {"cpu": "100m", "memory": "64Mi"}})),
        ("an init container", |pod| pod["spec"]["initContainers"] = json!([container("first", "true")])),
        ("a native sidecar", |pod| {
            pod["spec"]["initContainers"] = json!([container("other", "sleep 9")]);
            pod["spec"]["initContainers"][0]["restartPolicy"] = json!("Always");
        }),
    ];
    for (shape, change) in shapes {
        let mut one = brief("shop-privileged", "shape", 3);
        change(&mut one);
        let output = suite.try_kubectl(&["create", "--dry-run=server", "-o", "json", "-f", "-"], &one.to_string())?;
        ensure!(output.code == 0, "a pod with {shape} was refused: {}", output.err);
        ensure!(is_injected(&serde_json::from_str(&output.out)?), "a pod with {shape} was skipped: {}", output.out);
    }
    Ok(())
}

pub async fn escapes(suite: &Suite) -> Result<()> {
    let home = "escapes";
    suite.apply(&list(&[namespace(home, "privileged", true, false)]))?;
    let with_mount = |name: &str, volume: &str| {
        let mut one = brief(home, name, 3);
        one["spec"]["containers"][0]["volumeMounts"] =
            json!([{"name": "count", "mountPath": "/count"}, {"name": volume, "mountPath": "/all"}]);
        one
    };
    for volume in ["indelible-logs", "indelible-state", "indelible-token"] {
        suite.refused(&with_mount(&format!("mounts-{volume}"), volume).to_string(), &["indelible-"])?;
    }
    let mut driver = with_mount("driver", "mine");
    driver["spec"]["volumes"] = json!([
        {"name": "count", "emptyDir": {}},
        {"name": "mine", "csi": {"driver": "logs.csi.indelible.dev", "readOnly": true, "volumeAttributes": {"content": "logs"}}},
    ]);
    suite.refused(&driver.to_string(), &["logs.csi.indelible.dev"])?;
    let mut token = with_mount("token", "mine");
    token["spec"]["volumes"] = json!([
        {"name": "count", "emptyDir": {}},
        {"name": "mine", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": format!("indelible.dev/{HOME}/{POOL}")}}]}},
    ]);
    suite.refused(&token.to_string(), &["audience"])?;
    // A debug container on an innocent, running pod.
    suite.apply(&steady(home, "innocent", 1).to_string())?;
    suite.kubectl(&["rollout", "status", "-n", home, "deployment/innocent", "--timeout=60s"])?;
    let pods = suite.list(&POD, home, "app=innocent").await?;
    let name = pods.first().and_then(|pod| pod["metadata"]["name"].as_str()).context("no pod")?;
    let debug = |mount: Value| {
        json!({"spec": {"ephemeralContainers": [{
            "name": "debug", "image": crate::manifests::BUSYBOX, "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "1"], "volumeMounts": mount,
        }]}})
        .to_string()
    };
    let patch = |body: &str| {
        suite.try_kubectl(
            &["patch", "pod", "-n", home, name, "--subresource=ephemeralcontainers", "--type=strategic", "-p", body],
            "",
        )
    };
    let bad = patch(&debug(json!([{"name": "indelible-logs", "mountPath": "/all"}])))?;
    ensure!(
        bad.code != 0 && bad.err.contains("indelible-"),
        "a debug container mounts our volume: {}{}",
        bad.out,
        bad.err
    );
    let good = patch(&debug(json!([])))?;
    ensure!(good.code == 0, "an innocent debug container was refused: {}", good.err);
    minting(suite, home, name)?;
    suite.kubectl(&["delete", "namespace", home, "--wait=false"])?;
    Ok(())
}

/// A person with the rights of `edit` mints a pod's token for the pool.
fn minting(suite: &Suite, home: &str, name: &str) -> Result<()> {
    let account = format!("system:serviceaccount:{home}:editor");
    suite.kubectl(&["create", "serviceaccount", "-n", home, "editor"])?;
    suite.kubectl(&[
        "create",
        "rolebinding",
        "-n",
        home,
        "editor",
        "--clusterrole=edit",
        &format!("--serviceaccount={home}:editor"),
    ])?;
    let minted = suite.try_kubectl(
        &[
            "create",
            "token",
            "default",
            "-n",
            home,
            "--bound-object-kind=Pod",
            &format!("--bound-object-name={name}"),
            &format!("--audience=indelible.dev/{HOME}/{POOL}"),
            "--as",
            &account,
        ],
        "",
    )?;
    ensure!(minted.code != 0 && minted.err.contains("audience"), "a token for the pool was minted: {}", minted.err);
    let plain = suite.try_kubectl(&["create", "token", "default", "-n", home, "--as", &account], "")?;
    ensure!(plain.code == 0, "an ordinary token was refused: {}", plain.err);
    Ok(())
}

pub async fn readers(suite: &Suite) -> Result<()> {
    let role = "indelible-record-reader";
    for account in ["all-records", "one-namespace", "nothing"] {
        let _ = suite.try_kubectl(&["create", "serviceaccount", "-n", HOME, account], "")?;
    }
    let binding = |namespace: &str, name: &str, more: &[&str]| -> Result<()> {
        let account = format!("--serviceaccount={HOME}:{name}");
        let args = [&["create", "rolebinding", "-n", namespace, name, &account], more].concat();
        let output = suite.try_kubectl(&args, "")?;
        ensure!(output.code == 0 || output.err.contains("already exists"), "{}", output.err);
        Ok(())
    };
    binding(HOME, "all-records", &[&format!("--clusterrole={role}")])?;
    binding("shop-baseline", "one-namespace", &["--clusterrole=view"])?;
    let read = |account: &str| {
        suite.indelible(&["logs", "-n", HOME, POOL, "--as-reader", &format!("{HOME}/{account}"), "--json"])
    };
    let namespaces = |text: &str| -> Vec<String> {
        let mut all: Vec<String> = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["namespace"].as_str().map(str::to_owned))
            .collect();
        all.sort();
        all.dedup();
        all
    };
    let all = read("all-records")?;
    ensure!(namespaces(&all.out).len() >= 3, "all-records reads {:?}: {}", namespaces(&all.out), all.err);
    let one = read("one-namespace")?;
    ensure!(namespaces(&one.out) == ["shop-baseline"], "one-namespace reads {:?}: {}", namespaces(&one.out), one.err);
    let none = read("nothing")?;
    ensure!(
        namespaces(&none.out).is_empty() && none.code != 0,
        "nothing reads {:?}: {}",
        namespaces(&none.out),
        none.err
    );
    // A fourth: somebody who may not even mint the reader's token.
    let stranger = suite.indelible(&["status", "-n", HOME, POOL, "--token", "/dev/null"])?;
    ensure!(stranger.code != 0, "an empty token reads: {}", stranger.out);
    Ok(())
}

pub async fn bad_input(suite: &Suite) -> Result<()> {
    // A StorageClass that is not there.
    let spec = json!({"collectors": {"replicas": 1, "storage": {"storageClassName": "nowhere"}}});
    suite.apply(&audit_log("nowhere", &spec).to_string())?;
    says(suite, "nowhere", "StorageClass").await?;
    says(suite, "nowhere", "nowhere").await?;
    forget(suite, "nowhere")?;
    // A label that names no AuditLog, and one of a namespace that is not served: pods start, and are told.
    for (label, word) in [("audit.nobody", "nobody"), ("elsewhere.main", "auditLogNamespaces")] {
        let mut astray = namespace("astray", "restricted", false, false);
        astray["metadata"]["labels"]["indelible.dev/audit-log"] = json!(label);
        suite.apply(&astray.to_string())?;
        let told = tools::wait("the webhook has seen the label", secs(30), async || {
            let told = suite
                .try_kubectl(&["create", "--dry-run=server", "-f", "-"], &brief("astray", "one", 3).to_string())?;
            ensure!(told.code == 0, "a pod of a namespace with label {label} was refused: {}", told.err);
            ensure!(told.err.contains(word), "no warning says {word:?}: {}", told.err);
            Ok(told.err)
        })
        .await?;
        println!("{}", told.trim());
    }
    suite.kubectl(&["delete", "namespace", "astray", "--wait=false"])?;
    // A pool that a quota holds back.
    suite.kubectl(&["create", "quota", "tight", "-n", HOME, "--hard=count/statefulsets.apps=1"])?;
    suite.apply(&audit_log("held", &json!({"collectors": {"replicas": 1}})).to_string())?;
    let told = says(suite, "held", "quota").await;
    suite.kubectl(&["delete", "quota", "tight", "-n", HOME])?;
    told?;
    suite.until("held", "Ready", "True", "", secs(120)).await?;
    forget(suite, "held")?;
    start_writer(suite)?;
    let refused = foreign_writes(suite).await;
    suite.kubectl(&["delete", "pod", "-n", "default", "writer", "--grace-period=1"])?;
    refused?;
    egress(suite).await
}

/// Until the AuditLog is not ready, and the condition has that word.
async fn says(suite: &Suite, name: &str, word: &str) -> Result<()> {
    tools::wait(&format!("{name} is told of {word}"), secs(60), async || {
        let (status, reason, message) = suite.condition(name, "Ready").await?;
        ensure!(status == "False" && message.contains(word), "Ready={status} {reason}: {message}");
        Ok(())
    })
    .await
}

/// Deletes an AuditLog and what is kept of it.
fn forget(suite: &Suite, name: &str) -> Result<()> {
    suite.kubectl(&["delete", "auditlog", "-n", HOME, name])?;
    suite.kubectl(&["delete", "secret", "-n", HOME, &format!("{name}-ca"), "--ignore-not-found"])?;
    suite.kubectl(&["delete", "pvc", "-n", HOME, &format!("data-{name}-0"), "--ignore-not-found", "--wait=false"])?;
    Ok(())
}

/// A namespace that lets nothing out: said with what to allow, and the policy that the documentation has is enough.
async fn egress(suite: &Suite) -> Result<()> {
    let home = "shut";
    let deny = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": home, "name": "deny"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"]}});
    suite.apply(&list(&[namespace(home, "restricted", true, false), deny, steady(home, "app", 1)]))?;
    suite.kubectl(&["rollout", "status", "-n", home, "deployment/app", "--timeout=60s"])?;
    let preflight = suite.indelible(&["preflight", home, "-n", HOME, POOL])?;
    ensure!(preflight.out.contains("kind: NetworkPolicy"), "preflight does not say what to apply: {}", preflight.out);
    tools::wait("the condition says what to allow", secs(240), async || {
        let (status, reason, message) = suite.condition(POOL, "Covered").await?;
        let told = status == "False" && reason == "NeverConnected" && message.contains("7443");
        ensure!(told, "Covered={status} {reason}: {message}");
        Ok(())
    })
    .await?;
    let page = std::fs::read_to_string(suite.root.join("docs/kubernetes.md"))?;
    let (_, rest) =
        page.split_once("In a namespace that denies egress by default:\n\n```yaml\n").context("no policy")?;
    let (policy, _) = rest.split_once("\n```").context("the policy has no end")?;
    let output = suite.try_kubectl(&["apply", "-n", home, "-f", "-"], policy)?;
    ensure!(output.code == 0, "the documented policy was refused: {}", output.err);
    println!("let out by the documented policy: {}", all_is_there(suite, home, secs(120)).await?);
    suite.kubectl(&["delete", "namespace", home, "--wait=false"])?;
    suite.until(POOL, "Covered", "True", "", secs(180)).await?;
    Ok(())
}

/// What is written with that token is refused, for good after two minutes in which the list may have been late.
async fn foreign_writes(suite: &Suite) -> Result<()> {
    let Ok(node) = suite.node() else {
        println!("left out: a write from outside needs the node's network (INDELIBLE_CLUSTER)");
        return Ok(());
    };
    let token = suite.kubectl(&["exec", "-n", "default", "writer", "--", "cat", "/t/t"])?;
    let collector = suite.get(&POD, HOME, &format!("{POOL}-0")).await?;
    let address = collector["status"]["podIP"].as_str().context("the collector has no address")?;
    let (header, url) = (format!("Authorization: Bearer {token}"), format!("https://{address}:7443/v1/batches"));
    tools::wait("a write from a namespace that is not opted in is refused", secs(180), async || {
        let curl = ["curl", "-sk", "-m", "10", "-w", "\n%{http_code}", "-H", &header, "--data-binary", "x", &url];
        let answer = node.exec(&curl)?;
        ensure!(answer.ends_with("\n403") && answer.contains("default"), "{answer}");
        Ok(())
    })
    .await
}

/// Starts a pod that has the pool's token in a namespace that is not opted in.
fn start_writer(suite: &Suite) -> Result<()> {
    let mut free = pod("default", "writer", &pod_spec(&[], &[container("app", "sleep 600")], "Never"));
    free["spec"]["volumes"] = json!([
        {"name": "count", "emptyDir": {}},
        {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": format!("indelible.dev/{HOME}/{POOL}")}}]}},
    ]);
    free["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "t", "mountPath": "/t"}, {"name": "count", "mountPath": "/count"}]);
    suite.apply(&free.to_string())?;
    suite.kubectl(&["wait", "-n", "default", "--for=condition=Ready", "pod/writer", "--timeout=60s"])?;
    Ok(())
}
