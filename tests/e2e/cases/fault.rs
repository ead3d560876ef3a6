//! What breaks by itself, or is broken.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::judge::all_is_there;
use crate::suite::{HOME, POD, POOL, RELEASE, Suite};
use crate::tools::{self, secs};

const SOON: Duration = secs(120);

/// Everything that runs goes on, and what it prints arrives.
async fn flows(suite: &Suite) -> Result<()> {
    println!("{}", all_is_there(suite, "shop-", SOON).await?);
    suite.until(POOL, "Ready", "True", "", SOON).await?;
    suite.until(POOL, "Intact", "True", "", SOON).await?;
    Ok(())
}

/// The pods with these labels, by name.
async fn names(suite: &Suite, namespace: &str, labels: &str) -> Result<Vec<String>> {
    let pods = suite.list(&POD, namespace, labels).await?;
    Ok(pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect())
}

/// How often a container was started again.
async fn restarts(suite: &Suite, namespace: &str, pod: &str, container: &str) -> Result<u64> {
    let pod = suite.get(&POD, namespace, pod).await?;
    let statuses =
        ["initContainerStatuses", "containerStatuses"].into_iter().filter_map(|kind| pod["status"][kind].as_array());
    let found = statuses.flatten().find(|status| status["name"] == container).context("no such container")?;
    Ok(found["restartCount"].as_u64().unwrap_or_default())
}

/// SIGKILL, and until the kubelet has started it again.
async fn kill(suite: &Suite, namespace: &str, pod: &str, container: &str) -> Result<()> {
    let before = restarts(suite, namespace, pod, container).await?;
    suite.node()?.kill(namespace, pod, container)?;
    tools::wait("it was started again", SOON, async || {
        ensure!(restarts(suite, namespace, pod, container).await? > before, "{pod} {container} has not restarted");
        Ok(())
    })
    .await
}

pub async fn collector_killed(suite: &Suite) -> Result<()> {
    kill(suite, HOME, &format!("{POOL}-1"), "collector").await?;
    flows(suite).await
}

pub async fn sidecar_killed(suite: &Suite) -> Result<()> {
    for (app, namespace) in [("chatty", "shop-restricted"), ("replica", "shop-baseline")] {
        let name = names(suite, namespace, &format!("app={app}")).await?.pop().context("no pod")?;
        kill(suite, namespace, &name, "indelible-sidecar").await?;
    }
    flows(suite).await
}

pub async fn operator_killed(suite: &Suite) -> Result<()> {
    for name in names(suite, RELEASE, "app.kubernetes.io/component=operator").await? {
        kill(suite, RELEASE, &name, "operator").await?;
    }
    // It still does its work: what drifts is put right.
    suite.kubectl(&["delete", "pdb", "-n", HOME, POOL])?;
    tools::wait("the PodDisruptionBudget is there again", SOON, async || {
        suite.get(&crate::suite::PDB, HOME, POOL).await
    })
    .await?;
    flows(suite).await
}

pub async fn driver_killed(suite: &Suite) -> Result<()> {
    let name = names(suite, RELEASE, "app.kubernetes.io/component=csi").await?.pop().context("no driver")?;
    kill(suite, RELEASE, &name, "csi").await?;
    suite.kubectl(&["rollout", "restart", "-n", "shop-restricted", "deployment/replica"])?;
    suite.kubectl(&["rollout", "status", "-n", "shop-restricted", "deployment/replica", "--timeout=120s"])?;
    flows(suite).await
}

pub async fn kubelet_killed(suite: &Suite) -> Result<()> {
    suite.node()?.ctl("kill", "kubelet")?;
    suite.kubectl(&["wait", "--for=condition=Ready", "node", "--all", "--timeout=90s"])?;
    flows(suite).await
}

