//! Many cases under one seed, on all processors: mutations of a few long histories, and histories as they are.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;

use super::check::{Case, Checker, Outcome};
use super::mutation::Mutation;
use super::rng::Rng;
use super::story::{History, Kind, Length};

/// Histories that are changed.
const HISTORIES: usize = 12;

/// Batches of a history that is changed: enough for full tiles.
const LENGTH: Length = Length(520);

/// What was checked, for a person, and how it went.
pub type Told = (String, Outcome);

/// Cases that follow from a seed.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// What everything follows from.
    pub seed: u64,
    /// A directory to work in.
    pub dir: PathBuf,
    /// Where the directories of disagreements are kept, if they are.
    pub keep: Option<PathBuf>,
}

impl Campaign {
    /// Changes histories: these mutations, by number.
    pub fn mutations(&self, cases: &[usize]) -> Result<Vec<Told>> {
        let base = self.dir.join("base");
        let checkers = parallel("histories", HISTORIES, |n| Checker::new(self.history(n)?, &base.join(n.to_string())))?;
        parallel("mutations", cases.len(), |n| {
            let (case, seed) = (cases[n], self.seed);
            let checker = &checkers[case % HISTORIES];
            let mut rng = Rng::new(seed, 1_000_000 + u64::try_from(case)?);
            let mutation = Mutation::draw(&mut rng, &checker.history);
            let text = format!("mutation {case} of seed {seed}: {}", mutation.text);
            let outcome = self.check(checker, &Case::Changed(mutation), &self.dir.join(format!("m{case}")))?;
            Ok((text, outcome))
        })
    }

    /// Checks histories of these kinds as they are.
    pub fn histories(&self, what: &str, count: usize, kinds: &[Kind]) -> Result<Vec<Told>> {
        parallel(what, count, |n| {
            let kind = kinds[n % kinds.len()];
            let number = 1_000 + u64::try_from(n)? + 100_000 * u64::try_from(what.len())?;
            let length = Length(Rng::new(self.seed, number).between(60, 400));
            let base = self.dir.join(format!("{what}-{n}"));
            let checker = Checker::new(History::new(self.seed, number, kind, length), &base)?;
            let outcome = self.check(&checker, &Case::Untouched, &base.join("work"))?;
            std::fs::remove_dir_all(&base)?;
            Ok((format!("{what} history {n} of seed {} ({kind:?})", self.seed), outcome))
        })
    }

    /// Writes the histories that [`mutations`](Self::mutations) changes, by number.
    pub fn write(&self, to: &Path) -> Result<()> {
        (0..HISTORIES).try_for_each(|n| self.history(n)?.write(&to.join(n.to_string())))
    }

    fn history(&self, n: usize) -> Result<History> {
        Ok(History::new(self.seed, u64::try_from(n)?, Kind::ALL[n % Kind::ALL.len()], LENGTH))
    }

    fn check(&self, checker: &Checker, case: &Case, work: &Path) -> Result<Outcome> {
        let kept = self.keep.as_ref().and_then(|keep| Some(keep.join(work.file_name()?)));
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
