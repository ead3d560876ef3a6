//! Who has a collector's volume and its log's key: what the log says of itself is sound, whatever was done to it.
//!
//! What convicts is kept elsewhere: a witness' cosignature, a receipt, a checkpoint that an earlier verification
//! remembered. Each of these attacks is judged with each of them alone, and once with none.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::forged::all;
use super::stage::{Judge, Stage};
use super::{Kept, Side, Trial};
use crate::insider::{clock, resigned};
use crate::tamper::{Image, Rng};

/// When it is judged: what convicts does so at once. With nothing it is late enough that what is missing cannot be on its
/// way any more, and that a chain without its end is noticed.
pub(super) const fn after(kept: Kept) -> Duration {
    match kept {
        Kept::Nothing => Duration::from_hours(1),
        Kept::Witness | Kept::Receipts | Kept::State => Duration::from_secs(5),
    }
}

/// Judges with what was kept of the honest log, and with nothing else.
pub(super) fn with<'a>(kept: Kept, stage: &'a Stage, judge: Judge<'a>) -> Result<Trial> {
    let judge = match kept {
        Kept::Witness => {
            let (witness, name) = stage.witness()?;
            let mut names = stage.names();
            names.push(("witness", name));
            return Ok(Trial::judged(judge.witness(&witness).run()?, names));
        }
        Kept::Receipts => judge.flag("--receipts", stage.keep(&stage.receipts)?),
        Kept::State => judge.remembering(stage.judge()?)?,
        Kept::Nothing => judge,
    };
    // What is read where nothing is raised.
    let said = if kept == Kept::Nothing { judge.read()? } else { Vec::new() };
    Ok(Trial { answer: judge.run()?, said, names: stage.names() })
}

/// The tree is built again without a batch in its middle, and signed. A sign of life takes its place, or the indexes
/// behind it move up and one at the end makes up for it.
fn without_a_batch(rng: &mut Rng, stage: &Stage) -> Result<Image> {
    let mut leaves = all(stage.image())?;
    // One that has a receipt; the last ones belong to A3.
    let of_victim: Vec<usize> = stage.receipted().collect();
    let at = *rng.pick(&of_victim[1..of_victim.len() - 20]);
    let time = leaves[at].time();
    if rng.once_in(2) {
        leaves[at] = clock(time);
    } else {
        leaves.remove(at);
        let last = leaves.len() - 1;
        leaves.insert(last, clock(leaves[last].time()));
    }
    resigned(stage.image(), &leaves)
}

/// A2: the log is signed again without a batch in its middle.
pub fn delete(stage: &Stage, side: Side, kept: Kept) -> Result<Trial> {
    let image = without_a_batch(&mut stage.rng("A2"), stage)?;
    with(kept, stage, stage.judge()?.attacked(side, &image)?.later(after(kept)))
}

/// The last batches are cut off, and signs of life bring the log to the length that it had, or beyond.
fn without_the_last(rng: &mut Rng, stage: &Stage) -> Result<Image> {
    let mut leaves = all(stage.image())?;
    let sealed = leaves.pop().context("the log is sealed")?;
    let length = leaves.len() + rng.below(3);
    let of_victim: Vec<usize> = stage.receipted().collect();
    let from = of_victim[of_victim.len() - rng.between(1, 10)];
    leaves.truncate(from);
    leaves.resize(length, clock(sealed.time()));
    leaves.push(sealed);
    resigned(stage.image(), &leaves)
}

/// A3: the log is signed again without its last batches.
pub fn cut(stage: &Stage, side: Side, kept: Kept) -> Result<Trial> {
    let image = without_the_last(&mut stage.rng("A3"), stage)?;
    with(kept, stage, stage.judge()?.attacked(side, &image)?.later(after(kept)))
}

/// Another tree: two neighbouring batches in the other order.
fn reordered(rng: &mut Rng, stage: &Stage) -> Result<Image> {
    let mut leaves = all(stage.image())?;
    let pairs: Vec<usize> =
        (1..leaves.len()).filter(|at| leaves[*at].is_batch() && leaves[at - 1].is_batch()).collect();
    let at = *rng.pick(&pairs);
    leaves.swap(at - 1, at);
    resigned(stage.image(), &leaves)
}

/// A6: one client saw one tree, another is shown another one.
pub fn equivocate(stage: &Stage, side: Side, kept: Kept) -> Result<Trial> {
    let image = reordered(&mut stage.rng("A6"), stage)?;
    with(kept, stage, stage.judge()?.attacked(side, &image)?)
}
