//! Row 7: records a second through one collector, checked and durable, in batches of 4,096.
//!
//! Against logs and stores that also prove what they hold: each with single records, which is how they are used; with
//! the records of a batch as one entry; and with batches that are packed and signed already, as ours gets them. What is in
//! the latter two nobody there looks at: the last one compares checking with not checking, and what checking alone would
//! allow is said beside it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indelible_chain::stored::Packer;

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
            "Tessera, batches",
            BATCHES,
            side(
                "Tessera",
                "a batch's records in as few entries as its limit of 65,535 bytes allows, on both cores; opaque",
            ),
        ),
        case(
            "Tessera, packed batches",
            BATCHES,
            side("Tessera", "the same with the bytes that ours gets, five times fewer"),
        ),
        case("immudb, single records", SINGLE, side("immudb", "a transaction a record, plain gRPC, synced")),
        case("immudb, batches", BATCHES, side("immudb", "a batch's records a transaction, plain gRPC, synced; opaque")),
        case(
            "immudb, packed batches",
            BATCHES,
            side("immudb", "the same with the bytes that ours gets, five times fewer"),
        ),
    ],
    run,
};

const RECORDS: u32 = 4096;
/// For how long is checked alone.
const FLOOR_TIME: Duration = Duration::from_secs(1);

/// A peer, what it is given, and how much of it is in flight.
struct Against<'a> {
    case: &'static str,
    store: Store,
    entries: &'a Path,
    records: u32,
    in_flight: usize,
}

fn run(row: &Row, settings: &Settings) -> Result<Vec<Outcome>> {
    let warm_up = settings.pick(Duration::from_secs(1), Duration::from_millis(200));
    let length = settings.pick(Duration::from_secs(4), Duration::from_millis(500));
    let (pods, slots, batches) = settings.pick((4, 8, 220), (2, 4, 80));
    let plan = Plan { pods, slots, batches, records: RECORDS, payloads: Payloads::Lines, seed: settings.seed };
    let made = Arc::new(senders::make(plan)?);
    let dir = tempfile::tempdir()?;
    let [single, plain, packed] = ["single", "plain", "packed"].map(|name| dir.path().join(name));
    let mut corpus = Corpus::new(Workload::W1, settings.seed);
    write_entries(&single, (0..200_000).map(|_| corpus.payload().to_vec()))?;
    let some = || made.pods.iter().flat_map(|pod| &pod.chains).flat_map(|chain| chain.batches.iter().take(8));
    write_entries(&packed, some())?;
    write_entries(&plain, some().map(|batch| senders::unpacked(batch)).collect::<Result<Vec<_>>>()?)?;
    let floor = floor(&made)?;

    let (in_flight, batch) = (pods * slots, RECORDS);
    let against = |case, store, entries, records, in_flight| Against { case, store, entries, records, in_flight };
    let cases = [
        against("Tessera, single records", tessera::POSIX, &*single, 1, 4096),
        // It integrates at intervals: with more in flight each has more to do.
        against("Tessera, batches", tessera::POSIX, &*plain, batch, 4 * in_flight),
        against("Tessera, packed batches", tessera::POSIX, &*packed, batch, 4 * in_flight),
        against("immudb, single records", immudb::SERVER, &*single, 1, 1000),
        against("immudb, batches", immudb::SERVER, &*plain, batch, in_flight),
        against("immudb, packed batches", immudb::SERVER, &*packed, batch, in_flight),
    ];
    let window = Window { warm_up, length };
    cases.iter().map(|against| compare(row, settings, (&made, window, floor), against)).collect()
}

/// Records a second that one core unpacks and checks when it does nothing else.
fn floor(made: &Made) -> Result<f64> {
    let some: Vec<_> = made.pods.iter().flat_map(|pod| pod.chains.iter().map(move |chain| (pod, chain))).collect();
    let mut packer = Packer::new()?;
    let (begin, mut records) = (Instant::now(), 0);
    for (pod, chain) in some.iter().cycle() {
        for batch in &chain.batches {
            records += u64::from(senders::checked(pod, batch, &mut packer)?);
            if begin.elapsed() >= FLOOR_TIME {
                return Ok(real(records) / begin.elapsed().as_secs_f64());
            }
        }
    }
    bail!("nothing was made")
}

fn compare(
    row: &Row,
    settings: &Settings,
    (made, window, floor): (&Arc<Made>, Window, f64),
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
        Ok(real(done.acks) * f64::from(against.records) / done.seconds)
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
        "the collector had {:.0} % of its core, {:.0} µs of CPU a batch of {RECORDS}, of which {:.0} are to unpack it and check \
         its links and signature ({floor:.0} records/s on a core that does nothing else); {} receipts of the last run were checked",
        last.cpu_share * 100.0,
        last.cpu_micros,
        f64::from(RECORDS) * 1e6 / floor,
        last.receipted.checked,
    )))
}
