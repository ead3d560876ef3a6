//! Files that came and went before anyone listed them.

use std::time::Duration;

use super::APP;
use crate::capture::rig::{Rig, line, shown};

const GAP: &str = "gap unreadable 0.log ?";

/// The live file becomes `rotated`, and there is a new one.
fn rotate(rig: &Rig, rotated: &str, next: &[u8]) {
    rig.logs.rename(APP, "0.log", rotated);
    rig.logs.append(APP, "0.log", next);
}

/// One line is read, and nothing happens for a while.
fn quiet_rig() -> Rig {
    let mut rig = Rig::new();
    rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    rig.drain();
    rig.pass(Duration::from_secs(1));
    rig.drain();
    rig
}

/// Then three files come while the sidecar does not look, and of the oldest two nothing is left.
fn rig_with_an_unseen_file() -> Rig {
    let rig = quiet_rig();
    rotate(&rig, "0.log.20261122-200001", &line(2, "F", "never seen"));
    rotate(&rig, "0.log.20261122-200002", &line(3, "F", "three"));
    rotate(&rig, "0.log.20261122-200003", &line(4, "F", "four"));
    rig.logs.remove(APP, "0.log.20261122-200001");
    rig.logs.remove(APP, "0.log.20261122-200002");
    rig
}

#[test]
fn a_file_that_was_gone_before_it_was_seen_is_a_gap_where_it_was() {
    let mut rig = rig_with_an_unseen_file();
    rig.drain();
    rig.pass(Duration::from_secs(1));
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "one", GAP, "three", "four", "end"]);
}

#[test]
fn the_gap_is_said_again_by_a_run_that_follows_one_that_died() {
    let mut rig = rig_with_an_unseen_file();
    rig.settle();
    rig.flush();
    rig.kill();
    rig.start();
    rig.drain();
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "one", GAP, "three", "four", "end"]);
}

#[test]
fn a_last_file_that_was_never_seen_is_a_gap_before_the_end() {
    let mut rig = quiet_rig();
    rotate(&rig, "0.log.20261122-200001", &line(2, "F", "never seen"));
    rig.logs.remove(APP, "0.log");
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "one", GAP, "end"]);
}

#[test]
fn a_file_that_is_gone_under_a_name_nobody_saw_is_read_before_those_that_came_after_it() {
    read_in_order(3);
    // The clock has stepped back between them.
    read_in_order(1);
}

fn read_in_order(third: u32) {
    let mut rig = Rig::new();
    // More than is read before anything of it is receipted.
    let text = "x".repeat(1000);
    let lines: Vec<u8> = (0..6000).flat_map(|_| line(1, "F", &text)).collect();
    rig.logs.append(APP, "0.log", &lines);
    rig.settle();
    rotate(&rig, "0.log.20261122-200001", &line(2, "F", "two"));
    rig.settle();
    rotate(&rig, "0.log.20261122-200002", &line(third, "F", "three"));
    rotate(&rig, "0.log.20261122-200003", &line(4, "F", "four"));
    rig.logs.remove(APP, "0.log.20261122-200002");
    rig.settle();
    assert!(rig.capture().stats().held_bytes > 0);
    rig.terminate();
    let said = shown(rig.only());
    assert_eq!(said.len(), 1 + 6000 + 4);
    assert_eq!(said[6001..], ["two", "three", "four", "end"]);
}

#[test]
fn files_that_are_seen_in_time_are_no_gap_however_many_come_at_once() {
    let mut rig = Rig::new();
    rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    rig.drain();
    for n in 2..9 {
        rotate(&rig, &format!("0.log.20261122-20000{n}"), &line(n, "F", "more"));
        if n % 3 == 0 {
            rig.drain();
        }
    }
    rig.logs.append(APP, "1.log", &line(9, "F", "nine"));
    rig.terminate();
    assert_eq!(rig.capture().stats().gaps, 0);
}
