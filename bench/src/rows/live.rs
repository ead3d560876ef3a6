//! Rows 5, 8 and 14: a container that prints live: how large its sidecar becomes, how long a line waits for its receipt,
//! and how long none comes when a collector is killed.

pub mod latency;
pub mod peak;
pub mod stall;

use anyhow::Result;

use crate::limits::CASE;
use crate::metrics::{scrape, value, whole};
use crate::process::eventually;
use crate::row::{Durability, Side};
use crate::world::{Sidecar, World};

const SIDECAR: Side = Side {
    name: "sidecar",
    does: "tails, links, signs, packs, sends over TLS, waits for durable receipts",
    class: Durability::D2,
};

/// Waits until all of `lines` and the sidecar's own first record are stored.
fn all_stored(world: &World, sidecar: &Sidecar, lines: u64) -> Result<()> {
    eventually("the collectors have every line", CASE, || {
        sidecar.process().goes_on()?;
        Ok((world.stored()? > lines).then_some(()))
    })
}

/// Waits until the sidecar has linked this many lines and has receipts for all of them.
pub fn all_receipted(sidecar: &Sidecar, lines: u64) -> Result<()> {
    eventually("the sidecar has receipts for every line", CASE, || {
        sidecar.process().goes_on()?;
        let text = scrape(sidecar.metrics())?;
        let waits = value(&text, "indelible_sidecar_unreceipted_records_bytes")?;
        let linked = whole(value(&text, "indelible_sidecar_records_total")?);
        Ok((linked > lines && whole(waits) == 0).then_some(()))
    })
}
