//! What the command line says, as one value that every row gets.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use crate::limits::{MAX_INPUT_BYTES, MAX_PAIRS};

/// Measures Indelible against other programs, row by row of docs/benchmarks.md.
#[derive(Debug, Clone, Parser)]
#[command(name = "indelible-bench")]
pub struct Settings {
    /// Rows to measure [default: all]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub rows: Vec<u8>,
    /// Pairs of runs, at least 5 for a figure that counts
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub pairs: usize,
    /// Megabytes of input for the rows that read a file
    #[arg(long, value_name = "MB", default_value_t = 500)]
    pub size: u64,
    /// Seed of the corpus
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Whether each row runs, with tiny inputs and one pair; its figures mean nothing and nothing is kept
    #[arg(long)]
    pub short: bool,
    /// Where our programs are [default: beside this one]
    #[arg(long, value_name = "DIR")]
    pub programs: Option<PathBuf>,
    /// Folder of the committed configurations of peers
    #[arg(long, value_name = "DIR", default_value = "bench/peers")]
    pub configurations: PathBuf,
    /// Folder that results are kept in, a file a day
    #[arg(long, value_name = "DIR", default_value = "bench/results")]
    pub results: PathBuf,
    /// The document whose table is renewed
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    pub document: PathBuf,
    /// What is said of the machine's other load beside the figures
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub note: String,
}

impl Settings {
    /// Reads the command line.
    pub fn from_arguments() -> Result<Self> {
        Self::parse().checked()
    }

    fn checked(mut self) -> Result<Self> {
        if self.short {
            (self.pairs, self.size) = (1, self.size.min(2));
        }
        ensure!((1..=MAX_PAIRS).contains(&self.pairs), "--pairs is 1 to {MAX_PAIRS}");
        ensure!(self.size >= 1 && self.bytes() <= MAX_INPUT_BYTES, "--size is 1 to {}", MAX_INPUT_BYTES / 1_000_000);
        Ok(self)
    }

    /// Bytes of input for the rows that read a file.
    pub fn bytes(&self) -> u64 {
        self.size.saturating_mul(1_000_000)
    }

    /// One of two sizes: a full run's or a short one's.
    pub fn pick<T>(&self, full: T, short: T) -> T {
        if self.short { short } else { full }
    }

    /// One of our programs.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let beside = || Ok(std::env::current_exe()?.parent().context("a program is in a directory")?.to_owned());
        let path = self.programs.clone().map_or_else(beside, anyhow::Ok)?.join(name);
        ensure!(path.is_file(), "{} is not built: make bench builds it", path.display());
        Ok(path)
    }

    /// The cache that `make bench-deps` fills.
    pub fn cache() -> Option<PathBuf> {
        if let Some(dir) = std::env::var_os("INDELIBLE_BENCH_CACHE") {
            return Some(dir.into());
        }
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
        Some(std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?.join("indelible-bench"))
    }
}
