//! A18: another implementation judges every log, too. It is written from the format's text alone, in another language
//! (`tests/foreign/heads.py`), so that an error of ours would have to be made twice to stay unseen.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::bytes::with_another_body;
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

/// Both judge the same directories: of the twin's they agree in every log's root and every chain's head, and of the
/// attack's each says by itself that a batch's links do not follow from its body.
pub fn judges_too(stage: &Stage, side: Side) -> Result<Trial> {
    let image = with_another_body(stage, &mut stage.rng("A18"))?;
    let judge = stage.judge()?.attacked(side, &image)?;
    let answer = judge.run()?;
    let (code, said) = asked(stage, &judge, side)?;
    ensure!(code == i32::from(side.is_attack()), "the other implementation ends with {code}:\n{said}");
    // It calls a log by the last part of its directory.
    let is_found = said.lines().any(|line| line.starts_with("disagrees: data: leaf "));
    ensure!(is_found == side.is_attack(), "what the other implementation says:\n{said}");
    Ok(Trial::judged(answer, stage.names()))
}

/// The other implementation's exit code and its words. Our report is what the twin's is compared with; of the attack's it
/// knows nothing.
fn asked(stage: &Stage, judge: &Judge<'_>, side: Side) -> Result<(i32, String)> {
    let mut command = Command::new(PYTHON);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign/heads.py"));
    command.arg("--data").args(judge.sources());
    if side == Side::Twin {
        let report = stage.work()?.join("report.json");
        std::fs::write(&report, judge.report()?)?;
        command.arg("--verify-json").arg(report);
    }
    for collector in &stage.world.collectors {
        command.args(["--vkey", collector.vkey()]);
    }
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code().unwrap_or(-1), said.into_owned()))
}
