//! `indelible-bench`: measures the rows that are asked for, prints each, keeps them.

use std::process::ExitCode;

use anyhow::Result;
use indelible_bench::process::{Core, bind};
use indelible_bench::settings::Settings;
use indelible_bench::{report, rows};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("indelible-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every row that was asked for ran, or was left out for want of a peer.
fn run() -> Result<bool> {
    let settings = Settings::from_arguments()?;
    // Generators and sinks are threads of this program: away from what is measured.
    bind(Core::Others)?;
    let mut all_ran = true;
    for row in rows::ALL.iter().filter(|row| settings.rows.is_empty() || settings.rows.contains(&row.number)) {
        match (row.run)(row, &settings) {
            Ok(of_row) => {
                for outcome in &of_row {
                    println!("{}", report::line(outcome));
                }
                if !settings.short {
                    // At once: who ends a long run keeps what it has measured.
                    report::keep(&settings, &of_row)?;
                }
            }
            Err(error) => {
                all_ran = false;
                eprintln!("row {:>2}  {}: failed: {error:#}", row.number, row.measure);
            }
        }
    }
    Ok(all_ran)
}
