//! Chains that took over as they must, and as they must not.

use std::collections::{BTreeMap, BTreeSet};

use indelible_chain::digest::Digest;
use indelible_chain::genesis::{Capture, Genesis};
use indelible_chain::id::Seq;

use super::*;
use crate::oracle::Identity;

const OLD: &[u8] = b"2026-11-22T20:00:01Z stdout F one
2026-11-22T20:00:02Z stdout P tw
2026-11-22T20:00:03Z stderr F three
2026-11-22T20:00:04Z stdout F o
";
const NEW: &[u8] = b"2026-11-22T20:00:05Z stdout F five\n2026-11-22T20:00:06Z stdout F six\n";
/// Where the second of the lines begins.
const SECOND: Place = Place { file: 0, offset: 34 };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A rotated file and a live one. The rotated one is gone in the eleventh second, or never.
fn disk(gone: bool) -> Disk {
    let file = |name: &str, bytes: &[u8]| File { name: name.into(), bytes: bytes.into() };
    let files = vec![file("0.log.20261122-200005", OLD), file("0.log", NEW)];
    Disk::new(files, vec![gone.then(|| at(10)..at(11)), None])
}

fn control(time: i64, said: &Control) -> Record {
    let payload = said.encode().into_bytes();
    Record { time, source: oracle::CONTROL, flags: 0, payload, bytes: START..START }
}

fn chain(incarnation: u64, records: &[Record]) -> StoredChain {
    let genesis = Genesis {
        capture: Capture::CriLogFile,
        cluster_uid: String::new(),
        namespace: "ns".into(),
        pod_name: "pod".into(),
        pod_uid: "uid".into(),
        container: "app".into(),
        path: String::new(),
        incarnation,
    };
    let (cluster_uid, namespace, pod, pod_uid, container) = ("", "ns", "pod", "uid", "app");
    let links = Identity { cluster_uid, namespace, pod, pod_uid, container, incarnation }.links(records);
    let stored = records.iter().zip(links).map(|(record, link)| {
        let Record { time, source, flags, payload, bytes: _ } = record.clone();
        StoredRecord { time, source, flags, payload, link }
    });
    StoredChain { genesis, records: (0..).zip(stored).collect(), duplicates: 0, logs: BTreeSet::new() }
}

/// The first records of the files.
fn first(count: usize) -> StoredChain {
    let mut records = oracle::records(&disk(false).files, Ending::Closed);
    records.truncate(count);
    chain(0, &records)
}

/// A chain that takes over in the 20th second after so many records of another, and has what the files give from
/// `start` on, and its end.
fn next(last: &StoredChain, next_seq: u64, start: Place) -> StoredChain {
    const SINCE: i64 = 20_000_000_000;
    let id = last.genesis.chain_id().unwrap();
    let link = next_seq.checked_sub(1).map_or(*id.digest(), |seq| Digest::new(last.records[&seq].link));
    let from = Some((id, Head { next_seq: Seq::new(next_seq), link }));
    let mut records = vec![control(SINCE, &Control::Resumed { reason: ResumeReason::FileGone, from })];
    records.extend(oracle::records_from(&disk(false).files, start, Ending::Closed));
    records.push(control(SINCE, &Control::End));
    chain(SINCE.unsigned_abs(), &records)
}

fn judged(gone: bool, chains: [&StoredChain; 2]) -> Result<usize, String> {
    // Whoever decides looks within a second.
    let takeovers = follow(&disk(gone), &chains, |decided| decided + std::time::Duration::from_secs(1));
    takeovers.map(|all| all.iter().map(|one| one.missing).sum()).map_err(|error| format!("{error:#}"))
}

const LIVE: Place = Place { file: 1, offset: 0 };

#[test]
fn what_was_stored_but_not_receipted_is_not_missing_and_what_had_left_the_disk_is() {
    assert_eq!(OLD[SECOND.offset - 1], b'\n');
    // Started and "one".
    let last = first(2);
    assert_eq!(judged(true, [&last, &next(&last, 2, LIVE)]), Ok(OLD.len() - SECOND.offset));
    assert_eq!(judged(true, [&last, &next(&last, 0, LIVE)]), Ok(OLD.len() - SECOND.offset), "one is there");
    assert_eq!(judged(true, [&first(0), &next(&first(0), 0, LIVE)]), Ok(OLD.len()));
}

#[test]
fn a_chain_may_not_begin_behind_a_line_that_could_be_read() {
    let last = first(2);
    let told = judged(false, [&last, &next(&last, 2, LIVE)]).unwrap_err();
    assert!(told.contains("although all was there"), "{told}");
    let mut disk = disk(false);
    // Something else is gone: not what the chain passes over.
    disk.gone[1] = Some(at(10)..at(11));
    let told = follow(&disk, &[&last, &next(&last, 2, LIVE)], |decided| decided).unwrap_err();
    assert!(format!("{told:#}").contains("is not what the files give from"), "{told:#}");
}

#[test]
fn a_chain_may_not_begin_in_a_file_that_was_gone() {
    let last = first(2);
    let told = judged(true, [&last, &next(&last, 2, SECOND)]).unwrap_err();
    assert!(told.contains("is not what the files give from"), "{told}");
}

#[test]
fn a_chain_begins_at_the_first_part_of_a_line_that_was_open() {
    let mut disk = disk(false);
    // The live file is gone, so that a takeover is due; the rotated one is not.
    disk.gone[1] = Some(at(30)..at(31));
    let looked = |_| at(40);
    // Started, "one", "three": "tw" waits for its end.
    let last = first(3);
    let takeovers = follow(&disk, &[&last, &next(&last, 3, SECOND)], looked).unwrap();
    assert_eq!(takeovers[0].missing, 0);
    let third = Place { file: 0, offset: SECOND.offset + 33 };
    let told = follow(&disk, &[&last, &next(&last, 3, third)], looked).unwrap_err();
    assert!(format!("{told:#}").contains("is not what the files give from"), "{told:#}");
}

#[test]
fn the_head_that_is_named_is_one_that_the_chain_before_had() {
    let last = first(2);
    let mut other = next(&last, 2, LIVE);
    let lie = other.records.get_mut(&0).unwrap();
    let Control::Resumed { reason, from: Some((id, mut head)) } = Control::decode(&lie.payload).unwrap() else {
        panic!("record 0 is resumed")
    };
    head.link = Digest::new([7; 32]);
    lie.payload = Control::Resumed { reason, from: Some((id, head)) }.encode().into_bytes();
    assert!(judged(true, [&last, &other]).unwrap_err().contains("a head that nobody had"));
    // What it names lies behind what is stored.
    let shorter = first(1);
    assert!(judged(true, [&shorter, &next(&last, 2, LIVE)]).unwrap_err().contains("behind what is stored"));
}

#[test]
fn the_last_chain_has_an_end_and_everything_before_it() {
    let last = first(2);
    let mut all: BTreeMap<_, _> = next(&last, 2, LIVE).records;
    let (seq, end) = all.pop_last().unwrap();
    let without_end = StoredChain { records: all.clone(), ..next(&last, 2, LIVE) };
    assert!(judged(true, [&last, &without_end]).unwrap_err().contains("has no end"));
    all.insert(seq - 1, end);
    let short = StoredChain { records: all, ..next(&last, 2, LIVE) };
    assert!(judged(true, [&last, &short]).unwrap_err().contains("records of"));
}
