//! Row 12: how long it takes to deliver what was printed in an outage, once it is over.
//!
//! A container prints 10 MB/s while nobody takes its lines. The clock runs from the moment that there is somebody again
//! to the moment that all lines have their receipts, or are in the sink; nothing is printed meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::live::all_receipted;
use crate::limits::CASE;
use crate::pairs;
use crate::peers::{Job, Shipper, otelcol, rsyslog};
use crate::printer::{Pace, Printer};
use crate::process::{Core, eventually};
use crate::row::{Bound, Case, Durability, Outcome, Row, Side};
use crate::settings::Settings;
use crate::sink::Sink;
use crate::world::{Pod, World, version};

const fn case(name: &'static str, does: &'static str, class: Durability) -> Case {
    Case {
        name,
        unit: "×",
        each: "s",
        must: Some(Bound::AtMost(0.5)),
        aim: Some(Bound::AtMost(0.25)),
        ours: Side {
            name: "sidecar",
            does: "reads on from the log file, links, signs, packs, sends over TLS, has durable receipts",
            class: Durability::D2,
        },
        theirs: Some(Side { name, does, class }),
    }
}

/// The row.
pub const ROW: Row = Row {
    number: 12,
    measure: "time to catch up after an outage",
    workload: "W7, 10 MB/s",
    cases: &[
        case(
            "rsyslog, RELP",
            "imfile to omrelp with a queue that spills to disk, answered from memory",
            Durability::D1,
        ),
        case("OpenTelemetry Collector", "filelog to OTLP/HTTP, queue in files, answered from memory", Durability::D1),
    ],
    run,
};

fn run(row: &Row, settings: &Settings) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    let away = settings.pick(Duration::from_secs(25), Duration::from_millis(500));
    let ours = version(settings, "indelible-sidecar")?;
    for (peer, shipper) in [("rsyslog, RELP", &rsyslog::RELP), ("OpenTelemetry Collector", &otelcol::OTLP)] {
        let case = row.case(peer)?;
        let installed = match (shipper.find)() {
            Ok(installed) => installed,
            Err(error) => {
                outcomes.push(row.skipped(case, &error.to_string()));
                continue;
            }
        };
        let count = settings.pairs.min(5);
        let pairs = pairs::run(count, || theirs(settings, shipper, away), || sidecar(settings, away))?;
        let outcome = row.compared(case, count, &pairs, (&ours, &installed.version));
        outcomes.push(
            outcome.noting(format!("An outage of {} s; retries at most 1 s apart for the peer", away.as_secs_f64())),
        );
    }
    Ok(outcomes)
}

fn theirs(settings: &Settings, shipper: &Shipper, away: Duration) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let logs = tempfile::tempdir()?;
    let mut sink = Sink::start()?;
    let printer = Printer::start(logs.path(), settings.seed, Pace::bytes_a_second(10_000_000))?;
    let input = logs.path().join("0.log");
    let job = Job { input: &input, dir: dir.path(), sink: &sink, configurations: &settings.configurations };
    let process = shipper.start(&(shipper.find)()?, &job)?;
    eventually("the first lines come", CASE, || Ok((sink.counts().lines() > 100).then_some(())))?;
    sink.pause();
    std::thread::sleep(away);
    let lines = printer.stop()?;
    let begin = Instant::now();
    sink.resume()?;
    eventually("the sink has every line", CASE, || {
        process.goes_on()?;
        let counts = sink.counts();
        // Where lines are told apart, those that come twice do not count.
        Ok((counts.different().max(if counts.different() == 0 { counts.lines() } else { 0 }) >= lines).then_some(()))
    })?;
    Ok(begin.elapsed().as_secs_f64())
}

fn sidecar(settings: &Settings, away: Duration) -> Result<f64> {
    let mut world = World::start(settings, 1, Core::Others, &[])?;
    let pod = Pod::numbered(1);
    let printer = Printer::start(&world.container(&pod, "app")?, settings.seed, Pace::bytes_a_second(10_000_000))?;
    let sidecar = world.sidecar(&pod, &[])?;
    eventually("the first lines come", CASE, || Ok((world.stored()? > 100).then_some(())))?;
    world.collectors.first_mut().context("there is a collector")?.kill()?;
    std::thread::sleep(away);
    let lines = printer.stop()?;
    world.collectors.first_mut().context("there is a collector")?.restart()?;
    let begin = Instant::now();
    all_receipted(&sidecar, lines)?;
    let took = begin.elapsed().as_secs_f64();
    sidecar.finish()?;
    Ok(took)
}
