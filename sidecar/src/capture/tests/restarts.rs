//! New runs of the sidecar: the same chain if it can be shown to go on, else another one that says why.

use std::time::Duration;

use indelible_chain::control::{Control, ResumeReason};
use indelible_chain::id::Time;

use super::APP;
use crate::capture::rig::{Rig, line, shown};

/// Two lines receipted, one handed out but not receipted, one read but not sealed.
fn half_receipted() -> Rig {
    let mut rig = Rig::new();
    rig.logs.append(APP, "0.log", &[line(1, "F", "one"), line(2, "F", "two")].concat());
    rig.drain();
    rig.logs.append(APP, "0.log", &line(3, "F", "three"));
    rig.flush();
    rig.logs.append(APP, "0.log", &line(4, "P", "four"));
    rig.settle();
    rig
}

fn restart(rig: &mut Rig) {
    rig.kill();
    rig.start();
}

fn resumed(rig: &Rig, index: usize) -> (ResumeReason, Option<u64>) {
    let stored = rig.chain(index);
    match stored.records[0].control() {
        Some(Control::Resumed { reason, from }) => {
            let incarnation = stored.genesis.as_ref().unwrap().incarnation;
            assert_eq!(stored.records[0].time, i64::try_from(incarnation).unwrap());
            if let Some((chain, head)) = from {
                assert_eq!(chain, rig.chains[index - 1]);
                let next = usize::try_from(head.next_seq.get()).unwrap();
                if next > 0 {
                    assert_eq!(head.link, rig.chain(index - 1).records[next - 1].link);
                }
            }
            (reason, from.map(|(_, head)| head.next_seq.get()))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn after_a_kill_the_same_records_follow() {
    let mut rig = half_receipted();
    restart(&mut rig);
    rig.logs.append(APP, "0.log", &line(5, "F", " and five"));
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "one", "two", "three", "four and five", "end"]);
    let introduced = rig.introduced[&rig.chains[0]];
    assert_eq!((introduced.next_seq.get(), introduced.link), (3, rig.only()[2].link), "what is receipted");
}

#[test]
fn after_a_kill_a_file_is_found_under_whatever_name() {
    for packed in [false, true] {
        let mut rig = half_receipted();
        rig.kill();
        rig.logs.rename(APP, "0.log", "0.log.20261122-200004");
        rig.logs.append(APP, "0.log", &line(5, "F", " and five"));
        rig.logs.rename(APP, "0.log", "0.log.20261122-200006");
        rig.logs.append(APP, "0.log", &line(7, "F", "seven"));
        if packed {
            rig.logs.gzip(APP, "0.log.20261122-200004");
            rig.logs.gzip(APP, "0.log.20261122-200006");
        }
        rig.start();
        rig.terminate();
        assert_eq!(shown(rig.only()), ["started 0", "one", "two", "three", "four and five", "seven", "end"]);
    }
}

#[test]
fn after_a_kill_the_late_record_stands_where_it_stood() {
    let mut rig = Rig::new();
    let old = rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    rig.drain();
    rig.logs.rename(APP, "0.log", "0.log.20261122-200002");
    rig.logs.append(APP, "0.log", &line(2, "F", "two"));
    rig.settle();
    old.add(&line(3, "F", "late"));
    rig.settle();
    rig.logs.append(APP, "0.log", &line(4, "F", "four"));
    rig.flush();
    let before = rig.only().to_vec();
    assert_eq!(shown(&before), ["started 0", "one", "two", "late/l", "four"]);
    rig.kill();
    old.add(&line(5, "F", "later"));
    rig.start();
    rig.terminate();
    // The rig compares every link; the bytes that came meanwhile come after what may have been handed out.
    assert_eq!(shown(rig.only()), ["started 0", "one", "two", "late/l", "four", "later/l", "end"]);
}

#[test]
fn a_late_record_does_not_go_before_records_that_an_earlier_run_handed_out() {
    let mut rig = Rig::new();
    let old = rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    rig.drain();
    rig.logs.rename(APP, "0.log", "0.log.20261122-200002");
    rig.logs.append(APP, "0.log", &line(2, "F", "two"));
    rig.flush();
    rig.logs.append(APP, "0.log", &line(3, "F", "three"));
    rig.flush();
    rig.kill();
    // Handed out and stored, but not receipted: the new run must not put anything between.
    old.add(&line(4, "F", "late"));
    rig.start();
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "one", "two", "three", "late/l", "end"]);
}

