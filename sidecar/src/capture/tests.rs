//! What a kubelet does to log files, and what can go wrong, one thing at a time.

mod bad;
mod bounds;
mod restarts;
mod troubles;
mod unseen;

use std::time::Duration;

use indelible_chain::batch::MAX_BATCH_RECORDS;
use indelible_chain::record::Source;

use super::rig::{Rig, line, shown};

const APP: &str = "app";

#[test]
fn a_line_becomes_a_record_after_its_container_started() {
    let mut rig = Rig::new();
    rig.logs.append(APP, "0.log", &line(1, "F", "hello"));
    rig.drain();
    assert_eq!(shown(rig.only()), ["started 0", "hello"]);
    rig.logs.append(APP, "0.log", &line(2, "F", "again"));
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "hello", "again", "end"]);
    assert!(rig.capture().is_closed());
    assert!(rig.chain(0).closed);
}

#[test]
fn a_container_that_prints_nothing_has_a_chain_that_ends() {
    let mut rig = Rig::new();
    rig.logs.make(APP);
    rig.pass(Duration::from_secs(1));
    rig.terminate();
    assert_eq!(shown(rig.only()), ["end"]);
    assert!(rig.capture().is_closed());
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_the_poll() {
    let mut rig = Rig::new();
    rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    rig.drain();
    let now = rig.now;
    let minute = 60 * 1_000_000_000;
    assert!(!rig.capture().is_due(now));
    assert!(rig.capture().is_due(now.plus_nanos(minute)));
    assert!(rig.capture().is_due(now.plus_nanos(-10 * minute)));
}

#[test]
fn containers_that_appear_later_are_captured_and_excluded_ones_never() {
    let mut rig = Rig::new();
    rig.logs.append("indelible", "0.log", &line(1, "F", "our own"));
    rig.logs.append("init", "0.log", &line(1, "F", "init"));
    rig.drain();
    rig.logs.append("debug", "0.log", &line(1, "F", "ephemeral"));
    rig.terminate();
    let containers: Vec<_> =
        rig.chains.iter().map(|chain| rig.stored[chain].genesis.clone().unwrap().container).collect();
    assert_eq!(containers, ["init", "debug"]);
    assert!(rig.capture().is_closed());
}

#[test]
fn a_line_that_is_split_by_a_rotation_is_one_record() {
    let mut rig = Rig::new();
    rig.logs.append(APP, "0.log", &[line(1, "F", "one"), line(2, "P", "half ")].concat());
    rig.settle();
    rig.logs.rename(APP, "0.log", "0.log.20261122-200002");
    rig.settle();
    rig.logs.append(APP, "0.log", &line(3, "F", "and half"));
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "one", "half and half", "end"]);
}

#[test]
fn bytes_that_come_before_the_successor_is_seen_to_hold_one_are_not_late() {
    let mut rig = Rig::new();
    let old = rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    rig.settle();
    rig.logs.rename(APP, "0.log", "0.log.20261122-200002");
    rig.logs.append(APP, "0.log", b"");
    rig.settle();
    old.add(&line(2, "F", "two"));
    rig.logs.append(APP, "0.log", &line(3, "F", "three"));
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "one", "two", "three", "end"]);
}

#[test]
fn bytes_that_come_after_a_file_was_left_are_late() {
    let mut rig = Rig::new();
    let old = rig.logs.append(APP, "0.log", &[line(1, "F", "one"), line(2, "P", "open ")].concat());
    rig.settle();
    rig.logs.rename(APP, "0.log", "0.log.20261122-200002");
    rig.logs.append(APP, "0.log", &line(3, "F", "closed"));
    rig.settle();
    let syncs = rig.store.syncs();
    old.add(&[line(4, "P", "late, never joined"), b"no line\n2026-11".to_vec()].concat());
    rig.settle();
    assert!(rig.store.syncs() > syncs, "a decision is synced");
    rig.logs.append(APP, "0.log", &line(5, "F", "five"));
    rig.flush();
    let expected = ["started 0", "one", "open closed", "late, never joined/l", "no line/lm", "five"];
    assert_eq!(shown(rig.only()), expected);
    // Its own time, and the chain's last one.
    assert_eq!(rig.only()[3].time, rig.only()[1].time + 3_000_000_000);
    assert_eq!(rig.only()[4].time, rig.only()[1].time + 2_000_000_000);
    // The last name goes, ten seconds pass: what is no line is said, and the file is closed.
    rig.logs.remove(APP, "0.log.20261122-200002");
    rig.flush();
    assert_eq!(rig.only().len(), expected.len());
    rig.pass(Duration::from_secs(10));
    rig.flush();
    assert_eq!(shown(rig.only()).last().unwrap(), "2026-11/lm");
    assert_eq!(std::rc::Rc::strong_count(&old), 2, "nothing of it is receipted yet");
    rig.drain();
    assert_eq!(std::rc::Rc::strong_count(&old), 1, "it is closed");
}

