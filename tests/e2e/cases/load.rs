//! What happens under load, and without us.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::judge::{all_is_there, evidence};
use crate::manifests::{list, namespace};
use crate::suite::{HOME, POD, POOL, RELEASE, Suite};
use crate::tools::{self, secs};
use crate::workloads::{brief, steady};

/// Stored bytes of each collector, from its metrics.
async fn stored(suite: &Suite) -> Result<Vec<(String, f64)>> {
    let mut all = Vec::new();
    for pod in suite
        .list(&POD, HOME, &format!("app.kubernetes.io/component=collector,indelible.dev/audit-log={HOME}.{POOL}"))
        .await?
    {
        let name = pod["metadata"]["name"].as_str().context("no name")?.to_owned();
        if pod["metadata"]["ownerReferences"][0]["kind"] != "StatefulSet" {
            continue;
        }
        let page =
            suite.kubectl(&["get", "--raw", &format!("/api/v1/namespaces/{HOME}/pods/{name}:9464/proxy/metrics")])?;
        let bytes = page
            .lines()
            .filter(|line| {
                line.starts_with("indelible_collector_payload_bytes_total")
                    || line.starts_with("indelible_collector_bytes_total")
            })
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
    let mut objects = vec![namespace(home, "restricted", true, false)];
    // Zipf: the k-th pod prints 1/k of what the first prints.
    objects.extend((1..=8u32).map(|rank| steady(home, &format!("rank-{rank}"), 400 / rank)));
    suite.apply(&list(&objects))?;
    for rank in 1..=8 {
        suite.kubectl(&["rollout", "status", "-n", home, &format!("deployment/rank-{rank}"), "--timeout=120s"])?;
    }
    tokio::time::sleep(secs(30)).await; // balance is promised 30 s after a change
    let three = deviation(suite).await?;
    suite.kubectl(&["scale", "auditlog", "-n", HOME, POOL, "--replicas=5"])?;
    suite.kubectl(&["rollout", "status", "-n", HOME, &format!("statefulset/{POOL}"), "--timeout=180s"])?;
    tools::wait("five are ready", secs(120), async || {
        let object = suite.get(&crate::suite::AUDIT_LOG, HOME, POOL).await?;
        ensure!(object["status"]["collectors"] == "5/5", "{}", object["status"]["collectors"]);
        Ok(())
    })
    .await?;
    tokio::time::sleep(secs(30)).await;
    let five = deviation(suite).await?;
    println!("{}", all_is_there(suite, home, secs(90)).await?);
    suite.kubectl(&["delete", "namespace", home, "--wait=false"])?;
    suite.kubectl(&["scale", "auditlog", "-n", HOME, POOL, "--replicas=3"])?;
    ensure!(three <= 0.10 && five <= 0.10, "off by {:.1} % with three, {:.1} % with five", three * 100.0, five * 100.0);
    Ok(())
}

/// How long a pod takes from its creation to its first line.
fn start(suite: &Suite, namespace: &str, name: &str) -> Result<Duration> {
    let begun = Instant::now();
    suite.apply(&brief(namespace, name, 20).to_string())?;
    suite.kubectl(&[
        "wait",
        "-n",
        namespace,
        "--for=jsonpath={.status.phase}=Succeeded",
        &format!("pod/{name}"),
        "--timeout=120s",
    ])?;
    Ok(begun.elapsed())
}

pub async fn all_stopped(suite: &Suite) -> Result<()> {
    let (free, strict, plain) = ("stopped-free", "stopped-strict", "stopped-plain");
    suite.apply(&list(&[
        namespace(free, "restricted", true, false),
        namespace(strict, "restricted", true, true),
        namespace(plain, "restricted", false, false),
    ]))?;
    suite.apply(&steady(free, "before", 1).to_string())?;
    suite.kubectl(&["rollout", "status", "-n", free, "deployment/before", "--timeout=90s"])?;
    suite.kubectl(&["scale", "-n", RELEASE, "deployment/indelible-operator", "--replicas=0"])?;
    suite.kubectl(&["scale", "-n", HOME, &format!("statefulset/{POOL}"), "--replicas=0"])?;
    tools::wait("all of them are gone", secs(120), async || {
        let pods = suite
            .list(&POD, "", "app.kubernetes.io/component in (operator,collector),app.kubernetes.io/name=indelible")
            .await?;
        ensure!(pods.is_empty(), "{} pods", pods.len());
        Ok(())
    })
    .await?;
    let without = start(suite, plain, "one")?;
    let with = start(suite, free, "one")?;
    let refused = suite.refused(&brief(strict, "one", 3).to_string(), &["indelible"]);
    suite.kubectl(&["scale", "-n", RELEASE, "deployment/indelible-operator", "--replicas=2"])?;
    suite.kubectl(&["rollout", "status", "-n", RELEASE, "deployment/indelible-operator", "--timeout=90s"])?;
    suite.until(POOL, "Ready", "True", "", secs(180)).await?;
    refused.context("the enforced namespace took a pod")?;
    println!(
        "a pod runs to its end in {:.1} s, without Indelible in {:.1} s",
        with.as_secs_f64(),
        without.as_secs_f64()
    );
    ensure!(with < without + secs(3), "{with:?} instead of {without:?}");
    // What a pod printed that had its sidecar before is there afterwards.
    println!("{}", all_is_there(suite, free, secs(120)).await?);
    ensure!(
        evidence(suite, free)?.keys().any(|(_, pod, _)| pod.starts_with("before-")),
        "nothing of the pod from before"
    );
    suite.kubectl(&["delete", "namespace", free, strict, plain, "--wait=false"])?;
    Ok(())
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
