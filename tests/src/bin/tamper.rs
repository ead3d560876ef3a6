//! `make tamper`: changes kept evidence, many times, and asks whether the verifier answers as the model says.
//!
//! Prints one line for the mutations and one for histories in which nothing was changed; on a disagreement the seed,
//! the mutation, what was expected and what was answered, and exits 1.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use indelible_tests::tamper::campaign::{Campaign, Told};
use indelible_tests::tamper::{Kind, Outcome};

/// Changes kept evidence, and asks whether the verifier answers as an independent model of the format says.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many mutations.
    #[arg(long, default_value_t = 2000)]
    count: usize,
    /// What everything follows from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many untouched and how many other legitimate histories. Default: a tenth of the mutations
    #[arg(long)]
    histories: Option<usize>,
    /// Only this mutation.
    #[arg(long)]
    only: Option<usize>,
    /// Keep the directories of disagreements below this one.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Only write the histories that would be changed to this directory, for other verifiers.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let Arguments { count, seed, histories, only, keep, write } = Arguments::parse();
    let dir = tempfile::Builder::new().prefix("indelible-tamper-").tempdir()?;
    let campaign = Campaign { seed, dir: dir.path().into(), keep };
    if let Some(to) = write {
        campaign.write(&to)?;
        return Ok(ExitCode::SUCCESS);
    }
    let cases: Vec<usize> = only.map_or_else(|| (0..count).collect(), |only| vec![only]);
    let outcomes = campaign.mutations(&cases)?;
    let panics = outcomes.iter().filter(|(_, outcome)| outcome.is_panic).count();
    let good = good(&outcomes);
    println!("{good}/{} as the model says, {panics} panics", outcomes.len());
    let mut is_wrong = good < outcomes.len() || panics > 0;
    if only.is_none() {
        let count = histories.unwrap_or(count.div_ceil(10));
        let quiet = [Kind::Sealed, Kind::Running];
        let eventful = [Kind::Crash, Kind::Scale, Kind::Resume, Kind::Dead];
        for (what, kinds) in [("untouched", &quiet[..]), ("legitimate", &eventful)] {
            let good = self::good(&campaign.histories(what, count, kinds)?);
            println!("{good}/{count} {what} histories raise nothing");
            is_wrong |= good < count;
        }
    }
    Ok(if is_wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// How many went as they must; tells of the others.
fn good(outcomes: &[Told]) -> usize {
    for (text, outcome) in outcomes {
        tell(text, outcome);
    }
    outcomes.iter().filter(|(_, outcome)| outcome.wrong.is_empty()).count()
}

fn tell(text: &str, outcome: &Outcome) {
    if !outcome.wrong.is_empty() {
        println!("{text}");
        outcome.wrong.iter().flat_map(|wrong| wrong.lines()).for_each(|line| println!("    {line}"));
    }
}