#[test]
fn a_file_that_is_left_is_watched_for_ten_seconds_even_without_a_name() {
    let mut rig = Rig::new();
    let old = rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    rig.settle();
    rig.logs.remove(APP, "0.log");
    rig.logs.append(APP, "1.log", &line(2, "F", "two"));
    rig.drain();
    rig.pass(Duration::from_secs(3));
    rig.drain();
    old.add(&line(3, "F", "late"));
    rig.drain();
    assert_eq!(shown(rig.only()), ["started 0", "one", "started 1", "two", "late/l"]);
    rig.pass(Duration::from_secs(10));
    rig.drain();
    assert_eq!(std::rc::Rc::strong_count(&old), 1, "it is closed");
}

#[test]
fn a_crash_loop_whose_files_vanish_loses_nothing_that_was_opened() {
    let mut rig = Rig::new();
    rig.logs.make(APP);
    rig.settle();
    let mut expected = Vec::new();
    for restart in 0..5_u32 {
        rig.logs.append(APP, &format!("{restart}.log"), &line(restart * 10, "F", "hello"));
        rig.settle();
        rig.logs.append(APP, &format!("{restart}.log"), &line(restart * 10 + 1, "P", "last words"));
        if restart > 0 {
            rig.logs.remove(APP, &format!("{}.log", restart - 1));
        }
        expected.extend([format!("started {restart}"), "hello".into(), "last words/u".into()]);
    }
    rig.terminate();
    expected.push("end".into());
    assert_eq!(shown(rig.only()), expected);
}

#[test]
fn a_gz_that_takes_the_place_of_a_file_is_that_file() {
    let mut rig = Rig::new();
    for n in 0..4 {
        rig.logs.append(APP, "0.log", &line(n * 10, "F", &format!("file {n}")));
        rig.settle();
        rig.logs.append(APP, "0.log", &line(n * 10 + 1, "F", &format!("file {n} more")));
        let name = format!("0.log.20261122-20000{n}");
        rig.logs.rename(APP, "0.log", &name);
        // Renamed and packed between two looks.
        rig.logs.gzip(APP, &name);
    }
    rig.terminate();
    let mut expected = vec!["started 0".to_owned()];
    expected.extend((0..4).flat_map(|n| [format!("file {n}"), format!("file {n} more")]));
    expected.push("end".into());
    assert_eq!(shown(rig.only()), expected);
}

#[test]
fn files_that_were_there_first_are_read_in_the_order_of_their_first_lines() {
    let mut rig = Rig::new();
    // The clock of the names went back an hour between the two.
    rig.logs.append(APP, "0.log.20261122-205900", &line(10, "F", "first"));
    rig.logs.append(APP, "0.log.20261122-200500", &line(20, "F", "second"));
    rig.logs.append(APP, "0.log", &line(30, "F", "third"));
    rig.logs.gzip(APP, "0.log.20261122-205900");
    rig.logs.append(APP, "0.log.20261122-200500.tmp", b"not a file of anybody");
    rig.terminate();
    assert_eq!(shown(rig.only()), ["resumed state-lost", "started 0", "first", "second", "third", "end"]);
    assert!(rig.chain(0).genesis.as_ref().unwrap().incarnation > 0);
}

#[test]
fn a_rotated_file_that_was_never_seen_live_is_read_before_the_live_one() {
    let mut rig = Rig::new();
    rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    rig.settle();
    // Two rotations between two looks.
    rig.logs.rename(APP, "0.log", "0.log.20261122-200002");
    rig.logs.append(APP, "0.log.20261122-200001", &line(2, "F", "two"));
    rig.logs.append(APP, "0.log", &line(3, "F", "three"));
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "one", "two", "three", "end"]);
}

#[test]
fn an_empty_file_is_passed_over_and_what_it_gets_later_is_late() {
    let mut rig = Rig::new();
    rig.logs.append(APP, "0.log", &line(1, "F", "zero"));
    let empty = rig.logs.append(APP, "1.log", b"");
    rig.logs.append(APP, "2.log", &line(3, "F", "two"));
    rig.drain();
    empty.add(&line(2, "F", "one"));
    rig.terminate();
    let all = shown(rig.only());
    assert_eq!(all[all.len() - 5..], ["zero", "started 2", "two", "one/l", "end"]);
}

#[test]
fn a_restart_that_came_and_went_unseen_is_a_gap() {
    let mut rig = Rig::new();
    rig.logs.append(APP, "0.log", &line(1, "P", "zero"));
    rig.settle();
    rig.logs.append(APP, "2.log", &line(3, "F", "two"));
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "zero/u", "gap unreadable 1.log ?", "started 2", "two", "end"]);
}

