//! The real verifier over a history or a mutation of it, and whether it answers as the model says.
//!
//! `indelible verify --json` runs as a process of its own, bounded in memory and time, for every case; a panic is one,
//! whatever else was answered. A case needs a directory to write to, which is empty again afterwards.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::image::Image;
use super::model::{Expected, Verdict, expect};
use super::mutation::Mutation;
use super::story::History;
use crate::world::{Answer, Process, binary};

/// How long a verification may take.
const BOUND: Duration = Duration::from_mins(2);

/// What is verified.
#[derive(Debug, Clone)]
pub enum Case {
    /// The history as it is.
    Untouched,
    /// The history, changed.
    Changed(Mutation),
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What was not as the model says, one thing a line; empty if all was.
    pub wrong: Vec<String>,
    /// Whether the verifier panicked.
    pub is_panic: bool,
}

/// A history on disk.
#[derive(Debug)]
pub struct Checker {
    /// The history.
    pub history: History,
    program: PathBuf,
    base: PathBuf,
}

impl Checker {
    /// Writes a history below `base`.
    pub fn new(history: History, base: &Path) -> Result<Self> {
        history.write(base)?;
        Ok(Self { history, program: binary("indelible")?, base: base.into() })
    }

    /// Runs a case; `work` is a directory of its own.
    pub fn run(&self, case: &Case, work: &Path) -> Result<Outcome> {
        let untouched: Vec<Option<Image>>;
        let directories = match case {
            Case::Untouched => {
                untouched = self.history.directories.iter().cloned().map(Some).collect();
                &untouched
            }
            Case::Changed(mutation) => &mutation.directories,
        };
        let expected = expect(&self.history, directories);
        let sources = self.sources(directories, work)?;
        std::fs::create_dir_all(work)?;
        let mut process = Process::start("verify", work, &self.program, &self.arguments(&sources)?, &[])?;
        let status = process.wait(BOUND)?;
        let stderr = process.stderr()?;
        let is_panic = stderr.contains("panicked at") || status.code().is_none();
        let mut wrong = match serde_json::from_str::<Answer>(&process.stdout()?) {
            Ok(answer) => compare(&expected, &answer, status.code(), matches!(case, Case::Untouched)),
            Err(error) => vec![format!("no report: {error}; {status}; it said: {stderr}")],
        };
        if is_panic {
            wrong.push(format!("it panicked: {stderr}"));
        }
        Ok(Outcome { wrong, is_panic })
    }

    /// Where the directories are: those that are as they were stay in their place.
    fn sources(&self, directories: &[Option<Image>], work: &Path) -> Result<Vec<PathBuf>> {
        let mut sources = Vec::new();
        for (at, (image, original)) in directories.iter().zip(&self.history.directories).enumerate() {
            let base = self.base.join(at.to_string());
            sources.push(match image {
                Some(image) if image == original => base,
                Some(image) => {
                    let to = work.join(at.to_string());
                    image.write(&to, Some((original, &base)))?;
                    to
                }
                None => work.join("nothing"),
            });
        }
        Ok(sources)
    }

    fn arguments(&self, sources: &[PathBuf]) -> Result<Vec<OsString>> {
        let mut arguments: Vec<OsString> = vec!["verify".into()];
        arguments.extend(sources.iter().map(Into::into));
        let now = jiff::Timestamp::from_nanosecond(self.history.now.into()).context("a time of this century")?;
        arguments.extend(["--json".into(), "--offline".into(), "--now".into(), now.to_string().into()]);
        arguments.extend(["--policy".into(), self.base.join("policy").into()]);
        arguments.extend(["--issuer-keys".into(), self.base.join("jwks.json").into()]);
        for at in 0..self.history.seen.len() {
            arguments.extend(["--checkpoint".into(), self.base.join(format!("seen-{at}")).into()]);
        }
        Ok(arguments)
    }
}

/// What of an answer is not as expected.
fn compare(expected: &Expected, answer: &Answer, code: Option<i32>, is_untouched: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    if code != Some(expected.exit) || answer.exit != expected.exit {
        wrong.push(format!("exit {code:?} (the report says {}), expected {}", answer.exit, expected.exit));
    }
    for (axis, span) in expected.axes {
        let got = answer.verdicts.get(axis).map_or("nothing", String::as_str);
        if !span.allows(got) {
            let (best, worst) = (span.best.word(), span.worst.word());
            wrong.push(format!(
                "{axis} {got}, expected {best}{}",
                if best == worst { String::new() } else { format!(" to {worst}") }
            ));
        }
    }
    for fault in &expected.faults {
        let is_named = answer.findings.iter().any(|finding| {
            // A finding about a chain can have several logs to name.
            fault.classes.contains(&finding.class.as_str()) && finding.text.contains(&fault.log)
        });
        if !is_named {
            wrong.push(format!("no finding of {:?} that names {}", fault.classes, fault.log));
        }
    }
    let accusing = answer.findings.iter().filter(|finding| {
        finding.level == Verdict::Fail.word() && ["integrity", "authenticity"].contains(&finding.axis.as_str())
    });
    for finding in accusing {
        if !finding.log.as_ref().is_some_and(|log| expected.accused.contains(log)) {
            wrong.push(format!("{:?} is accused: {}", finding.log, finding.text));
        }
    }
    if is_untouched && !answer.findings.is_empty() {
        wrong.push(format!("raised over untouched evidence:\n{}", answer.texts()));
    }
    if !wrong.is_empty() {
        wrong.push(format!("its findings:\n{}", answer.texts()));
    }
    wrong
}
