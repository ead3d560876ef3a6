//! The recorded kubelet trace, replayed under real sidecars and collectors: exactly the recorded heads, whatever is
//! killed, or a `resumed` chain whose missing bytes are exactly those that had left the disk.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indelible_tests::kubelet::{Judgement, Kills, Run};
use indelible_tests::trace::Speed;
use indelible_tests::world::SidecarOptions;

/// One run at a time: each starts a dozen processes, and a recording at ten times its speed leaves no time to spare.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Without kills every head must be the recorded one, whatever the number of collectors.
fn whole(collectors: usize, options: &SidecarOptions) {
    let _alone = alone();
    let mut run = Run::start(collectors, options);
    run.replay(Speed::times(10.0).unwrap(), &Kills::none());
    run.finish();
    let judgement = run.judge();
    judgement.assert_exact();
    assert_eq!(judgement.answer.code, 0, "{}", judgement.answer.texts());
    assert!(judgement.logs_used > 1, "batches were spread over {} logs", judgement.logs_used);
}

#[test]
fn at_ten_times_the_speed_two_collectors_hold_exactly_the_recorded_heads() {
    whole(2, &SidecarOptions::default());
}

#[test]
fn at_ten_times_the_speed_three_collectors_hold_exactly_the_recorded_heads() {
    whole(3, &SidecarOptions::default());
}

#[test]
fn at_ten_times_the_speed_five_collectors_hold_exactly_the_recorded_heads_twice() {
    whole(5, &SidecarOptions { flags: vec!["--copies".into(), "2".into()], ..SidecarOptions::default() });
}

#[test]
fn at_real_speed_twenty_kills_of_sidecars_and_one_of_each_collector_change_nothing() {
    let _alone = alone();
    let mut run = Run::start(3, &SidecarOptions::default());
    run.replay(Speed::REAL, &Kills::random(11, 20, Duration::from_secs(94)).with_each_collector(3));
    run.finish();
    let judgement = run.judge();
    judgement.assert_exact();
    assert_eq!(judgement.answer.code, 0, "{}", judgement.answer.texts());
    assert_prompt(&run);
}

#[test]
fn at_four_times_the_speed_kills_lose_only_what_had_left_the_disk() {
    with_kills(4.0, 12);
}

#[test]
fn at_ten_times_the_speed_kills_lose_only_what_had_left_the_disk() {
    with_kills(10.0, 13);
}

fn with_kills(times: f64, seed: u64) {
    let _alone = alone();
    let mut run = Run::start(3, &SidecarOptions::default());
    run.replay(Speed::times(times).unwrap(), &Kills::random(seed, 20, Duration::from_secs(94)).with_each_collector(3));
    run.finish();
    assert_only_declared(&run.judge());
    assert_prompt(&run);
}

#[test]
fn sidecars_that_are_away_for_long_lose_only_what_had_left_the_disk() {
    let _alone = alone();
    let mut run = Run::start(3, &SidecarOptions::default());
    // Meanwhile files are rotated and deleted; the pod that is deleted is still there when the sidecars are back.
    run.replay_without_sidecars(Speed::times(4.0).unwrap(), Duration::from_secs(10)..Duration::from_secs(28));
    run.finish();
    let judgement = run.judge();
    assert_only_declared(&judgement);
    assert!(judgement.resumed > 0, "something had left the disk: {}", judgement.answer.texts());
}

/// What is lost had left the disk, and is declared by the chains that took over: exit code 2, or 0 if nothing was.
fn assert_only_declared(judgement: &Judgement) {
    judgement.assert_nothing_lost_but_what_had_left_the_disk();
    assert_eq!(judgement.answer.verdicts["integrity"], "pass", "{}", judgement.answer.texts());
    assert_eq!(judgement.answer.verdicts["authenticity"], "pass", "{}", judgement.answer.texts());
    let declared = judgement.answer.findings.iter().any(|finding| finding.level == "fail");
    assert_eq!(judgement.answer.code, if declared { 2 } else { 0 }, "{}", judgement.answer.texts());
    assert!(judgement.answer.classes().iter().all(|class| *class == "resumed"), "{}", judgement.answer.texts());
}

/// A container that died is started again within 200 ms. Where the machine is loaded some take longer.
fn assert_prompt(run: &Run) {
    let outages = run.outages();
    assert_eq!(outages.len(), 20);
    let mut starts: Vec<_> = outages.iter().map(|outage| outage.to_start).collect();
    starts.sort();
    let reading = outages.iter().filter_map(|outage| outage.to_reading).max();
    println!(
        "killed and started again: median {:?}, longest {:?}, reading after {reading:?} at most",
        starts[10], starts[19]
    );
    assert!(starts[10] <= Duration::from_millis(200) && starts[19] <= Duration::from_secs(2), "{starts:?}");
}

#[test]
fn a_sidecar_that_starts_late_reads_rotated_and_packed_files_first() {
    let _alone = alone();
    let mut run = Run::prepare(2);
    // At 40 s the rotating container has a `.gz`, a plain rotated file and a live one.
    run.replay_until(Speed::times(10.0).unwrap(), Duration::from_secs(40));
    let there = run.files_there();
    run.start_sidecars(&SidecarOptions::default());
    run.finish();
    let judgement = run.judge();
    // Whether something was printed before what is on the disk cannot be known: that is said, as a warning.
    assert_eq!(
        (judgement.answer.code, judgement.answer.classes()),
        (0, vec!["resumed"]),
        "{}",
        judgement.answer.texts()
    );
    let verdicts: Vec<_> = judgement.answer.verdicts.iter().filter(|(_, verdict)| *verdict != "pass").collect();
    assert_eq!(format!("{verdicts:?}"), r#"[("completeness", "warn")]"#, "{}", judgement.answer.texts());
    for (container, bytes) in there {
        let found = judgement.lines_of(&container);
        assert_eq!(found, bytes, "{container}: every line that was on the disk, in its order");
    }
}