#[test]
fn batches_are_sealed_by_number_by_size_and_by_time() {
    let mut rig = Rig::new();
    rig.logs.make(APP);
    rig.settle();
    rig.logs.append(APP, "0.log", &line(1, "F", "x").repeat(5000));
    rig.settle();
    assert_eq!(rig.flying.len(), 1);
    assert_eq!(rig.flying[0].commitment.count, MAX_BATCH_RECORDS);
    rig.pass(Duration::from_millis(249));
    rig.settle();
    assert_eq!(rig.flying.len(), 1);
    rig.pass(Duration::from_millis(1));
    rig.settle();
    assert_eq!(rig.flying.len(), 2);
    rig.logs.append(APP, "0.log", &line(2, "F", &"y".repeat(10_000)).repeat(40));
    rig.settle();
    assert_eq!(rig.flying.len(), 3);
    assert_eq!(rig.flying[2].commitment.count, 26);
    assert!(rig.flying[2].commitment.body_len <= 256 << 10);
    rig.drain();
    assert_eq!(rig.only().len(), 1 + 5000 + 40);
}

#[test]
fn a_line_longer_than_any_buffer_is_cut_the_same_way_however_it_comes() {
    let long = |text: &[u8]| [b"2026-11-22T20:00:01Z stderr F ".as_slice(), text, b"\n"].concat();
    let inputs = [
        long(&b"z".repeat(700_000)),
        [long(&b"z".repeat(140_000)), line(2, "F", "after")].concat(),
        [b"z".repeat(600_000), b"\n".to_vec(), line(2, "F", "after")].concat(),
        // The tags do not end; then they do, far behind the first window.
        [b"2026-11-22T20:00:01Z stdout P:".to_vec(), b"t".repeat(300_000), b"\n".to_vec()].concat(),
        [b"2026-11-22T20:00:01Z stdout P:".to_vec(), b"t".repeat(300_000), b" content\n".to_vec()].concat(),
        // Never ends.
        b"2026-11-22T20:00:01Z stdout F ".iter().copied().chain(b"q".repeat(600_000)).collect(),
        b"z".repeat(262_144 * 2),
        b"z".repeat(262_144 * 2 + 1),
    ];
    for (n, input) in inputs.iter().enumerate() {
        let mut all = Vec::new();
        for chunk in [1 << 20, 131_072, 90_001] {
            let mut rig = Rig::new();
            rig.logs.make(APP);
            rig.settle();
            for piece in input.chunks(chunk) {
                rig.logs.append(APP, "0.log", piece);
                rig.flush();
                rig.receipt(1);
            }
            rig.logs.rename(APP, "0.log", "0.log.20261122-200002");
            rig.logs.append(APP, "0.log", &line(59, "F", "next"));
            rig.drain();
            all.push(rig.only().to_vec());
        }
        assert_eq!(all[0], all[1], "input {n}");
        assert_eq!(all[0], all[2], "input {n}");
        let tags = if n == 4 { 300_000 } else { 0 };
        let bytes: usize = all[0].iter().filter(|s| s.source != Source::Control).map(|s| s.payload.len()).sum();
        assert!(bytes + tags + 100 >= input.len(), "input {n}: {bytes}");
    }
}

#[test]
fn a_rotated_file_that_is_seen_only_while_a_long_line_of_the_live_one_is_read_is_not_taken_for_it() {
    let rest = [b"\n".to_vec(), line(3, "F", "after")].concat();
    let well_formed = [b"2026-11-22T20:00:02Z stdout F ".as_slice(), &b"w".repeat(200_000)].concat();
    for (long, kill) in
        [(&well_formed, false), (&well_formed, true), (&b"z".repeat(300_000), false), (&b"z".repeat(300_000), true)]
    {
        let mut rig = Rig::new();
        rig.logs.append(APP, "0.log", long);
        rig.flush();
        if kill {
            rig.kill();
        }
        rig.logs.append(APP, "0.log.20261122-200001", &line(1, "F", "before"));
        rig.logs.append(APP, "0.log", &rest);
        if kill {
            rig.start();
        }
        rig.terminate();
        let said = shown(&rig.chains.iter().flat_map(|chain| rig.stored[chain].records.clone()).collect::<Vec<_>>());
        for text in ["before", "after"] {
            assert!(said.iter().any(|said| said == text), "{text} {kill}");
        }
        let bytes: usize = said.iter().filter(|said| said.starts_with(['w', 'z'])).map(String::len).sum();
        assert!(bytes >= long.len() - 30, "{bytes}");
    }
}
