//! What the admission policies refuse by themselves: nothing here rests on the webhook, which would mend most of it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::manifests::{BUSYBOX, list, namespace};
use crate::suite::{AUDIT_LOG, HOME, POD, POOL, RELEASE, Suite};
use crate::tools::{self, secs};
use crate::workloads::brief;

const STRICT: &str = "forged";

/// A change of a pod that has its sidecar, by name, and words of the refusal.
type Forgery = (&'static str, fn(&mut Value), &'static str);

const FORGERIES: &[Forgery] = &[
    ("command", |pod| sidecar(pod)["command"] = json!(["sleep", "inf"]), "first"),
    ("arguments", |pod| sidecar(pod)["args"] = json!(["--exclude-container", "app"]), "first"),
    ("image", |pod| sidecar(pod)["image"] = json!(BUSYBOX), "first"),
    ("another repository", |pod| swap_image(pod, "indelible-sidecar-x"), "first"),
    ("not a sidecar", |pod| remove(sidecar(pod), &["restartPolicy", "startupProbe"]), "first"),
    ("not the first", one_before, "first"),
    ("one more mount", |pod| mount(sidecar(pod), "count", "/x"), "first"),
    ("none at all", |pod| drop(init(pod).remove(0)), "first"),
    ("an excluded container", |pod| variable(pod, "INDELIBLE_EXCLUDE_CONTAINER", "app"), "environment"),
    ("fail open", |pod| variable(pod, "INDELIBLE_FAIL_OPEN", "true"), "environment"),
    ("logs of elsewhere", |pod| variable(pod, "INDELIBLE_LOGS", "/tmp"), "environment"),
    (
        "another AuditLog",
        |pod| sidecar(pod)["env"] = json!([{"name": "INDELIBLE_AUDIT_LOG", "value": "x/y"}]),
        "environment",
    ),
    ("an empty log directory", |pod| volume(pod, "indelible-logs", json!({"emptyDir": {}})), "indelible-logs"),
    (
        "a state that is shared",
        |pod| volume(pod, "indelible-state", json!({"configMap": {"name": "x"}})),
        "indelible-state",
    ),
    (
        "a token of its own",
        |pod| volume(pod, "indelible-token", json!({"secret": {"secretName": "x"}})),
        "indelible-token",
    ),
    (
        "the token for the application",
        |pod| mount(&mut pod["spec"]["containers"][0], "indelible-token", "/x"),
        "reserved",
    ),
    (
        "the sidecar's uid",
        |pod| pod["spec"]["containers"][0]["securityContext"]["runAsUser"] = json!(60653),
        "uid 60653",
    ),
];

fn init(pod: &mut Value) -> &mut Vec<Value> {
    pod["spec"]["initContainers"].as_array_mut().expect("an injected pod has init containers")
}

fn one_before(pod: &mut Value) {
    let mut other = pod["spec"]["containers"][0].clone();
    other["name"] = json!("before");
    init(pod).insert(0, other);
}

fn sidecar(pod: &mut Value) -> &mut Value {
    &mut pod["spec"]["initContainers"][0]
}

fn remove(value: &mut Value, fields: &[&str]) {
    let object = value.as_object_mut().expect("an object");
    object.retain(|name, _| !fields.contains(&name.as_str()));
}

fn swap_image(pod: &mut Value, name: &str) {
    let image = sidecar(pod)["image"].as_str().unwrap_or_default().replace("indelible-sidecar", name);
    sidecar(pod)["image"] = json!(image);
}

fn mount(container: &mut Value, volume: &str, path: &str) {
    let mounts = container["volumeMounts"].as_array_mut().expect("it has mounts");
    mounts.push(json!({"name": volume, "mountPath": path}));
}

fn variable(pod: &mut Value, name: &str, value: &str) {
    sidecar(pod)["env"].as_array_mut().expect("it has an environment").push(json!({"name": name, "value": value}));
}

fn volume(pod: &mut Value, name: &str, source: Value) {
    let volumes = pod["spec"]["volumes"].as_array_mut().expect("it has volumes");
    volumes.retain(|volume| volume["name"] != name);
    let mut volume = source;
    volume["name"] = json!(name);
    volumes.push(volume);
}

/// Without the operator a pod that brings its own sidecar must bring ours, untouched.
pub async fn sidecars(suite: &Suite) -> Result<()> {
    suite.apply(&list(&[namespace(STRICT, "restricted", true, true)]))?;
    suite.apply(&brief(STRICT, "genuine", 3).to_string())?;
    let mut genuine = suite.get(&POD, STRICT, "genuine").await?;
    remove(&mut genuine, &["status"]);
    remove(&mut genuine["spec"], &["nodeName"]);
    genuine["metadata"] = json!({"namespace": STRICT, "name": "copy"});
    suite.kubectl(&["scale", "-n", RELEASE, "deployment/indelible-operator", "--replicas=0"])?;
    let tried = without_webhook(suite, &genuine).await;
    suite.kubectl(&["scale", "-n", RELEASE, "deployment/indelible-operator", "--replicas=2"])?;
    suite.kubectl(&["rollout", "status", "-n", RELEASE, "deployment/indelible-operator", "--timeout=60s"])?;
    tried?;
    running(suite)?;
    suite.kubectl(&["delete", "namespace", STRICT, "--wait=false"])?;
    Ok(())
}

