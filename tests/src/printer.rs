//! A container that prints what a test tells it to, as a kubelet's log file.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// A container's log directory, and its live file.
#[derive(Debug)]
pub struct Printer {
    dir: PathBuf,
    restart: u32,
    live: File,
    printed: u64,
    rotations: u32,
}

impl Printer {
    /// Makes `<pod directory>/<container>/0.log`.
    pub fn new(pod: &Path, container: &str) -> Result<Self> {
        let dir = pod.join(container);
        std::fs::create_dir_all(&dir)?;
        let live = File::create(dir.join("0.log"))?;
        Ok(Self { dir, restart: 0, live, printed: 0, rotations: 0 })
    }

    /// Prints `count` numbered lines of `width` bytes or a little more.
    pub fn print(&mut self, count: u64, width: usize) -> Result<()> {
        let width = width.saturating_sub(10);
        self.print_as(count, |n| format!("line {n} {:x<width$}", ""))
    }

    /// Prints `count` lines, each of which is made from its number.
    pub fn print_as(&mut self, count: u64, line: impl Fn(u64) -> String) -> Result<()> {
        let mut text = Vec::new();
        for _ in 0..count {
            let n = self.printed;
            let (second, nano) = (n / 1000, n % 1000);
            let (minute, second) = (second / 60 % 60, second % 60);
            let stream = if n % 5 == 4 { "stderr" } else { "stdout" };
            writeln!(text, "2026-11-22T20:{minute:02}:{second:02}.{nano:03}Z {stream} F {}", line(n))?;
            self.printed += 1;
        }
        self.live.write_all(&text)?;
        Ok(())
    }

    /// How many lines were printed so far.
    pub fn printed(&self) -> u64 {
        self.printed
    }

    /// Rotates as a kubelet does: rename, then a new live file. Gives the name of the old one.
    pub fn rotate(&mut self) -> Result<PathBuf> {
        self.rotations += 1;
        let live = self.dir.join(format!("{}.log", self.restart));
        let old = self.dir.join(format!("{}.log.20261122-20{:04}", self.restart, self.rotations));
        std::fs::rename(&live, &old)?;
        self.live = File::create(&live)?;
        Ok(old)
    }

    /// Starts the container again: a new live file with the next number.
    pub fn restart(&mut self) -> Result<()> {
        self.restart += 1;
        self.live = File::create(self.dir.join(format!("{}.log", self.restart)))?;
        Ok(())
    }
}
