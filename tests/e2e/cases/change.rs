//! What people change while everything runs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::load::stored;
use crate::judge::all_is_there;
use crate::suite::{AUDIT_LOG, HOME, POD, POOL, RELEASE, SECRET, Suite};
use crate::tools::{self, secs};
use crate::workloads::noisy;

const SOON: Duration = secs(120);

/// Scales the pool, and waits until exactly so many collectors are there.
pub async fn scale(suite: &Suite, replicas: u64) -> Result<()> {
    suite.kubectl(&["scale", "auditlog", "-n", HOME, POOL, &format!("--replicas={replicas}")])?;
    tools::wait(&format!("{replicas} collectors"), secs(180), async || {
        let object = suite.get(&AUDIT_LOG, HOME, POOL).await?;
        let word = format!("{replicas}/{replicas}");
        ensure!(object["status"]["collectors"] == word, "{}, expected {word}", object["status"]["collectors"]);
        let pods = suite
            .list(&POD, HOME, &format!("app.kubernetes.io/component=collector,indelible.dev/audit-log={HOME}.{POOL}"))
            .await?;
        let members = pods.iter().filter(|pod| pod["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet").count();
        ensure!(members as u64 == replicas, "{members} pods");
        Ok(())
    })
    .await
}

/// Lines of [`noisy`] that are surely more than the 480 KiB, as sent, within a minute from which on a session counts as busy.
const BUSY_LINES: u64 = 9_000;

/// Starts a session that keeps a connection to each collector (quiet ones keep two), and waits until it is one.
async fn busy(suite: &Suite) -> Result<()> {
    suite.apply(&noisy("shop-restricted", "noise", 30).to_string())?;
    suite.kubectl(&["rollout", "status", "-n", "shop-restricted", "deployment/noise", "--timeout=90s"])?;
    let exec = ["exec", "-n", "shop-restricted", "deployment/noise", "-c", "app", "--", "cat", "/count/app"];
    tools::wait("a session is busy", SOON, async || {
        let printed: u64 = suite.kubectl(&exec)?.trim().parse()?;
        ensure!(printed > BUSY_LINES, "it has printed {printed} lines");
        Ok(())
    })
    .await
}

/// New replicas get their share within 10 s of being ready.
async fn joined_are_used(suite: &Suite) -> Result<()> {
    let begun = Instant::now();
    tools::wait("the two that joined get batches", secs(10), async || {
        let idle: Vec<String> = stored(suite).await?.into_iter().filter(|(_, b)| *b == 0.0).map(|(n, _)| n).collect();
        ensure!(idle.is_empty(), "{idle:?} have got nothing");
        Ok(())
    })
    .await?;
    println!("those that joined are used {:.1} s after all are ready", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Scales the pool, and waits until exactly so many collectors are there.
pub async fn scaled(suite: &Suite) -> Result<()> {
    busy(suite).await?;
    scale(suite, 5).await?;
    joined_are_used(suite).await?;
    println!("five: {}", all_is_there(suite, "shop-", SOON).await?);
    scale(suite, 2).await?;
    println!("two: {}", all_is_there(suite, "shop-", SOON).await?);
    let object = suite.get(&AUDIT_LOG, HOME, POOL).await?;
    let claims: Vec<&str> = object["status"]["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|volume| volume["claim"].as_str())
        .collect();
    let wanted = [2, 3, 4].map(|ordinal| format!("data-{POOL}-{ordinal}"));
    ensure!(claims == wanted, "the kept volumes are {claims:?}");
    suite.kubectl(&["delete", "deployment", "-n", "shop-restricted", "noise"])?;
    scale(suite, 3).await?;
    println!("three: {}", all_is_there(suite, "shop-", SOON).await?);
    Ok(())
}

pub async fn rotated(suite: &Suite) -> Result<()> {
    let serial = async |key: &str| -> Result<String> {
        let secret = suite.get(&SECRET, HOME, &format!("{POOL}-tls")).await?;
        Ok(secret["data"][key].as_str().context("no certificate")?.to_owned())
    };
    let before = serial(&format!("{POOL}-0.crt")).await?;
    suite.kubectl(&["annotate", "auditlog", "-n", HOME, POOL, "indelible.dev/rotate-ca=now", "--overwrite"])?;
    tools::wait("the leaves are of the new CA", secs(300), async || {
        ensure!(serial(&format!("{POOL}-0.crt")).await? != before, "the certificate is the one from before");
        Ok(())
    })
    .await?;
    println!("{}", all_is_there(suite, "shop-", SOON).await?);
    suite.until(POOL, "Ready", "True", "", SOON).await?;
    Ok(())
}

pub async fn upgraded(suite: &Suite) -> Result<()> {
    let tag = format!("{}-next", suite.tag);
    let node = suite.node().context("another tag of the same images is made on the node")?;
    for part in ["operator", "collector", "sidecar", "csi"] {
        let name = format!("ghcr.io/indelible-dev/indelible-{part}");
        let (now, next) = (format!("{name}:{}", suite.tag), format!("{name}:{tag}"));
        node.exec_everywhere(&["ctr", "-n", "k8s.io", "images", "tag", "--force", &now, &next]).await?;
    }
    suite.helm(&[
        "upgrade",
        "indelible",
        "charts/indelible",
        "-n",
        RELEASE,
        "--reuse-values",
        "--set",
        &format!("image.tag={tag}"),
        "--wait",
        "--timeout=240s",
    ])?;
    tools::wait("the collectors run the new tag", secs(240), async || {
        let set = suite.get(&crate::suite::STATEFUL_SET, HOME, POOL).await?;
        let image = set.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str).unwrap_or_default();
        ensure!(image.ends_with(&tag), "the StatefulSet has {image}");
        let status = &set["status"];
        ensure!(status["updatedReplicas"] == 3 && status["readyReplicas"] == 3, "{status}");
        Ok(())
    })
    .await?;
    println!("{}", all_is_there(suite, "shop-", SOON).await?);
    suite.until(POOL, "Ready", "True", "", SOON).await?;
    Ok(())
}
