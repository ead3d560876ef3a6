//! Row 4: what a sidecar takes while nothing happens, in every pod of a cluster.

use std::time::Duration;

use anyhow::Result;

use super::real;
use crate::corpus::{Workload, write_cri};
use crate::pairs::Spread;
use crate::peers::{Job, rsyslog};
use crate::process::Core;
use crate::row::{Bound, Case, Durability, Outcome, Row, Side};
use crate::settings::Settings;
use crate::sink::Sink;
use crate::world::{Pod, World, version};

/// The row.
pub const ROW: Row = Row {
    number: 4,
    measure: "resident memory of an idle sidecar",
    workload: "W6",
    cases: &[Case {
        name: "rsyslog",
        unit: "MB",
        each: "MB",
        must: Some(Bound::AtMost(6.5)),
        aim: Some(Bound::AtMost(5.5)),
        ours: Side {
            name: "sidecar",
            does: "holds two log files and its connections to three collectors",
            class: Durability::D2,
        },
        theirs: Some(Side { name: "rsyslog", does: "holds two log files and a TCP connection", class: Durability::D0 }),
    }],
    run,
};

fn run(row: &Row, settings: &Settings) -> Result<Vec<Outcome>> {
    let case = row.case("rsyslog")?;
    let (count, idle) = settings.pick((50, Duration::from_secs(30)), (2, Duration::from_secs(1)));
    let world = World::start(settings, 3, Core::Others, &[])?;
    let mut sidecars = Vec::new();
    for n in 0..count {
        let pod = Pod::numbered(n);
        for container in ["app", "proxy"] {
            write_cri(&world.container(&pod, container)?.join("0.log"), Workload::W1, settings.seed, 1)?;
        }
        let sidecar = world.sidecar(&pod, &[])?;
        sidecar.armed()?;
        sidecars.push(sidecar);
    }
    // Nothing is waited for: this is the time in which nothing happens.
    std::thread::sleep(idle);
    let resident = |sidecar: &crate::world::Sidecar| Ok(real(sidecar.process().usage()?.resident_bytes) / 1e6);
    let figures = sidecars.iter().map(resident).collect::<Result<Vec<_>>>()?;
    drop(sidecars);
    let (theirs, their_version) = match (rsyslog::TCP.find)() {
        Ok(installed) => {
            let dir = tempfile::tempdir()?;
            for name in ["a.log", "b.log"] {
                write_cri(&dir.path().join(name), Workload::W1, settings.seed, 1)?;
            }
            let sink = Sink::start()?;
            let input = dir.path().join("*.log");
            let job = Job { input: &input, dir: dir.path(), sink: &sink, configurations: &settings.configurations };
            let process = rsyslog::TCP.start(&installed, &job)?;
            crate::process::eventually("rsyslog has sent both lines", crate::limits::READY, || {
                Ok((sink.counts().lines() == 2).then_some(()))
            })?;
            std::thread::sleep(idle / 3);
            (Some(real(process.usage()?.resident_bytes) / 1e6), installed.version)
        }
        Err(_) => (None, String::new()),
    };
    let mut outcome = row.measured(case, &figures, (&version(settings, "indelible-sidecar")?, &their_version));
    if let (Some(figure), Some(side)) = (theirs, &mut outcome.theirs) {
        outcome.ours.figures = outcome.value;
        side.figures = Some(Spread::of(&[figure]));
    }
    Ok(vec![outcome.noting(format!("{count} sidecars, {} s after their last line", idle.as_secs()))])
}
