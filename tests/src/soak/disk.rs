//! A small disk: a tmpfs of its own below a directory of the run, which can be filled and emptied again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

/// Bytes by which a disk is filled: what is written to it meanwhile takes the last of them.
const STEP: u64 = 64 << 20;
/// How often that may happen.
const MAX_STEPS: usize = 1000;

/// A tmpfs.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts one of `mebibytes` on a directory that is made. Needs root, and should have a mount namespace of its own, which
    /// then takes it away whatever becomes of this process.
    pub fn mount(path: &Path, mebibytes: u64) -> Result<Self> {
        std::fs::create_dir_all(path)?;
        let size = format!("size={mebibytes}m,mode=0700");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).status()?;
        ensure!(status.success(), "mount: {status}");
        Ok(Self { path: path.to_owned() })
    }

    /// Fills it until only so many bytes are free.
    pub fn fill(&self, left: u64) -> Result<()> {
        let ballast = File::create(self.ballast())?;
        let mut filled = 0;
        for _ in 0..MAX_STEPS {
            let stat = statvfs(&self.path)?;
            let take = (stat.f_bavail * stat.f_frsize).saturating_sub(left).min(STEP);
            if take == 0 {
                return Ok(());
            }
            match fallocate(&ballast, FallocateFlags::empty(), filled, take) {
                Ok(()) => filled += take,
                // Somebody else was faster.
                Err(Errno::NOSPC) => {}
                Err(error) => return Err(error).context("filling a small disk"),
            }
        }
        bail!("a small disk is not full after {MAX_STEPS} steps")
    }

    /// Takes away what filled it.
    pub fn empty(&self) -> Result<()> {
        match std::fs::remove_file(self.ballast()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: who still has files open on it is ended later. There is nobody to tell of a failure.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
