//! `make attacks`: plays the attacks of the threat model, each for several seeds and with its legitimate twin.
//!
//! Prints a line an attack: how many seeds went as they must, the verdicts, the exit code, the class, and the sentence
//! that a person read. What went wrong is told with its seed and how to play that one alone; then it exits 1.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use indelible_tests::attacks::{TABLE, page, runner};

/// Plays the attacks of the threat model with the real collectors, sidecars and verifier.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds each attack is played for.
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this attack (A2-witness), or all of this number (A2); may be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Threads that play [default: two for each processor].
    #[arg(long)]
    workers: Option<usize>,
    /// Say how long each attack took.
    #[arg(long)]
    times: bool,
    /// Only print the table of docs/threat-model.md.
    #[arg(long)]
    table: bool,
}

fn main() -> Result<ExitCode> {
    let Arguments { seeds, seed, only, workers, times, table } = Arguments::parse();
    if table {
        print!("{}", page::table());
        return Ok(ExitCode::SUCCESS);
    }
    let only: Vec<String> = only.into_iter().filter(|only| !only.is_empty()).collect();
    let rows = runner::chosen(&only);
    ensure!(!rows.is_empty(), "no attack is called {}; --table lists them all", only.join(" or "));
    let (lacking, rows): (Vec<usize>, Vec<usize>) = rows.into_iter().partition(|row| runner::lacks(*row).is_some());
    for row in lacking {
        println!("{:<16} LEFT OUT: {} is not installed", TABLE[row].name, runner::lacks(row).unwrap_or_default());
    }
    let seeds: Vec<u64> = (seed..seed + seeds).collect();
    let workers = workers.unwrap_or_else(|| 2 * std::thread::available_parallelism().map_or(2, std::num::NonZero::get));
    let outcomes = runner::play(&rows, &seeds, workers);
    let (text, is_good) = runner::report(&outcomes, times);
    print!("{text}");
    let good = outcomes.values().filter(|outcome| outcome.wrong.is_empty()).count();
    println!("{good} of {} as they must be: {} attacks, {} seeds", outcomes.len(), rows.len(), seeds.len());
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