#[test]
fn a_file_that_is_gone_after_a_kill_is_said_and_reading_goes_on_behind_it() {
    let mut rig = half_receipted();
    rig.kill();
    rig.logs.remove(APP, "0.log");
    rig.logs.append(APP, "1.log", &line(9, "F", "nine"));
    rig.start();
    rig.terminate();
    assert_eq!(resumed(&rig, 1), (ResumeReason::FileGone, Some(3)));
    assert_eq!(shown(&rig.chain(1).records), ["resumed file-gone", "started 1", "nine", "end"]);
    assert!(!rig.chain(0).closed);
}

#[test]
fn a_restart_that_came_and_went_while_the_sidecar_was_dead_is_said() {
    let mut rig = half_receipted();
    rig.kill();
    rig.logs.append(APP, "2.log", &line(9, "F", "nine"));
    rig.start();
    rig.terminate();
    assert_eq!(resumed(&rig, 1), (ResumeReason::FileGone, Some(3)));
    let expected = ["resumed file-gone", "started 0", "three", "four/u", "started 2", "nine", "end"];
    assert_eq!(shown(&rig.chain(1).records), expected);
}

#[test]
fn a_file_that_became_shorter_is_gone() {
    let mut rig = half_receipted();
    rig.kill();
    let whole = rig.logs.content(APP, "0.log").unwrap();
    rig.logs.append(APP, "0.log", b"").truncate();
    // As long as the cursor, but not as what was handed out.
    rig.logs.append(APP, "0.log", &whole[..2 * line(1, "F", "one").len()]);
    rig.start();
    rig.terminate();
    assert_eq!(resumed(&rig, 1), (ResumeReason::FileGone, Some(3)));
}

#[test]
fn after_a_reboot_another_chain_begins_at_the_cursor() {
    let mut rig = half_receipted();
    rig.settings.boot_id = "boot two".into();
    restart(&mut rig);
    rig.terminate();
    assert_eq!(resumed(&rig, 1), (ResumeReason::Reboot, Some(3)));
    assert_eq!(shown(&rig.chain(1).records), ["resumed reboot", "started 0", "three", "four/u", "end"]);
}

#[test]
fn a_chain_that_is_replaced_while_the_sidecar_runs_is_reported_closed() {
    let mut rig = half_receipted();
    let file = rig.logs.append(APP, "0.log", &line(5, "F", &"x".repeat(9_970)).repeat(300));
    rig.flush();
    restart(&mut rig);
    rig.work();
    // What the run before has handed out cannot be read again.
    file.break_from(Some(2 << 20));
    rig.settle();
    rig.pass(Duration::from_secs(10));
    rig.drain();
    assert_eq!(resumed(&rig, 1).0, ResumeReason::FileGone);
    assert!(rig.chain(0).closed);
    rig.terminate();
}

#[test]
fn another_chain_begins_where_the_line_that_was_open_at_the_cursor_began() {
    let mut rig = Rig::new();
    let parts = [line(1, "F", "one"), line(2, "P", "two "), line(3, "P", "and ")].concat();
    rig.logs.append(APP, "0.log", &parts);
    rig.logs.append(APP, "0.log", b"2026-11-22T20:00:04Z stderr F four\n");
    rig.drain();
    assert_eq!(shown(rig.only()), ["started 0", "one", "four"]);
    rig.settings.boot_id = "boot two".into();
    restart(&mut rig);
    rig.logs.append(APP, "0.log", &line(5, "F", "five"));
    rig.terminate();
    assert_eq!(shown(&rig.chain(1).records), ["resumed reboot", "started 0", "four", "two and five", "end"]);
}

