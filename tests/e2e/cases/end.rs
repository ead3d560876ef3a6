//! How it goes, and comes again.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::judge::all_is_there;
use crate::manifests::audit_log;
use crate::suite::{AUDIT_LOG, CLAIM, HOME, POOL, RELEASE, SECRET, Suite};
use crate::tools::{self, secs};

async fn origins(suite: &Suite) -> Result<Vec<String>> {
    let object = suite.get(&AUDIT_LOG, HOME, POOL).await?;
    let logs = object["status"]["logs"].as_array().context("no logs")?.clone();
    Ok(logs.iter().filter_map(|log| log["origin"].as_str().map(str::to_owned)).collect())
}

pub async fn uninstalled(suite: &Suite) -> Result<()> {
    let before = origins(suite).await?;
    suite.helm(&["uninstall", "indelible", "-n", RELEASE, "--wait", "--timeout=120s"])?;
    suite.kubectl(&["get", "crd", "auditlogs.indelible.dev"])?;
    suite.get(&SECRET, HOME, &format!("{POOL}-ca")).await?;
    suite.get(&CLAIM, HOME, &format!("data-{POOL}-0")).await?;
    // Nothing of ours holds up a namespace that goes.
    suite.kubectl(&["create", "namespace", "passing"])?;
    suite.kubectl(&["delete", "namespace", "passing", "--timeout=60s"])?;
    for (_, namespace) in super::begin::LEVELS {
        suite.kubectl(&["get", "pods", "-n", namespace])?;
    }
    suite.helm(&[
        "install",
        "indelible",
        "charts/indelible",
        "-n",
        RELEASE,
        "--set",
        "auditLogNamespaces={audit}",
        "--wait",
        "--timeout=180s",
    ])?;
    suite.until(POOL, "Ready", "True", "", secs(180)).await?;
    let after = origins(suite).await?;
    for origin in &before {
        ensure!(after.contains(origin), "{origin} is not continued: {after:?}");
    }
    println!("{}", all_is_there(suite, "shop-", secs(120)).await?);
    suite.until(POOL, "Intact", "True", "", secs(60)).await?;
    Ok(())
}

pub async fn manifests(suite: &Suite) -> Result<()> {
    suite.helm(&["uninstall", "indelible", "-n", RELEASE, "--wait", "--timeout=120s"])?;
    suite.kubectl(&["delete", "namespace", "-l", "indelible.dev/e2e=true", "--wait", "--timeout=180s"])?;
    suite.kubectl(&["delete", "auditlogs", "-A", "--all"])?;
    // The definition alone, as on a cluster without Helm; then the chart, by the eyes of the API server.
    suite.kubectl(&["delete", "crd", "auditlogs.indelible.dev", "--timeout=60s"])?;
    suite.kubectl(&["apply", "-f", "crds/"])?;
    suite.kubectl(&["wait", "--for=condition=Established", "crd/auditlogs.indelible.dev", "--timeout=30s"])?;
    let explained = suite.kubectl(&["explain", "auditlog.spec.capture.source"])?;
    ensure!(explained.contains("HostPath"), "{explained}");
    suite.helm(&["lint", "charts/indelible"])?;
    let rendered = suite.helm(&["template", "indelible", "charts/indelible", "-n", RELEASE])?;
    let tried = suite.try_kubectl(&["apply", "--dry-run=server", "-n", RELEASE, "-f", "-"], &rendered)?;
    ensure!(tried.code == 0, "the rendered chart is not taken: {}", tried.err);
    let misspelt = suite.helm(&["template", "indelible", "charts/indelible", "--set", "auditlogNamespaces={audit}"]);
    ensure!(misspelt.is_err(), "a misspelt value was taken");
    let bundle = std::fs::read_to_string(suite.root.join("deploy/indelible.yaml"))?;
    let bundle = retagged(&bundle, &suite.tag);
    // As documented for a cluster on which Helm has kept something.
    let file = suite.path.path().join("bundle.yaml");
    std::fs::write(&file, &bundle)?;
    let file = file.to_str().context("no text")?;
    suite.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", file])?;
    let home = bundle_namespace(&bundle)?;
    suite.kubectl(&["rollout", "status", "-n", &home, "deployment/indelible-operator", "--timeout=120s"])?;
    let mut made = audit_log("plain", &json!({"collectors": {"replicas": 1}}));
    made["metadata"]["namespace"] = json!(home);
    suite.apply(&made.to_string())?;
    suite.kubectl(&["wait", "-n", &home, "--for=condition=Ready", "auditlog/plain", "--timeout=120s"])?;
    suite.kubectl(&["delete", "auditlog", "-n", &home, "plain"])?;
    tools::wait("the operator has let go", secs(60), async || {
        let sets = suite.list(&crate::suite::STATEFUL_SET, &home, "").await?;
        ensure!(sets.is_empty(), "{} StatefulSets", sets.len());
        Ok(())
    })
    .await
}

/// The bundle with the images under test, instead of those of its release.
fn retagged(bundle: &str, tag: &str) -> String {
    let release = concat!(":", env!("CARGO_PKG_VERSION"));
    ["operator", "collector", "sidecar", "csi"].iter().fold(bundle.to_owned(), |bundle, part| {
        bundle.replace(&format!("/indelible-{part}{release}"), &format!("/indelible-{part}:{tag}"))
    })
}

/// Where the bundle puts the operator.
fn bundle_namespace(bundle: &str) -> Result<String> {
    let at = bundle.find("kind: Deployment").context("no Deployment in the bundle")?;
    let rest = &bundle[at..];
    let line = rest
        .lines()
        .find(|line| line.trim_start().starts_with("namespace:"))
        .context("the Deployment has no namespace")?;
    let name: Value = json!(line.split(':').nth(1).unwrap_or_default().trim().trim_matches('"'));
    Ok(name.as_str().unwrap_or_default().to_owned())
}
