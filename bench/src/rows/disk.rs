//! Row 15: what a collector keeps on its disk, proofs included, against the same payloads packed as a file.

use anyhow::Result;

use super::{Sealed, real, sealed};
use crate::pairs::{Pairs, Spread};
use crate::peers::zstd;
use crate::row::{Bound, Case, Durability, Outcome, Row, Side};
use crate::settings::Settings;
use crate::world::{disk_bytes, version};

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
    let Sealed { world, payloads, written } = sealed(settings, dir.path())?;
    let theirs = zstd::packed_bytes(&peer, &payloads, dir.path())?;
    let (all, room) = disk_bytes(&world.collectors[0].data())?;
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
