//! The model's reading of one data directory: which log it shows, how much of it, and what is not as it was stored.
//!
//! Nothing is saved from damage here: reading ends at the first byte that is not what the format puts there, and that
//! the directory was tampered with is all that follows. What no checkpoint covers does not count, whatever it is.

use super::leaf::{Batch, Fact, Head, heads, resumes, unpack};
use super::note::{Policy, Standing};
use super::{Fault, Harm};
use crate::tamper::image::Image;
use crate::tamper::wire::{Digest, In, leaf_hash, mark, put16, root, tile_path};

/// What a directory shows.
pub(super) enum Shown {
    /// Nothing that could be judged: the source is unreadable, or nobody knows its key.
    Unreadable,
    /// A log.
    Log(View),
}

/// A log, as far as a checkpoint covers it.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) origin: String,
    pub(super) size: usize,
    pub(super) faults: Vec<Fault>,
    /// Chains that are introduced, and when.
    pub(super) chains: Vec<(Digest, i64)>,
    pub(super) batches: Vec<Batch>,
    /// What chains' first batches resume, and when they were received.
    pub(super) resumed: Vec<(Digest, u64, i64)>,
    /// Heads that heartbeats state, and when they were received.
    pub(super) heads: Vec<(Head, i64)>,
    pub(super) is_sealed: bool,
    pub(super) newest: i64,
}

const IN_CHECKPOINT: &[&str] = &["bad-checkpoint", "rewritten"];
const IN_TILE: &[&str] = &["bad-tile"];
const IN_LEAF: &[&str] = &["bad-leaf", "bad-body", "forged"];
const IN_BODY: &[&str] = &["bad-body", "forged"];

/// Reads a directory.
pub(super) fn read(image: &Image, policy: &Policy) -> Shown {
    // The format's number, a space, the software.
    let version = image.get("version").and_then(|text| text.trim_ascii_end().split(|byte| *byte == b' ').next());
    if version != Some(b"1") {
        return Shown::Unreadable;
    }
    let kept = image.below("checkpoints").filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_digit()));
    let notes: Vec<_> = image.get("checkpoint").into_iter().chain(kept.map(|(_, note)| note)).collect();
    let standings: Vec<_> = notes.iter().map(|note| policy.judge(note)).collect();
    let votes =
        |log: usize| standings.iter().filter(|s| matches!(s, Standing::Good { log: of, .. } if *of == log)).count();
    let Some(log) = (0..policy.logs.len()).rev().max_by_key(|log| votes(*log)).filter(|log| votes(*log) > 0) else {
        // Names of logs end in their keys' fingerprints: a note that says one and that it did not sign was changed.
        let Some(log) = notes.iter().find_map(|note| policy.named(note)) else { return Shown::Unreadable };
        let mut view = View { origin: policy.logs[log].name.clone(), ..View::default() };
        view.fault(IN_CHECKPOINT, Harm::Leaves);
        return Shown::Log(view);
    };
    let mut view = View { origin: policy.logs[log].name.clone(), ..View::default() };
    let mut good = Vec::new();
    for standing in &standings {
        match standing {
            Standing::Good { log: of, size, root } if *of == log => good.push((*size, *root)),
            Standing::Good { .. } | Standing::Bad | Standing::Unknown => view.fault(IN_CHECKPOINT, Harm::Leaves),
        }
    }
    view.size = good.iter().map(|(size, _)| *size).max().expect("one of them has a vote");
    match leaves(image, view.size) {
        None => view.fault(IN_LEAF, Harm::Leaves),
        Some(frames) => view.judge(image, &frames, &good),
    }
    Shown::Log(view)
}

/// A frame's leaf, codec and stored body.
type Frame<'a> = (&'a [u8], u8, &'a [u8]);

