//! What hostile bytes cost: a length that they state is never reserved before the bytes are there, and what they unpack to
//! is never unpacked beyond its limit.
//!
//! Looked at as the kernel counts it: the most address space that this process ever had. One test, because others would
//! be counted with it.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::io::Write;

use indelible_chain::bytes::Reader;
use indelible_chain::frame::{Upload, WireFrame};
use indelible_chain::heartbeat::Heartbeat;
use indelible_chain::id::Time;
use indelible_chain::leaf::{Leaf, liveness_heartbeats};
use indelible_chain::record::{Flags, RecordHeader, Records, Source};
use indelible_chain::stored::{Codec, Packer, Stored};
use indelible_chain::{sparse, tile::BundleId};

/// What one body may unpack to here, and what a stated length may cost.
const LIMIT: usize = 1 << 20;

/// The address space that this process has, and the most that it ever had, in bytes.
fn space() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    };
    (of("VmSize:"), of("VmPeak:"))
}

/// How much more address space than ever before is had while this is done.
fn grows(work: impl FnOnce()) -> usize {
    let (now, before) = space();
    // What was had before and was given back would hide as much; it is taken again and kept.
    std::mem::forget(Vec::<u8>::with_capacity(before - now));
    work();
    space().1 - before
}

/// A gibibyte of zeros, packed piece by piece.
fn bomb() -> Vec<u8> {
    let mut packer = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    let zeros = vec![0; LIMIT];
    for _ in 0..1024 {
        packer.write_all(&zeros).unwrap();
    }
    packer.finish().unwrap()
}

/// Bytes that state lengths as large as their fields allow, and end there.
fn state_lengths_that_are_not_there() {
    let header =
        RecordHeader { time: Time::default(), source: Source::Stdout, flags: Flags::NONE, payload_len: 262_144 };
    assert!(Records::new(&header.encode()).next().unwrap().is_err());
    let mut over = header.encode();
    over[10..].copy_from_slice(&262_145u32.to_be_bytes());
    assert!(Records::new(&over).next().unwrap().unwrap_err().to_string().contains("262144"));
    let payload = [&header.encode()[..], &[0]].concat();
    assert!(sparse::decode(&payload).is_err());
    // n heads: 65,535 of 72 bytes.
    let heartbeat = [&[1][..], &[0; 32 + 8 + 32], &[0xff; 2]].concat();
    assert!(Heartbeat::decode(&heartbeat).is_err());
    assert!(liveness_heartbeats(u32::MAX, &[0xff, 0xff]).is_err());
    // A statement of 4 GiB; a stored body of as much.
    assert!(Leaf::decode(&[1, 4, 0, 1, 0xff, 0xff, 0xff, 0xff]).is_err());
    let mut upload = [&[0; 226][..], &[0], &[0xff; 4]].concat();
    (upload[0], upload[77]) = (1, 1);
    assert!(Upload::decode(&upload).is_err());
    let frame = [&[0; 8][..], &[0xff; 2]].concat();
    assert!(WireFrame::decode_from(&mut Reader::new(&frame)).is_err());
    assert!(BundleId::in_tree(256, 0).unwrap().decode(&[0xff, 0xff]).is_err());
}

#[test]
fn stated_lengths_and_zip_bombs_take_no_more_memory_than_their_limits() {
    let lengths = grows(state_lengths_that_are_not_there);
    assert!(lengths <= LIMIT, "{lengths} bytes");
    let (bomb, mut packer) = (bomb(), Packer::new().unwrap());
    assert!(bomb.len() < LIMIT);
    let whole = vec![7; LIMIT];
    let unpacked = grows(|| {
        for codec in [Codec::Zstd, Codec::SparseZstd] {
            assert!(packer.unpack(Stored { codec, bytes: &bomb }, LIMIT).is_err());
        }
        let packed = zstd::bulk::compress(&whole, 1).unwrap();
        assert_eq!(packer.unpack(Stored { codec: Codec::Zstd, bytes: &packed }, LIMIT).unwrap(), &whole[..]);
    });
    assert!(unpacked <= 8 * LIMIT, "{unpacked} bytes");
    // The measure itself: what is given back at once counts too.
    assert!(grows(|| drop(std::hint::black_box(vec![1_u8; 64 * LIMIT]))) >= 32 * LIMIT);
}
