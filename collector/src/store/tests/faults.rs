//! The fault table: each step that changes the disk, each way in which it can go wrong, each way in which the next
//! process can find what is left. Whatever happens, what was acknowledged is there, unchanged, in a log that did not
//! fork and goes on.

use std::sync::OnceLock;

use indelible_chain::id::Time;

use super::log::{Log, options};
use super::pod::Pod;
use crate::store::Append;
use crate::store::error::Fatal;
use crate::store::files::memory::{Fault, MemoryFiles, Outcome, Restart};

const OUTCOMES: [Outcome; 10] = [
    Outcome::NotDone,
    Outcome::DoneButError,
    Outcome::FailedClean,
    Outcome::Torn(1),
    Outcome::Torn(60),
    Outcome::Torn(128),
    Outcome::Torn(200),
    Outcome::Torn(255),
    Outcome::KilledBefore,
    Outcome::KilledAfter,
];

const RESTARTS: [Restart; 6] = [
    Restart::Process,
    Restart::Power,
    Restart::PowerTorn(40),
    Restart::PowerTorn(128),
    Restart::PowerTorn(250),
    Restart::PowerOutOfOrder,
];

/// Groups of a short life: one pod is introduced, prints, forks, repeats itself.
fn groups() -> &'static [Vec<Append>] {
    static GROUPS: OnceLock<Vec<Vec<Append>>> = OnceLock::new();
    GROUPS.get_or_init(|| {
        let pod = Pod::new(1, 0);
        vec![
            vec![pod.session_item(), pod.genesis_item(), pod.batch(0, 2).item()],
            vec![pod.batch(2, 1).item(), pod.batch(3, 40).item(), pod.batch(0, 2).item()],
            vec![pod.fork(2, 1, "other").item(), pod.batch(43, 60).item()],
            vec![pod.batch(103, 70).item(), pod.batch(100, 3).item()],
            vec![pod.batch(173, 2).item()],
        ]
    })
}

/// Opens a log, appends the groups, ticks now and then; ends at the first error.
fn live(log: &mut Log, groups: &[Vec<Append>]) -> Result<(), Fatal> {
    if log.open().is_err() {
        return Ok(());
    }
    for (n, group) in groups.iter().enumerate() {
        log.commit(group.clone())?;
        if n % 2 == 0 {
            log.clock.advance(61 * Time::SECOND);
            log.tick()?;
        }
    }
    log.tick().map(|_| ())
}

/// After a restart of any kind the log holds what it promised and goes on.
fn goes_on(log: &Log, how: Restart, context: &str) {
    let pod = Pod::new(1, 0);
    let files = log.files.restarted(how);
    let mut next = Log { files, ..Log::closed(log.options.clone()) };
    next.promised.clone_from(&log.promised);
    next.shown.clone_from(&log.shown);
    let shown = log.shown.iter().map(|(size, _)| *size).max().unwrap_or(0);
    assert!(next.signed() >= shown, "{context}, {how:?}: a checkpoint was seen before it was durable");
    if let Err(error) = next.open() {
        panic!("{context}, {how:?}: does not open: {error}");
    }
    next.check();
    next.commit(vec![pod.session_item(), pod.genesis_item(), pod.batch(0, 2).item()]).unwrap();
    next.tick().unwrap();
    next.check();
    if how == Restart::Process {
        // What the second process found in the page cache, and receipted, outlives the power too.
        next.restart(Restart::Power).unwrap_or_else(|error| panic!("{context}, then power lost: {error}"));
        next.check();
    }
}

/// The ways in which a step can go wrong: only an append can be done in part, only a sync be taken for done.
fn outcomes(step: &str) -> impl Iterator<Item = Outcome> {
    let (append, sync) = (step.starts_with("append "), step.starts_with("sync segments/"));
    OUTCOMES.into_iter().filter(move |outcome| match outcome {
        Outcome::Torn(_) => append,
        Outcome::FailedClean => sync,
        _ => true,
    })
}

fn run(make: &dyn Fn() -> Log, groups: &[Vec<Append>]) {
    for (at, step) in steps_of(&mut make(), groups).iter().enumerate() {
        for outcome in outcomes(step) {
            let mut log = make();
            log.files.fail(Fault { at, outcome });
            // An error ends the process; that nothing is acknowledged after it shows in what was promised.
            let ended = live(&mut log, groups);
            let context = format!("step {at} ({step}), {outcome:?}");
            if ended.is_err() {
                let after = log.opened.as_mut().unwrap().writer.commit(groups[0].clone());
                assert!(after.is_err(), "{context}: something was acknowledged after an error");
            }
            for how in RESTARTS {
                goes_on(&log, how, &context);
            }
        }
    }
}

fn steps_of(log: &mut Log, groups: &[Vec<Append>]) -> Vec<String> {
    live(log, groups).unwrap();
    log.files.steps()
}

#[test]
fn whatever_step_fails_nothing_that_was_acknowledged_is_lost_and_the_log_goes_on() {
    let make = || Log::closed(options());
    assert!(steps_of(&mut make(), groups()).len() > 80);
    run(&make, groups());
}

#[test]
fn whatever_step_of_a_tick_with_full_tiles_fails_the_tree_goes_on() {
    static LONG: OnceLock<(Vec<Vec<Append>>, MemoryFiles)> = OnceLock::new();
    let big = || crate::store::Options { segment_bytes: 1 << 20, ..options() };
    let (groups, before) = LONG.get_or_init(|| {
        let pod = Pod::new(1, 0);
        let mut log = Log::new(big());
        log.commit(vec![pod.session_item(), pod.genesis_item()]).unwrap();
        log.commit((0..250).map(|n| pod.batch_at(n)).collect()).unwrap();
        log.tick().unwrap();
        (vec![(250..260).map(|n| pod.batch_at(n)).collect()], log.files.restarted(Restart::Power))
    });
    let make = || Log { files: before.restarted(Restart::Power), ..Log::closed(big()) };
    run(&make, groups);
}

