//! rsyslog as Debian ships it: imfile to plain TCP, and to RELP with a queue on disk.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::sender::{Place, Sender};
use super::{Installed, Job, Shipper, cached, configure, version};
use crate::process::Spec;

/// imfile → omfwd over TCP; queues in memory.
pub const TCP: Shipper = Shipper { name: "rsyslog", find, spec: tcp };
/// imfile → omrelp, which is answered for each line; what waits spills to disk.
pub const RELP: Shipper = Shipper { name: "rsyslog, RELP", find, spec: relp };
/// imfile → omrelp for row 11: every file of a container, through a queue that is on disk only.
pub const SENDER: Sender = Sender { name: "rsyslog", find, spec: sender };

fn find() -> Result<Installed> {
    let program = cached("rsyslog", "usr/sbin/rsyslogd")?;
    let libraries = libraries(&program)?;
    let version = version(&program, "-v", &[("LD_LIBRARY_PATH", libraries.as_os_str())])?;
    let version = version.split(" (").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Installed { program, version })
}

/// Where its libraries were unpacked to: `usr/lib/<machine>`.
fn libraries(program: &Path) -> Result<PathBuf> {
    let root = program.ancestors().nth(3).context("rsyslogd is in usr/sbin")?;
    let library = root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
    anyhow::ensure!(library.is_dir(), "{} is not there: make bench-deps", library.display());
    Ok(library)
}

fn tcp(installed: &Installed, job: &Job<'_>) -> Result<Spec> {
    spec(installed, job, "rsyslog/rsyslog.conf", job.sink.lines_address().port())
}

fn relp(installed: &Installed, job: &Job<'_>) -> Result<Spec> {
    spec(installed, job, "rsyslog/relp.conf", job.sink.relp_address().port())
}

fn sender(installed: &Installed, place: &Place<'_>) -> Result<Spec> {
    let (logs, dir, port) = (place.logs.display().to_string(), place.dir.display().to_string(), place.port.to_string());
    let values = [("LOGS", &*logs), ("DIR", &dir), ("PORT", &port)];
    command(installed, &configure(place.configurations, "rsyslog/row11.conf", &values, place.dir)?)
}

fn spec(installed: &Installed, job: &Job<'_>, configuration: &str, port: u16) -> Result<Spec> {
    let (input, dir, port) = (job.input.display().to_string(), job.dir.display().to_string(), port.to_string());
    let values = [("INPUT", &*input), ("DIR", &dir), ("PORT", &port)];
    command(installed, &configure(job.configurations, configuration, &values, job.dir)?)
}

fn command(installed: &Installed, configuration: &Path) -> Result<Spec> {
    let libraries = libraries(&installed.program)?;
    Ok(Spec::new("rsyslogd", &installed.program)
        .env("LD_LIBRARY_PATH", &libraries)
        .arg("-M")
        .arg(libraries.join("rsyslog"))
        .args(["-n", "-i", "NONE", "-f"])
        .arg(configuration))
}