#[test]
fn an_incarnation_is_greater_than_the_last_one_even_if_the_clock_went_back() {
    let mut rig = half_receipted();
    rig.settings.boot_id = "boot two".into();
    restart(&mut rig);
    rig.drain();
    rig.now = Time::from_nanos(1_000_000_000);
    rig.settings.boot_id = "boot three".into();
    restart(&mut rig);
    rig.terminate();
    let incarnation = |n: usize| rig.chain(n).genesis.as_ref().unwrap().incarnation;
    assert_eq!(incarnation(2), incarnation(1) + 1);
}

#[test]
fn a_state_that_is_lost_is_said() {
    let mut rig = half_receipted();
    rig.kill();
    rig.store.lose();
    rig.known = Some(true);
    rig.start();
    rig.terminate();
    assert_eq!(resumed(&rig, 1), (ResumeReason::StateLost, None));
    let expected = ["resumed state-lost", "started 0", "one", "two", "three", "four/u", "end"];
    assert_eq!(shown(&rig.chain(1).records), expected);
}

#[test]
fn a_chain_that_no_collector_knows_begins_anew_with_the_same_links() {
    let mut rig = half_receipted();
    rig.kill();
    rig.store.lose();
    rig.known = None;
    rig.start();
    rig.settle();
    rig.pass(Duration::from_secs(4));
    rig.settle();
    assert_eq!(rig.flying.len(), 0, "collectors have five seconds to answer");
    rig.pass(Duration::from_secs(1));
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "one", "two", "three", "four/u", "end"]);
}

#[test]
fn a_damaged_journal_starts_another_chain_and_never_a_panic() {
    let good = {
        let mut rig = half_receipted();
        rig.kill();
        rig.store.bytes(APP).unwrap()
    };
    for at in (0..good.len()).step_by(7) {
        let mut rig = half_receipted();
        rig.kill();
        let mut bad = rig.store.bytes(APP).unwrap();
        assert_eq!(bad, good);
        bad[at] ^= 0x55;
        rig.store.put(APP, bad);
        rig.start();
        rig.terminate();
        // A length that points behind the end looks like a write that was cut off; then the chain goes on from there.
        if rig.chains.len() > 1 {
            assert_eq!(resumed(&rig, 1).0, ResumeReason::StateLost, "byte {at}");
        }
        assert!(rig.capture().is_closed());
    }
}

#[test]
fn a_journal_that_ends_inside_an_entry_goes_on_before_it() {
    let mut rig = half_receipted();
    rig.kill();
    let good = rig.store.bytes(APP).unwrap();
    rig.store.put(APP, good[..good.len() - 3].to_vec());
    rig.start();
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "one", "two", "three", "four/u", "end"]);
}

#[test]
fn a_rejected_chain_is_replaced_once_an_hour_and_its_bytes_are_held() {
    let mut rig = half_receipted();
    let chain = rig.chains[0];
    rig.capture().rejected(chain);
    rig.flying.clear();
    rig.drain();
    assert_eq!(resumed(&rig, 1), (ResumeReason::Rejected, Some(3)));
    assert_eq!(shown(&rig.chain(1).records), ["resumed rejected", "started 0", "three"]);
    let chain = rig.chains[1];
    rig.capture().rejected(chain);
    rig.pass(Duration::from_mins(10));
    rig.logs.append(APP, "0.log", &line(5, "F", "!"));
    rig.logs.rename(APP, "0.log", "0.log.20261122-200006");
    rig.settle();
    rig.logs.remove(APP, "0.log.20261122-200006");
    rig.logs.append(APP, "0.log", &line(7, "F", "seven"));
    rig.drain();
    assert_eq!(rig.chains.len(), 2);
    rig.pass(Duration::from_mins(50));
    rig.terminate();
    assert_eq!(resumed(&rig, 2).0, ResumeReason::Rejected);
    assert_eq!(shown(&rig.chain(2).records), ["resumed rejected", "started 0", "four!", "seven", "end"]);
}

