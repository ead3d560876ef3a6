//! Seeded input: payloads like those that services print, and CRI log files of them.
//!
//! The same seed gives the same bytes. W1's payloads have 200 bytes, W2's 1 KiB, W3's 40 KiB in parts of 16 KiB, as
//! containerd splits them. Each begins with its number, so that what is lost or comes twice can be told. How far they compress decides what a benchmark is worth: a test holds W1 to a ratio of 5 ± 0.5.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Result, ensure};

use crate::limits::MAX_INPUT_BYTES;

/// Where containerd splits a line.
const PART_BYTES: usize = 16 * 1024;
/// Time of the first line, and how far apart lines are: 10,000 a second.
const FIRST_NANOS: i64 = 1_780_000_000_000_000_000;
const STEP_NANOS: i64 = 100_000;

/// Where a payload's number is: behind `{"id":"`, ten digits.
pub const ID: std::ops::Range<usize> = 7..17;

/// A workload, by its payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// 200 bytes.
    W1,
    /// 1 KiB.
    W2,
    /// 40 KiB.
    W3,
}

impl Workload {
    const fn payload_bytes(self) -> usize {
        match self {
            Self::W1 => 200,
            Self::W2 => 1024,
            Self::W3 => 40 * 1024,
        }
    }
}

/// A small generator of numbers (`SplitMix64`): repeatable, for nothing secret.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// Numbers that follow from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.below(words.len() as u64)).unwrap_or_default()]
    }
}

/// Payloads, one after the other.
#[derive(Debug, Clone)]
pub struct Corpus {
    workload: Workload,
    numbers: Numbers,
    line: Vec<u8>,
    count: u64,
}

const SERVICES: [&str; 6] = ["checkout", "ledger", "catalog", "session-store", "search", "shipping"];
const METHODS: [&str; 6] = ["GET", "GET", "GET", "POST", "POST", "DELETE"];
const ROUTES: [&str; 8] = [
    "/api/v1/orders",
    "/api/v1/orders/items",
    "/api/v1/carts",
    "/api/v2/payments",
    "/api/v1/users/me",
    "/healthz",
    "/api/v2/search",
    "/api/v1/stock",
];
const WORDS: [&str; 16] = [
    "request",
    "completed",
    "upstream",
    "retry",
    "cache",
    "miss",
    "session",
    "renewed",
    "order",
    "placed",
    "payment",
    "captured",
    "stock",
    "reserved",
    "slow",
    "query",
];

impl Corpus {
    /// Payloads that follow from `seed`.
    pub const fn new(workload: Workload, seed: u64) -> Self {
        Self { workload, numbers: Numbers::new(seed), line: Vec::new(), count: 0 }
    }

    /// The next payload: a JSON object of exactly the workload's length.
    pub fn payload(&mut self) -> &[u8] {
        let n = &mut self.numbers;
        self.line.clear();
        self.count += 1;
        let status = [200, 200, 200, 200, 201, 204, 404, 500][usize::try_from(n.below(8)).unwrap_or_default()];
        let level = if status == 500 { "error" } else { "info" };
        // Writing into memory does not fail.
        let _ = write!(
            self.line,
            r#"{{"id":"{:010}","level":"{level}","service":"{}","method":"{}","path":"{}","status":{status},"ms":{},"user":{},"trace":"{:016x}{:016x}","msg":""#,
            self.count,
            n.pick(&SERVICES),
            n.pick(&METHODS),
            n.pick(&ROUTES),
            n.below(300),
            10_000 + n.below(2_000),
            n.draw(),
            n.draw(),
        );
        let text = self.workload.payload_bytes() - 2;
        while self.line.len() < text {
            self.line.extend_from_slice(n.pick(&WORDS).as_bytes());
            self.line.push(b' ');
        }
        self.line.truncate(text);
        self.line.extend_from_slice(br#""}"#);
        &self.line
    }

    /// The raw line or lines of a CRI log that the next payload is in, printed at `time`, appended to `out`.
    pub fn cri_line(&mut self, time: &str, out: &mut Vec<u8>) {
        let stream = if self.numbers.below(10) == 0 { "stderr" } else { "stdout" };
        self.payload();
        let mut rest = &self.line[..];
        while rest.len() > PART_BYTES {
            let (part, after) = rest.split_at(PART_BYTES);
            raw_line(time, stream, 'P', part, out);
            rest = after;
        }
        raw_line(time, stream, 'F', rest, out);
    }
}

fn raw_line(time: &str, stream: &str, tag: char, content: &[u8], out: &mut Vec<u8>) {
    let _ = write!(out, "{time} {stream} {tag} ");
    out.extend_from_slice(content);
    out.push(b'\n');
}

/// The time of a raw line, with nine digits as containerd writes it.
pub fn rfc3339(nanos: i64) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default();
    format!("{time:.9}")
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Payloads: each is a record.
    pub lines: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of the payloads.
    pub payload_bytes: u64,
}

