//! What data directories hold, read without the judge: every chain as the list of its records.
//!
//! Reads segment files frame by frame. A position that is stored twice with two links is an error here, so a test that
//! reads evidence at all has seen that there is no fork.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use indelible_chain::batch::Batch;
use indelible_chain::frame::SegmentFrame;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, Head};
use indelible_chain::leaf::Leaf;
use indelible_chain::stored::Packer;

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// The source's code.
    pub source: u8,
    /// The flags' bits.
    pub flags: u8,
    /// The payload.
    pub payload: Vec<u8>,
    /// Its link.
    pub link: [u8; 32],
}

/// A chain as it is stored, over all logs.
#[derive(Debug, Clone)]
pub struct StoredChain {
    /// What it is the chain of.
    pub genesis: Genesis,
    /// Its records by position.
    pub records: BTreeMap<u64, StoredRecord>,
    /// How many positions were stored more than once.
    pub duplicates: u64,
    /// Data directories that hold a batch of it.
    pub logs: std::collections::BTreeSet<PathBuf>,
}

impl StoredChain {
    /// Its container: `<namespace>_<pod>_<uid>/<container>`.
    pub fn container(&self) -> String {
        let Genesis { namespace, pod_name, pod_uid, container, .. } = &self.genesis;
        format!("{namespace}_{pod_name}_{pod_uid}/{container}")
    }

    /// Its records, if no position is missing.
    pub fn whole(&self) -> Result<Vec<&StoredRecord>> {
        for (expected, seq) in (0..).zip(self.records.keys()) {
            ensure!(expected == *seq, "{}: positions {expected} to {} are missing", self.container(), seq - 1);
        }
        Ok(self.records.values().collect())
    }
}

/// The chains of data directories, by id.
pub fn read(directories: &[PathBuf]) -> Result<BTreeMap<ChainId, StoredChain>> {
    let mut chains = BTreeMap::new();
    for directory in directories {
        let mut segments: Vec<_> = std::fs::read_dir(directory.join("segments"))
            .with_context(|| format!("listing the segments of {}", directory.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        segments.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
        segments.sort();
        for segment in segments {
            read_segment(directory, &segment, &mut chains).with_context(|| segment.display().to_string())?;
        }
    }
    Ok(chains)
}

fn read_segment(directory: &Path, segment: &Path, chains: &mut BTreeMap<ChainId, StoredChain>) -> Result<()> {
    let bytes = std::fs::read(segment)?;
    let mut packer = Packer::new()?;
    let mut at = 0;
    // Zeros behind the last frame are room for more.
    while bytes[at..].iter().any(|byte| *byte != 0) {
        let (frame, length) = SegmentFrame::decode(&bytes[at..]).with_context(|| format!("offset {at}"))?;
        at += length;
        let SegmentFrame::Leaf { leaf, body } = frame else { continue };
        match Leaf::decode(leaf)? {
            Leaf::Genesis { genesis, .. } => {
                let chain = StoredChain {
                    genesis,
                    records: BTreeMap::new(),
                    duplicates: 0,
                    logs: std::collections::BTreeSet::new(),
                };
                chains.entry(chain.genesis.chain_id()?).or_insert(chain);
            }
            Leaf::Batch { commitment, .. } => {
                let chain = chains.get_mut(&commitment.chain).context("a batch before its genesis")?;
                chain.logs.insert(directory.to_owned());
                let body = packer.unpack(body, commitment.body_len as usize)?;
                let mut seen = Vec::new();
                Batch::new(commitment, body).check_body(|record, head: Head| {
                    let record = StoredRecord {
                        time: record.time.nanos(),
                        source: record.source.code(),
                        flags: record.flags.bits(),
                        payload: record.payload.to_vec(),
                        link: *head.link.as_bytes(),
                    };
                    seen.push((head.next_seq.get() - 1, record));
                })?;
                for (seq, record) in seen {
                    if let Some(other) = chain.records.insert(seq, record.clone()) {
                        chain.duplicates += 1;
                        if other != record {
                            bail!("{} has two records at position {seq}", chain.container());
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}