pub async fn collector_deleted(suite: &Suite) -> Result<()> {
    let size = |object: &Value| -> Option<u64> {
        let logs = object["status"]["logs"].as_array()?;
        logs.iter().find(|log| log["collector"] == format!("{POOL}-0"))?["treeSize"].as_u64()
    };
    let before = size(&suite.get(&crate::suite::AUDIT_LOG, HOME, POOL).await?).context("no log of its")?;
    suite.kubectl(&["delete", "pod", "-n", HOME, &format!("{POOL}-0")])?;
    suite.kubectl(&["rollout", "status", "-n", HOME, &format!("statefulset/{POOL}"), "--timeout=120s"])?;
    tools::wait("its log goes on", SOON, async || {
        let now = size(&suite.get(&crate::suite::AUDIT_LOG, HOME, POOL).await?).context("no log of its")?;
        ensure!(now > before, "the log has {now} leaves, {before} before");
        Ok(())
    })
    .await?;
    flows(suite).await
}

pub async fn pool_rolled(suite: &Suite) -> Result<()> {
    suite.kubectl(&["rollout", "restart", "-n", HOME, &format!("statefulset/{POOL}")])?;
    suite.kubectl(&["rollout", "status", "-n", HOME, &format!("statefulset/{POOL}"), "--timeout=240s"])?;
    flows(suite).await
}

/// The address of each collector's pod.
async fn addresses(suite: &Suite) -> Result<Vec<String>> {
    let pods = suite
        .list(&POD, HOME, &format!("app.kubernetes.io/component=collector,indelible.dev/audit-log={HOME}.{POOL}"))
        .await?;
    Ok(pods.iter().filter_map(|pod| pod["status"]["podIP"].as_str().map(str::to_owned)).collect())
}

pub async fn cut_off(suite: &Suite) -> Result<()> {
    let node = suite.node()?;
    let addresses = addresses(suite).await?;
    ensure!(!addresses.is_empty(), "no collectors");
    let rule = async |verb: &str, address: &str| {
        node.exec_everywhere(&[
            "iptables", verb, "FORWARD", "-d", address, "-p", "tcp", "--dport", "7443", "-j", "DROP",
        ])
        .await
    };
    for address in &addresses {
        rule("-I", address).await?;
    }
    tokio::time::sleep(secs(60)).await; // the minute that the case is about
    let counted = node.exec_everywhere(&["iptables", "-nvxL", "FORWARD"]).await?;
    for address in &addresses {
        rule("-D", address).await?;
    }
    let dropped: u64 = counted
        .iter()
        .flat_map(|page| page.lines())
        .filter(|line| line.contains("DROP") && line.contains("dpt:7443"))
        .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    ensure!(dropped > 0, "nobody tried to reach a collector: nothing was cut off");
    println!("{dropped} packets to {} collectors were dropped", addresses.len());
    flows(suite).await
}

pub async fn force_deleted(suite: &Suite) -> Result<()> {
    for (_, namespace) in super::begin::LEVELS {
        for app in ["chatty", "replica"] {
            suite.kubectl(&[
                "delete",
                "pod",
                "-n",
                namespace,
                "-l",
                &format!("app={app}"),
                "--grace-period=0",
                "--force",
            ])?;
        }
    }
    for (_, namespace) in super::begin::LEVELS {
        for app in ["chatty", "replica"] {
            suite.kubectl(&["rollout", "status", "-n", namespace, &format!("deployment/{app}"), "--timeout=120s"])?;
        }
    }
    flows(suite).await
}

pub async fn api_restarted(suite: &Suite) -> Result<()> {
    suite.node()?.ctl("restart", "kube-apiserver")?;
    tools::wait("the API server answers", SOON, async || suite.kubectl(&["get", "--raw", "/readyz"])).await?;
    flows(suite).await
}

pub async fn api_away(suite: &Suite) -> Result<()> {
    let node = suite.node()?;
    node.ctl("stop", "kube-apiserver")?;
    let begun = Instant::now();
    tokio::time::sleep(secs(300)).await; // the five minutes that the case is about
    node.ctl("start", "kube-apiserver")?;
    tools::wait("the API server answers", SOON, async || suite.kubectl(&["get", "--raw", "/readyz"])).await?;
    println!("the API server was away for {} s", begun.elapsed().as_secs());
    flows(suite).await
}
