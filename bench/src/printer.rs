//! A container that prints at a pace: a thread that writes a CRI log file as a runtime does, in steps of a millisecond or more.
//!
//! Payloads are made before; while it prints, a line costs a copy, its time and its number. Each line's time is when it was
//! written, its number how many were before it.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::corpus::{Corpus, ID, Workload, rfc3339};

/// Bytes of a time as the runtime writes it, and of everything before the payload.
const TIME_BYTES: usize = 30;
const PREFIX_BYTES: usize = 40;
/// Different lines that are printed round and round.
const LINES: usize = 1 << 14;
/// How often lines are written.
const STEP: Duration = Duration::from_millis(1);

/// How much is printed, and how files are rotated.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Lines of W1 a second.
    pub lines_a_second: u64,
    /// How often the file is renamed and another one begun, as the kubelet does when it looks.
    pub rotate: Option<Duration>,
}

impl Pace {
    /// As many lines as make this many bytes a second.
    pub const fn bytes_a_second(bytes: u64) -> Self {
        Self { lines_a_second: bytes / 241, rotate: None }
    }
}

/// The container.
#[derive(Debug)]
pub struct Printer {
    stopping: Arc<AtomicBool>,
    printed: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Printer {
    /// Begins to print into `<dir>/0.log`, from a thread on the core of this one.
    pub fn start(dir: &Path, seed: u64, pace: Pace) -> Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let printed = Arc::new(AtomicU64::new(0));
        let mut paper = Paper::new(dir.join("0.log"), seed)?;
        let (is_stopping, count) = (Arc::clone(&stopping), Arc::clone(&printed));
        let thread = std::thread::spawn(move || {
            let (begin, mut rotated) = (Instant::now(), Instant::now());
            while !is_stopping.load(Ordering::Relaxed) {
                let due = begin.elapsed().as_micros() * u128::from(pace.lines_a_second) / 1_000_000;
                let due = u64::try_from(due)?;
                paper.print(due - count.load(Ordering::Relaxed))?;
                count.store(due, Ordering::Relaxed);
                if pace.rotate.is_some_and(|every| rotated.elapsed() >= every) {
                    rotated = Instant::now();
                    paper.rotate()?;
                }
                std::thread::sleep(STEP);
            }
            Ok(())
        });
        Ok(Self { stopping, printed, thread: Some(thread) })
    }

    /// Lines printed so far.
    pub fn printed(&self) -> u64 {
        self.printed.load(Ordering::Relaxed)
    }

    /// Stops it; gives how many lines it printed.
    pub fn stop(mut self) -> Result<u64> {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            match thread.join() {
                Ok(result) => result?,
                Err(_) => anyhow::bail!("the printing thread panicked"),
            }
        }
        Ok(self.printed())
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The file, and the lines that go into it.
struct Paper {
    path: PathBuf,
    file: File,
    rotations: u32,
    lines: Vec<Vec<u8>>,
    count: u64,
    out: Vec<u8>,
}

impl Paper {
    fn new(path: PathBuf, seed: u64) -> Result<Self> {
        let mut corpus = Corpus::new(Workload::W1, seed);
        let time = rfc3339(0);
        ensure!(time.len() == TIME_BYTES, "a time has {TIME_BYTES} bytes: {time}");
        let make = |_| {
            let mut line = Vec::new();
            corpus.cri_line(&time, &mut line);
            line
        };
        let lines = (0..LINES).map(make).collect();
        let file = File::options().create(true).append(true).open(&path)?;
        Ok(Self { path, file, rotations: 0, lines, count: 0, out: Vec::new() })
    }

    fn print(&mut self, count: u64) -> Result<()> {
        let now = i64::try_from(jiff::Timestamp::now().as_nanosecond())?;
        let time = rfc3339(now);
        self.out.clear();
        for _ in 0..count {
            let at = self.out.len();
            let line = &self.lines[usize::try_from(self.count)? % self.lines.len()];
            self.out.extend_from_slice(line);
            let line = &mut self.out[at..];
            line[..TIME_BYTES].copy_from_slice(time.as_bytes());
            self.count += 1;
            number(&mut line[PREFIX_BYTES..][ID], self.count);
        }
        self.file.write_all(&self.out)?;
        Ok(())
    }

    fn rotate(&mut self) -> Result<()> {
        self.rotations += 1;
        let (minutes, seconds) = (self.rotations / 60, self.rotations % 60);
        let rotated = self.path.with_file_name(format!("0.log.20260101-00{minutes:02}{seconds:02}"));
        std::fs::rename(&self.path, rotated)?;
        self.file = File::options().create(true).append(true).open(&self.path)?;
        Ok(())
    }
}

/// Writes a number in decimal digits, zeros before it.
fn number(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::eventually;

    #[test]
    fn lines_are_whole_come_at_their_pace_and_go_to_another_file_after_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let pace = Pace { lines_a_second: 10_000, rotate: Some(Duration::from_millis(50)) };
        let begin = Instant::now();
        let printer = Printer::start(dir.path(), 1, pace).unwrap();
        let enough = || Ok((printer.printed() >= 2_000).then_some(()));
        eventually("lines are printed", crate::limits::CASE, enough).unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(190), "2,000 lines take 0.2 s");
        let printed = printer.stop().unwrap();
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() > 1, "{files:?}");
        let text: Vec<u8> = files.iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
        assert_eq!(text.len() as u64, printed * 241);
        let id = |line: &[u8]| std::str::from_utf8(&line[PREFIX_BYTES..][ID]).unwrap().parse::<u64>().unwrap();
        let mut ids: Vec<_> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(id).collect();
        ids.sort_unstable();
        assert!(ids.into_iter().eq(1..=printed));
    }
}
