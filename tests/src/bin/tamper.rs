//! `make tamper`: changes kept evidence, many times, and asks whether the verifier answers as the model says.
//!
//! Prints one line for the mutations and one for histories in which nothing was changed; on a disagreement the seed,
//! the mutation, what was expected and what was answered, and exits 1.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use clap::Parser;
use indelible_tests::tamper::story::{Kind, Length};
use indelible_tests::tamper::{Case, Checker, History, Mutation, Outcome, Rng};

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

/// Histories that are changed.
const HISTORIES: usize = 12;

/// Batches of a history that is changed: enough for full tiles.
const LENGTH: Length = Length(520);

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(to) = &arguments.write {
        for n in 0..HISTORIES {
            history(&arguments, n)?.write(&to.join(n.to_string()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let dir = tempfile::Builder::new().prefix("indelible-tamper-").tempdir()?;
    let mut is_wrong = mutations(&arguments, dir.path())?;
    if arguments.only.is_none() {
        let count = arguments.histories.unwrap_or(arguments.count.div_ceil(10));
        let quiet = [Kind::Sealed, Kind::Running];
        let eventful = [Kind::Crash, Kind::Scale, Kind::Resume, Kind::Dead];
        is_wrong |= histories(&arguments, dir.path(), "untouched", count, &quiet)?;
        is_wrong |= histories(&arguments, dir.path(), "legitimate", count, &eventful)?;
    }
    Ok(if is_wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn history(arguments: &Arguments, n: usize) -> Result<History> {
    Ok(History::new(arguments.seed, u64::try_from(n)?, Kind::ALL[n % Kind::ALL.len()], LENGTH))
}

fn mutations(arguments: &Arguments, dir: &Path) -> Result<bool> {
    let base = dir.join("base");
    let checkers =
        parallel("histories", HISTORIES, |n| Checker::new(history(arguments, n)?, &base.join(n.to_string())))?;
    let cases: Vec<usize> = arguments.only.map_or_else(|| (0..arguments.count).collect(), |only| vec![only]);
    let outcomes = parallel("mutations", cases.len(), |n| {
        let checker = &checkers[cases[n] % HISTORIES];
        let mut rng = Rng::new(arguments.seed, 1_000_000 + u64::try_from(cases[n])?);
        let mutation = Mutation::draw(&mut rng, &checker.history);
        let text = format!("mutation {} of seed {}: {}", cases[n], arguments.seed, mutation.text);
        let outcome = check(arguments, checker, &Case::Changed(mutation), &dir.join(format!("m{}", cases[n])))?;
        Ok((text, outcome))
    })?;
    let good = outcomes.iter().filter(|(_, outcome)| outcome.wrong.is_empty()).count();
    let panics = outcomes.iter().filter(|(_, outcome)| outcome.is_panic).count();
    for (text, outcome) in &outcomes {
        tell(text, outcome);
    }
    println!("{good}/{} as the model says, {panics} panics", outcomes.len());
    Ok(good < outcomes.len() || panics > 0)
}

fn histories(arguments: &Arguments, dir: &Path, what: &str, count: usize, kinds: &[Kind]) -> Result<bool> {
    let outcomes = parallel(what, count, |n| {
        let kind = kinds[n % kinds.len()];
        let number = 1_000 + u64::try_from(n)? + 100_000 * u64::try_from(what.len())?;
        let length = Length(Rng::new(arguments.seed, number).between(60, 400));
        let base = dir.join(format!("{what}-{n}"));
        let checker = Checker::new(History::new(arguments.seed, number, kind, length), &base)?;
        let outcome = check(arguments, &checker, &Case::Untouched, &base.join("work"))?;
        std::fs::remove_dir_all(&base)?;
        Ok((format!("{what} history {n} of seed {} ({kind:?})", arguments.seed), outcome))
    })?;
    let good = outcomes.iter().filter(|(_, outcome)| outcome.wrong.is_empty()).count();
    for (text, outcome) in &outcomes {
        tell(text, outcome);
    }
    println!("{good}/{count} {what} histories raise nothing");
    Ok(good < count)
}

fn check(arguments: &Arguments, checker: &Checker, case: &Case, work: &Path) -> Result<Outcome> {
    let kept = arguments.keep.as_ref().and_then(|keep| Some(keep.join(work.file_name()?)));
    let outcome = checker.run(case, work)?;
    match kept {
        Some(kept) if !outcome.wrong.is_empty() => {
            std::fs::create_dir_all(&kept)?;
            copy(work, &kept)?;
        }
        _ => {}
    }
    std::fs::remove_dir_all(work)?;
    Ok(outcome)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&to)?;
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn tell(text: &str, outcome: &Outcome) {
    if !outcome.wrong.is_empty() {
        println!("{text}");
        outcome.wrong.iter().flat_map(|wrong| wrong.lines()).for_each(|line| println!("    {line}"));
    }
}

/// Does things on all processors; gives what came of them, in their order.
fn parallel<T: Send>(what: &str, count: usize, make: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let work = || -> Result<Vec<(usize, T)>> {
        let mut done = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return Ok(done);
            }
            progress(what, n, count);
            done.push((n, make(n)?));
        }
    };
    let mut all = std::thread::scope(|scope| -> Result<Vec<(usize, T)>> {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??);
        }
        Ok(all)
    })?;
    progress(what, count, count);
    all.sort_by_key(|(n, _)| *n);
    Ok(all.into_iter().map(|(_, made)| made).collect())
}

fn progress(what: &str, n: usize, count: usize) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() && (n.is_multiple_of(20) || n == count) {
        // Nobody is there to tell if this cannot be written.
        let _ = write!(stderr, "\r\x1b[K{}", if n < count { format!("{what} {n}/{count}") } else { String::new() });
    }
}