/// A log whose last group was written but not synced, the power then gone: its bytes may be there in any part.
fn unsynced() -> (Log, String, usize) {
    let mut log = Log::new(crate::store::Options { segment_bytes: 1 << 20, ..options() });
    for group in &groups()[..2] {
        log.commit(group.clone()).unwrap();
    }
    log.tick().unwrap();
    let path = "segments/00000000000000000000.seg".to_owned();
    let durable = log.files.contents()[&path].len();
    // The group's first step is its write, the second its sync; a mark stands before it.
    log.files.fail(Fault { at: log.files.steps().len() + 1, outcome: Outcome::KilledBefore });
    log.commit(groups()[2].clone()).unwrap_err();
    (log, path, durable)
}

#[test]
fn a_last_group_torn_at_any_byte_is_kept_as_far_as_it_is_good_and_the_rest_set_aside() {
    let (log, path, durable) = unsynced();
    let whole = log.files.contents()[&path].len();
    let mut kept = Vec::new();
    for length in durable..=whole {
        let files = log.files.restarted(Restart::Process);
        files.tamper(&path, |bytes| bytes.truncate(length));
        let mut next = Log { files, ..Log::closed(log.options.clone()) };
        next.promised.clone_from(&log.promised);
        next.shown.clone_from(&log.shown);
        next.open().unwrap();
        next.check();
        let torn =
            next.files.contents().iter().find(|(path, _)| path.starts_with("torn/")).map(|(_, bytes)| bytes.len());
        kept.push(length - torn.unwrap_or(0));
    }
    assert!(kept.is_sorted());
    kept.dedup();
    // Whole frames only: the fork, the statement, the batch.
    assert_eq!(kept.len(), 4);
}

#[test]
fn a_last_group_with_any_byte_wrong_is_set_aside_from_that_frame_on_good_frames_behind_it_too() {
    let (log, path, durable) = unsynced();
    let whole = log.files.contents()[&path].len();
    for at in durable..whole {
        let files = log.files.restarted(Restart::Process);
        files.tamper(&path, |bytes| bytes[at] ^= 0x10);
        let mut next = Log { files, ..Log::closed(log.options.clone()) };
        next.promised.clone_from(&log.promised);
        next.shown.clone_from(&log.shown);
        next.open().unwrap_or_else(|error| panic!("byte {at}: {error}"));
        next.check();
        let contents = next.files.contents();
        let torn: Vec<_> = contents.iter().filter(|(path, _)| path.starts_with("torn/")).collect();
        assert_eq!(torn.len(), 1);
        assert!(torn[0].1.len() >= whole - at);
    }
}

#[test]
fn whatever_step_of_setting_a_torn_tail_aside_fails_the_tail_is_kept_and_said_once() {
    let (log, path, durable) = unsynced();
    crash_twice(&log, &|files| files.tamper(&path, |bytes| bytes[durable + 100] ^= 1), 1);
}

#[test]
fn frames_that_a_crash_left_unsynced_are_durable_before_a_mark_says_so() {
    let (log, ..) = unsynced();
    crash_twice(&log, &|_| (), 0);
}

/// A start after a crash crashes too, at each of its steps; the start after that is clean.
fn crash_twice(log: &Log, tear: &dyn Fn(&MemoryFiles), torn_tails: usize) {
    let make = || {
        let files = log.files.restarted(Restart::Process);
        tear(&files);
        let mut next = Log { files, ..Log::closed(log.options.clone()) };
        next.promised.clone_from(&log.promised);
        next.shown.clone_from(&log.shown);
        next
    };
    let mut whole = make();
    whole.open().unwrap();
    for (at, step) in whole.files.steps().iter().enumerate() {
        for outcome in outcomes(step) {
            let mut log = make();
            log.files.fail(Fault { at, outcome });
            let _ = log.open();
            for how in RESTARTS {
                let files = log.files.restarted(how);
                let mut next = Log { files, ..Log::closed(log.options.clone()) };
                next.promised.clone_from(&log.promised);
                next.shown.clone_from(&log.shown);
                next.open().unwrap_or_else(|error| panic!("step {at}, {outcome:?}, {how:?}: {error}"));
                next.check();
                let torn = next.files.contents().into_keys().filter(|path| path.starts_with("torn/")).count();
                assert!(torn >= torn_tails, "step {at}, {outcome:?}, {how:?}: the torn tail is gone");
            }
        }
    }
}

#[test]
fn a_leaf_that_is_not_on_disk_as_it_was_acknowledged_stops_the_store_before_a_checkpoint_covers_it() {
    let (at, length) = (20, 50);
    for bit in 0..8 {
        let mut log = Log::new(options());
        let before = log.signed();
        let durable = log.files.contents()["segments/00000000000000000000.seg"].len();
        log.commit(vec![Pod::new(1, 0).session_item()]).unwrap();
        // The volume says that the write is durable, and returns other bytes: within the leaf.
        log.files.tamper("segments/00000000000000000000.seg", |bytes| bytes[durable + at + length] ^= 1 << bit);
        let fatal = log.tick().unwrap_err();
        assert!(fatal.to_string().contains("leaf 1"), "{fatal}");
        assert_eq!(log.signed(), before);
        assert!(log.commit(vec![Pod::new(2, 0).session_item()]).is_err());
    }
}
