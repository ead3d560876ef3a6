//! `make soak`: prints how a run went, and exits 1 if anything is missing, twice, forked or falsely found.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use indelible_tests::soak::row11::{self, Counted, Peer, Plan, Tally};
use indelible_tests::soak::{self, Options, Schedule};
use indelible_tests::world::binary;
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
    /// Whom that happens to: ours, a peer that `make bench-deps` installs, or all of them. One table is printed.
    #[arg(long, value_name = "NAME", default_value = "ours", requires = "row11",
          value_parser = ["ours", "rsyslog", "otelcol", "all"])]
    subject: String,
    /// Leave what a run that failed has written where it is.
    #[arg(long)]
    keep: bool,
}

fn main() -> Result<ExitCode> {
    let Arguments { seed, minutes, small_disks, row11, subject, keep } = Arguments::parse();
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
    let options = Options { seed, lasts, schedule, small_disks, keep, stop };
    let mut counted = Vec::new();
    let mut is_right = true;
    if subject == "ours" || subject == "all" {
        let outcome = soak::run(&options).with_context(|| format!("seed {seed}"))?;
        is_right = says(&outcome);
        counted.push(ours(&outcome)?);
    }
    for (name, protocol) in PEERS.iter().filter(|(name, _)| subject == *name || subject == "all") {
        println!("{name}, the same faults");
        let (plan, stop) = (Plan::draw(seed), Arc::clone(&options.stop));
        let peer = Peer { name, protocol, seed, plan, pace: row11::PACE, still: STILL, small_disks, stop };
        counted.push(row11::run_peer(&peer).with_context(|| format!("seed {seed}, {name}"))?);
    }
    if subject != "ours" {
        counted.extend(ABSENT.iter().map(|(name, why)| Counted::left_out(name, why)));
        print!("{}", row11::table(&counted));
    }
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Peers, and what each speaks.
const PEERS: [(&str, &str); 2] = [("rsyslog", "relp"), ("otelcol", "otlp")];
/// Peers of the benchmark's row 11 that cannot be installed, and why.
const ABSENT: [(&str, &str); 1] = [("fluent-bit", "neither Debian nor a Go module has it")];
/// Nothing has come in for so long: a peer has delivered all that it will. Each tries again within a second or ten.
const STILL: Duration = Duration::from_secs(45);

/// Prints how a run of ours went, and says whether it was right.
fn says(outcome: &soak::Outcome) -> bool {
    print!("{}", outcome.report());
    let wrong = outcome.wrong();
    for text in &wrong {
        println!("WRONG: {text}");
    }
    println!("{}", if wrong.is_empty() { "nothing is missing, and nothing is there twice" } else { "FAILED" });
    wrong.is_empty()
}

/// Ours, for the table. What is declared is missing, too.
fn ours(outcome: &soak::Outcome) -> Result<Counted> {
    let version = std::process::Command::new(binary("indelible-sidecar")?).arg("--version").output()?;
    let verdict = &outcome.verdict;
    let tally = Tally {
        printed: verdict.printed,
        lost: verdict.lost + verdict.declared,
        duplicated: verdict.duplicated,
        garbled: verdict.garbled,
    };
    Ok(Counted {
        subject: "ours".into(),
        version: String::from_utf8(version.stdout)?.trim().to_owned(),
        tally: Some(tally),
        note: format!("verify: exit code {}", outcome.answer.code),
    })
}
