//! Segment files as they are read: whole, damaged anywhere, and cut.

use std::io::{Seek, Write};

use indelible_chain::stored::Codec;
use proptest::prelude::*;

use super::*;

/// What a step is, without its borrow.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Leaf(Vec<u8>, Vec<u8>),
    Mark(u64, u64),
    Damage { offset: u64, length: u64, at_end: bool, remains: Option<Vec<u8>> },
}

fn leaf(n: u8) -> Vec<u8> {
    let mut leaf = vec![n; 30];
    leaf[0] = 1;
    leaf
}

fn body(n: u8) -> Vec<u8> {
    vec![n; 40 + usize::from(n)]
}

/// A mark, then five leaves with a mark in their middle; gives the offset of each frame as well.
fn segment() -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut offsets) = (Vec::new(), Vec::new());
    for n in 0..7 {
        offsets.push(bytes.len());
        if n % 4 == 0 {
            SegmentFrame::Mark { durable: bytes.len() as u64 }.encode_into(&mut bytes);
        } else {
            let body = Stored { codec: Codec::Plain, bytes: &body(n) };
            SegmentFrame::Leaf { leaf: &leaf(n), body }.encode_into(&mut bytes);
        }
    }
    (bytes, offsets)
}

fn read(bytes: &[u8]) -> Vec<Seen> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    let mut reader = SegmentReader::new(file, 0).unwrap();
    let mut seen = Vec::new();
    while let Some(step) = reader.next().unwrap() {
        seen.push(match step {
            Step::Leaf { leaf, body, .. } => Seen::Leaf(leaf.to_vec(), body.bytes.to_vec()),
            Step::Mark { offset, durable } => Seen::Mark(offset, durable),
            Step::Damage(Damage { offset, length, at_end, remains, .. }) => {
                let remains = match remains {
                    Some(SegmentFrame::Leaf { leaf, .. }) => Some(leaf.to_vec()),
                    Some(SegmentFrame::Mark { .. }) => Some(Vec::new()),
                    None => None,
                };
                Seen::Damage { offset, length, at_end, remains }
            }
        });
    }
    seen
}

#[test]
fn an_intact_segment_is_read_frame_by_frame_and_zeros_at_its_end_are_no_damage() {
    let (mut bytes, offsets) = segment();
    let seen = read(&bytes);
    assert_eq!(seen.len(), 7);
    assert_eq!(seen[0], Seen::Mark(0, 0));
    assert_eq!(seen[1], Seen::Leaf(leaf(1), body(1)));
    assert_eq!(seen[4], Seen::Mark(offsets[4] as u64, offsets[4] as u64));
    bytes.resize(bytes.len() + 200_000, 0);
    assert_eq!(read(&bytes), seen);
}

#[test]
fn one_changed_byte_anywhere_damages_one_frame_and_no_other() {
    let (bytes, offsets) = segment();
    let intact = read(&bytes);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let hit = offsets.iter().rposition(|offset| *offset <= at).unwrap();
        let seen = read(&changed);
        let others = |all: &[Seen]| [&all[..hit], &all[hit + 1..]].concat();
        assert_eq!(others(&seen), others(&intact), "byte {at}");
        let Seen::Damage { offset, at_end, .. } = &seen[hit] else { panic!("byte {at}: {:?}", seen[hit]) };
        assert_eq!((*offset, *at_end), (offsets[hit] as u64, hit == 6));
    }
}

#[test]
fn what_can_still_be_made_out_of_a_damaged_frame_is_said() {
    let (bytes, offsets) = segment();
    for (field, at) in [("length", 1), ("checksum", 5), ("body", 60)] {
        let mut changed = bytes.clone();
        changed[offsets[2] + at] ^= 1;
        let Seen::Damage { remains, .. } = &read(&changed)[2] else { panic!("{field}") };
        assert_eq!(remains.as_deref(), Some(leaf(2).as_slice()), "{field}");
    }
}

#[test]
fn bytes_that_are_not_there_any_more_end_the_segment_as_damage_at_its_end() {
    let (bytes, offsets) = segment();
    let cut = |length: usize| read(&bytes[..offsets[6] + length])[6].clone();
    let damage = |length, remains| Seen::Damage { offset: offsets[6] as u64, length, at_end: true, remains };
    assert_eq!(cut(80), damage(80, Some(leaf(6))), "the leaf is whole, its body is not");
    assert_eq!(cut(20), damage(20, None));
    assert_eq!(read(&bytes[..offsets[3]]).len(), 3);
    assert_eq!(read(&[]), []);
}

#[test]
fn looking_for_frames_among_bytes_that_pretend_to_be_some_has_an_end() {
    // Every fourth byte looks like a frame of the greatest length; checksumming each of them would take hours.
    let pretender: Vec<u8> =
        u32::try_from(MAX_FRAME_BYTES - 4).unwrap().to_be_bytes().into_iter().chain([0, 0, 0, 0, 0, 1, 1]).collect();
    let bytes = pretender.repeat(400_000);
    let seen = read(&bytes);
    assert!(matches!(seen.as_slice(), [Seen::Damage { offset: 0, at_end: true, .. }]), "{}", seen.len());
}

proptest! {
    #[test]
    fn no_mutation_makes_the_reader_panic_or_lose_its_place(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..8),
    ) {
        let (mut bytes, _) = segment();
        for (at, value, kind) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => drop(bytes.drain(at..(at + usize::from(value)).min(bytes.len()))),
                2 => bytes.insert(at, value),
                _ => bytes.truncate(at),
            }
        }
        let mut end = 0;
        for seen in read(&bytes) {
            if let Seen::Damage { offset, length, .. } = seen {
                prop_assert!(offset >= end && length > 0);
                end = offset + length;
            }
        }
        prop_assert!(end <= bytes.len() as u64);
    }
}
