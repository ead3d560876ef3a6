//! Changes inside a file: of bytes anywhere, and of whole frames of a segment.

use std::ops::Range;

use super::Act;
use crate::tamper::rng::Rng;

type Changed = Option<(String, Vec<u8>)>;

/// Changes bytes anywhere in a file.
pub(super) fn change(rng: &mut Rng, file: &[u8], other: Option<&[u8]>, act: Act) -> Changed {
    let mut bytes = file.to_vec();
    if file.is_empty() && act != Act::Splice {
        bytes.push(rng.byte());
        return Some(("a byte where there was none".into(), bytes));
    }
    let done = match act {
        Act::Flip => flip(rng, &mut bytes),
        Act::Cut => {
            bytes.truncate(rng.below(file.len()));
            format!("to {} of {} bytes", bytes.len(), file.len())
        }
        Act::Drop => {
            let range = range(rng, file.len());
            bytes.drain(range.clone());
            format!("bytes {range:?}")
        }
        Act::Swap => {
            let (a, b) = (range(rng, file.len() / 2), rng.between(file.len() / 2, file.len() - 1));
            let length = a.len().min(file.len() - b);
            for n in 0..length {
                bytes.swap(a.start + n, b + n);
            }
            format!("{length} bytes at {} and {b}", a.start)
        }
        Act::Duplicate => {
            let range = range(rng, file.len());
            bytes.splice(range.end..range.end, file[range.clone()].iter().copied());
            format!("bytes {range:?}")
        }
        Act::Splice => {
            let other = other.filter(|other| !other.is_empty())?;
            let from = range(rng, other.len());
            let to = rng.below(file.len() + 1);
            // In place of as many bytes, or between.
            let end = if rng.once_in(2) { file.len().min(to + from.len()) } else { to };
            bytes.splice(to..end, other[from.clone()].iter().copied());
            format!("bytes {from:?} of another log's in place of {to}..{end}")
        }
    };
    Some((done, bytes))
}

fn flip(rng: &mut Rng, bytes: &mut [u8]) -> String {
    let times = if rng.once_in(2) { 1 } else { rng.between(1, 16) };
    let start = rng.below(bytes.len());
    let range = start..bytes.len().min(start + times);
    let is_bit = rng.once_in(2);
    for byte in &mut bytes[range.clone()] {
        *byte ^= if is_bit { 1 << rng.below(8) } else { rng.byte() };
    }
    format!("{} in bytes {range:?}", if is_bit { "a bit each" } else { "bits" })
}

/// A range that is not empty, and mostly short.
fn range(rng: &mut Rng, length: usize) -> Range<usize> {
    let start = rng.below(length);
    let most = length.saturating_sub(start).max(1);
    let most = if rng.once_in(4) { most } else { most.min(64) };
    start..length.min(start + rng.between(1, most))
}

/// Where a segment's frames are.
pub(super) fn frames(file: &[u8]) -> Vec<Range<usize>> {
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(length) = file.get(at..at + 4).and_then(|length| <[u8; 4]>::try_from(length).ok()) {
        let end =
            at.saturating_add(4).saturating_add(usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX));
        if end > file.len() || end < at + 11 {
            break;
        }
        frames.push(at..end);
        at = end;
    }
    frames
}

/// Changes whole frames, or bytes of one frame whose checksum is renewed.
pub(super) fn change_frames(rng: &mut Rng, file: &[u8], other: Option<&[u8]>, act: Act) -> Changed {
    let all = frames(file);
    let at = rng.below(all.len());
    let frame = all.get(at)?.clone();
    let mut bytes = file.to_vec();
    let done = match act {
        Act::Flip => {
            let content = &mut bytes[frame.start + 8..frame.end];
            let done = flip(rng, content);
            renew(&mut bytes[frame.clone()]);
            format!("frame {at}, {done} of its content, checksum renewed")
        }
        Act::Cut => {
            let shorter = rng.between(11, frame.len().max(12) - 1);
            let mut frame_bytes = file[frame.start..frame.start + shorter.min(frame.len())].to_vec();
            renew(&mut frame_bytes);
            bytes.splice(frame.clone(), frame_bytes);
            format!("frame {at} to {shorter} of {} bytes, checksum renewed", frame.len())
        }
        Act::Drop => {
            bytes.drain(frame);
            format!("frame {at}")
        }
        Act::Swap => {
            let with = rng.below(all.len());
            let (a, b) = (at.min(with), at.max(with));
            let (a, b) = (all[a].clone(), all[b].clone());
            if a == b {
                return None;
            }
            let moved = [&file[b.clone()], &file[a.end..b.start], &file[a.clone()]].concat();
            bytes.splice(a.start..b.end, moved);
            format!("frames {at} and {with}")
        }
        Act::Duplicate => {
            let to = all[rng.below(all.len())].start;
            bytes.splice(to..to, file[frame].iter().copied());
            format!("frame {at}, again at offset {to}")
        }
        Act::Splice => {
            let other = other?;
            let theirs = frames(other);
            let from = rng.below(theirs.len());
            let theirs = &other[theirs.get(from)?.clone()];
            let end = if rng.once_in(2) { frame.end } else { frame.start };
            bytes.splice(frame.start..end, theirs.iter().copied());
            let how = if end == frame.start { "before" } else { "in place of" };
            format!("frame {from} of another log's {how} frame {at}")
        }
    };
    Some((done, bytes))
}

/// Makes length and checksum those of the frame's content.
fn renew(frame: &mut [u8]) {
    let length = u32::try_from(frame.len() - 4).expect("files are short");
    let crc = crc32c::crc32c(&frame[8..]);
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame[4..8].copy_from_slice(&crc.to_be_bytes());
}
