//! Row 14: how long no receipt comes when one of three collectors is killed while a container prints.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::SIDECAR;
use crate::metrics::whole;
use crate::printer::{Pace, Printer};
use crate::process::Core;
use crate::row::{Bound, Case, Outcome, Row};
use crate::settings::Settings;
use crate::world::{Collector, Pod, Sidecar, World, version};

/// The row.
pub const ROW: Row = Row {
    number: 14,
    measure: "longest time without a receipt when one of three collectors is killed",
    workload: "W7, 10,000 lines/s",
    cases: &[Case {
        name: "kill -9",
        unit: "s",
        each: "s",
        must: Some(Bound::AtMost(2.0)),
        aim: Some(Bound::AtMost(0.5)),
        ours: SIDECAR,
        theirs: None,
    }],
    run,
};

fn run(row: &Row, settings: &Settings) -> Result<Vec<Outcome>> {
    let figures = (0..settings.pairs).map(|_| measure(settings)).collect::<Result<Vec<_>>>()?;
    let ours = version(settings, "indelible-sidecar")?;
    let outcome = row.measured(row.case("kill -9")?, &figures, (&ours, ""));
    Ok(vec![outcome.noting("Killed is the collector that has stored the most, 3 s after the first line")])
}

fn measure(settings: &Settings) -> Result<f64> {
    let (before, after) = settings.pick((3_000, 8_000), (500, 500));
    let mut world = World::start(settings, 3, Core::Others, &[])?;
    let pod = Pod::numbered(1);
    let dir = world.container(&pod, "app")?;
    let sidecar = world.sidecar(&pod, &[])?;
    sidecar.armed()?;
    let printer = Printer::start(&dir, settings.seed, Pace { lines_a_second: 10_000, rotate: None })?;
    longest_pause(&sidecar, Duration::from_millis(before))?;
    let stored =
        |collector: &Collector| collector.metric("indelible_collector_appended_records_total").map_or(0, whole);
    world.collectors.iter_mut().max_by_key(|collector| stored(collector)).context("there are three")?.kill()?;
    let longest = longest_pause(&sidecar, Duration::from_millis(after))?;
    printer.stop()?;
    sidecar.finish()?;
    Ok(longest.as_secs_f64())
}

/// The longest time between two receipts, in the next while.
fn longest_pause(sidecar: &Sidecar, watch: Duration) -> Result<Duration> {
    let begin = Instant::now();
    let (mut last, mut changed, mut longest) = (0.0, begin, Duration::ZERO);
    while begin.elapsed() < watch {
        let count = sidecar.metric("indelible_sidecar_batches_receipted_total")?;
        longest = longest.max(changed.elapsed());
        if count > last {
            (last, changed) = (count, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(longest)
}
