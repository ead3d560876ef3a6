//! Row 7: records a second through one collector, checked and durable, in batches of 4,096.
//!
//! Against logs and stores that also prove what they hold: each with single records, which is how they are used, and with
//! the same batches that ours gets, packed and signed, as opaque entries: then nobody checks what is in them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::real;
use super::sent::{Sent, sends};
use crate::corpus::{Corpus, Workload};
use crate::pairs;
use crate::peers::load::{Load, Store, write_entries};
use crate::peers::{immudb, tessera};
use crate::row::{Bound, Case, Durability, Outcome, Row, Side};
use crate::senders::{self, Made, Payloads, Plan, Window};
use crate::settings::Settings;
use crate::world::version;

const SINGLE: (Option<Bound>, Option<Bound>) = (Some(Bound::AtLeast(20.0)), Some(Bound::AtLeast(50.0)));
const BATCHES: (Option<Bound>, Option<Bound>) = (Some(Bound::AtLeast(1.0)), Some(Bound::AtLeast(2.0)));

const fn case(name: &'static str, (must, aim): (Option<Bound>, Option<Bound>), theirs: Side) -> Case {
    let does = "TLS, checks token, signature and every link, group commit with fdatasync, signs a receipt a batch";
    let ours = Side { name: "collector", does, class: Durability::D2 };
    Case { name, unit: "×", each: "records/s", must, aim, ours, theirs: Some(theirs) }
}

const fn side(name: &'static str, does: &'static str) -> Side {
    Side { name, does, class: Durability::D2 }
}

/// The row.
pub const ROW: Row = Row {
    number: 7,
    measure: "records a second through one collector, checked and durable",
    workload: "200-byte records in batches of 4,096",
    cases: &[
        case(
            "Tessera, single records",
            SINGLE,
            side("Tessera", "an entry a record, in process, on both cores; integrated and synced"),
        ),
        case(
            "Tessera, the same batches",
            BATCHES,
            side(
                "Tessera",
                "a packed batch in as few entries as its limit of 65,535 bytes allows, on both cores; opaque",
            ),
        ),
        case("immudb, single records", SINGLE, side("immudb", "a transaction a record, plain gRPC, synced")),
        case(
            "immudb, the same batches",
            BATCHES,
            side("immudb", "a packed batch a transaction, plain gRPC, synced; opaque"),
        ),
    ],
    run,
};

const RECORDS: u32 = 4096;
const PODS: usize = 4;
const SLOTS: usize = 8;
const WARM_UP: Duration = Duration::from_secs(1);

/// A peer, what it is given, and how much of it is in flight.
struct Against<'a> {
    case: &'static str,
    store: Store,
    entries: &'a Path,
    records: f64,
    in_flight: usize,
}

fn run(row: &Row, settings: &Settings) -> Result<Vec<Outcome>> {
    let length = settings.pick(Duration::from_secs(4), Duration::from_millis(500));
    let plan = Plan {
        pods: PODS,
        slots: SLOTS,
        batches: settings.pick(220, 60),
        records: RECORDS,
        payloads: Payloads::Lines,
        seed: settings.seed,
    };
    let made = Arc::new(senders::make(plan)?);
    let dir = tempfile::tempdir()?;
    let (single, packed) = (dir.path().join("single"), dir.path().join("packed"));
    let mut corpus = Corpus::new(Workload::W1, settings.seed);
    write_entries(&single, (0..200_000).map(|_| corpus.payload().to_vec()))?;
    let some = made.pods.iter().flat_map(|pod| &pod.chains).flat_map(|chain| chain.batches.iter().take(32));
    write_entries(&packed, some)?;
    let cases = [
        Against {
            case: "Tessera, single records",
            store: tessera::POSIX,
            entries: &single,
            records: 1.0,
            in_flight: 4096,
        },
        Against {
            case: "Tessera, the same batches",
            store: tessera::POSIX,
            entries: &packed,
            records: f64::from(RECORDS),
            in_flight: PODS * SLOTS * 4,
        },
        Against {
            case: "immudb, single records",
            store: immudb::SERVER,
            entries: &single,
            records: 1.0,
            in_flight: 1000,
        },
        Against {
            case: "immudb, the same batches",
            store: immudb::SERVER,
            entries: &packed,
            records: f64::from(RECORDS),
            in_flight: PODS * SLOTS,
        },
    ];
    cases.iter().map(|against| compare(row, settings, (&made, Window { warm_up: WARM_UP, length }), against)).collect()
}

fn compare(
    row: &Row,
    settings: &Settings,
    (made, window): (&Arc<Made>, Window),
    against: &Against<'_>,
) -> Result<Outcome> {
    let case = row.case(against.case)?;
    let installed = match (against.store.find)() {
        Ok(installed) => installed,
        Err(error) => return Ok(row.skipped(case, &error.to_string())),
    };
    let mut last: Option<Sent> = None;
    let theirs = || {
        let place = tempfile::tempdir()?;
        let load = Load {
            entries: against.entries,
            in_flight: against.in_flight,
            warm_up: window.warm_up.as_secs_f64(),
            window: window.length.as_secs_f64(),
            dir: place.path(),
            configurations: &settings.configurations,
        };
        let done = (against.store.load)(&installed, &load)?;
        Ok(real(done.acks) * against.records / done.seconds)
    };
    let ours = || {
        let sent = last.insert(sends(settings, made, window)?);
        Ok(real(sent.receipted.records) / window.length.as_secs_f64())
    };
    let pairs = pairs::run(settings.pairs, theirs, ours)?;
    let last = last.context("there was a pair")?;
    let outcome =
        row.compared(case, settings.pairs, &pairs, (&version(settings, "indelible-collector")?, &installed.version));
    Ok(outcome.noting(format!(
        "the collector had {:.0} % of its core, {:.0} µs of CPU a batch of {RECORDS}; {} receipts of the last run were checked",
        last.cpu_share * 100.0,
        last.cpu_micros,
        last.receipted.checked,
    )))
}
