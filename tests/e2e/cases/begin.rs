//! From nothing to audited workloads.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::judge;
use crate::manifests::{audit_log, list, namespace};
use crate::suite::{CLAIM, HOME, POD, POOL, SECRET, Suite};
use crate::tools::{self, secs};
use crate::workloads::{LASTING, eight};

/// The levels of Pod Security, and the namespace of each.
pub const LEVELS: [(&str, &str); 3] =
    [("privileged", "shop-privileged"), ("baseline", "shop-baseline"), ("restricted", "shop-restricted")];

/// The block of commands that stands in docs/quickstart.md, between its marks.
fn block(suite: &Suite) -> Result<String> {
    let page = std::fs::read_to_string(suite.root.join("docs/quickstart.md"))?;
    let (_, rest) = page
        .split_once("<!-- The end-to-end suite runs this block as it stands. -->")
        .context("docs/quickstart.md has lost its mark")?;
    let (_, rest) = rest.split_once("```sh\n").context("no block after the mark")?;
    Ok(rest.split_once("\n```").context("the block has no end")?.0.to_owned())
}

pub async fn quickstart(suite: &Suite) -> Result<()> {
    let block = block(suite)?;
    let begun = Instant::now();
    let output = suite.shell(&block, secs(240))?;
    let took = begun.elapsed();
    ensure!(output.code == 0, "the block ended with {}:\n{}\n{}", output.code, output.out, output.err);
    println!(
        "{}",
        output.out.lines().rev().take(12).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    );
    println!("helm install to the first verified line: {:.1} s", took.as_secs_f64());
    ensure!(took < secs(90), "it took {took:?}, the limit is 90 s");
    suite.until(POOL, "Ready", "True", "", secs(60)).await?;
    Ok(())
}

pub async fn empty_spec(suite: &Suite) -> Result<()> {
    let name = "empty";
    let make = audit_log(name, &json!({})).to_string();
    let begun = Instant::now();
    suite.apply(&make)?;
    suite.until(name, "Ready", "True", "", secs(120)).await?;
    println!("an empty spec is Ready after {:.1} s", begun.elapsed().as_secs_f64());
    let before = suite.get(&SECRET, HOME, "empty-ca").await?["data"].clone();
    let logs = |object: Value| -> Vec<String> {
        let logs = object["status"]["logs"].as_array().cloned().unwrap_or_default();
        logs.iter().filter_map(|log| log["origin"].as_str().map(str::to_owned)).collect()
    };
    let origins = logs(suite.get(&crate::suite::AUDIT_LOG, HOME, name).await?);
    ensure!(origins.len() == 3, "three logs are expected: {origins:?}");
    suite.kubectl(&["delete", "auditlog", "-n", HOME, name, "--wait"])?;
    tools::wait("its collectors are gone", secs(120), async || {
        let pods = suite.list(&POD, HOME, &format!("indelible.dev/audit-log={HOME}.{name}")).await?;
        ensure!(pods.is_empty(), "{} pods", pods.len());
        Ok(())
    })
    .await?;
    let kept = suite.get(&SECRET, HOME, "empty-ca").await.context("the CA is kept")?["data"].clone();
    ensure!(kept == before, "the CA that was kept is another one");
    for ordinal in 0..3 {
        suite.get(&CLAIM, HOME, &format!("data-{name}-{ordinal}")).await.context("the volumes are kept")?;
    }
    let events = suite.kubectl(&["get", "events", "-n", HOME, "-o", "wide"])?;
    ensure!(events.contains("data-empty-0"), "no Event says which volumes are kept:\n{events}");
    suite.apply(&make)?;
    suite.until(name, "Ready", "True", "", secs(120)).await?;
    let again = logs(suite.get(&crate::suite::AUDIT_LOG, HOME, name).await?);
    ensure!(again == origins, "made again it has other logs: {again:?}, before {origins:?}");
    suite.kubectl(&["delete", "auditlog", "-n", HOME, name, "--wait"])?;
    suite.kubectl(&["delete", "secret", "-n", HOME, "empty-ca"])?;
    suite.kubectl(&["delete", "pvc", "-n", HOME, "data-empty-0", "data-empty-1", "data-empty-2", "--wait=false"])?;
    Ok(())
}

pub async fn covered(suite: &Suite) -> Result<()> {
    let mut objects: Vec<Value> = LEVELS.iter().map(|(level, name)| namespace(name, level, true, false)).collect();
    suite.apply(&list(&objects))?;
    objects.clear();
    for (_, name) in LEVELS {
        objects.extend(eight(name));
    }
    let begun = Instant::now();
    suite.apply(&list(&objects))?;
    let wanted = LEVELS.len() as u64 * LASTING;
    let mut last = String::new();
    let told = tools::wait("all are covered", secs(180), async || {
        let object = suite.get(&crate::suite::AUDIT_LOG, HOME, POOL).await?;
        let coverage = &object["status"]["coverage"];
        let number = |field: &str| coverage[field].as_u64().unwrap_or_default();
        last = coverage.to_string();
        ensure!(number("selected") >= wanted, "{coverage}, expected {wanted} pods");
        ensure!(number("streaming") == number("selected"), "{coverage}");
        let (status, reason, message) = suite.condition(POOL, "Covered").await?;
        ensure!(status == "True", "Covered={status} {reason}: {message}");
        Ok(coverage.to_string())
    })
    .await?;
    let took = begun.elapsed();
    println!("covered after {:.1} s: {told}", took.as_secs_f64());
    ensure!(took < secs(90), "it took {took:?}: 60 s are promised, and a busy machine is given 90");
    let output = suite.indelible(&["coverage", "-n", HOME, POOL])?;
    ensure!(output.code == 0, "kubectl indelible coverage ended with {}:\n{}{}", output.code, output.out, output.err);
    println!("{}", judge::all_is_there(suite, "shop-", secs(60)).await?);
    ensure!(begun.elapsed() < secs(180), "it took {:?}", begun.elapsed());
    Ok(())
}

pub async fn jobs_complete(suite: &Suite) -> Result<()> {
    for (_, name) in LEVELS {
        suite.kubectl(&["wait", "-n", name, "--for=condition=Complete", "job/job", "--timeout=90s"])?;
    }
    tools::wait("what the Jobs printed is there", secs(30), async || {
        let seen = judge::evidence(suite, "shop-")?;
        let ended = seen.iter().filter(|((_, pod, _), seen)| pod.starts_with("job-") && seen.end == Some(200)).count();
        ensure!(ended == LEVELS.len(), "{ended} Jobs have said their end");
        Ok(())
    })
    .await
}
