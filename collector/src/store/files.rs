//! The one module that creates, renames and syncs files.
//!
//! Owns the steps by which bytes become durable, behind [`Files`], whose second implementation is the in-memory twin
//! with a fault hook. Nothing here knows what a file means. Paths are relative to the data directory, with `/`.
//!
//! Invariant: a file appears under its final name only whole and synced ([`put`], [`replace`]), or is a segment, which
//! only ever grows, but for a torn tail that was set aside first.

#[cfg(test)]
pub mod memory;
mod real;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

pub use real::RealFiles;

/// The data directory. Every method says what is durable when it returns `Ok`; after an error nothing is known of the
/// step, and nobody retries it on the same file: the store stops, and its next start looks at what is there.
pub trait Files: Debug + Send + Sync + 'static {
    /// Names in a directory, sorted; `""` is the data directory itself. `NotFound` if it is absent.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Opens a file to read it.
    fn open(&self, path: &str) -> io::Result<Arc<dyn ReadAt>>;

    /// Makes a new empty file; its name is durable after [`Files::sync_dir`]. `AlreadyExists` if it is there.
    fn create(&self, path: &str) -> io::Result<Box<dyn Grow>>;

    /// Makes an empty file for [`Files::rename`], in place of one that a crash left.
    fn create_temporary(&self, path: &str) -> io::Result<Box<dyn Grow>>;

    /// Opens an existing file to go on at its end.
    fn extend(&self, path: &str) -> io::Result<Box<dyn Grow>>;

    /// Gives a file another name, in place of the file that had it; durable after [`Files::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes a directory, if it is not there; durable after [`Files::sync_dir`] of the directory above.
    fn make_dir(&self, dir: &str) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Takes the directory's lock, for as long as the answer lives. `WouldBlock` if another holds it.
    fn lock(&self, path: &str) -> io::Result<Box<dyn Debug + Send + Sync>>;

    /// The room on the volume.
    fn space(&self) -> io::Result<Space>;

    /// The directory's name for people.
    fn name(&self) -> String;
}

/// The room on a volume, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// What can still be written.
    pub free: u64,
    /// What there is in all.
    pub total: u64,
}

/// A file that is read at offsets.
pub trait ReadAt: Debug + Send + Sync {
    /// Reads up to `buf.len()` bytes at `offset`; fewer only at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Its length now.
    fn length(&self) -> io::Result<u64>;
}

/// A file that is written at its end.
pub trait Grow: Debug + Send {
    /// Appends all of `bytes`; durable after [`Grow::sync_data`].
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was appended durable (fdatasync).
    fn sync_data(&mut self) -> io::Result<()>;

    /// Makes content and length durable (fsync).
    fn sync_all(&mut self) -> io::Result<()>;

    /// Sets blocks aside for `bytes` from the start of the file without making it longer, where the file system can.
    fn reserve(&mut self, bytes: u64) -> io::Result<()>;

    /// Writes `bytes` over as many that are there already; durable after [`Grow::sync_data`].
    fn rewrite(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file, and gives back what was set aside beyond; durable after [`Grow::sync_all`].
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// Suffix of files that are being written; nobody reads them.
pub const TEMPORARY: &str = ".tmp";

/// The directory that a path lies in.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// Writes a whole file under a temporary name, syncs it and renames it; durable after a sync of its directory.
///
/// A crash leaves the file as it was before, or the new one whole; beside it perhaps a temporary one, which the next
/// write of the same path replaces.
pub fn put(files: &dyn Files, path: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!("{path}{TEMPORARY}");
    let mut file = files.create_temporary(&temporary)?;
    file.append(bytes)?;
    file.sync_all()?;
    files.rename(&temporary, path)
}

/// [`put`], durable on return.
pub fn replace(files: &dyn Files, path: &str, bytes: &[u8]) -> io::Result<()> {
    put(files, path, bytes)?;
    files.sync_dir(parent(path))
}

/// Makes a directory and those above it, durable on return.
pub fn make_dirs(files: &dyn Files, dir: &str) -> io::Result<()> {
    let ends = dir.match_indices('/').map(|(at, _)| at).chain([dir.len()]);
    for path in ends.map(|end| &dir[..end]) {
        files.make_dir(path)?;
        files.sync_dir(parent(path))?;
    }
    Ok(())
}

/// Reads a whole file of at most `limit` bytes; `None` if it is absent.
pub fn read(files: &dyn Files, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match files.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let length = file.length()?;
    let Some(length) = usize::try_from(length).ok().filter(|length| *length <= limit) else {
        let text = format!("{path} has {length} bytes, over the limit of {limit}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    };
    let mut bytes = vec![0; length];
    let read = read_full(&*file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Reads until `buf` is full or the file ends; gives how much was read.
pub fn read_full(file: &dyn ReadAt, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buf.len() {
        match file.read_at(&mut buf[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
