//! Row 8: from the moment that a line is printed to its durable receipt.
//!
//! The sidecar is asked for its counters each 2 ms: when it has receipts for how many batches. Afterwards the collector's
//! log says which lines each batch has and when those were printed. A little of the sidecar's core goes into answering.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use indelible_chain::batch::Batch;
use indelible_chain::frame::SegmentFrame;
use indelible_chain::leaf::Leaf;
use indelible_chain::record::Source;
use indelible_chain::stored::Packer;

use super::{SIDECAR, all_stored};
use crate::metrics::{scrape, value, whole};
use crate::printer::{Pace, Printer};
use crate::process::Core;
use crate::row::{Bound, Case, Outcome, Row};
use crate::rows::real;
use crate::settings::Settings;
use crate::world::{Pod, Sidecar, World, version};

const fn case(name: &'static str, must: f64, aim: Option<f64>) -> Case {
    let aim = match aim {
        Some(aim) => Some(Bound::AtMost(aim)),
        None => None,
    };
    Case { name, unit: "ms", each: "ms", must: Some(Bound::AtMost(must)), aim, ours: SIDECAR, theirs: None }
}

/// The row.
pub const ROW: Row = Row {
    number: 8,
    measure: "line to receipt at 10,000 lines/s",
    workload: "W1 live",
    cases: &[
        case("flush 250 ms, p50", 300.0, None),
        case("flush 250 ms, p99", 400.0, None),
        case("flush 10 ms, p50", 50.0, None),
        case("flush 10 ms, p99", 50.0, Some(20.0)),
    ],
    run,
};

/// When, in nanoseconds since the epoch, the sidecar was first seen to have receipts for this many batches.
type Seen = Vec<(u64, i64)>;

fn run(row: &Row, settings: &Settings) -> Result<Vec<Outcome>> {
    let ours = version(settings, "indelible-sidecar")?;
    let mut outcomes = Vec::new();
    for flush in ["250 ms", "10 ms"] {
        let (mut p50, mut p99, mut count) = (Vec::new(), Vec::new(), 0);
        for _ in 0..settings.pairs.min(5) {
            let latencies = measure(settings, flush)?;
            count = latencies.len();
            let at = |percent: usize| latencies[(count * percent / 100).min(count - 1)];
            p50.push(at(50));
            p99.push(at(99));
        }
        for (word, figures) in [("p50", &p50), ("p99", &p99)] {
            let case = row.case(&format!("flush {flush}, {word}"))?;
            outcomes.push(row.measured(case, figures, (&ours, "")).noting(format!("{count} lines a run")));
        }
    }
    Ok(outcomes)
}

/// The latencies of all lines, in milliseconds, from small to large.
fn measure(settings: &Settings, flush: &str) -> Result<Vec<f64>> {
    let lines = settings.pick(100_000, 2_000);
    let world = World::start(settings, 1, Core::Others, &[])?;
    let pod = Pod::numbered(1);
    let dir = world.container(&pod, "app")?;
    let sidecar = world.sidecar(&pod, &["--flush-interval", &flush.replace(' ', "")])?;
    sidecar.armed()?;
    let printer = Printer::start(&dir, settings.seed, Pace { lines_a_second: 10_000, rotate: None })?;
    let mut seen = Seen::new();
    while printer.printed() < lines {
        look(&sidecar, &mut seen)?;
    }
    let printed = printer.stop()?;
    all_stored(&world, &sidecar, printed)?;
    look(&sidecar, &mut seen)?;
    sidecar.finish()?;
    let batches = batches(&world.collectors[0].data())?;
    let mut latencies = Vec::new();
    for (n, times) in (1..).zip(batches) {
        let receipted = seen.iter().find(|(count, _)| *count >= n).map(|(_, at)| *at);
        // The last batch is the end, which nobody waited for.
        let Some(receipted) = receipted else { break };
        latencies.extend(times.iter().map(|time| real(u64::try_from(receipted - time).unwrap_or_default()) / 1e6));
    }
    ensure!(latencies.len() as u64 >= printed / 2, "only {} of {printed} lines were seen", latencies.len());
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

fn look(sidecar: &Sidecar, seen: &mut Seen) -> Result<()> {
    let count = whole(value(&scrape(sidecar.metrics())?, "indelible_sidecar_batches_receipted_total")?);
    if seen.last().is_none_or(|(last, _)| *last < count) {
        seen.push((count, i64::try_from(jiff::Timestamp::now().as_nanosecond())?));
    }
    std::thread::sleep(Duration::from_millis(2));
    Ok(())
}

/// The times of the lines of each batch, in the log's order.
fn batches(data: &std::path::Path) -> Result<Vec<Vec<i64>>> {
    let mut segments: Vec<_> =
        std::fs::read_dir(data.join("segments"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    segments.sort();
    let (mut packer, mut batches) = (Packer::new()?, Vec::new());
    for segment in segments {
        let bytes = std::fs::read(&segment)?;
        let mut rest = &bytes[..];
        // Zeros behind the last frame are room for more.
        while rest.iter().any(|byte| *byte != 0) {
            let (frame, length) = SegmentFrame::decode(rest).context("the log's frames can be read")?;
            rest = &rest[length..];
            let SegmentFrame::Leaf { leaf, body } = frame else { continue };
            let Leaf::Batch { commitment, .. } = Leaf::decode(leaf)? else { continue };
            let body = packer.unpack(body, commitment.body_len as usize)?;
            let mut times = Vec::new();
            Batch::new(commitment, body).check_body(|record, _| {
                if record.source != Source::Control {
                    times.push(record.time.nanos());
                }
            })?;
            batches.push(times);
        }
    }
    Ok(batches)
}
