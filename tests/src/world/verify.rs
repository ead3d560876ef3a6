//! `indelible verify --json`, and its answer as a value.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::binary;

/// What `indelible verify --json` printed, as far as tests ask for it.
#[derive(Debug, Clone, Deserialize)]
pub struct Answer {
    /// The verdict on each axis.
    pub verdicts: BTreeMap<String, String>,
    /// The chains.
    pub chains: Vec<Chain>,
    /// The findings.
    pub findings: Vec<Finding>,
    /// How much was read.
    pub counts: BTreeMap<String, u64>,
    /// The exit code that the report names.
    pub exit: i32,
    /// The exit code of the process.
    #[serde(default)]
    pub code: i32,
}

/// A chain of the answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Chain {
    /// Its id, hex.
    #[serde(rename = "chain_id")]
    pub id: String,
    /// Its namespace.
    pub namespace: String,
    /// Its pod's name.
    pub pod: String,
    /// Its pod's UID.
    pub pod_uid: String,
    /// Its container.
    pub container: String,
    /// How many records.
    pub records: u64,
    /// The position after its last record.
    pub next_seq: u64,
    /// Its last link, hex.
    pub head: String,
    /// Whether it has ended.
    pub closed: bool,
}

/// A finding of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Finding {
    /// Its id.
    pub id: String,
    /// Its class.
    pub class: String,
    /// Its axis.
    pub axis: String,
    /// `warn`, `unknown` or `fail`.
    pub level: String,
    /// The log that is meant, by its origin.
    #[serde(default)]
    pub log: Option<String>,
    /// The chain that is meant, hex.
    #[serde(default)]
    pub chain_id: Option<String>,
    /// The first position that is meant.
    #[serde(default)]
    pub first_seq: Option<u64>,
    /// The last position that is meant.
    #[serde(default)]
    pub last_seq: Option<u64>,
    /// What a person reads.
    pub text: String,
}

impl Answer {
    /// The chain of a container: `<namespace>_<pod>_<uid>/<container>`. Of several, the newest in the answer's order.
    pub fn chain(&self, container: &str) -> Option<&Chain> {
        self.chains_of(container).last().copied()
    }

    /// All chains of a container.
    pub fn chains_of(&self, container: &str) -> Vec<&Chain> {
        let name = |c: &Chain| format!("{}_{}_{}/{}", c.namespace, c.pod, c.pod_uid, c.container);
        self.chains.iter().filter(|chain| name(chain) == container).collect()
    }

    /// The classes of the findings, each once.
    pub fn classes(&self) -> Vec<&str> {
        let mut classes: Vec<_> = self.findings.iter().map(|finding| finding.class.as_str()).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    /// The findings as lines, for a failed test.
    pub fn texts(&self) -> String {
        let line = |f: &Finding| format!("{} {} {}: {}\n", f.axis, f.level, f.class, f.text);
        self.findings.iter().map(line).collect()
    }
}

/// `indelible verify --json` over these sources with exactly these flags.
pub fn verify(sources: &[PathBuf], flags: &[&OsStr]) -> Result<Answer> {
    verify_by(&binary("indelible")?, sources, flags)
}

/// The same by another build's program.
pub fn verify_by(program: &Path, sources: &[PathBuf], flags: &[&OsStr]) -> Result<Answer> {
    let output = Command::new(program).arg("verify").args(sources).arg("--json").args(flags).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut answer: Answer = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("verify ended with {} and printed no report: {said}", output.status))?;
    answer.code = output.status.code().unwrap_or(-1);
    Ok(answer)
}
