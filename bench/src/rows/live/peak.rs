//! Row 5: the most memory that a sidecar takes, at 50 MB/s and in an outage.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{SIDECAR, all_stored};
use crate::printer::{Pace, Printer};
use crate::process::Core;
use crate::row::{Bound, Case, Outcome, Row};
use crate::rows::real;
use crate::settings::Settings;
use crate::world::{Pod, Sidecar, World, version};

const fn case(name: &'static str) -> Case {
    Case {
        name,
        unit: "MB",
        each: "MB",
        must: Some(Bound::AtMost(34.0)),
        aim: Some(Bound::AtMost(21.0)),
        ours: SIDECAR,
        theirs: None,
    }
}

const BUSY: &str = "50 MB/s";
const OUTAGE: &str = "outage at 10 MB/s";

/// The row.
pub const ROW: Row = Row {
    number: 5,
    measure: "peak resident memory of a sidecar",
    workload: "W5, W7",
    cases: &[case(BUSY), case(OUTAGE)],
    run,
};

fn run(row: &Row, settings: &Settings) -> Result<Vec<Outcome>> {
    let ours = version(settings, "indelible-sidecar")?;
    let mut outcomes = Vec::new();
    for (name, measure) in [(BUSY, busy as fn(&Settings) -> Result<(f64, String)>), (OUTAGE, outage)] {
        let runs = settings.pairs.min(3);
        let measured = (0..runs).map(|_| measure(settings)).collect::<Result<Vec<_>>>()?;
        let figures: Vec<f64> = measured.iter().map(|(figure, _)| *figure).collect();
        let note = measured.into_iter().map(|(_, note)| note).next_back().unwrap_or_default();
        outcomes.push(row.measured(row.case(name)?, &figures, (&ours, "")).noting(note));
    }
    Ok(outcomes)
}

fn peak(sidecar: &Sidecar) -> Result<f64> {
    Ok(real(sidecar.process().usage()?.peak_bytes) / 1e6)
}

fn busy(settings: &Settings) -> Result<(f64, String)> {
    let time = settings.pick(Duration::from_secs(40), Duration::from_secs(1));
    let world = World::start(settings, 3, Core::Others, &[])?;
    let pod = Pod::numbered(1);
    let dir = world.container(&pod, "app")?;
    let pace = Pace { rotate: Some(Duration::from_secs(10)), ..Pace::bytes_a_second(50_000_000) };
    let printer = Printer::start(&dir, settings.seed, pace)?;
    let sidecar = world.sidecar(&pod, &[])?;
    std::thread::sleep(time);
    let lines = printer.stop()?;
    all_stored(&world, &sidecar, lines)?;
    let figure = peak(&sidecar)?;
    sidecar.finish()?;
    let rate = real(lines * 241) / 1e6 / time.as_secs_f64();
    Ok((figure, format!("{rate:.0} MB/s were printed for {} s, and all of it was stored", time.as_secs())))
}

fn outage(settings: &Settings) -> Result<(f64, String)> {
    let away = settings.pick(Duration::from_secs(30), Duration::from_millis(500));
    let mut world = World::start(settings, 1, Core::Others, &[])?;
    let pod = Pod::numbered(1);
    let dir = world.container(&pod, "app")?;
    let printer = Printer::start(&dir, settings.seed, Pace::bytes_a_second(10_000_000))?;
    let sidecar = world.sidecar(&pod, &[])?;
    all_stored(&world, &sidecar, 100)?;
    world.collectors.first_mut().context("there is a collector")?.kill()?;
    std::thread::sleep(away);
    let lines = printer.stop()?;
    world.collectors.first_mut().context("there is a collector")?.restart()?;
    super::all_receipted(&sidecar, lines)?;
    let figure = peak(&sidecar)?;
    sidecar.finish()?;
    Ok((figure, format!("no collector for {} s; {lines} lines were printed", away.as_secs())))
}
