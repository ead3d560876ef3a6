//! Budgets, bytes that are given up, and a state that cannot be written.

use std::time::Duration;

use super::APP;
use crate::capture::rig::{Rig, line, logged, shown};
use crate::limits::{MAX_FILES, MAX_UNRECEIPTED_CHAIN, MAX_UNRECEIPTED_SIDECAR};

fn megabytes(n: usize) -> Vec<u8> {
    line(1, "F", &"x".repeat(9_970)).repeat(n * 100)
}

#[test]
fn reading_stops_at_four_mebibytes_unreceipted_and_goes_on_with_receipts() {
    let mut rig = Rig::new();
    rig.logs.append(APP, "0.log", &megabytes(20));
    rig.flush();
    let unreceipted = rig.capture().stats().unreceipted_bytes;
    assert!((MAX_UNRECEIPTED_CHAIN - (1 << 20)..MAX_UNRECEIPTED_CHAIN + (300 << 10)).contains(&unreceipted));
    // Listing and opening goes on: what vanishes now was opened.
    rig.logs.rename(APP, "0.log", "0.log.20261122-200002");
    rig.logs.append(APP, "0.log", &line(2, "F", "last"));
    rig.settle();
    rig.logs.remove(APP, "0.log.20261122-200002");
    rig.logs.remove(APP, "0.log");
    rig.terminate();
    assert_eq!(rig.only().len(), 1 + 2000 + 2);
}

#[test]
fn all_chains_together_stop_at_sixteen_mebibytes() {
    let mut rig = Rig::new();
    for n in 0..6 {
        rig.logs.append(&format!("c{n}"), "0.log", &megabytes(5));
    }
    rig.flush();
    let unreceipted = rig.capture().stats().unreceipted_bytes;
    assert!((MAX_UNRECEIPTED_SIDECAR - (2 << 20)..MAX_UNRECEIPTED_SIDECAR + (2 << 20)).contains(&unreceipted));
    rig.terminate();
    assert!(rig.chains.iter().all(|chain| rig.stored[chain].records.len() == 502));
}

#[test]
fn the_oldest_file_is_given_up_when_too_much_is_held() {
    let mut rig = Rig::new();
    rig.settings.max_held_bytes = 15 << 20;
    rig.start();
    rig.logs.make(APP);
    rig.settle();
    for n in 0..4 {
        rig.logs.append(APP, "0.log", &line(n * 10, "P", &format!("file {n}")));
        rig.logs.append(APP, "0.log", &megabytes(6));
        rig.logs.append(APP, "0.log", &line(n * 10 + 9, "P", "end of file"));
        rig.settle();
        let name = format!("0.log.20261122-20000{n}");
        rig.logs.rename(APP, "0.log", &name);
        rig.settle();
        rig.logs.remove(APP, &name);
    }
    rig.flush();
    assert!(rig.capture().stats().held_bytes <= 15 << 20);
    let gaps = rig.capture().stats().gaps;
    rig.logs.append(APP, "0.log", &line(50, "F", "live"));
    rig.terminate();
    let all = shown(rig.only());
    let kinds: Vec<&str> = all.iter().map(String::as_str).filter(|s| !s.starts_with('x')).collect();
    // The first was read to 4 MiB and then given up; the second is whole... as far as the bound allows.
    let gap = kinds.iter().position(|kind| kind.starts_with("gap held-bytes-exceeded 0.log")).unwrap();
    assert!(gap > 1, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| kind.starts_with("gap")).count(), 2, "{kinds:?} {gaps}");
    assert_eq!(&kinds[kinds.len() - 2..], ["end of filelive", "end"]);
    // Not a byte is unaccounted for: records, and what the gaps say.
    let given_up: usize = kinds
        .iter()
        .filter_map(|kind| kind.strip_prefix("gap "))
        .map(|gap| gap.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        .sum();
    let read: usize =
        rig.only().iter().filter(|said| said.payload.starts_with(b"x") || said.payload.starts_with(b"file")).count();
    assert!(given_up > 5 << 20 && read > 400, "{given_up} {read}");
}

#[test]
fn a_gap_stands_where_it_stood_after_a_kill() {
    let mut rig = Rig::new();
    rig.settings.max_held_bytes = 1 << 20;
    rig.start();
    rig.logs.append(APP, "0.log", &line(0, "P", "open"));
    rig.drain();
    rig.logs.append(APP, "0.log", &megabytes(8));
    rig.settle();
    rig.logs.rename(APP, "0.log", "0.log.20261122-200002");
    rig.logs.append(APP, "0.log", &line(2, "F", "two"));
    rig.flush();
    assert_eq!(rig.capture().stats().gaps, 1);
    let before = shown(rig.only());
    let gap = before.last().unwrap().clone();
    assert!(gap.starts_with("gap held-bytes-exceeded"), "{gap}");
    rig.kill();
    rig.start();
    rig.terminate();
    assert_eq!(shown(rig.only())[before.len() - 1..], [gap.as_str(), "two", "end"]);
}

#[test]
fn removed_files_are_given_up_one_a_poll_while_the_node_is_full() {
    let mut rig = Rig::new();
    rig.settings.min_node_free_percent = 20;
    rig.start();
    rig.logs.set_free_percent(20);
    rig.logs.make(APP);
    rig.settle();
    for n in 0..3 {
        rig.logs.append(APP, "0.log", &megabytes(5));
        rig.settle();
        rig.logs.rename(APP, "0.log", &format!("0.log.20261122-20000{n}"));
    }
    rig.logs.append(APP, "0.log", &line(9, "F", "live"));
    rig.flush();
    assert_eq!(rig.capture().stats().gaps, 0);
    rig.logs.set_free_percent(19);
    rig.pass(Duration::from_secs(1));
    rig.work();
    rig.work();
    assert_eq!(rig.capture().stats().gaps, 0, "all have names: nothing would be freed");
    rig.logs.remove(APP, "0.log.20261122-200000");
    rig.logs.remove(APP, "0.log.20261122-200001");
    rig.pass(Duration::from_secs(1));
    rig.work();
    rig.work();
    assert_eq!(rig.capture().stats().gaps, 1);
    rig.logs.set_free_percent(50);
    rig.terminate();
    assert_eq!(shown(rig.only()).iter().filter(|s| s.starts_with("gap")).count(), 1);
}

