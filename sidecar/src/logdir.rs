//! The pod's log directory: list, open, read at, unpack.
//!
//! Owns the contract [`LogDir`] and the content of a file as the format means it ([`Content`]: a `.gz` stands for what
//! it unpacks to). Never follows a link, never leaves the directory, never writes. The real directory is in
//! [`kubelet`]; the tests have one in memory.

pub mod kubelet;
#[cfg(test)]
pub(crate) mod memory;

use std::fmt;
use std::io::{self, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use indelible_chain::id::Time;

use crate::files::Packed;

/// A name in a container's directory. Only regular files are named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The name.
    pub name: String,
    /// What it stands for at this moment.
    pub inode: Inode,
    /// Bytes on disk.
    pub size: u64,
}

/// A file, for as long as it exists or is held open.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Inode {
    /// Its device.
    pub device: u64,
    /// Its number there. Reused as soon as the file is gone.
    pub number: u64,
}

/// What the system says of an open file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Which file.
    pub inode: Inode,
    /// When it was made, if the file system tells.
    pub born: Option<Time>,
    /// Bytes on disk.
    pub size: u64,
    /// Whether it still has a name.
    pub names: Names,
}

/// Whether a file has a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// One or more.
    Some,
    /// None: it lives only because it is held open.
    None,
}

/// A file that is held open.
pub trait LogFile: fmt::Debug {
    /// Reads bytes at an offset; 0 at the end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// What the system says of it.
    fn stat(&self) -> io::Result<Stat>;
}

/// A pod's log directory. Reads only; every call may be repeated. Second implementation: the in-memory twin.
pub trait LogDir: fmt::Debug {
    /// The names of the directories in it; an absent directory has none.
    fn containers(&mut self) -> io::Result<Vec<String>>;
    /// The regular files of a container's directory; an absent directory has none.
    fn list(&mut self, container: &str) -> io::Result<Vec<Listed>>;
    /// Opens a file for reading. Links are not followed.
    fn open(&mut self, container: &str, name: &str) -> io::Result<Rc<dyn LogFile>>;
    /// Which share of the file system is free, in percent.
    fn free_percent(&mut self) -> io::Result<u8>;
}

/// Why bytes of a file cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// The system says no; perhaps not for good.
    Io(io::Error),
    /// The `.gz` does not unpack any further.
    Damaged,
}

/// A file's content, by offset.
#[derive(Debug)]
pub struct Content {
    file: Rc<dyn LogFile>,
    packed: Packed,
    unpacking: Option<Unpacking>,
}

impl Content {
    /// The content of an open file.
    pub const fn new(file: Rc<dyn LogFile>, packed: Packed) -> Self {
        Self { file, packed, unpacking: None }
    }

    /// How it is stored.
    pub const fn packed(&self) -> Packed {
        self.packed
    }

    /// What the system says of the file (its size: as stored).
    pub fn stat(&self) -> io::Result<Stat> {
        self.file.stat()
    }

    /// Fills `buf` from `offset` on, as far as there is content. An error only if there is none at `offset` because it
    /// cannot be read.
    pub fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        match self.packed {
            Packed::No => {
                read_full(buf, |done, buf| self.file.read_at(offset + done as u64, buf)).map_err(ReadError::Io)
            }
            Packed::Gzip => {
                let fits = self.unpacking.take().filter(|unpacking| unpacking.offset <= offset);
                let unpacking = self.unpacking.insert(fits.unwrap_or_else(|| Unpacking::new(Rc::clone(&self.file))));
                let read = unpacking.read_at(offset, buf);
                if matches!(read, Err(ReadError::Io(_))) {
                    // Perhaps not for good, but the decoder has lost its way: it begins again.
                    self.unpacking = None;
                }
                read
            }
        }
    }

    /// Lets go of what unpacking keeps in memory; reading on begins at the start again.
    pub fn rest(&mut self) {
        self.unpacking = None;
    }
}

