//! The rows of docs/benchmarks.md that this program measures, a module each, and what they have in common.

pub mod acks;
pub mod catchup;
pub mod disk;
pub mod held;
pub mod idle;
pub mod live;
pub mod price;
pub mod records;
pub mod sent;
pub mod ship;
pub mod verify;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::corpus::{Workload, Written, write_cri, write_payloads};
use crate::limits::CASE;
use crate::peers::zstd;
use crate::process::{Core, eventually};
use crate::row::Row;
use crate::settings::Settings;
use crate::world::{Pod, World};

/// All of them, in the order of their numbers.
pub const ALL: &[Row] = &[
    ship::RSYSLOG,
    ship::OTELCOL,
    idle::ROW,
    live::peak::ROW,
    acks::ROW,
    records::ROW,
    live::latency::ROW,
    verify::ROW,
    catchup::ROW,
    live::stall::ROW,
    disk::ROW,
    price::ROW,
    held::ROW,
];

/// W1 as a CRI log file in a directory.
pub fn w1(settings: &Settings, dir: &Path) -> Result<(PathBuf, Written)> {
    let path = dir.join("w1.log");
    let written = write_cri(&path, Workload::W1, settings.seed, settings.bytes())?;
    Ok((path, written))
}

/// The sealed log that a sidecar and a collector made of W1, and W1's payloads as one file.
pub struct Sealed {
    /// Its only collector has ended.
    pub world: World,
    /// A newline behind each payload.
    pub payloads: PathBuf,
    /// What was printed.
    pub written: Written,
}

/// Has a sidecar send W1 to a collector, which seals its log; files go to a directory.
pub fn sealed(settings: &Settings, dir: &Path) -> Result<Sealed> {
    let (file, written) = w1(settings, dir)?;
    let payloads = dir.join("payloads");
    write_payloads(&payloads, Workload::W1, settings.seed, written.lines)?;
    let mut world = World::start(settings, 1, Core::Others, &[])?;
    let pod = Pod::numbered(1);
    std::fs::rename(file, world.container(&pod, "app")?.join("0.log"))?;
    let sidecar = world.sidecar(&pod, &[])?;
    eventually("the collector has every line", CASE, || {
        sidecar.process().goes_on()?;
        Ok((world.stored()? > written.lines).then_some(()))
    })?;
    sidecar.finish()?;
    world.collectors.first_mut().context("there is a collector")?.terminate()?;
    Ok(Sealed { world, payloads, written })
}

/// How many times smaller `zstd -1 -B256K` makes a file.
pub fn zstd_ratio(path: &Path) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    Ok(real(std::fs::metadata(path)?.len()) / real(zstd::packed_bytes(&zstd::find()?, path, dir.path())?))
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "what is counted here is far below 2^53")]
pub fn real(count: u64) -> f64 {
    count as f64
}
