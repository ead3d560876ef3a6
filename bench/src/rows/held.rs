//! Row 18: what a collector holds in memory when it is pressed hard and its disk is slow, and when nobody says anything.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::real;
use crate::process::Core;
use crate::row::{Bound, Case, Durability, Outcome, Row, Side};
use crate::senders::{self, Payloads, Plan, Window};
use crate::settings::Settings;
use crate::world::{World, version};

const fn case(name: &'static str, unit: &'static str, most: f64, does: &'static str) -> Case {
    let ours = Side { name: "collector", does, class: Durability::D2 };
    Case { name, unit, each: unit, must: Some(Bound::AtMost(most)), aim: None, ours, theirs: None }
}

/// The row.
pub const ROW: Row = Row {
    number: 18,
    measure: "most memory of a collector",
    workload: "batches that do not compress",
    cases: &[
        case("slow disk", "MiB", 256.0, "64 senders with 16 MiB in flight each, the volume takes 5 MB/s"),
        case("idle connections", "MB", 150.0, "3,000 connections of 60 pods, each after one request, silent"),
    ],
    run,
};

/// Sixteen batches of nearly 1 MiB in flight are a pod's 16 MiB.
const PODS: usize = 64;
const SLOTS: usize = 16;
const RECORDS: u32 = 4;
const PAYLOAD: usize = 256 * 1024 - 64;
const DISK_BYTES_A_SECOND: u64 = 5_000_000;

fn run(row: &Row, settings: &Settings) -> Result<Vec<Outcome>> {
    Ok(vec![slow_disk(row, settings)?, idle(row, settings)?])
}

fn slow_disk(row: &Row, settings: &Settings) -> Result<Outcome> {
    let case = row.case("slow disk")?;
    let world = World::start(settings, 1, Core::Others, &[])?;
    let collector = world.collectors.first().context("there is a collector")?;
    let slow = match SlowDisk::of(collector.process()?.id(), world.dir(), DISK_BYTES_A_SECOND) {
        Ok(slow) => slow,
        Err(error) => return Ok(row.skipped(case, &format!("a disk cannot be made slow here: {error:#}"))),
    };
    // At 5 MB/s a slot gets one or two in, and none a fourth.
    let (pods, batches) = settings.pick((PODS, 4), (2, 8));
    let plan =
        Plan { pods, slots: SLOTS, batches, records: RECORDS, payloads: Payloads::Noise(PAYLOAD), seed: settings.seed };
    let made = Arc::new(senders::make(plan)?);
    let length = settings.pick(Duration::from_secs(20), Duration::from_secs(1));
    let window = Window { warm_up: Duration::from_millis(100), length };
    let sent = senders::send(&world, collector, &made, window, || Ok(()))?;
    let usage = collector.process()?.usage()?;
    drop(world);
    drop(slow);
    let outcome =
        row.measured(case, &[real(usage.peak_bytes) / 1_048_576.0], (&version(settings, "indelible-collector")?, ""));
    Ok(outcome.noting(format!(
        "{:.1} MB/s became durable; senders were told {} times to come again",
        real(sent.batches) * real(PAYLOAD as u64) * f64::from(RECORDS) / 1e6 / length.as_secs_f64(),
        sent.refused,
    )))
}

fn idle(row: &Row, settings: &Settings) -> Result<Outcome> {
    let case = row.case("idle connections")?;
    raise_open_files()?;
    let world = World::start(settings, 1, Core::Others, &[])?;
    let collector = world.collectors.first().context("there is a collector")?;
    let before = collector.process()?.usage()?.resident_bytes;
    let (count, length) = settings.pick((3000, Duration::from_secs(10)), (100, Duration::from_millis(100)));
    let mut usage = None;
    senders::hold(&world, collector, count, length, || {
        usage = Some(collector.process()?.usage()?);
        Ok(())
    })?;
    let peak = usage.context("the connections were held")?.peak_bytes;
    let outcome = row.measured(case, &[real(peak) / 1e6], (&version(settings, "indelible-collector")?, ""));
    Ok(outcome.noting(format!("{:.1} MB without any", real(before) / 1e6)))
}

/// Connections need a descriptor each: what the machine allows is used.
fn raise_open_files() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// A control group in which a process writes to the device below a directory no faster than it may; gone when dropped, which
/// must be after the process.
#[derive(Debug)]
struct SlowDisk(PathBuf);

impl SlowDisk {
    /// Needs root, and control groups of version 1 with `blkio` or of version 2 with `io`.
    fn of(process: u32, dir: &std::path::Path, bytes_a_second: u64) -> Result<Self> {
        let device = std::fs::metadata(dir)?;
        let device = std::os::unix::fs::MetadataExt::dev(&device);
        let device = whole_disk(rustix::fs::major(device), rustix::fs::minor(device))?;
        let (root, file, line) = if std::path::Path::new("/sys/fs/cgroup/blkio").is_dir() {
            ("/sys/fs/cgroup/blkio", "blkio.throttle.write_bps_device", format!("{device} {bytes_a_second}"))
        } else {
            ("/sys/fs/cgroup", "io.max", format!("{device} wbps={bytes_a_second}"))
        };
        let group = Self(PathBuf::from(root).join(format!("indelible-bench-{}", std::process::id())));
        std::fs::create_dir(&group.0).with_context(|| group.0.display().to_string())?;
        std::fs::write(group.0.join(file), line).with_context(|| file.to_owned())?;
        std::fs::write(group.0.join("cgroup.procs"), process.to_string()).context("cgroup.procs")?;
        Ok(group)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // A group that a process is left in stays; there is nobody to tell.
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// The disk that a partition is on, which is what can be throttled.
fn whole_disk(major: u32, minor: u32) -> Result<String> {
    let place = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}"))
        .with_context(|| format!("{major}:{minor} is no disk"))?;
    let is_part = place.join("partition").exists();
    let place = if is_part { place.parent().context("a partition is on a disk")?.to_owned() } else { place };
    Ok(std::fs::read_to_string(place.join("dev"))?.trim().to_owned())
}