/// Reads until `buf` is full or nothing more comes. An error after some bytes is for the next call to find again.
fn read_full(buf: &mut [u8], mut read: impl FnMut(usize, &mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match read(done, &mut buf[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if done > 0 => break,
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Unpacking goes forward only.
struct Unpacking {
    decoder: MultiGzDecoder<AtReader>,
    offset: u64,
    /// An error came after bytes that were still good: it is for the next call.
    failed: Option<ReadError>,
}

impl fmt::Debug for Unpacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacking").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Unpacking {
    fn new(file: Rc<dyn LogFile>) -> Self {
        let decoder = MultiGzDecoder::new(AtReader { file, offset: 0, failed: None });
        Self { decoder, offset: 0, failed: None }
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        while self.offset < offset {
            let skip = usize::try_from(offset - self.offset).unwrap_or(usize::MAX).min(buf.len());
            match self.fill(&mut buf[..skip])? {
                0 => return Ok(0),
                n => debug_assert!(n <= skip),
            }
        }
        self.fill(buf)
    }

    fn fill(&mut self, buf: &mut [u8]) -> Result<usize, ReadError> {
        let mut done = 0;
        while self.failed.is_none() && done < buf.len() {
            match self.decoder.read(&mut buf[done..]) {
                Ok(0) => break,
                Ok(n) => done += n,
                // What the file says is perhaps not for good; what the decoder says is.
                Err(_) => {
                    let said = self.decoder.get_mut().failed.take();
                    self.failed = Some(said.map_or(ReadError::Damaged, ReadError::Io));
                }
            }
        }
        self.offset += done as u64;
        match self.failed.take() {
            None => Ok(done),
            // A decoder that has failed says that all is well when it is asked again: the damage is remembered.
            Some(ReadError::Damaged) if done == 0 && !buf.is_empty() => {
                self.failed = Some(ReadError::Damaged);
                Err(ReadError::Damaged)
            }
            Some(error) if done == 0 => Err(error),
            Some(error) => {
                self.failed = Some(error);
                Ok(done)
            }
        }
    }
}

/// A file as a stream.
struct AtReader {
    file: Rc<dyn LogFile>,
    offset: u64,
    failed: Option<io::Error>,
}

impl Read for AtReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.file.read_at(self.offset, buf) {
            Ok(n) => {
                self.offset += n as u64;
                Ok(n)
            }
            Err(e) => {
                let kind = e.kind();
                self.failed = Some(e);
                Err(kind.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[derive(Debug)]
    struct Bytes(Vec<u8>);

    impl LogFile for Bytes {
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
            let rest = &self.0[usize::try_from(offset).unwrap().min(self.0.len())..];
            let n = rest.len().min(buf.len()).min(1000);
            buf[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }

        fn stat(&self) -> io::Result<Stat> {
            unreachable!("not asked for")
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn noise(len: usize) -> Vec<u8> {
        (0..len as u64).flat_map(|n| (n * n * 2_654_435_761).to_be_bytes()).take(len).collect()
    }

    #[test]
    fn packed_content_is_read_at_any_offset() {
        let plain = noise(100_000);
        let mut content = Content::new(Rc::new(Bytes(gzip(&plain))), Packed::Gzip);
        let mut buf = [0; 7000];
        for offset in [0, 50_000, 10, 93_001, 99_999, 100_000, 200_000, 0] {
            let n = content.read_at(offset, &mut buf).unwrap();
            let from = plain.len().min(usize::try_from(offset).unwrap());
            let expected = &plain[from..plain.len().min(from + buf.len())];
            assert_eq!(&buf[..n], expected, "at {offset}");
        }
    }

    #[test]
    fn a_damaged_gz_unpacks_as_far_as_it_does_and_then_says_so() {
        let plain = noise(100_000);
        let packed = gzip(&plain);
        for cut in [5, packed.len() / 2, packed.len() - 4] {
            let mut content = Content::new(Rc::new(Bytes(packed[..cut].to_vec())), Packed::Gzip);
            let mut buf = vec![0; 200_000];
            let mut got = 0;
            let error = loop {
                match content.read_at(got as u64, &mut buf[got..]) {
                    Ok(n) => got += n,
                    Err(e) => break e,
                }
                assert!(got <= plain.len());
            };
            assert!(matches!(error, ReadError::Damaged));
            assert_eq!(buf[..got], plain[..got]);
            assert!(matches!(content.read_at(got as u64, &mut [0]), Err(ReadError::Damaged)), "and again");
        }
    }
}
