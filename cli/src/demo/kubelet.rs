//! Log files as a kubelet and its runtime write them: CRI lines, long lines in parts, rotation by rename, older files
//! compressed.
//!
//! Every byte that is written to a container's log also goes to a copy that nobody rotates or deletes, one file a
//! restart: what the chains are compared with, by whoever wants to.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use indelible_chain::id::Time;

use crate::clock::rfc3339;

/// Where containerd splits a line.
const PART_BYTES: usize = 16 * 1024;
/// Rotated files that are kept uncompressed: the newest.
const PLAIN_FILES: usize = 1;

/// A stream of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    const fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The log directory of one container.
#[derive(Debug)]
pub struct ContainerLog {
    dir: PathBuf,
    copies: PathBuf,
    restart: u32,
    live: File,
    copy: File,
    bytes: u64,
    rotations: u64,
    plain: Vec<PathBuf>,
}

impl ContainerLog {
    /// Begins the log of `container` in a pod's log directory; copies go to the same place under `written`.
    pub fn create(logs: &Path, written: &Path, pod: &str, container: &str) -> io::Result<Self> {
        let dir = logs.join(pod).join(container);
        let copies = written.join(pod).join(container);
        fs::create_dir_all(&dir)?;
        fs::create_dir_all(&copies)?;
        let (live, copy) = (File::create(dir.join("0.log"))?, File::create(copies.join("0.log"))?);
        Ok(Self { dir, copies, restart: 0, live, copy, bytes: 0, rotations: 0, plain: Vec::new() })
    }

    /// Bytes in the live file.
    pub const fn live_bytes(&self) -> u64 {
        self.bytes
    }

    /// One line of the container, in parts if it is long.
    pub fn line(&mut self, time: Time, stream: Stream, content: &str) -> io::Result<()> {
        let mut rest = content;
        while rest.len() > PART_BYTES {
            let (part, after) = rest.split_at(PART_BYTES);
            self.part(time, stream, "P", part)?;
            rest = after;
        }
        self.part(time, stream, "F", rest)
    }

    /// A line whose first part ends the live file and whose last begins the next one.
    pub fn line_across_rotation(&mut self, time: Time, stream: Stream, content: &str) -> io::Result<()> {
        let (first, last) = content.split_at(content.len() / 2);
        self.part(time, stream, "P", first)?;
        self.rotate()?;
        self.part(time, stream, "F", last)
    }

    fn part(&mut self, time: Time, stream: Stream, tag: &str, content: &str) -> io::Result<()> {
        let line = format!("{} {} {tag} {content}\n", rfc3339(time), stream.word());
        // One write a line, as the runtime does: a reader never sees half of one for long.
        self.live.write_all(line.as_bytes())?;
        self.copy.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// The live file is renamed, a new one begun, and an older one compressed by way of a temporary name.
    pub fn rotate(&mut self) -> io::Result<()> {
        let live = self.dir.join(format!("{}.log", self.restart));
        // A kubelet's names hold the time of day; here it passes a second a rotation, so that no name comes twice.
        self.rotations += 1;
        let (minutes, seconds) = (self.rotations / 60, self.rotations % 60);
        let rotated = self.dir.join(format!("{}.log.20260101-00{minutes:02}{seconds:02}", self.restart));
        fs::rename(&live, &rotated)?;
        self.live = File::create(&live)?;
        self.bytes = 0;
        self.plain.push(rotated);
        while self.plain.len() > PLAIN_FILES {
            compress(&self.plain.remove(0))?;
        }
        Ok(())
    }

    /// The container was started anew: its lines go to another file.
    pub fn restart(&mut self) -> io::Result<()> {
        self.restart += 1;
        let name = format!("{}.log", self.restart);
        self.live = File::create(self.dir.join(&name))?;
        self.copy = File::create(self.copies.join(&name))?;
        self.bytes = 0;
        self.plain.clear();
        Ok(())
    }
}

fn compress(path: &Path) -> io::Result<()> {
    let (gz, tmp) = (with_suffix(path, ".gz"), with_suffix(path, ".tmp"));
    let mut encoder = GzEncoder::new(File::create(&tmp)?, Compression::fast());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?;
    fs::rename(&tmp, &gz)?;
    fs::remove_file(path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_written_is_in_the_copy_and_in_the_rotated_files_together() {
        let dir = tempfile::tempdir().unwrap();
        let (logs, written) = (dir.path().join("logs"), dir.path().join("written"));
        let mut log = ContainerLog::create(&logs, &written, "ns_pod_uid", "app").unwrap();
        let now = Time::from_nanos(1_700_000_000_000_000_000);
        log.line(now, Stream::Stdout, "first").unwrap();
        log.line_across_rotation(now, Stream::Stderr, "acrossrotation").unwrap();
        log.rotate().unwrap();
        log.line(now, Stream::Stdout, &"long".repeat(PART_BYTES)).unwrap();
        log.restart().unwrap();
        log.line(now, Stream::Stdout, "again").unwrap();

        let container = logs.join("ns_pod_uid/app");
        let read = |name: &str| fs::read(container.join(name)).unwrap();
        let mut all = Vec::new();
        let mut oldest = flate2::read::GzDecoder::new(File::open(container.join("0.log.20260101-000001.gz")).unwrap());
        oldest.read_to_end(&mut all).unwrap();
        assert!(all.ends_with(b"2023-11-14T22:13:20Z stderr P acrossr\n"));
        all.extend(read("0.log.20260101-000002"));
        all.extend(read("0.log"));
        assert_eq!(all, fs::read(written.join("ns_pod_uid/app/0.log")).unwrap());
        assert_eq!(String::from_utf8(all).unwrap().lines().count(), 7);
        assert_eq!(read("1.log"), fs::read(written.join("ns_pod_uid/app/1.log")).unwrap());
        assert_eq!(fs::read_dir(&container).unwrap().count(), 4);
    }
}