#[test]
fn an_end_that_was_not_receipted_is_repeated_and_output_after_it_goes_into_another_chain() {
    let mut rig = half_receipted();
    let now = rig.now;
    rig.capture().terminate(now);
    rig.settle();
    assert_eq!(shown(rig.only()).last().unwrap(), "end");
    rig.kill();
    rig.logs.append(APP, "0.log", &line(8, "F", "eight"));
    rig.pass(Duration::from_secs(5));
    rig.start();
    rig.drain();
    assert_eq!(shown(rig.chain(0).records.as_slice()), ["started 0", "one", "two", "three", "four/u", "end"]);
    assert!(rig.chain(0).closed);
    assert_eq!(resumed(&rig, 1), (ResumeReason::AfterEnd, Some(6)));
    rig.terminate();
    assert_eq!(shown(&rig.chain(1).records), ["resumed after-end", "started 0", "eight", "end"]);
    // And once more, with nothing printed since.
    restart(&mut rig);
    rig.terminate();
    assert_eq!(resumed(&rig, 2).0, ResumeReason::AfterEnd);
    assert_eq!(shown(&rig.chain(2).records), ["resumed after-end", "end"]);
}

#[test]
fn a_rotated_file_of_a_chain_that_ended_is_not_read_again_by_any_later_run() {
    let mut rig = Rig::new();
    rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    rig.drain();
    rig.logs.rename(APP, "0.log", "0.log.20261122-200002");
    rig.logs.append(APP, "0.log", &line(2, "F", "two"));
    rig.terminate();
    for at in 3..6 {
        restart(&mut rig);
        rig.logs.append(APP, "0.log", &line(at, "F", "more"));
        rig.drain();
        rig.pass(Duration::from_secs(2));
        rig.drain();
    }
    rig.terminate();
    let said: Vec<_> = (0..rig.chains.len()).flat_map(|n| shown(&rig.chain(n).records)).collect();
    assert_eq!(said.iter().filter(|said| *said == "one").count(), 1, "{said:?}");
    assert_eq!(said.iter().filter(|said| *said == "more").count(), 3, "{said:?}");
    assert_eq!(rig.chains.len(), 2, "{said:?}");
}

/// A sidecar that was killed when it had handed out, and nobody had receipted, a record that came late to a rotated file.
fn killed_with_late_records() -> Rig {
    let mut rig = Rig::new();
    let old = rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    rig.drain();
    rig.logs.rename(APP, "0.log", "0.log.20261122-200002");
    rig.logs.append(APP, "0.log", &line(2, "F", "two"));
    rig.drain();
    old.add(&line(3, "F", "late"));
    rig.flush();
    rig.kill();
    rig
}

#[test]
fn late_records_that_were_not_receipted_are_said_again_by_the_chain_that_takes_over() {
    let mut rig = killed_with_late_records();
    rig.logs.remove(APP, "0.log.20261122-200002");
    rig.settings.boot_id = "boot two".into();
    rig.start();
    rig.terminate();
    assert_eq!(shown(&rig.chain(1).records), ["resumed reboot", "late/l", "end"]);
}

#[test]
fn a_chain_that_took_over_with_late_records_is_begun_again_until_it_is_heard() {
    let mut rig = killed_with_late_records();
    rig.logs.remove(APP, "0.log");
    rig.start();
    rig.flush();
    assert_eq!(shown(&rig.chain(1).records), ["resumed file-gone"], "alone until it is receipted");
    rig.settings.boot_id = "boot two".into();
    restart(&mut rig);
    rig.terminate();
    assert_eq!(resumed(&rig, 1), (ResumeReason::FileGone, Some(3)));
    assert_eq!(shown(&rig.chain(1).records), ["resumed file-gone", "late/l", "end"]);
    assert_eq!(rig.chains.len(), 2);
}

