//! What `indelible verify --json`, run as a process like a user's, says about data directories.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::process::{arguments, run};
use super::stage::Stage;
use super::tamper::Tampered;
use crate::text::one_line;

/// A verdict.
#[derive(Debug)]
pub struct Verdict {
    /// The exit code.
    pub exit: i32,
    /// The four verdicts, in words.
    pub verdicts: String,
    /// Records that were verified.
    pub records: u64,
    /// Chains.
    pub chains: u64,
    /// Logs.
    pub logs: u64,
    findings: Vec<Value>,
}

impl Verdict {
    /// Verifies these data directories under the demo's policy.
    pub async fn of(stage: &Stage, data: &[PathBuf]) -> Result<Self> {
        let (policy, jwks) = (stage.dir.join("policy"), stage.dir.join("jwks.json"));
        let mut all = arguments([&"verify"]);
        all.extend(data.iter().map(|data| data.as_os_str().to_owned()));
        all.extend(arguments([&"--policy", &policy, &"--issuer-keys", &jwks, &"--json"]));
        let (exit, stdout) = run(&stage.programs.indelible, &all).await?;
        let report: Value = serde_json::from_str(&stdout).context("what verify --json prints")?;
        let words = ["integrity", "authenticity", "completeness", "freshness"];
        let verdicts = words.map(|axis| format!("{axis} {}", report["verdicts"][axis].as_str().unwrap_or("?")));
        let list = |name: &str| report[name].as_array().cloned().unwrap_or_default();
        Ok(Self {
            exit,
            verdicts: verdicts.join(", "),
            records: report["counts"]["records"].as_u64().unwrap_or_default(),
            chains: list("chains").len() as u64,
            logs: list("logs").len() as u64,
            findings: list("findings"),
        })
    }

    /// How many findings fail.
    pub fn fails(&self) -> usize {
        self.findings.iter().filter(|finding| finding["level"] == "fail").count()
    }

    /// The verdicts and findings on one line.
    pub fn summary(&self) -> String {
        let findings = self.findings.iter().map(|f| format!("{} {}: {}", f["level"], f["class"], f["text"]));
        one_line(&format!("exit {}, {}; {}", self.exit, self.verdicts, findings.collect::<Vec<_>>().join("; ")))
    }

    /// The finding that names what was tampered with: its collector, and its pod and container.
    pub fn naming(&self, tampered: &Tampered) -> Result<String> {
        let names = |finding: &&Value| {
            let text = finding["text"].as_str().unwrap_or_default();
            finding["level"] == "fail"
                && finding["axis"] == "integrity"
                && [&tampered.origin, &tampered.pod, &tampered.container]
                    .iter()
                    .all(|name| text.contains(name.as_str()))
        };
        let Some(finding) = self.findings.iter().find(names) else {
            bail!(
                "no finding names {} and {}/{}: {}",
                tampered.origin,
                tampered.pod,
                tampered.container,
                self.summary()
            );
        };
        let text = one_line(finding["text"].as_str().unwrap_or_default());
        Ok(format!("{}: {text}", finding["class"].as_str().unwrap_or_default()))
    }
}
