//! What happens to the world while it runs: the network, disks, clocks, the pool, certificates, tokens.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::disk::Disk;
use super::proxy::{Mood, Proxy};
use crate::tamper::Rng;
use crate::world::{Authority, Collector, Issuer, PodIdentity};

/// Replaces a file at once, as a volume of a Secret or ConfigMap does.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path).with_context(|| path.display().to_string())
}

/// The network before each collector.
#[derive(Debug)]
pub struct Network {
    /// A proxy for each.
    pub proxies: Vec<Proxy>,
    next: Vec<Instant>,
    /// How often it changed.
    pub changes: u64,
}

impl Network {
    /// One that is good.
    pub fn new(proxies: Vec<Proxy>) -> Self {
        let next = vec![Instant::now(); proxies.len()];
        Self { proxies, next, changes: 0 }
    }

    /// Changes what is due.
    pub fn tick(&mut self, rng: &mut Rng, mean: Duration) {
        let longest = 2 * usize::try_from(mean.as_millis()).unwrap_or(usize::MAX / 2);
        for (proxy, next) in self.proxies.iter().zip(&mut self.next) {
            if Instant::now() < *next {
                continue;
            }
            let calm = Mood::default();
            let event = rng.below(12);
            proxy.change(|mood| {
                let Mood { cuts, resets, .. } = *mood;
                let kept = Mood { cuts, resets, ..calm };
                *mood = match event {
                    0..4 => kept,
                    4 | 5 => Mood { delay: Duration::from_millis(rng.between(2, 200) as u64), ..kept },
                    6 => Mood { rate: rng.between(20_000, 500_000) as u64, ..kept },
                    7 => Mood { swallows: true, ..kept },
                    8 => Mood { refuses: true, cuts: cuts + 1, ..kept },
                    9 | 10 => Mood { cuts: cuts + 1, ..kept },
                    _ => Mood { resets: resets + 1, ..kept },
                };
            });
            self.changes += 1;
            // What is bad is so for seconds, what is good for as long as the run has time for.
            let longest = if event < 4 { longest } else { longest.min(6000) };
            *next = Instant::now() + Duration::from_millis(rng.between(500, longest.max(500)) as u64);
        }
    }

    /// It is good again.
    pub fn calm(&self) {
        for proxy in &self.proxies {
            proxy.change(|mood| *mood = Mood { cuts: mood.cuts, resets: mood.resets, ..Mood::default() });
        }
    }
}

/// A disk that is full from time to time.
#[derive(Debug)]
pub struct SmallDisk {
    disk: Disk,
    /// Bytes that are left when it is full: one of these.
    left: Vec<u64>,
    full: bool,
    next: Instant,
    /// When it was last full.
    was_full: Option<Instant>,
    /// How often it was full.
    pub times: u64,
}

impl SmallDisk {
    /// One that has room.
    pub fn new(disk: Disk, left: &[u64]) -> Self {
        let next = Instant::now() + Duration::from_secs(8);
        Self { disk, left: left.to_vec(), full: false, next, was_full: None, times: 0 }
    }

    /// Whether it is full, or was a moment ago.
    pub fn is_full(&self) -> bool {
        self.full || self.was_full.is_some_and(|at| at.elapsed() < Duration::from_secs(10))
    }

    /// Fills it or makes room if that is due.
    pub fn tick(&mut self, rng: &mut Rng, every: Duration) -> Result<()> {
        if Instant::now() < self.next {
            return Ok(());
        }
        let lasts = if self.full {
            self.free()?;
            every
        } else {
            // What is written meanwhile may have left no room for that much.
            let _ = self.disk.fill(*rng.pick(&self.left));
            (self.full, self.times) = (true, self.times + 1);
            Duration::from_millis(rng.between(1000, 6000) as u64)
        };
        self.next = Instant::now() + lasts;
        Ok(())
    }

    /// Fills it now, until so many bytes are left.
    pub fn fill(&mut self, left: u64) -> Result<()> {
        (self.full, self.times) = (true, self.times + 1);
        self.disk.fill(left)
    }

    /// Makes room.
    pub fn free(&mut self) -> Result<()> {
        self.disk.empty()?;
        if std::mem::take(&mut self.full) {
            self.was_full = Some(Instant::now());
        }
        Ok(())
    }
}

/// Clocks that step.
#[derive(Debug)]
pub struct Clocks {
    files: Vec<PathBuf>,
    next: Instant,
    /// How often one stepped.
    pub steps: u64,
}

impl Clocks {
    /// The clocks that these files say.
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self { files, next: Instant::now(), steps: 0 }
    }

    /// Steps one if that is due, by up to 50 s either way: a minute would be told.
    pub fn tick(&mut self, rng: &mut Rng) -> Result<()> {
        if Instant::now() >= self.next {
            let file = rng.pick(&self.files).clone();
            let milliseconds = i64::try_from(rng.between(0, 50_000))? - 25_000;
            replace(&file, &format!("{}", milliseconds * 1_000_000))?;
            self.steps += 1;
            self.next = Instant::now() + Duration::from_millis(rng.between(1000, 10_000) as u64);
        }
        Ok(())
    }

    /// All are right again.
    pub fn calm(&self) -> Result<()> {
        self.files.iter().try_for_each(|file| replace(file, "0"))
    }
}

