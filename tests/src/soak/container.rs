//! A container's log files: written as the runtime does, rotated as the kubelet does, and remembered for the judge.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;

use super::line::Script;

/// How a kubelet rotates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// A larger live file is rotated (`containerLogMaxSize`).
    pub max_size: u64,
    /// Files that are kept, the live one among them (`containerLogMaxFiles`).
    pub max_files: usize,
    /// How often the sizes are looked at (`containerLogMonitorInterval`).
    pub every: Duration,
    /// Whether files that were rotated before the last one are packed.
    pub packs: bool,
}

/// What became of one log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The first line in it.
    pub first: u64,
    /// The line after the last one in it.
    pub next: u64,
    /// Its bytes.
    pub bytes: u64,
    /// When it was made.
    pub begun: Timestamp,
    /// When it had left the disk under all of its names.
    pub gone: Option<Timestamp>,
}

/// A file that was rotated and is there.
#[derive(Debug)]
struct Rotated {
    number: usize,
    path: PathBuf,
}

/// A container that prints.
#[derive(Debug)]
pub struct Container {
    dir: PathBuf,
    script: Script,
    rotation: Rotation,
    live: File,
    size: u64,
    looked: Instant,
    rotated: Vec<Rotated>,
    files: Vec<Written>,
    printed: u64,
    last_time: i64,
    text: Vec<u8>,
}

impl Container {
    /// Makes `<pod directory>/app/0.log`.
    pub fn start(pod: &Path, script: Script, rotation: Rotation) -> Result<Self> {
        let dir = pod.join("app");
        fs::create_dir_all(&dir)?;
        let live = File::create(dir.join("0.log"))?;
        let mut container = Self {
            dir,
            script,
            rotation,
            live,
            size: 0,
            looked: Instant::now(),
            rotated: Vec::new(),
            files: Vec::new(),
            printed: 0,
            last_time: 0,
            text: Vec::new(),
        };
        container.next_file();
        Ok(container)
    }

    fn next_file(&mut self) {
        let (first, next) = (self.printed, self.printed);
        self.files.push(Written { first, next, bytes: 0, begun: Timestamp::now(), gone: None });
    }

    /// Prints lines until they are `count` or have this many bytes, and rotates if that is due.
    pub fn print(&mut self, count: u64, bytes: usize) -> Result<()> {
        self.text.clear();
        // As a runtime has it: lines that come together have times that hardly differ, and none falls.
        let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        let mut time = now.max(self.last_time + 1);
        let before = self.printed;
        while self.printed - before < count && self.text.len() < bytes {
            self.script.write(self.printed, time, &mut self.text);
            (self.printed, self.last_time) = (self.printed + 1, time);
            time += 1;
        }
        self.live.write_all(&self.text)?;
        self.size += self.text.len() as u64;
        let file = self.files.last_mut().expect("there is a live file");
        (file.next, file.bytes) = (self.printed, self.size);
        self.look()
    }

    /// Rotates if that is due.
    pub fn look(&mut self) -> Result<()> {
        if self.looked.elapsed() < self.rotation.every {
            return Ok(());
        }
        self.looked = Instant::now();
        if self.size > self.rotation.max_size { self.rotate() } else { Ok(()) }
    }

    /// Removes what is too much, packs what was rotated before, renames the live file and makes another.
    fn rotate(&mut self) -> Result<()> {
        while self.rotated.len() + 2 > self.rotation.max_files {
            let Rotated { number, path } = self.rotated.remove(0);
            fs::remove_file(path)?;
            self.files[number].gone = Some(Timestamp::now());
        }
        if self.rotation.packs {
            for rotated in self.rotated.iter_mut().filter(|file| file.path.extension().is_none_or(|end| end != "gz")) {
                rotated.path = pack(&rotated.path)?;
            }
        }
        let number = self.files.len() - 1;
        // A time of day that no two rotations share.
        let (hours, minutes, seconds) = (number / 3600, number / 60 % 60, number % 60);
        let path = self.dir.join(format!("0.log.20261127-{hours:02}{minutes:02}{seconds:02}"));
        fs::rename(self.dir.join("0.log"), &path)?;
        self.rotated.push(Rotated { number, path });
        self.live = File::create(self.dir.join("0.log"))?;
        self.size = 0;
        self.next_file();
        Ok(())
    }

    /// It prints no more. What it wrote, file by file.
    pub fn end(self) -> Vec<Written> {
        self.files
    }
}

/// Packs a file as the kubelet does: under a temporary name, then renamed, then the file itself is removed.
fn pack(path: &Path) -> Result<PathBuf> {
    let named = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (temporary, packed) = (named(".tmp"), named(".gz"));
    let mut encoder = flate2::write::GzEncoder::new(File::create(&temporary)?, flate2::Compression::fast());
    std::io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?;
    fs::rename(&temporary, &packed)?;
    fs::remove_file(path)?;
    Ok(packed)
}
