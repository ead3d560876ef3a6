//! Row 15: what a collector keeps on its disk, proofs included, against the same payloads packed as a file.

use anyhow::{Context as _, Result};

use super::{real, w1};
use crate::corpus::{Workload, write_payloads};
use crate::limits::CASE;
use crate::pairs::{Pairs, Spread};
use crate::peers::zstd;
use crate::process::{Core, eventually};
use crate::row::{Bound, Case, Durability, Outcome, Row, Side};
use crate::settings::Settings;
use crate::world::{Pod, World, disk_bytes, version};

/// The row.
pub const ROW: Row = Row {
    number: 15,
    measure: "disk bytes of a collector",
    workload: "W1",
    cases: &[Case {
        name: "zstd",
        unit: "×",
        each: "MB",
        must: Some(Bound::AtMost(1.4)),
        aim: Some(Bound::AtMost(1.25)),
        ours: Side {
            name: "collector",
            does: "keeps leaves, bodies, index, tiles and checkpoints of a sealed log",
            class: Durability::D2,
        },
        theirs: Some(Side {
            name: "zstd",
            does: "zstd -1 -B256K of the payloads, a newline each",
            class: Durability::None,
        }),
    }],
    run,
};

fn run(row: &Row, settings: &Settings) -> Result<Vec<Outcome>> {
    let case = row.case("zstd")?;
    let peer = match zstd::find() {
        Ok(peer) => peer,
        Err(error) => return Ok(vec![row.skipped(case, &error.to_string())]),
    };
    let dir = tempfile::tempdir()?;
    let (input, written) = w1(settings, dir.path())?;
    let payloads = dir.path().join("payloads");
    write_payloads(&payloads, Workload::W1, settings.seed, written.lines)?;
    let theirs = zstd::packed_bytes(&peer, &payloads, dir.path())?;
    std::fs::remove_file(payloads)?;

    let mut world = World::start(settings, 1, Core::Others, &[])?;
    let pod = Pod::numbered(1);
    std::fs::rename(input, world.container(&pod, "app")?.join("0.log"))?;
    let sidecar = world.sidecar(&pod, &[])?;
    eventually("the collector has every line", CASE, || {
        sidecar.process().goes_on()?;
        Ok((world.stored()? > written.lines).then_some(()))
    })?;
    sidecar.finish()?;
    let collector = world.collectors.first_mut().context("there is a collector")?;
    let data = collector.data();
    collector.terminate()?;
    let (all, room) = disk_bytes(&data)?;
    let ours = all.saturating_sub(room);

    let one = |figure: f64| Spread::of(&[figure]);
    let mb = |bytes: u64| one(real(bytes) / 1e6);
    let pairs = Pairs { ratio: one(real(ours) / real(theirs)), ours: mb(ours), theirs: mb(theirs) };
    let ratio = real(written.payload_bytes + written.lines) / real(theirs);
    let outcome = row.compared(case, 1, &pairs, (&version(settings, "indelible-collector")?, &peer.version));
    Ok(vec![outcome.noting(format!(
        "{} lines; zstd makes the payloads {ratio:.2} times smaller. Not counted: {:.0} MB that the last segment has for more",
        written.lines,
        real(room) / 1e6,
    ))])
}
