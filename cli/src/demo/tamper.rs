//! What someone does who can write to a collector's volume: changes one byte of a body, takes one batch away.
//!
//! It is done in a copy of a data directory, so that the originals stay for comparison.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use indelible_chain::batch::Commitment;
use indelible_chain::genesis::Genesis;
use indelible_chain::leaf::Leaf;

use super::stage::{OnStage, Stage};
use crate::source::folder::Folder;
use crate::source::segment::{SegmentReader, Step};

/// Data directories of which one was tampered with.
#[derive(Debug)]
pub struct Tampered {
    /// What was done, for people.
    pub what: String,
    /// All data directories, the tampered copy in the place of its original.
    pub data: Vec<PathBuf>,
    /// The log that was tampered with.
    pub origin: String,
    /// The pod whose records it hit.
    pub pod: String,
    /// The container.
    pub container: String,
}

/// A batch in a segment.
struct Place {
    segment: PathBuf,
    /// Where the frame begins, and where the next one does.
    frame: (usize, usize),
    genesis: Genesis,
    commitment: Commitment,
}

impl Tampered {
    /// Changes one byte in the body of a batch of the log that has most of them.
    pub fn byte(stage: &Stage) -> Result<Self> {
        let log = *fullest(stage)?.first().context("there are collectors")?;
        let (copy, collector, data) = copy(stage, "one-byte", log)?;
        let place = middle_batch(&copy)?;
        let mut bytes = fs::read(&place.segment)?;
        // The last byte of a frame is its body's.
        let at = place.frame.1 - 1;
        let byte = bytes.get_mut(at).context("the frame is in its segment")?;
        *byte ^= 1;
        fs::write(&place.segment, bytes)?;
        Ok(Self::told(&place, collector, data, "one bit is flipped in the body of a batch"))
    }

    /// Takes a batch away from another log; from the same one if only that has batches.
    pub fn batch(stage: &Stage) -> Result<Self> {
        let fullest = fullest(stage)?;
        let log = *fullest.get(1).or(fullest.first()).context("there are collectors")?;
        let (copy, collector, data) = copy(stage, "one-batch", log)?;
        let place = middle_batch(&copy)?;
        let mut bytes = fs::read(&place.segment)?;
        bytes.drain(place.frame.0..place.frame.1);
        fs::write(&place.segment, bytes)?;
        Ok(Self::told(&place, collector, data, "a whole batch is removed from the segment"))
    }

    fn told(place: &Place, collector: &OnStage, data: Vec<PathBuf>, what: &str) -> Self {
        let Genesis { namespace, pod_name, container, .. } = &place.genesis;
        let (first, next) = (place.commitment.first_seq, place.commitment.next_seq().get());
        let what = format!(
            "{what} of {}: records {first} to {} of {namespace}/{pod_name}/{container}",
            collector.name,
            next - 1
        );
        let origin = collector.origin.clone();
        Self { what, data, origin, pod: pod_name.clone(), container: container.clone() }
    }
}

/// Copies the data directory of collector `n`.
fn copy<'a>(stage: &'a Stage, name: &str, n: usize) -> Result<(PathBuf, &'a OnStage, Vec<PathBuf>)> {
    let collector = stage.collectors.get(n).context("there are collectors")?;
    let mut data = stage.data();
    let copy = stage.dir.join("tampered").join(name);
    copy_all(&data[n], &copy).with_context(|| copy.display().to_string())?;
    data[n].clone_from(&copy);
    Ok((copy, collector, data))
}

/// Copies a directory with everything below it.
pub fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, to) = (entry?, to);
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_all(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// The logs that hold batches, by number, the fullest first: sidecars choose by chance where they begin.
fn fullest(stage: &Stage) -> Result<Vec<usize>> {
    let counts = stage.data().into_iter().map(|data| Ok(batches(&data)?.0.len())).collect::<Result<Vec<_>>>()?;
    let mut logs: Vec<usize> = (0..counts.len()).filter(|n| counts[*n] > 0).collect();
    logs.sort_by_key(|n| std::cmp::Reverse(counts[*n]));
    Ok(logs)
}

/// A batch from the middle of a log.
fn middle_batch(data: &Path) -> Result<Place> {
    let (batches, genesis) = batches(data)?;
    let middle = batches.len() / 2;
    let (segment, frame, commitment) = batches.into_iter().nth(middle).context("the log holds batches")?;
    let genesis = genesis.into_iter().find(|genesis| genesis.chain_id().ok() == Some(commitment.chain));
    Ok(Place { segment, frame, genesis: genesis.context("the batch's chain is introduced")?, commitment })
}

type Batches = Vec<(PathBuf, (usize, usize), Commitment)>;

/// The batches of a log, each with its segment and where its frame begins and ends, and the chains.
fn batches(data: &Path) -> Result<(Batches, Vec<Genesis>)> {
    let folder = Folder::open(data)?.folder("segments")?.context("the log has segments")?;
    let (mut batches, mut genesis) = (Batches::new(), Vec::new());
    let is_segment = |name: &str| Path::new(name).extension().is_some_and(|e| e == "seg");
    for (name, _) in folder.list()?.into_iter().filter(|(name, _)| is_segment(name)) {
        let mut reader = SegmentReader::new(folder.file(&name)?, 0)?;
        loop {
            let (offset, leaf) = match reader.next()? {
                Some(Step::Leaf { offset, leaf, .. }) => (offset, Leaf::decode(leaf)?),
                Some(Step::Mark { .. } | Step::Damage(_)) => continue,
                None => break,
            };
            match leaf {
                Leaf::Genesis { genesis: found, .. } => genesis.push(found),
                Leaf::Batch { commitment, .. } => {
                    let frame = (usize::try_from(offset)?, usize::try_from(reader.offset())?);
                    batches.push((folder.path().join(&name), frame, commitment));
                }
                _ => {}
            }
        }
    }
    Ok((batches, genesis))
}
