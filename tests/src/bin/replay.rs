//! Does below a directory what a real kubelet did to its pods' logs: something to point a sidecar at.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use indelible_tests::trace::{Replay, Speed, Trace};

/// Replay 95 seconds of what a kubelet did to the log directories of four pods.
#[derive(Parser)]
struct Flags {
    /// Directory in which the pods' log directories are made; it is created if absent and has to be empty.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Seconds of the recording that go by in one second.
    #[arg(long, value_name = "FACTOR", default_value = "1")]
    speed: f64,
}

fn main() -> Result<()> {
    let Flags { root, speed } = Flags::parse();
    let speed = Speed::times(speed).context("--speed")?;
    let trace = Arc::new(Trace::recorded()?);
    let made = std::fs::create_dir_all(&root).and_then(|()| std::fs::read_dir(&root));
    let mut items = made.with_context(|| format!("--root {}", root.display()))?;
    anyhow::ensure!(items.next().is_none(), "--root {}: is not empty, name another directory", root.display());
    for pod in trace.pods() {
        println!("{}", root.join(&pod.directory).display());
    }

    let replay = Replay::start(&trace, &root, speed);
    let mut second = Duration::ZERO;
    while !replay.wait_until(second).ended {
        second += Duration::from_secs(10);
        eprintln!("{:>3} s of {}", replay.progress().at.as_secs(), trace.duration().as_secs());
    }
    let end = replay.join()?.progress;
    eprintln!("{} operations done", end.operations);
    Ok(())
}
