//! What happens under load, and without us.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::change::scale;
use crate::judge::{all_is_there, evidence};
use crate::manifests::{list, namespace};
use crate::suite::{HOME, POD, POOL, RELEASE, Suite};
use crate::tools::{self, secs};
use crate::workloads::{brief, noisy, steady};

/// Bytes of batches that each collector has appended since its start, from its metrics.
pub async fn stored(suite: &Suite) -> Result<Vec<(String, f64)>> {
    let mut all = Vec::new();
    for pod in suite
        .list(&POD, HOME, &format!("app.kubernetes.io/component=collector,indelible.dev/audit-log={HOME}.{POOL}"))
        .await?
    {
        let name = pod["metadata"]["name"].as_str().context("no name")?.to_owned();
        if pod["metadata"]["ownerReferences"][0]["kind"] != "StatefulSet" {
            continue;
        }
        let page = suite.metrics(HOME, &name).await?;
        let bytes = page
            .lines()
            .filter(|line| line.starts_with("indelible_collector_appended_bytes_total"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        all.push((name, bytes));
    }
    ensure!(!all.is_empty(), "no collectors");
    Ok(all)
}

/// Bytes of a minute at each collector, as far from the mean as the worst one.
async fn deviation(suite: &Suite) -> Result<f64> {
    let before = stored(suite).await?;
    tokio::time::sleep(secs(60)).await; // the minute that is measured
    let after = stored(suite).await?;
    let bytes: Vec<f64> = after
        .iter()
        .filter_map(|(name, bytes)| Some(bytes - before.iter().find(|(other, _)| other == name)?.1))
        .collect();
    let mean = bytes.iter().sum::<f64>() / f64::from(u32::try_from(bytes.len())?);
    ensure!(mean > 0.0, "nothing was stored: {after:?}");
    let worst = bytes.iter().map(|bytes| (bytes / mean - 1.0).abs()).fold(0.0, f64::max);
    println!(
        "{} collectors, {:.0} bytes each on average, the worst is {:.1} % off: {bytes:?}",
        bytes.len(),
        mean,
        worst * 100.0
    );
    Ok(worst)
}

pub async fn balance(suite: &Suite) -> Result<()> {
    let home = "balance";
    let measured = balanced(suite, home).await;
    suite.kubectl(&["delete", "namespace", home, "--wait=false"])?;
    scale(suite, 3).await?;
    let (three, five) = measured?;
    ensure!(three <= 0.10 && five <= 0.10, "off by {:.1} % with three, {:.1} % with five", three * 100.0, five * 100.0);
    Ok(())
}

/// How far the worst of three collectors is off, and of five.
async fn balanced(suite: &Suite, home: &str) -> Result<(f64, f64)> {
    let mut objects = vec![namespace(home, "restricted", true, false)];
    // Zipf: the k-th pod prints 1/k of what the first prints.
    objects.extend((1..=8u32).map(|rank| noisy(home, &format!("rank-{rank}"), 120 / rank)));
    suite.apply(&list(&objects))?;
    for rank in 1..=8 {
        suite.kubectl(&["rollout", "status", "-n", home, &format!("deployment/rank-{rank}"), "--timeout=120s"])?;
    }
    tokio::time::sleep(secs(30)).await; // balance is promised 30 s after a change
    let three = deviation(suite).await?;
    scale(suite, 5).await?;
    tokio::time::sleep(secs(30)).await;
    let five = deviation(suite).await?;
    println!("{}", all_is_there(suite, home, secs(90)).await?);
    Ok((three, five))
}

/// How long a new Deployment takes to have its pod running.
fn start(suite: &Suite, namespace: &str, name: &str) -> Result<Duration> {
    let begun = Instant::now();
    suite.apply(&steady(namespace, name, 2).to_string())?;
    suite.kubectl(&["rollout", "status", "-n", namespace, &format!("deployment/{name}"), "--timeout=120s"])?;
    Ok(begun.elapsed())
}

fn pause(suite: &Suite, paused: bool) -> Result<()> {
    let patch = format!(r#"{{"spec":{{"paused":{paused}}}}}"#);
    suite.kubectl(&["patch", "auditlog", "-n", HOME, POOL, "--type=merge", "-p", &patch])?;
    Ok(())
}

async fn gone(suite: &Suite, namespace: &str, component: &str) -> Result<()> {
    let labels = format!("app.kubernetes.io/component={component}");
    tools::wait(&format!("no {component} is left"), secs(120), async || {
        let pods = suite.list(&POD, namespace, &labels).await?;
        ensure!(pods.is_empty(), "{} pods", pods.len());
        Ok(())
    })
    .await
}

/// First the collectors stop: pods get their sidecar, which holds what it cannot deliver. Then the operator stops, and its
/// webhook with it: pods get none, and start all the same where the namespace does not insist.
pub async fn all_stopped(suite: &Suite) -> Result<()> {
    let (free, strict, plain) = ("stopped-free", "stopped-strict", "stopped-plain");
    suite.apply(&list(&[
        namespace(free, "restricted", true, false),
        namespace(strict, "restricted", true, true),
        namespace(plain, "restricted", false, false),
    ]))?;
    // Once each before it counts: the first volume of a namespace, the first pod of an image.
    start(suite, plain, "first")?;
    start(suite, free, "first")?;
    pause(suite, true)?;
    suite.kubectl(&["scale", "-n", HOME, &format!("statefulset/{POOL}"), "--replicas=0"])?;
    let begun = gone_then_started(suite, free, strict, plain).await;
    suite.kubectl(&["scale", "-n", RELEASE, "deployment/indelible-operator", "--replicas=2"])?;
    suite.kubectl(&["rollout", "status", "-n", RELEASE, "deployment/indelible-operator", "--timeout=90s"])?;
    pause(suite, false)?;
    let (without, held, alone) = begun?;
    suite.until(POOL, "Ready", "True", "", secs(180)).await?;
    println!(
        "a Deployment runs after {:.1} s without Indelible, {:.1} s without collectors, {:.1} s without anything of ours",
        without.as_secs_f64(),
        held.as_secs_f64(),
        alone.as_secs_f64()
    );
    // What pods with a sidecar printed meanwhile is there afterwards.
    suite.kubectl(&["delete", "deployment", "-n", free, "alone"])?;
    println!("{}", all_is_there(suite, free, secs(120)).await?);
    let seen = evidence(suite, free)?;
    for name in ["first-", "held-"] {
        ensure!(seen.keys().any(|(_, pod, _)| pod.starts_with(name)), "nothing of {name}*");
    }
    suite.kubectl(&["delete", "namespace", free, strict, plain, "--wait=false"])?;
    ensure!(held < without + secs(3) && alone < without + secs(2), "{held:?} and {alone:?} instead of {without:?}");
    Ok(())
}

async fn gone_then_started(
    suite: &Suite,
    free: &str,
    strict: &str,
    plain: &str,
) -> Result<(Duration, Duration, Duration)> {
    gone(suite, HOME, "collector").await?;
    let without = start(suite, plain, "without")?;
    let held = start(suite, free, "held")?;
    suite.kubectl(&["scale", "-n", RELEASE, "deployment/indelible-operator", "--replicas=0"])?;
    gone(suite, RELEASE, "operator").await?;
    let alone = start(suite, free, "alone")?;
    suite.refused(&brief(strict, "one", 3).to_string(), &["indelible"]).context("the enforced namespace took a pod")?;
    Ok((without, held, alone))
}

/// Whether a report's finding is what a case is about.
pub fn named(report: &Value, class: &str, words: &[&str]) -> Result<String> {
    let findings = report["findings"].as_array().context("no findings")?;
    let found = findings
        .iter()
        .find(|finding| finding["class"] == class)
        .with_context(|| format!("no {class}: {}", report["findings"]))?;
    let text = found["text"].as_str().unwrap_or_default();
    for word in words {
        ensure!(text.contains(word), "{class} does not name {word}: {text}");
    }
    Ok(found["id"].as_str().context("no id")?.to_owned())
}
