//! What the evidence holds against what the containers counted. Shares no code with the verifier: it reads what
//! `kubectl indelible logs --json` prints, and knows what each line must be.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::suite::{HOME, POD, POOL, Suite};
use crate::tools;
use crate::workloads::{ALL, Printing};

#[derive(Deserialize)]
struct Record {
    namespace: String,
    pod: String,
    container: String,
    seq: u64,
    source: String,
    chain_id: String,
    #[serde(default)]
    flags: Vec<String>,
    text: Option<String>,
}

/// Whose lines: namespace, pod, container.
pub type Key = (String, String, String);

/// What one container is seen to have printed.
#[derive(Debug, Default)]
pub struct Seen {
    /// The number of its last line; lines 1 to it are all there, in order.
    pub last: u64,
    /// What the container said at its end.
    pub end: Option<u64>,
    /// What is missing behind the last line, while later ones are there: records of some seconds lie in several logs,
    /// and each log is proven up to the checkpoint that was cosigned last. It is a loss only if it stays.
    hole: Option<String>,
}

/// The evidence of all namespaces with this prefix. Every line is checked, bytes and order; what is twice or not of its
/// container is an error that names it, what is not there yet is a hole.
pub fn evidence(suite: &Suite, prefix: &str) -> Result<BTreeMap<Key, Seen>> {
    let mut args = vec!["logs", "-n", HOME, POOL, "--json"];
    // A whole name needs no more than its own records.
    if !prefix.ends_with('-') {
        args.extend(["--namespace", prefix]);
    }
    let output = suite.indelible(&args)?;
    ensure!(output.code == 0, "kubectl indelible logs ended with {}:\n{}", output.code, output.err);
    let mut all: BTreeMap<Key, Seen> = BTreeMap::new();
    let mut open: BTreeMap<(String, String), String> = BTreeMap::new();
    for (at, line) in output.out.lines().enumerate() {
        let record: Record =
            serde_json::from_str(line).with_context(|| format!("line {at} of logs --json: {line:.200}"))?;
        if record.source == "control" || !record.namespace.starts_with(prefix) {
            continue;
        }
        let text = record.text.clone().with_context(|| format!("{line:.200} is no text"))?;
        let part = open.entry((record.chain_id.clone(), record.source.clone())).or_default();
        part.push_str(&text);
        if record.flags.iter().any(|flag| flag == "continues") {
            continue;
        }
        let whole = std::mem::take(part);
        let key = (record.namespace, record.pod, record.container);
        let seen = all.entry(key.clone()).or_default();
        take(seen, &whole).with_context(|| format!("{}/{} {}, record {}", key.0, key.1, key.2, record.seq))?;
    }
    Ok(all)
}

fn take(seen: &mut Seen, line: &str) -> Result<()> {
    let mut words = line.splitn(3, ' ');
    let (name, number) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let printing: &Printing =
        ALL.iter().find(|printing| printing.name == name).with_context(|| format!("nobody prints {line:.100}"))?;
    if number == "end" {
        let end = words.next().unwrap_or_default().parse()?;
        match &seen.hole {
            _ if seen.last == end => seen.end = Some(end),
            Some(_) => {}
            None => seen.hole = Some(format!("lines {} to {end} are not there, and the end is", seen.last + 1)),
        }
        return Ok(());
    }
    let number: u64 = number.parse().with_context(|| format!("{line:.100}"))?;
    ensure!(number > seen.last, "line {number} is there twice, after line {}", seen.last);
    ensure!(line == printing.line(number), "line {number} is not as it was printed: {line:.100}");
    if number == seen.last + 1 {
        seen.last = number;
    } else if seen.hole.is_none() {
        seen.hole = Some(format!("lines {} to {} are not there, and {number} is", seen.last + 1, number - 1));
    }
    Ok(())
}

/// What the running containers of these namespaces have counted so far.
pub async fn counted(suite: &Suite, prefix: &str) -> Result<BTreeMap<Key, u64>> {
    let mut counts = BTreeMap::new();
    for pod in suite.list(&POD, "", "").await? {
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        if !namespace.starts_with(prefix)
            || text("/status/phase") != "Running"
            || !pod["metadata"]["deletionTimestamp"].is_null()
        {
            continue;
        }
        let running = pod["status"]["containerStatuses"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|status| !status["state"]["running"].is_null())
            .and_then(|status| status["name"].as_str());
        let Some(running) = running else { continue };
        let all = "cd /count && for f in *; do [ $f = stop ] || echo $f $(cat $f); done";
        let output = suite.try_kubectl(&["exec", "-n", &namespace, &name, "-c", running, "--", "sh", "-c", all], "")?;
        if output.code != 0 {
            continue; // it ended just now
        }
        for line in output.out.lines() {
            if let Some((container, count)) = line.split_once(' ')
                && let Ok(count) = count.parse()
            {
                counts.insert((namespace.clone(), name.clone(), container.to_owned()), count);
            }
        }
    }
    Ok(counts)
}

/// Everything that was counted up to now is in evidence, soon: nothing lost, nothing twice, each byte as printed.
pub async fn all_is_there(suite: &Suite, prefix: &str, limit: Duration) -> Result<String> {
    let counts = counted(suite, prefix).await?;
    ensure!(!counts.is_empty(), "no container of {prefix}* runs");
    let told = tools::wait("everything that was printed is in evidence", limit, async || {
        let seen = evidence(suite, prefix)?;
        for (key, count) in &counts {
            let last = seen.get(key).map_or(0, |seen| seen.last);
            ensure!(last >= *count, "{}/{} {} has printed {count} lines, {last} are there", key.0, key.1, key.2);
        }
        // What has ended is whole; what runs is as far as it had counted.
        for (key, found) in seen.iter().filter(|(key, _)| !counts.contains_key(*key)) {
            if let Some(hole) = &found.hole {
                bail!("{}/{} {}: {hole}", key.0, key.1, key.2);
            }
        }
        let lines: u64 = seen.values().map(|seen| seen.last).sum();
        Ok(format!("{lines} lines of {} containers, {} of them running", seen.len(), counts.len()))
    })
    .await?;
    Ok(told)
}

/// `kubectl indelible verify --json`: its exit code and its report.
pub fn verify(suite: &Suite, more: &[&str]) -> Result<(i32, Value)> {
    let mut args = vec!["verify", "-n", HOME, POOL, "--json"];
    args.extend(more);
    let output = suite.indelible(&args)?;
    let report = serde_json::from_str(&output.out)
        .with_context(|| format!("verify ended with {} and no report:\n{}{}", output.code, output.out, output.err))?;
    Ok((output.code, report))
}

/// No finding says that something was changed, is missing or does not come from its pod.
pub fn is_clean(report: &Value) -> Result<()> {
    let bad: Vec<String> = report["findings"]
        .as_array()
        .context("no findings")?
        .iter()
        .filter(|finding| finding["level"] == "fail" && finding["axis"] != "freshness")
        .map(|finding| format!("{}: {}", finding["class"], finding["text"]))
        .collect();
    ensure!(bad.is_empty(), "verify found:\n{}", bad.join("\n"));
    ensure!(report["verdicts"]["integrity"] == "pass", "integrity is {}", report["verdicts"]["integrity"]);
    Ok(())
}
