//! `make soak`: prints how a run went, and exits 1 if anything is missing, twice, forked or falsely found.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use indelible_tests::soak::{self, Options, Schedule};
use tokio::signal::unix::{SignalKind, signal};

/// Lets pods print while everything is killed, stopped, cut off and filled up, and compares what was printed with what the
/// collectors hold.
#[derive(Debug, Parser)]
struct Arguments {
    /// What the schedule follows from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long there are faults, in minutes, up to 240.
    #[arg(long, default_value_t = 20.0)]
    minutes: f64,
    /// Put a collector's data and a sidecar's state on small disks, which fill up. Needs root; run it under
    /// `unshare --mount`.
    #[arg(long)]
    small_disks: bool,
    /// The faults of the benchmark's row 11 instead, one after the other: 10 MB/s for two and a half minutes.
    #[arg(long)]
    row11: bool,
    /// Leave what a run that failed has written where it is.
    #[arg(long)]
    keep: bool,
}

fn main() -> Result<ExitCode> {
    let Arguments { seed, minutes, small_disks, row11, keep } = Arguments::parse();
    anyhow::ensure!((0.1..=240.0).contains(&minutes), "--minutes: from 0.1 to 240, not {minutes}");
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let asked = Arc::clone(&stop);
    let mut terminated = {
        let _guard = runtime.enter();
        signal(SignalKind::terminate())?
    };
    runtime.spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
        eprintln!("ending early: what was started is ended, and what was written removed");
        asked.store(true, Ordering::Relaxed);
    });
    let schedule = if row11 { Schedule::Row11 } else { Schedule::Storm };
    match schedule {
        Schedule::Storm => println!("seed {seed}, {minutes} minutes of faults"),
        Schedule::Row11 => println!("seed {seed}, the faults of row 11"),
    }
    let lasts = Duration::from_secs_f64(minutes * 60.0);
    let outcome = soak::run(&Options { seed, lasts, schedule, small_disks, keep, stop })
        .with_context(|| format!("seed {seed}"))?;
    print!("{}", outcome.report());
    let wrong = outcome.wrong();
    for text in &wrong {
        println!("WRONG: {text}");
    }
    println!("{}", if wrong.is_empty() { "nothing is missing, and nothing is there twice" } else { "FAILED" });
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
