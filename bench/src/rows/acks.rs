//! Row 6: durable acknowledgements a second of single records.
//!
//! The server is on one core and who loads it on the other, 1,000 requests in flight. Ours are pods with a signed batch
//! of one record each, over TLS; theirs are messages of the same payloads over plain TCP.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::real;
use super::sent::sends;
use crate::corpus::{Corpus, Workload};
use crate::pairs;
use crate::peers::load::{Load, write_entries};
use crate::peers::nats;
use crate::row::{Bound, Case, Durability, Outcome, Row, Side};
use crate::senders::{self, Payloads, Plan};
use crate::settings::Settings;
use crate::world::version;

/// The row.
pub const ROW: Row = Row {
    number: 6,
    measure: "durable acknowledgements a second, one record a batch, 1,000 in flight",
    workload: "200-byte records",
    cases: &[Case {
        name: "nats-server",
        unit: "×",
        each: "acks/s",
        must: Some(Bound::AtLeast(2.0)),
        aim: Some(Bound::AtLeast(3.0)),
        ours: Side {
            name: "collector",
            does: "TLS, checks token, signature and links, group commit with fdatasync, signs a receipt for each",
            class: Durability::D2,
        },
        theirs: Some(Side {
            name: "nats-server",
            does: "plain TCP, JetStream with sync_interval: always, asynchronous publishes",
            class: Durability::D2,
        }),
    }],
    run,
};

/// In flight: ten pods with a hundred chains each.
const PODS: usize = 10;
const SLOTS: usize = 100;
const WARM_UP: Duration = Duration::from_secs(2);

fn run(row: &Row, settings: &Settings) -> Result<Vec<Outcome>> {
    let case = row.case("nats-server")?;
    let installed = match (nats::STREAM.find)() {
        Ok(installed) => installed,
        Err(error) => return Ok(vec![row.skipped(case, &error.to_string())]),
    };
    let length = settings.pick(Duration::from_secs(8), Duration::from_secs(2));
    // More than any collector could take within the window.
    let batches = settings.pick(500, 200);
    let plan = Plan { pods: PODS, slots: SLOTS, batches, records: 1, payloads: Payloads::Lines, seed: settings.seed };
    let made = Arc::new(senders::make(plan)?);
    let dir = tempfile::tempdir()?;
    let entries = dir.path().join("entries");
    let mut corpus = Corpus::new(Workload::W1, settings.seed);
    write_entries(&entries, (0..100_000).map(|_| corpus.payload().to_vec()))?;

    let window = senders::Window { warm_up: WARM_UP, length };
    let (mut last, mut sent) = (None, Vec::new());
    let theirs = || {
        let place = tempfile::tempdir_in(dir.path())?;
        let load = Load {
            entries: &entries,
            in_flight: PODS * SLOTS,
            warm_up: WARM_UP.as_secs_f64(),
            window: length.as_secs_f64(),
            dir: place.path(),
            configurations: &settings.configurations,
        };
        let done = (nats::STREAM.load)(&installed, &load)?;
        Ok(real(done.acks) / done.seconds)
    };
    let ours = || {
        let of_run = sends(settings, &made, window)?;
        sent.push(of_run.cpu_share);
        last = Some(of_run);
        Ok(real(of_run.receipted.batches) / length.as_secs_f64())
    };
    let pairs = pairs::run(settings.pairs, theirs, ours)?;
    let last = last.context("there was a pair")?;
    let outcome =
        row.compared(case, settings.pairs, &pairs, (&version(settings, "indelible-collector")?, &installed.version));
    Ok(vec![outcome.noting(format!(
        "the collector had {:.0} % of its core, {:.1} µs of CPU a batch; {} receipts of the last run were checked",
        last.cpu_share * 100.0,
        last.cpu_micros,
        last.receipted.checked,
    ))])
}