/// Writes a CRI log file of about `bytes` bytes.
pub fn write_cri(path: &Path, workload: Workload, seed: u64, bytes: u64) -> Result<Written> {
    ensure!(bytes <= MAX_INPUT_BYTES, "an input file has at most {MAX_INPUT_BYTES} bytes");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let (mut corpus, mut out, mut written) = (Corpus::new(workload, seed), Vec::new(), Written::default());
    while written.bytes < bytes {
        out.clear();
        corpus.cri_line(&rfc3339(FIRST_NANOS + i64::try_from(corpus.count)? * STEP_NANOS), &mut out);
        file.write_all(&out)?;
        written.lines += 1;
        written.bytes += out.len() as u64;
        written.payload_bytes += corpus.line.len() as u64;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(written)
}

/// Writes the payloads of [`write_cri`]'s first `lines` lines, each with a newline.
pub fn write_payloads(path: &Path, workload: Workload, seed: u64, lines: u64) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let (mut corpus, mut out) = (Corpus::new(workload, seed), Vec::new());
    for _ in 0..lines {
        out.clear();
        corpus.cri_line("", &mut out);
        file.write_all(&corpus.line)?;
        file.write_all(b"\n")?;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corpus_follows_from_its_seed_and_payloads_have_their_length() {
        let take = |workload, seed| {
            let mut corpus = Corpus::new(workload, seed);
            (0..50).map(|_| corpus.payload().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(take(Workload::W1, 1), take(Workload::W1, 1));
        assert_ne!(take(Workload::W1, 1), take(Workload::W1, 2));
        for workload in [Workload::W1, Workload::W2, Workload::W3] {
            for payload in take(workload, 3) {
                assert_eq!(payload.len(), workload.payload_bytes());
                serde_json::from_slice::<serde_json::Value>(&payload).unwrap();
            }
        }
    }

    #[test]
    fn raw_lines_are_as_long_as_the_workloads_say_and_long_ones_come_in_parts() {
        let mut out = Vec::new();
        Corpus::new(Workload::W1, 1).cri_line(&rfc3339(FIRST_NANOS), &mut out);
        assert_eq!(out.len(), 241, "{}", String::from_utf8_lossy(&out));
        out.clear();
        Corpus::new(Workload::W3, 1).cri_line(&rfc3339(FIRST_NANOS), &mut out);
        let tags: Vec<_> = out.split(|byte| *byte == b'\n').filter_map(|line| line.get(38)).copied().collect();
        assert_eq!(tags, b"PPF", "parts, parts, full");
    }

    #[test]
    fn files_and_payloads_of_a_seed_belong_together() {
        let dir = tempfile::tempdir().unwrap();
        let (cri, plain) = (dir.path().join("cri"), dir.path().join("plain"));
        let written = write_cri(&cri, Workload::W1, 7, 100_000).unwrap();
        write_payloads(&plain, Workload::W1, 7, written.lines).unwrap();
        let (cri, plain) = (std::fs::read(cri).unwrap(), std::fs::read(plain).unwrap());
        let cut = cri.split(|byte| *byte == b'\n').map(|line| line.get(40..).unwrap_or_default());
        assert!(cut.eq(plain.split(|byte| *byte == b'\n')));
        assert_eq!(written.payload_bytes, 200 * written.lines);
    }

    #[test]
    fn w1_compresses_five_times() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plain");
        write_payloads(&path, Workload::W1, 1, 50_000).unwrap();
        let ratio = crate::rows::zstd_ratio(&path).unwrap();
        assert!((4.5..=5.5).contains(&ratio), "zstd -1 -B256K makes it {ratio:.2} times smaller");
    }
}