async fn without_webhook(suite: &Suite, genuine: &Value) -> Result<()> {
    tools::wait("the webhook is gone", secs(60), async || {
        let pods = suite.list(&POD, RELEASE, "app.kubernetes.io/component=operator").await?;
        ensure!(pods.is_empty(), "{} operators", pods.len());
        Ok(())
    })
    .await?;
    let create = |pod: &Value| suite.try_kubectl(&["create", "--dry-run=server", "-f", "-"], &pod.to_string());
    let taken = create(genuine)?;
    ensure!(taken.code == 0, "a pod that brings the genuine sidecar was refused: {}", taken.err);
    for (name, change, words) in FORGERIES {
        let mut pod = genuine.clone();
        change(&mut pod);
        let answer = create(&pod)?;
        ensure!(answer.code != 0, "a pod with {name} was taken");
        let is_ours = answer.err.contains("ValidatingAdmissionPolicy 'indelible-") && answer.err.contains(words);
        ensure!(is_ours, "a pod with {name} was refused without saying {words:?}: {}", answer.err);
    }
    Ok(())
}

/// A pod that runs keeps its sidecar as it is, is not debugged through it, and is otherwise free.
fn running(suite: &Suite) -> Result<()> {
    let patch = |more: &[&str], body: &Value| {
        let body = body.to_string();
        let args = [&["patch", "pod", "-n", STRICT, "genuine", "--dry-run=server", "-p", &body], more].concat();
        suite.try_kubectl(&args, "")
    };
    let image =
        |list: &str, name: &str| json!({"spec": {list: [{"name": name, "image": "docker.io/library/other:1"}]}});
    let changed = patch(&[], &image("initContainers", "indelible-sidecar"))?;
    ensure!(changed.code != 0 && changed.err.contains("may only be changed to"), "another sidecar: {}", changed.err);
    let free = patch(&[], &image("containers", "app"))?;
    ensure!(free.code == 0, "the application's image may not be changed: {}", free.err);
    let as_user = |uid: u32| {
        json!({"runAsNonRoot": true, "runAsUser": uid, "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}})
    };
    let debug = |more: &Value| {
        let mut container =
            json!({"name": "debug", "image": BUSYBOX, "command": ["true"], "securityContext": as_user(1000)});
        for (name, value) in more.as_object().into_iter().flatten() {
            container[name] = value.clone();
        }
        patch(&["--subresource=ephemeralcontainers"], &json!({"spec": {"ephemeralContainers": [container]}}))
    };
    for more in [
        json!({"targetContainerName": "indelible-sidecar"}),
        json!({"volumeMounts": [{"name": "indelible-state", "mountPath": "/x"}]}),
        json!({"securityContext": as_user(60653)}),
    ] {
        let answer = debug(&more)?;
        ensure!(answer.code != 0 && answer.err.contains("indelible-volumes"), "debugging with {more}: {}", answer.err);
    }
    let innocent = debug(&json!({"targetContainerName": "app"}))?;
    ensure!(innocent.code == 0, "an innocent debug container was refused: {}", innocent.err);
    Ok(())
}

/// Findings are acknowledged by who may, under their own name, and in a form that leaves no doubt about the name.
pub async fn acknowledgements(suite: &Suite) -> Result<()> {
    let _ = suite.get(&AUDIT_LOG, HOME, POOL).await?;
    let create = |args: &[&str]| suite.kubectl(&[&["create", "-n", HOME], args].concat());
    create(&["role", "e2e-writer", "--verb=get,patch", "--resource=auditlogs.indelible.dev"])?;
    create(&["role", "e2e-acknowledger", "--verb=acknowledge", "--resource=auditlogs.indelible.dev"])?;
    create(&["rolebinding", "e2e-writers", "--role=e2e-writer", "--user=dora", "--user=erik"])?;
    create(&["rolebinding", "e2e-acknowledgers", "--role=e2e-acknowledger", "--user=erik"])?;
    let annotate = |user: &str, value: &str| {
        let patch = json!({"metadata": {"annotations": {"indelible.dev/acknowledge": value}}}).to_string();
        let args =
            ["patch", "auditlog", "-n", HOME, POOL, "--as", user, "--type=merge", "--dry-run=server", "-p", &patch];
        suite.try_kubectl(&args, "")
    };
    for (user, value, words) in [
        ("dora", r#"{"finding":"f","by":"dora","reason":"r"}"#, "verb acknowledge"),
        ("erik", r#"{"finding":"f","by":"dora","reason":"r"}"#, "own name"),
        ("erik", r#"{"finding":"f","by":"dora","by":"erik","reason":"r"}"#, "in this order"),
        ("erik", r#"{"finding":"f","by":"erik","reason":"r","by":"dora"}"#, "in this order"),
        ("erik", r#"{"finding":"f\",\"by\":\"erik","by":"dora","reason":"r"}"#, "in this order"),
        ("erik", r#"{"finding": "f", "by": "erik", "reason": "r"}"#, "in this order"),
        ("erik", "yes", "in this order"),
    ] {
        let answer = annotate(user, value)?;
        ensure!(answer.code != 0 && answer.err.contains(words), "{user} acknowledged {value}: {}", answer.err);
    }
    let good = annotate("erik", r#"{"finding":"f","by":"erik","reason":"he says \"by\":\"dora\""}"#)?;
    for (kind, name) in
        [("rolebinding", "writer"), ("rolebinding", "acknowledger"), ("role", "writer"), ("role", "acknowledger")]
    {
        let plural = if kind == "role" { "" } else { "s" };
        suite
            .kubectl(&["delete", kind, "-n", HOME, &format!("e2e-{name}{plural}")])
            .context("what the case has made")?;
    }
    ensure!(good.code == 0, "whoever may acknowledge was refused: {}", good.err);
    Ok(())
}