/// The first `size` frames, if every byte up to the last of them is what a log writes.
fn leaves(image: &Image, size: usize) -> Option<Vec<Frame<'_>>> {
    let mut frames = Vec::new();
    for (name, bytes) in image.below("segments") {
        let first =
            name.strip_suffix(".seg").filter(|first| first.len() == 20 && first.bytes().all(|b| b.is_ascii_digit()));
        let Some(first) = first else { continue };
        let first = first.parse::<usize>().ok()?;
        if first >= size {
            break;
        }
        if first != frames.len() {
            return None;
        }
        segment(bytes, size, &mut frames)?;
    }
    (frames.len() == size).then_some(frames)
}

fn segment<'a>(bytes: &'a [u8], size: usize, frames: &mut Vec<Frame<'a>>) -> Option<()> {
    let mut rest = In(bytes);
    while frames.len() < size && rest.0.iter().any(|byte| *byte != 0) {
        let offset = bytes.len() - rest.0.len();
        let length = usize::try_from(rest.u32()?).ok()?;
        let whole = bytes.get(offset..offset + 4 + length)?;
        let mut frame = In(rest.take(length)?);
        let crc = frame.u32()?;
        if crc32c::crc32c(frame.0) != crc {
            return None;
        }
        match (frame.lp16()?, frame.u8()?) {
            ([], _) if whole == mark(offset) => {}
            ([], _) => return None,
            (leaf, codec) => frames.push((leaf, codec, frame.0)),
        }
    }
    Some(())
}

impl View {
    fn fault(&mut self, classes: &'static [&'static str], harm: Harm) {
        self.faults.push(Fault { log: self.origin.clone(), classes, harm });
    }

    fn judge(&mut self, image: &Image, frames: &[Frame<'_>], checkpoints: &[(usize, Digest)]) {
        let hashes: Vec<_> = frames.iter().map(|(leaf, ..)| leaf_hash(leaf)).collect();
        if checkpoints.iter().any(|(size, signed)| root(&hashes[..*size]) != *signed) {
            // Against leaves that are not those that were signed, no tile can be judged.
            return self.fault(IN_LEAF, Harm::Leaves);
        }
        if !self.faults.iter().any(|fault| fault.harm == Harm::Leaves) {
            for frame in frames {
                self.take(*frame);
            }
        }
        for n in 0..self.size.div_ceil(256) {
            let covered = n * 256..self.size.min((n + 1) * 256);
            let is_full = covered.len() == 256;
            let hashes = hashes[covered.clone()].concat();
            let mut bundle = Vec::new();
            for (leaf, ..) in &frames[covered] {
                put16(&mut bundle, leaf);
            }
            for (level, bytes) in [("0", hashes), ("entries", bundle)] {
                let is_good = match image.get(&tile_path(level, n)) {
                    Some(tile) if is_full => tile == bytes,
                    // It was made before the checkpoint that would have covered all of it.
                    Some(tile) => tile.starts_with(&bytes),
                    None => !is_full,
                };
                if !is_good {
                    self.fault(IN_TILE, Harm::None);
                }
            }
        }
    }

    fn take(&mut self, (leaf, codec, stored): Frame<'_>) {
        let Some(fact) = Fact::read(leaf) else { return self.fault(IN_LEAF, Harm::Leaves) };
        let received = Fact::received(leaf);
        let holds = fact.commits_to(codec, stored);
        self.newest = received;
        match fact {
            Fact::Session { .. } if !holds => self.fault(IN_BODY, Harm::Token),
            Fact::Liveness { .. } if !holds => self.fault(IN_BODY, Harm::Life),
            _ if !holds => self.fault(IN_BODY, Harm::None),
            Fact::Session { .. } => {}
            Fact::Genesis { chain } => self.chains.push((chain, received)),
            Fact::Batch(batch) => {
                if batch.first == 0
                    && let Some((chain, next)) = unpack(codec, stored, 1 << 20).and_then(|body| resumes(&body))
                {
                    self.resumed.push((chain, next, received));
                }
                self.batches.push(batch);
            }
            Fact::Liveness { length, .. } => {
                let stated = unpack(codec, stored, length).and_then(|body| heads(&body)).unwrap_or_default();
                self.heads.extend(stated.into_iter().map(|head| (head, received)));
            }
            Fact::Statement { kind } => self.is_sealed = kind == 4 || self.is_sealed && kind != 1,
        }
    }
}