#[test]
fn nothing_is_handed_out_that_rests_on_a_decision_which_could_not_be_written() {
    for call in 0..12 {
        for torn_at in [0, 20, 1 << 20] {
            let mut rig = Rig::new();
            rig.logs.append(APP, "0.log", &line(1, "F", "one"));
            rig.drain();
            rig.store.fail_after(call, torn_at);
            rig.logs.rename(APP, "0.log", "0.log.20261122-200002");
            let late = rig.logs.append(APP, "0.log", &line(2, "F", "two"));
            rig.flush();
            rig.logs.rename(APP, "0.log", "0.log.20261122-200003");
            rig.logs.append(APP, "0.log", &line(3, "F", "three"));
            rig.flush();
            late.add(&line(4, "F", "late"));
            rig.flush();
            if call % 2 == 0 {
                rig.kill();
                rig.start();
            }
            rig.pass(Duration::from_secs(2));
            rig.terminate();
            let expected = ["started 0", "one", "two", "three", "late/l", "end"];
            assert_eq!(shown(rig.only()), expected, "failing call {call}, torn at {torn_at}");
        }
    }
}

#[test]
fn many_small_batches_without_receipts_become_few_large_ones() {
    let mut rig = Rig::new();
    rig.logs.append(APP, "0.log", &line(1, "F", "x"));
    for _ in 0..500 {
        rig.logs.append(APP, "0.log", &line(1, "F", "x"));
        rig.settle();
        rig.pass(Duration::from_millis(300));
    }
    rig.settle();
    assert!(rig.flying.len() <= 65, "{}", rig.flying.len());
    rig.drain();
    assert_eq!(rig.only().len(), 502);
}

#[test]
fn a_renamed_file_is_not_given_up_while_the_runtime_may_still_write_to_it() {
    let mut rig = Rig::new();
    rig.settings.max_held_bytes = 1 << 20;
    rig.start();
    let old = rig.logs.append(APP, "0.log", &megabytes(8));
    rig.flush();
    rig.logs.rename(APP, "0.log", "0.log.20261122-200002");
    rig.flush();
    old.add(&megabytes(1));
    rig.logs.append(APP, "0.log", &line(2, "F", "two"));
    rig.terminate();
    let all = shown(rig.only());
    let gap = all.iter().find_map(|said| said.strip_prefix("gap held-bytes-exceeded 0.log.20261122-200002 ")).unwrap();
    let read = all.iter().filter(|said| said.starts_with('x')).count();
    assert_eq!(read * (megabytes(1).len() / 100) + gap.parse::<usize>().unwrap(), megabytes(9).len());
}

#[test]
fn a_malformed_line_longer_than_all_bounds_is_repeated_in_bounded_memory() {
    let mut rig = Rig::new();
    rig.logs.make(APP);
    rig.settle();
    for _ in 0..20 {
        rig.logs.append(APP, "0.log", &b"z".repeat(1 << 20));
        rig.drain();
    }
    rig.kill();
    rig.start();
    rig.flush();
    let unreceipted = rig.capture().stats().unreceipted_bytes;
    assert!((MAX_UNRECEIPTED_CHAIN..2 * MAX_UNRECEIPTED_CHAIN + (2 << 20)).contains(&unreceipted), "{unreceipted}");
    rig.terminate();
    let said: usize =
        rig.only().iter().filter(|said| said.payload.starts_with(b"z")).map(|said| said.payload.len()).sum();
    assert_eq!(said, 20 << 20);
}

#[test]
fn more_files_than_are_known_at_once_wait_until_others_are_removed_and_hold_up_nothing_but_the_end() {
    let mut rig = Rig::new();
    // Only the first is read on its own: the empty ones are left together with it.
    let add = |rig: &Rig, restart: usize, text: &[u8]| drop(rig.logs.append(APP, &format!("{restart}.log"), text));
    add(&rig, 0, &line(0, "F", "first"));
    for restart in 1..MAX_FILES - 1 {
        add(&rig, restart, b"");
    }
    for (restart, text) in (MAX_FILES - 1..).zip(["known", "waits", "waits too"]) {
        add(&rig, restart, &line(1, "F", text));
    }
    let lines = logged(|| rig.drain());
    let crowded = |line: &&String| line.contains("too many log files");
    assert_eq!(lines.iter().filter(crowded).count(), 1, "{lines:?}");
    assert_eq!(shown(rig.only()), ["resumed state-lost", "started 0", "first", "started 4095", "known"]);

    for restart in 1..=10 {
        rig.logs.remove(APP, &format!("{restart}.log"));
    }
    rig.settle();
    rig.pass(Duration::from_secs(10));
    let lines = logged(|| rig.drain());
    assert!(lines.iter().any(|line| line.contains("there is room")), "{lines:?}");
    assert_eq!(shown(rig.only())[5..], ["started 4096", "waits", "started 4097", "waits too"]);

    for restart in MAX_FILES + 2..MAX_FILES + 12 {
        add(&rig, restart, &line(2, "F", "more"));
    }
    rig.terminate();
    assert!(!rig.capture().is_closed());
    assert_eq!(shown(rig.only()).last().unwrap(), "more");
}
