//! Segment files, read a second time from the format's text: the leaves of a log, and where each batch's body is.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::tamper::wire::{Digest, In, Record, sha256, tagged};

/// Longest unpacked body.
const MAX_BODY: usize = 64 << 20;
/// Bytes of a batch's commitment.
pub const COMMITMENT: usize = 226;

/// What a chain is the chain of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// Namespace, pod, UID, container.
    names: [String; 4],
    /// 0, or when it took over.
    pub incarnation: u64,
}

impl Genesis {
    /// `<namespace>_<pod>_<uid>/<container>`.
    pub fn container(&self) -> String {
        let [namespace, pod, uid, container] = &self.names;
        format!("{namespace}_{pod}_{uid}/{container}")
    }
}

/// Where a stored body is.
#[derive(Debug, Clone, Copy)]
struct Body {
    segment: usize,
    offset: u64,
    length: usize,
    codec: u8,
}

/// A batch's leaf.
#[derive(Debug, Clone)]
pub struct Commitment {
    /// Which log.
    pub log: usize,
    /// Which leaf of it.
    pub index: u64,
    /// SHA-256 of the commitment.
    pub digest: Digest,
    /// Its chain.
    pub chain: Digest,
    /// Its first position.
    pub first: u64,
    /// Its records.
    pub count: u32,
    /// The link before them.
    pub prev: Digest,
    /// The link after them.
    pub last: Digest,
    /// Bytes of the body, unpacked.
    pub body_len: u64,
    /// The commitment as it was sent.
    pub bytes: [u8; COMMITMENT],
    body: Body,
}

/// A log.
#[derive(Debug)]
pub struct Log {
    number: usize,
    segments: Vec<PathBuf>,
    /// The chains that it introduces.
    pub chains: Vec<(Digest, Genesis)>,
    /// Its batches, in its order.
    pub batches: Vec<Commitment>,
}

impl Log {
    /// Reads a data directory.
    pub fn read(number: usize, directory: &Path) -> Result<Self> {
        let segments = segments(directory)?;
        let mut log = Self { number, segments: segments.clone(), chains: Vec::new(), batches: Vec::new() };
        let mut index = 0;
        for (segment, path) in segments.iter().enumerate() {
            let first: u64 = path.file_stem().and_then(|stem| stem.to_str()).context("a name")?.parse()?;
            ensure!(first == index, "{} begins at {first}, not at {index}", path.display());
            let bytes = std::fs::read(path)?;
            index = log.segment(segment, &bytes, index).with_context(|| path.display().to_string())?;
        }
        Ok(log)
    }

    /// Reads the newest segment of a data directory that is being written to, as far as it goes.
    pub fn newest(number: usize, directory: &Path) -> Result<Self> {
        let segments = segments(directory)?.pop().into_iter().collect::<Vec<_>>();
        let mut log = Self { number, segments: segments.clone(), chains: Vec::new(), batches: Vec::new() };
        for path in &segments {
            // What is being written at this moment is no frame yet.
            let _ = log.segment(0, &std::fs::read(path)?, 0);
        }
        Ok(log)
    }

    fn segment(&mut self, segment: usize, bytes: &[u8], mut index: u64) -> Result<u64> {
        // Zeros behind the last frame are room for more.
        let last = bytes.iter().rposition(|byte| *byte != 0);
        let mut at = 0;
        while Some(at) <= last {
            let cut = || format!("a frame at {at} is cut short");
            let length = usize::try_from(In(&bytes[at..]).u32().with_context(cut)?)?;
            let frame = bytes.get(at + 4..at + 4 + length).with_context(cut)?;
            let mut rest = In(frame);
            let crc = rest.u32().with_context(cut)?;
            ensure!(crc32c::crc32c(rest.0) == crc, "the frame at {at} has another checksum");
            let (leaf, codec) = (rest.lp16().with_context(cut)?, rest.u8().with_context(cut)?);
            if !leaf.is_empty() {
                let offset = (at + 4 + length - rest.0.len()) as u64;
                let body = Body { segment, offset, length: rest.0.len(), codec };
                self.leaf(index, leaf, body).with_context(|| format!("leaf {index} is cut short"))?;
                index += 1;
            }
            at += 4 + length;
        }
        Ok(index)
    }

    fn leaf(&mut self, index: u64, leaf: &[u8], body: Body) -> Option<()> {
        let mut rest = In(leaf);
        match (rest.u8()?, rest.u8()?) {
            (1, 2) => self.chains.push(genesis(rest.0)?),
            (1, 3) => self.batches.push(batch((self.number, index), rest.take(COMMITMENT)?, body)?),
            _ => {}
        }
        Some(())
    }

    /// The stored body of one of its batches, and its codec.
    pub fn stored(&self, batch: &Commitment) -> Result<(u8, Vec<u8>)> {
        let mut file = File::open(&self.segments[batch.body.segment])?;
        file.seek(SeekFrom::Start(batch.body.offset))?;
        let mut stored = vec![0; batch.body.length];
        file.read_exact(&mut stored)?;
        Ok((batch.body.codec, stored))
    }

    /// The records of one of its batches.
    pub fn records(&self, batch: &Commitment) -> Result<Vec<Record>> {
        let bytes = match self.stored(batch)? {
            (0, stored) => stored,
            (1, stored) => zstd::bulk::decompress(&stored, MAX_BODY)?,
            (codec, _) => anyhow::bail!("a body of codec {codec}"),
        };
        ensure!(bytes.len() as u64 == batch.body_len, "a body of {} bytes, not {}", bytes.len(), batch.body_len);
        records(&bytes).context("a body that is cut short")
    }
}

/// The segment files of a data directory, in their order.
fn segments(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory.join("segments"))?;
    let mut segments: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    segments.sort();
    Ok(segments)
}

fn genesis(bytes: &[u8]) -> Option<(Digest, Genesis)> {
    let mut rest = In(bytes);
    let (_version_and_capture, _cluster) = (rest.take(2)?, rest.text()?);
    let names = [rest.text()?, rest.text()?, rest.text()?, rest.text()?];
    let _path = rest.text()?;
    let incarnation = rest.u64()?;
    let id = tagged("indelible/genesis/v1", &[&bytes[..bytes.len() - rest.0.len()]]);
    Some((id, Genesis { names, incarnation }))
}

fn batch((log, index): (usize, u64), bytes: &[u8], body: Body) -> Option<Commitment> {
    let mut rest = In(bytes);
    let (_version_and_flags, _session) = (rest.take(2)?, rest.take(32)?);
    let (chain, first, count) = (rest.array()?, rest.u64()?, rest.u32()?);
    let (prev, last) = (rest.array()?, rest.array()?);
    let _times = rest.take(16)?;
    let body_len = u64::from(rest.u32()?);
    let (digest, bytes) = (sha256(bytes), bytes.try_into().ok()?);
    Some(Commitment { log, index, digest, chain, first, count, prev, last, body_len, bytes, body })
}

fn records(bytes: &[u8]) -> Option<Vec<Record>> {
    let mut rest = In(bytes);
    let mut records = Vec::new();
    while !rest.0.is_empty() {
        let (time, source, flags) = (rest.i64()?, rest.u8()?, rest.u8()?);
        records.push(Record { time, source, flags, payload: rest.lp32()?.to_vec() });
    }
    Some(records)
}
