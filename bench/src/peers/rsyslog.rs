//! rsyslog as Debian ships it: imfile to plain TCP, and to RELP with a queue on disk.

use anyhow::{Context as _, Result};

use super::{Installed, Job, Shipper, cached, configure, version};
use crate::process::Spec;

/// imfile → omfwd over TCP; queues in memory.
pub const TCP: Shipper = Shipper { name: "rsyslog", find, spec: tcp };
/// imfile → omrelp, which is answered for each line; what waits spills to disk.
pub const RELP: Shipper = Shipper { name: "rsyslog, RELP", find, spec: relp };

fn find() -> Result<Installed> {
    let program = cached("rsyslog", "usr/sbin/rsyslogd")?;
    let libraries = libraries(&program)?;
    let version = version(&program, "-v", &[("LD_LIBRARY_PATH", libraries.as_os_str())])?;
    let version = version.split(" (").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Installed { program, version })
}

/// Where its libraries were unpacked to: `usr/lib/<machine>`.
fn libraries(program: &std::path::Path) -> Result<std::path::PathBuf> {
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

fn spec(installed: &Installed, job: &Job<'_>, configuration: &str, port: u16) -> Result<Spec> {
    let libraries = libraries(&installed.program)?;
    let (input, dir, port) = (job.input.display().to_string(), job.dir.display().to_string(), port.to_string());
    let values = [("INPUT", &*input), ("DIR", &dir), ("PORT", &port)];
    let configuration = configure(job, configuration, &values)?;
    Ok(Spec::new("rsyslogd", &installed.program)
        .env("LD_LIBRARY_PATH", &libraries)
        .arg("-M")
        .arg(libraries.join("rsyslog"))
        .args(["-n", "-i", "NONE", "-f"])
        .arg(configuration))
}