#[test]
fn a_node_that_loses_power_after_a_chain_took_over_makes_no_fork() {
    let mut rig = half_receipted();
    rig.settings.boot_id = "boot two".into();
    restart(&mut rig);
    rig.drain();
    assert_eq!(shown(&rig.chain(1).records), ["resumed reboot", "started 0", "three"]);
    rig.kill();
    rig.store.lose_unsynced();
    rig.settings.boot_id = "boot three".into();
    rig.logs.remove(APP, "0.log");
    rig.start();
    // The rig refuses another record where one of the second chain is.
    rig.terminate();
    assert_eq!(resumed(&rig, 2), (ResumeReason::FileGone, Some(1)));
}

#[test]
fn a_file_that_cannot_be_opened_at_a_start_has_ten_seconds_before_it_is_gone() {
    for (seconds, chains) in [(9, 1), (10, 2)] {
        let mut rig = half_receipted();
        rig.kill();
        rig.logs.rename(APP, "0.log", "0.log.20261122-200004");
        rig.logs.append(APP, "0.log", &line(5, "F", " and five"));
        rig.logs.refuse("0.log.20261122-200004", true);
        rig.start();
        rig.settle();
        rig.pass(Duration::from_secs(seconds));
        rig.settle();
        rig.logs.refuse("0.log.20261122-200004", false);
        rig.terminate();
        assert_eq!(rig.chains.len(), chains, "{seconds}");
        if chains == 1 {
            assert_eq!(shown(rig.only()), ["started 0", "one", "two", "three", "four and five", "end"]);
        } else {
            assert_eq!(resumed(&rig, 1).0, ResumeReason::FileGone);
        }
    }
}

#[test]
fn a_file_that_was_seen_without_bytes_is_known_again_by_its_birth() {
    let mut rig = Rig::new();
    rig.logs.tell_births();
    rig.logs.append(APP, "0.log", b"");
    rig.drain();
    rig.kill();
    rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    rig.logs.rename(APP, "0.log", "0.log.20261122-200002");
    rig.logs.append(APP, "0.log", &line(2, "F", "two"));
    rig.start();
    rig.terminate();
    assert_eq!(shown(rig.only()), ["started 0", "one", "two", "end"]);
}

#[test]
fn a_chain_that_took_over_while_a_long_line_was_open_goes_on_after_its_first_record() {
    let mut rig = Rig::new();
    rig.logs.append(APP, "0.log", &line(1, "F", "one"));
    rig.drain();
    rig.kill();
    rig.settings.boot_id = "boot two".into();
    rig.start();
    // Each cursor behind the open line holds most of what cursors may hold: the sixth is one too many.
    rig.logs.append(APP, "0.log", &line(2, "P", &"p".repeat(10_000)).repeat(22));
    let stderr = format!("2026-11-22T20:00:03Z stderr F {}\n", "e".repeat(10_000));
    rig.logs.append(APP, "0.log", stderr.repeat(40).as_bytes());
    rig.flush();
    assert_eq!(shown(&rig.chain(1).records), ["resumed reboot"]);
    rig.terminate();
    let said = &rig.chain(1).records;
    assert_eq!(said.iter().filter(|said| said.payload.starts_with(b"ee")).count(), 40, "{said:?}");
    assert!(rig.capture().is_closed());
}

#[test]
fn a_chain_that_takes_over_is_counted_once_however_often_its_state_could_not_be_written() {
    for lost in [false, true] {
        let mut rig = Rig::new();
        rig.logs.append(APP, "0.log", &line(1, "F", "one"));
        rig.drain();
        rig.kill();
        if lost {
            rig.store.lose();
            rig.logs.rename(APP, "0.log", "0.log.20261122-200002");
        } else {
            rig.settings.boot_id = "boot two".into();
        }
        rig.start();
        for failed in 1..=3 {
            rig.store.fail_after(0, 0);
            rig.pass(Duration::from_secs(1));
            rig.work();
            let stats = rig.capture().stats();
            assert_eq!((stats.state_write_failures, stats.resumed.iter().sum()), (failed, 0_u64), "{lost}");
        }
        rig.pass(Duration::from_secs(1));
        rig.terminate();
        assert_eq!(rig.capture().stats().resumed.iter().sum::<u64>(), 1, "{lost}");
    }
}
