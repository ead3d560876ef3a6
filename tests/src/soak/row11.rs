//! The fault run of the benchmark's row 11 (workload W7): one pod prints 10 MB/s while its sidecar is killed three times, one
//! of three collectors once, all of them are away for a minute, a disk is full, each is restarted, one is slow.
//!
//! When each fault comes follows from the seed; which, and in which order, does not.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::mortal::Fate;
use super::run::{ON_SMALL_DISK, STEP, Stage};

/// Collectors that are in the pool.
const POOL: usize = 3;
/// How long there is no collector.
const AWAY: Duration = Duration::from_mins(1);
/// How long a disk is full.
const FULL: Duration = Duration::from_secs(10);
/// How long a collector is slow.
const SLOW: Duration = Duration::from_secs(15);
/// How long a collector may take to end and to be back.
const RESTART: Duration = Duration::from_secs(30);

/// Does it all.
pub fn strike(stage: &mut Stage<'_>) -> Result<()> {
    for _ in 0..3 {
        go_on(stage, 3)?;
        let (rng, histogram) = (&mut stage.rng, &mut stage.histogram);
        stage.pods[0].sidecar.kill(rng, histogram)?;
    }
    go_on(stage, 3)?;
    let victim = stage.rng.below(POOL);
    kill(stage, victim)?;
    go_on(stage, 5)?;
    for collector in 0..stage.collectors.len() {
        stage.collectors[collector].fate = Fate::Away;
        kill(stage, collector)?;
    }
    wait(stage, AWAY)?;
    for collector in &mut stage.collectors {
        collector.fate = Fate::Lives;
    }
    go_on(stage, 15)?;
    if let Some(disk) = &mut stage.collectors_disk {
        disk.fill(0)?;
        wait(stage, FULL)?;
    }
    if let Some(disk) = &mut stage.collectors_disk {
        disk.free()?;
    }
    stage.collectors[ON_SMALL_DISK].again();
    for collector in 0..POOL {
        go_on(stage, 2)?;
        stage.collectors[collector].fate = Fate::Ends;
        let since = Instant::now();
        while !stage.collectors[collector].has_ended() {
            anyhow::ensure!(since.elapsed() < RESTART, "collector {collector} does not end");
            wait(stage, STEP)?;
        }
        stage.collectors[collector].again();
    }
    go_on(stage, 5)?;
    let slow = stage.rng.below(POOL);
    stage.collectors[slow].set_env("INDELIBLE_SLOW", "commit-sync:500");
    kill(stage, slow)?;
    wait(stage, SLOW)?;
    stage.collectors[slow].set_env("INDELIBLE_SLOW", "none:0");
    kill(stage, slow)?;
    go_on(stage, 5)
}

fn kill(stage: &mut Stage<'_>, collector: usize) -> Result<()> {
    stage.collectors[collector].kill(&mut stage.rng, &mut stage.histogram)
}

/// Lets everything run for about so many seconds.
fn go_on(stage: &mut Stage<'_>, seconds: usize) -> Result<()> {
    let milliseconds = stage.rng.between(seconds * 700, seconds * 1300);
    wait(stage, Duration::from_millis(milliseconds as u64))
}

fn wait(stage: &mut Stage<'_>, time: Duration) -> Result<()> {
    let since = Instant::now();
    loop {
        anyhow::ensure!(!stage.options.is_stopped(), "ended before its time");
        stage.tick()?;
        if since.elapsed() >= time {
            return Ok(());
        }
        std::thread::sleep(STEP);
    }
}
