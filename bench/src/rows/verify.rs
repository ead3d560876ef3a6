//! Row 9: how long the verifier takes for a log, against hashing the same payload bytes once.
//!
//! The log is what a sidecar and a collector make of W1. The verifier reads the collector's directory and recomputes every
//! link, leaf, tile, signature and receipt's worth; `openssl` reads the payloads from one file. All of it is in the page
//! cache before.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::{Sealed, real, sealed};
use crate::limits::CASE;
use crate::pairs;
use crate::peers::openssl;
use crate::process::{Core, Process, Spec};
use crate::row::{Bound, Case, Durability, Outcome, Row, Side};
use crate::settings::Settings;
use crate::world::{World, disk_bytes, version};

const fn case(name: &'static str, must: f64, aim: f64, does: &'static str) -> Case {
    Case {
        name,
        unit: "×",
        each: "s",
        must: Some(Bound::AtMost(must)),
        aim: Some(Bound::AtMost(aim)),
        ours: Side { name: "indelible verify", does, class: Durability::None },
        theirs: Some(Side {
            name: "openssl",
            does: "openssl dgst -sha256 of the payloads, on one core",
            class: Durability::None,
        }),
    }
}

/// The row.
pub const ROW: Row = Row {
    number: 9,
    measure: "time to verify a log, against hashing its payloads once",
    workload: "W1 as one log",
    cases: &[
        case(
            "openssl, on one core",
            5.0,
            4.0,
            "every frame, link, leaf, tile and signature of a data directory, on one core",
        ),
        case("openssl, on two cores", 2.5, 2.0, "the same, on two cores"),
    ],
    run,
};

/// What is verified, and what is hashed instead.
struct Input {
    world: World,
    data: PathBuf,
    policy: PathBuf,
    payloads: PathBuf,
    said: String,
}

fn run(row: &Row, settings: &Settings) -> Result<Vec<Outcome>> {
    let installed = match openssl::find() {
        Ok(installed) => installed,
        Err(error) => return Ok(row.cases.iter().map(|case| row.skipped(case, &error.to_string())).collect()),
    };
    let dir = tempfile::tempdir()?;
    let input = input(settings, dir.path())?;
    // Into the page cache, and whether it is as it should be.
    verify(&input, Core::Any)?;
    let mut outcomes = Vec::new();
    for (case, core) in row.cases.iter().zip([Core::Measured, Core::Any]) {
        let theirs = || {
            let begin = Instant::now();
            openssl::sha256(&installed, &input.payloads, dir.path())?;
            Ok(begin.elapsed().as_secs_f64())
        };
        let pairs = pairs::run(settings.pairs, theirs, || verify(&input, core))?;
        let outcome =
            row.compared(case, settings.pairs, &pairs, (&version(settings, "indelible")?, &installed.version));
        outcomes.push(outcome.noting(input.said.clone()));
    }
    Ok(outcomes)
}

/// Seconds that the verifier takes, which must find nothing.
fn verify(input: &Input, core: Core) -> Result<f64> {
    let spec = Spec::new("verify", &input.world.program("indelible")?)
        .on(core)
        .args(["verify", "--json", "--policy"])
        .arg(&input.policy)
        .arg("--issuer-keys")
        .arg(input.world.issuer.jwks())
        .arg(&input.data);
    let begin = Instant::now();
    Process::run(&spec, input.world.dir(), CASE, &[0])?;
    Ok(begin.elapsed().as_secs_f64())
}

/// A sealed log, and a policy that has its key.
fn input(settings: &Settings, dir: &Path) -> Result<Input> {
    let Sealed { world, payloads, written } = sealed(settings, dir)?;
    let (data, vkey) = (world.collectors[0].data(), world.collectors[0].vkey());
    let policy = dir.join("policy");
    std::fs::write(&policy, format!("log {vkey}\nquorum none\n"))?;
    ensure!(data.is_dir(), "the collector has a directory");
    let said = format!(
        "{} lines, {:.2} GB of payloads, {:.2} GB on the collector's disk",
        written.lines,
        real(written.payload_bytes) / 1e9,
        real(disk_bytes(&data)?.0) / 1e9,
    );
    Ok(Input { world, data, policy, payloads, said })
}
