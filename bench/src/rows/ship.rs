//! Rows 2 and 3: what a sidecar costs, from the log file to the durable receipt, against programs that only ship.
//!
//! Each run reads the same file from its beginning in a new process on one core; the collector and the sink are on the
//! other. A sidecar's run is over when it has ended well, which it does when all is receipted; a peer's when the sink
//! has every line.

use std::path::Path;

use anyhow::{Result, ensure};

use super::{real, w1};
use crate::corpus::Written;
use crate::limits::CASE;
use crate::pairs;
use crate::peers::{Job, Shipper, otelcol, rsyslog};
use crate::process::{Core, eventually};
use crate::row::{Bound, Case, Durability, Outcome, Row, Side};
use crate::settings::Settings;
use crate::sink::Sink;
use crate::world::{Pod, World, version};

const SIDECAR: Side = Side {
    name: "sidecar",
    does: "tails, links, signs, packs (zstd), sends over TLS, waits for durable receipts",
    class: Durability::D2,
};
const MEASURE: &str = "CPU of a sidecar, log file to durable receipt";
const WORKLOAD: &str = "W1";

/// Against rsyslog.
pub const RSYSLOG: Row = Row {
    number: 2,
    measure: MEASURE,
    workload: WORKLOAD,
    cases: &[Case {
        name: "rsyslog",
        unit: "×",
        each: "CPU-s/GB",
        must: Some(Bound::AtMost(0.3)),
        aim: Some(Bound::AtMost(0.21)),
        ours: SIDECAR,
        theirs: Some(Side {
            name: "rsyslog",
            does: "imfile to plain TCP, queues in memory, nobody answers",
            class: Durability::D0,
        }),
    }],
    run: |row, settings| run(row, settings, &rsyslog::TCP),
};

/// Against the OpenTelemetry Collector.
pub const OTELCOL: Row = Row {
    number: 3,
    measure: MEASURE,
    workload: WORKLOAD,
    cases: &[Case {
        name: "OpenTelemetry Collector",
        unit: "×",
        each: "CPU-s/GB",
        must: Some(Bound::AtMost(0.09)),
        aim: Some(Bound::AtMost(0.06)),
        ours: SIDECAR,
        theirs: Some(Side {
            name: "OpenTelemetry Collector",
            does: "filelog with the container operator to plain OTLP/HTTP, queue in files, answered from memory",
            class: Durability::D1,
        }),
    }],
    run: |row, settings| run(row, settings, &otelcol::OTLP),
};

fn run(row: &Row, settings: &Settings, peer: &Shipper) -> Result<Vec<Outcome>> {
    let case = row.case(peer.name)?;
    let installed = match (peer.find)() {
        Ok(installed) => installed,
        Err(error) => return Ok(vec![row.skipped(case, &error.to_string())]),
    };
    let dir = tempfile::tempdir()?;
    let (input, written) = w1(settings, dir.path())?;
    let theirs = || {
        let place = tempfile::tempdir_in(dir.path())?;
        let sink = Sink::start()?;
        let job = Job { input: &input, dir: place.path(), sink: &sink, configurations: &settings.configurations };
        let process = peer.start(&installed, &job)?;
        eventually("the sink has every line", CASE, || {
            process.goes_on()?;
            Ok((sink.counts().lines() >= written.lines).then_some(()))
        })?;
        let usage = process.usage()?;
        ensure!(sink.counts().lines() == written.lines, "{} sent more lines than there are", peer.name);
        Ok(usage.cpu.as_secs_f64() * 1e9 / real(written.bytes))
    };
    let pairs = pairs::run(settings.pairs, theirs, || sidecar(settings, &input, written))?;
    let ours = version(settings, "indelible-sidecar")?;
    let lines = |spread: f64| 1e9 / spread / (real(written.bytes) / real(written.lines));
    let outcome = row.compared(case, settings.pairs, &pairs, (&ours, &installed.version)).noting(format!(
        "{} lines of {} bytes; lines per CPU-second: ours {:.0}, theirs {:.0}",
        written.lines,
        written.bytes / written.lines,
        lines(pairs.ours.median),
        lines(pairs.theirs.median),
    ));
    Ok(vec![outcome])
}

/// CPU seconds of a sidecar for a GB of a log file.
pub fn sidecar(settings: &Settings, input: &Path, written: Written) -> Result<f64> {
    let world = World::start(settings, 1, Core::Others, &[])?;
    let pod = Pod::numbered(1);
    std::fs::hard_link(input, world.container(&pod, "app")?.join("0.log"))
        .or_else(|_| std::fs::copy(input, world.container(&pod, "app").unwrap_or_default().join("0.log")).map(drop))?;
    let sidecar = world.sidecar(&pod, &[])?;
    // The lines, and what the sidecar says itself at the start and at the end.
    let all = written.lines + 2;
    eventually("the collector has every line", CASE, || {
        sidecar.process().goes_on()?;
        Ok((world.stored()? >= all - 1).then_some(()))
    })?;
    let usage = sidecar.finish()?;
    ensure!(world.stored()? == all, "{} records are stored, and there are {all}", world.stored()?);
    Ok(usage.cpu.as_secs_f64() * 1e9 / real(written.bytes))
}