/// A token that lives for a minute, and that is renewed too late from time to time.
#[derive(Debug)]
pub struct ShortToken {
    file: PathBuf,
    pod: PodIdentity,
    expired: bool,
    next: Instant,
    number: u64,
    /// How often none was to be had.
    pub times: u64,
}

impl ShortToken {
    /// The token in this file.
    pub fn new(file: PathBuf, pod: PodIdentity) -> Self {
        Self { file, pod, expired: false, next: Instant::now(), number: 0, times: 0 }
    }

    fn write(&mut self, issuer: &Issuer, lives: i64) -> Result<()> {
        let mut claims = issuer.claims(&self.pod);
        self.number += 1;
        claims["jti"] = format!("token-{}", self.number).into();
        claims["exp"] = (jiff::Timestamp::now().as_second() + lives).into();
        replace(&self.file, &issuer.sign(&claims)?)
    }

    /// Renews it, or lets it expire, if that is due. Whether it has expired now.
    pub fn tick(&mut self, rng: &mut Rng, issuer: &Issuer) -> Result<bool> {
        if Instant::now() < self.next {
            return Ok(false);
        }
        self.expired = !self.expired && rng.once_in(3);
        self.times += u64::from(self.expired);
        let (lives, lasts) =
            if self.expired { (-100, rng.between(1000, 6000)) } else { (75, rng.between(5000, 20_000)) };
        self.write(issuer, lives)?;
        self.next = Instant::now() + Duration::from_millis(lasts as u64);
        Ok(self.expired)
    }

    /// It lives for an hour.
    pub fn calm(&mut self, issuer: &Issuer) -> Result<()> {
        self.write(issuer, 3600)
    }
}

/// What the pool says of itself, and who certifies its collectors.
#[derive(Debug)]
pub struct Pool {
    list: PathBuf,
    urls: Vec<String>,
    epoch: u64,
    /// Who is in it.
    pub members: Vec<usize>,
    ca_file: PathBuf,
    trusted: Vec<String>,
    next: Authority,
    /// What was done, for the report.
    pub told: Vec<String>,
    stage: usize,
}

impl Pool {
    /// The pool of these addresses, three of which are in it.
    pub fn new(dir: &Path, urls: Vec<String>, ca_file: &Path) -> Result<Self> {
        let next = dir.join("next-ca");
        std::fs::create_dir(&next)?;
        let mut pool = Self {
            list: dir.join("pool.json"),
            urls,
            epoch: 0,
            members: vec![0, 1, 2],
            ca_file: ca_file.to_owned(),
            trusted: vec![std::fs::read_to_string(ca_file)?],
            next: Authority::new(&next)?,
            told: Vec::new(),
            stage: 0,
        };
        pool.publish()?;
        Ok(pool)
    }

    /// The list's file.
    pub fn list(&self) -> &Path {
        &self.list
    }

    fn publish(&mut self) -> Result<()> {
        self.epoch += 1;
        let collectors: Vec<&str> = self.members.iter().map(|member| self.urls[*member].as_str()).collect();
        let list = serde_json::json!({
            "epoch": self.epoch, "server_name": "localhost", "collectors": collectors, "ca_pem": self.trusted.concat(),
        });
        replace(&self.list, &list.to_string())
    }

    /// Does what is due at this share of the run: three collectors become five and then two; certificates are renewed, and
    /// then come from another authority, which everyone trusts before.
    pub fn tick(&mut self, share: f64, collectors: &[&Collector], first: &Authority) -> Result<()> {
        const DUE: [f64; 6] = [0.2, 0.3, 0.45, 0.6, 0.7, 0.9];
        if DUE.get(self.stage).is_none_or(|due| share < *due) {
            return Ok(());
        }
        self.stage += 1;
        let what = match self.stage {
            1 => {
                collectors.iter().try_for_each(|collector| collector.certify(first))?;
                "all certificates were renewed"
            }
            2 => {
                self.members = vec![0, 1, 2, 3, 4];
                "the pool grew from 3 to 5"
            }
            3 => {
                self.trusted.push(std::fs::read_to_string(self.next.ca())?);
                replace(&self.ca_file, &self.trusted.concat())?;
                "another authority was trusted, too"
            }
            4 => {
                collectors.iter().try_for_each(|collector| collector.certify(&self.next))?;
                "all certificates came from it"
            }
            5 => {
                self.members = vec![1, 4];
                "the pool shrank from 5 to 2"
            }
            _ => {
                collectors.iter().try_for_each(|collector| collector.certify(&self.next))?;
                "all certificates were renewed"
            }
        };
        self.told.push(what.into());
        self.publish()
    }
}
