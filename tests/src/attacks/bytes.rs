//! Who writes to a volume without its log's key: flipped bits, a deleted batch, stripped signatures.

use anyhow::{Context as _, Result};

use super::stage::Stage;
use super::{Side, Trial};
use crate::insider::{Place, leaves};
use crate::tamper::{Image, Rng};

/// The stage's pool with the victim's directory changed, and what the verifier says of it.
fn judged(stage: &Stage, side: Side, image: &Image) -> Result<Trial> {
    Ok(Trial::judged(stage.judge()?.attacked(side, image)?.run()?, stage.names()))
}

/// A directory with one bit flipped in a range of a file.
fn flipped(rng: &mut Rng, image: &Image, path: &str, from: usize, to: usize) -> Result<Image> {
    let mut bytes = image.get(path).with_context(|| format!("there is no {path}"))?.to_vec();
    bytes[rng.between(from, to - 1)] ^= 1 << rng.below(8);
    let mut image = image.clone();
    image.put(path, bytes);
    Ok(image)
}

/// Any batch of the victim.
fn batch(rng: &mut Rng, image: &Image) -> Result<Place> {
    let batches: Vec<_> = leaves(image)?.into_iter().filter(|(leaf, _)| leaf.is_batch()).collect();
    Ok(rng.pick(&batches).1.clone())
}

/// The victim's directory with one bit of a stored body flipped, and its frame's checksum made anew.
pub fn with_another_body(stage: &Stage, rng: &mut Rng) -> Result<Image> {
    let Place { segment, start, body, end } = batch(rng, stage.image())?;
    let mut image = flipped(rng, stage.image(), &segment, body, end)?;
    let mut bytes = image.get(&segment).context("the segment is there")?.to_vec();
    // The frame: length, checksum, what it covers.
    let checksum = crc32c::crc32c(&bytes[start + 8..end]);
    bytes[start + 4..start + 8].copy_from_slice(&checksum.to_be_bytes());
    image.put(&segment, bytes);
    Ok(image)
}

/// A1: one bit of a stored body.
pub fn flip_body(stage: &Stage, side: Side) -> Result<Trial> {
    let mut rng = stage.rng("A1-body");
    let Place { segment, body, end, .. } = batch(&mut rng, stage.image())?;
    judged(stage, side, &flipped(&mut rng, stage.image(), &segment, body, end)?)
}

/// A1: one bit of a leaf: a batch's commitment or when it was received.
pub fn flip_leaf(stage: &Stage, side: Side) -> Result<Trial> {
    let mut rng = stage.rng("A1-leaf");
    let Place { segment, start, body, .. } = batch(&mut rng, stage.image())?;
    // Behind length, checksum and the leaf's length, before the codec.
    judged(stage, side, &flipped(&mut rng, stage.image(), &segment, start + 10, body - 1)?)
}

/// A1: one bit of a bundle of leaves.
pub fn flip_bundle(stage: &Stage, side: Side) -> Result<Trial> {
    flip_file(stage, side, "A1-bundle", "tile/entries/000")
}

/// A1: one bit of a tile of hashes.
pub fn flip_tile(stage: &Stage, side: Side) -> Result<Trial> {
    flip_file(stage, side, "A1-tile", "tile/0/000")
}

fn flip_file(stage: &Stage, side: Side, attack: &str, path: &str) -> Result<Trial> {
    let mut rng = stage.rng(attack);
    let length = stage.image().get(path).context("the victim's first tile is full")?.len();
    judged(stage, side, &flipped(&mut rng, stage.image(), path, 0, length)?)
}

/// A1: one bit of a checkpoint's size, root or signature.
pub fn flip_checkpoint(stage: &Stage, side: Side) -> Result<Trial> {
    let mut rng = stage.rng("A1-checkpoint");
    let note = std::str::from_utf8(stage.image().get("checkpoint").context("it is sealed")?)?;
    let (size, end) = (note.find('\n').context("an origin")? + 1, note.find("\n\n").context("a signature")?);
    let signature = note.rfind(' ').context("a signature")? + 1;
    let (from, to) = if rng.once_in(2) { (size, end) } else { (signature, note.len() - 1) };
    judged(stage, side, &flipped(&mut rng, stage.image(), "checkpoint", from, to)?)
}

/// A2, plainly: a batch is cut out of a segment.
pub fn delete_batch(stage: &Stage, side: Side) -> Result<Trial> {
    let mut rng = stage.rng("A2-plain");
    let Place { segment, start, end, .. } = batch(&mut rng, stage.image())?;
    let mut bytes = stage.image().get(&segment).context("the segment is there")?.to_vec();
    bytes.drain(start..end);
    let mut image = stage.image().clone();
    image.put(&segment, bytes);
    judged(stage, side, &image)
}

/// A9: the checkpoints keep their text and lose their signatures.
pub fn strip_checkpoints(stage: &Stage, side: Side) -> Result<Trial> {
    let mut image = stage.image().clone();
    let notes: Vec<_> = image.paths().filter(|path| path.starts_with("checkpoint")).map(str::to_owned).collect();
    for path in &notes {
        let text = String::from_utf8(image.get(path).context("it was listed")?.to_vec())?;
        let text = text.split("\n\n").next().unwrap_or_default();
        image.put(path, format!("{text}\n\n").into_bytes());
    }
    judged(stage, side, &image)
}
