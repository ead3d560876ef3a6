//! The data directory on a file system.
//!
//! Directories are made 0700, files 0600: a log holds what applications printed. Reads go by pread, never by mmap:
//! a file that is cut under a map kills the process.

use std::fmt::Debug;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::{Files, Grow, ReadAt, Space};

/// A directory of the machine.
#[derive(Clone, Debug)]
pub struct RealFiles {
    dir: PathBuf,
}

impl RealFiles {
    /// The directory at `dir`, which need not exist.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.dir.clone() } else { self.dir.join(path) }
    }

    fn made(&self, path: &str, options: &mut OpenOptions) -> io::Result<Box<dyn Grow>> {
        Ok(Box::new(RealFile(options.mode(0o600).open(self.path(path))?)))
    }
}

impl Files for RealFiles {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(self.path(dir))?;
        let name = |entry: io::Result<std::fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        let mut names = entries.map(name).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(RealFile(File::open(self.path(path))?)))
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn Grow>> {
        self.made(path, OpenOptions::new().append(true).create_new(true))
    }

    fn create_temporary(&self, path: &str) -> io::Result<Box<dyn Grow>> {
        self.made(path, OpenOptions::new().write(true).create(true).truncate(true))
    }

    fn extend(&self, path: &str) -> io::Result<Box<dyn Grow>> {
        // Not to append only: with O_APPEND the system writes at the end whatever offset `rewrite` says.
        let mut file = OpenOptions::new().write(true).open(self.path(path))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        let path = self.path(dir);
        if path.is_dir() {
            return Ok(());
        }
        DirBuilder::new().mode(0o700).create(&path)?;
        // The data directory's own name lies outside of what `sync_dir` reaches.
        match path.parent() {
            Some(above) if dir.is_empty() && !above.as_os_str().is_empty() => File::open(above)?.sync_all(),
            _ => Ok(()),
        }
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.path(dir))?.sync_all()
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Debug + Send + Sync>> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(self.path(path))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn space(&self) -> io::Result<Space> {
        let volume = statvfs(&self.dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(volume.f_frsize);
        Ok(Space { free: bytes(volume.f_bavail), total: bytes(volume.f_blocks) })
    }

    fn name(&self) -> String {
        self.dir.display().to_string()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl ReadAt for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl Grow for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::KEEP_SIZE, 0, bytes) {
            // Not every file system can; the segment then takes its blocks as it grows.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn rewrite(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_file_that_is_cut_to_its_length_gives_back_what_was_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let files = RealFiles::new(dir.path());
        let taken = || std::fs::metadata(dir.path().join("file")).unwrap().blocks() * 512;
        let mut file = files.create("file").unwrap();
        file.reserve(4 << 20).unwrap();
        file.append(&[7; 100]).unwrap();
        file.sync_data().unwrap();
        file.cut(100).unwrap();
        file.sync_all().unwrap();
        assert!(taken() < 1 << 20, "{} bytes are taken", taken());
        assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), [7; 100]);
    }

    #[test]
    fn what_is_rewritten_stands_where_it_stood_and_what_is_appended_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let files = RealFiles::new(dir.path());
        files.create("file").unwrap().append(b"first").unwrap();
        let mut file = files.extend("file").unwrap();
        file.rewrite(1, b"IRS").unwrap();
        file.append(b" last").unwrap();
        assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"fIRSt last");
    }
}
