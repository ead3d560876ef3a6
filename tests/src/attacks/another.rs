//! A18: another implementation judges every log, too. It is written from the format's text alone, in another language
//! (`tests/foreign/heads.py`), so that an error of ours would have to be made twice to stay unseen.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::bytes::with_a_flipped_body;
use super::stage::{Judge, Stage};
use super::{Side, Trial};

/// What the other implementation needs, by its packages in Debian, if it is not there.
pub fn lacks() -> Option<&'static str> {
    let runs = |program: &str, flags: &[&str]| {
        Command::new(program).args(flags).output().is_ok_and(|output| output.status.success())
    };
    let is_there = runs(PYTHON, &["-c", "import cryptography"]) && runs("zstd", &["--version"]);
    (!is_there).then_some("python3-cryptography and zstd")
}

const PYTHON: &str = "/usr/bin/python3";

/// Both judge the same directories: over the twin's they agree on every log's root and every chain's head, and of the
/// attack's each says by itself that it does not hold.
pub fn judges_too(stage: &Stage, side: Side) -> Result<Trial> {
    let image = with_a_flipped_body(stage, &mut stage.rng("A18"))?;
    let judge = stage.judge()?.attacked(side, &image)?;
    let answer = judge.run()?;
    let (code, said) = asked(stage, &judge)?;
    ensure!(code == i32::from(side.is_attack()), "the other implementation ends with {code}:\n{said}");
    let names_it = said.lines().any(|line| line.starts_with("disagrees: ") && line.contains(stage.origin()));
    ensure!(names_it == side.is_attack(), "what the other implementation says of {}:\n{said}", stage.origin());
    Ok(Trial::judged(answer, stage.names()))
}

/// The other implementation's exit code and its words, ours' report being what it compares with.
fn asked(stage: &Stage, judge: &Judge<'_>) -> Result<(i32, String)> {
    let report = stage.work()?.join("report.json");
    std::fs::write(&report, judge.report()?)?;
    let mut command = Command::new(PYTHON);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign/heads.py"));
    command.arg("--data").args(judge.sources()).arg("--verify-json").arg(&report);
    for collector in &stage.world.collectors {
        command.args(["--vkey", collector.vkey()]);
    }
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code().unwrap_or(-1), said.into_owned()))
}
