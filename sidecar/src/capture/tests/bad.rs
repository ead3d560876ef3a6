//! Foreign, unreadable and random bytes.

use std::time::Duration;

use proptest::prelude::*;

use super::APP;
use crate::capture::rig::{Rig, line, shown};
use indelible_chain::record::Source;

#[test]
fn a_file_that_cannot_be_opened_is_a_gap_after_a_while_and_the_next_one_is_read() {
    let mut rig = Rig::new();
    rig.logs.make(APP);
    rig.settle();
    rig.logs.refuse("0.log", true);
    rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    rig.logs.append(APP, "1.log", &line(2, "F", "two"));
    rig.drain();
    assert_eq!(rig.only().len(), 0);
    rig.pass(Duration::from_secs(10));
    rig.terminate();
    let size = line(1, "F", "one").len();
    let gap = format!("gap unreadable 0.log {size}");
    assert_eq!(shown(rig.only()), [gap.as_str(), "started 1", "two", "end"]);
}

#[test]
fn a_file_that_can_be_opened_again_in_time_loses_nothing() {
    let mut rig = Rig::new();
    rig.logs.make(APP);
    rig.settle();
    rig.logs.refuse("0.log", true);
    rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    rig.drain();
    rig.logs.refuse("0.log", false);
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "one", "end"]);
}

#[test]
fn a_file_that_can_be_read_only_in_part_is_read_so_far_and_then_given_up() {
    let mut rig = Rig::new();
    rig.logs.make(APP);
    rig.settle();
    let lines = [line(1, "P", "one"), line(2, "F", "never read")].concat();
    let file = rig.logs.append(APP, "0.log", &lines);
    file.break_from(Some(line(1, "P", "one").len() as u64 + 4));
    rig.logs.append(APP, "1.log", &line(3, "F", "three"));
    rig.drain();
    rig.pass(Duration::from_secs(12));
    rig.drain();
    assert_eq!(rig.capture().stats().gaps, 1);
    rig.terminate();
    let rest = line(2, "F", "never read").len() - 4;
    let gap = format!("gap unreadable 0.log {rest}");
    assert_eq!(shown(rig.only()), ["started 0", "2026/m", "one/u", gap.as_str(), "started 1", "three", "end"]);
}

#[test]
fn a_damaged_gz_is_read_as_far_as_it_unpacks_and_then_a_gap() {
    let mut rig = Rig::new();
    let lines: Vec<u8> = (0..3000).flat_map(|n| line(n, "F", &format!("{}", u64::from(n).pow(2) * 7919))).collect();
    rig.logs.append(APP, "0.log.20261122-200002", &lines);
    rig.logs.gzip(APP, "0.log.20261122-200002");
    let packed = rig.logs.content(APP, "0.log.20261122-200002.gz").unwrap();
    rig.logs.remove(APP, "0.log.20261122-200002.gz");
    rig.logs.append(APP, "0.log.20261122-200002.gz", &packed[..packed.len() / 2]);
    rig.logs.append(APP, "0.log", &line(9, "F", "live"));
    rig.terminate();
    let all = shown(rig.only());
    assert_eq!(all[all.len() - 3..], ["gap unreadable 0.log.20261122-200002 ?", "live", "end"]);
    assert!(all.len() > 500, "{}", all.len());
}

#[test]
fn a_file_that_is_cut_while_it_is_read_is_a_gap_and_what_it_holds_then_is_read() {
    let mut rig = Rig::new();
    let file = rig.logs.append(APP, "0.log", &[line(1, "F", "one"), line(2, "F", "two")].concat());
    rig.drain();
    file.truncate();
    file.add(&line(3, "F", "three"));
    rig.drain();
    rig.terminate();
    let all = shown(rig.only());
    assert_eq!(all.len(), 6, "{all:?}");
    assert!(all[3].starts_with("gap unreadable 0.log"), "{all:?}");
    assert_eq!(all[4..], ["three", "end"]);
}

#[test]
fn names_that_are_no_log_files_are_nobodys() {
    let mut rig = Rig::new();
    rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    for name in
        ["0.log.tmp", "log", "00.log", "x.log", "1.log.swp", ".log", "4294967296.log", "-1.log", "+1.log", "1.LOG"]
    {
        rig.logs.append(APP, name, &line(1, "F", "foreign"));
    }
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "one", "end"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Every byte of a file that is no log is in a record, but the newlines. Kills between are for `histories`.
    #[test]
    fn random_bytes_are_kept_and_never_a_panic(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 1..12),
        rotate in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let mut rig = Rig::new();
        rig.logs.make(APP);
        rig.settle();
        // Files are known by their first bytes: no two lines of a runtime are the same, and no two chunks here.
        let numbered = |(n, chunk): (u8, &Vec<u8>)| [&[b'a' + n], chunk.as_slice()].concat();
        let chunks: Vec<Vec<u8>> = (0..).zip(&chunks).map(numbered).collect();
        for (n, chunk) in chunks.iter().enumerate() {
            rig.logs.append(APP, "0.log", chunk);
            rig.settle();
            rig.receipt(n % 2);
            if rotate[n] {
                rig.logs.rename(APP, "0.log", &format!("0.log.{n}"));
            }
        }
        rig.terminate();
        let all: Vec<u8> = rig.only().iter().filter(|s| s.source == Source::Stdout).flat_map(|s| s.payload.clone()).collect();
        let written: Vec<u8> = chunks.concat().into_iter().filter(|b| *b != b'\n').collect();
        let said: Vec<u8> = all.into_iter().filter(|b| *b != b'\n').collect();
        prop_assert_eq!(said, written);
    }
}
