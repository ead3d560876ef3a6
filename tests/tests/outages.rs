//! What is lost, found or said when something is gone: a sidecar's state, a file, the node's boot, collectors.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::time::Duration;

use indelible_tests::evidence::{self, StoredChain};
use indelible_tests::printer::Printer;
use indelible_tests::world::{Answer, Collector, PodIdentity, Sidecar, SidecarOptions, World, eventually};
use rustix::process::Signal;

const BOUND: Duration = Duration::from_mins(1);

/// A world with one pod whose container has printed some lines.
struct Scene {
    world: World,
    pod: PodIdentity,
    printer: Printer,
    sidecar: Sidecar,
}

impl Scene {
    fn new(collectors: usize, options: &SidecarOptions) -> Self {
        let world = World::start(collectors).unwrap();
        let pod = PodIdentity::new("payments", "api-0", "6a0c1f52-8a44-4a55-b8f6-5b1d0f8f2c11");
        let printer = Printer::new(&world.logs().join(pod.directory()), "app").unwrap();
        let sidecar = world.sidecar(&pod, options).unwrap();
        sidecar.armed().unwrap();
        let mut scene = Self { world, pod, printer, sidecar };
        scene.print(50);
        scene
    }

    /// Prints lines and waits until they are stored.
    fn print(&mut self, count: u64) {
        self.printer.print(count, 100).unwrap();
        self.stored(self.printer.printed());
    }

    fn data(&self) -> Vec<std::path::PathBuf> {
        self.world.collectors.iter().map(Collector::data).collect()
    }

    fn chains(&self) -> Vec<StoredChain> {
        let mut chains: Vec<_> = evidence::read(&self.data()).unwrap().into_values().collect();
        chains.sort_by_key(|chain| chain.genesis.incarnation);
        chains
    }

    /// Waits until this many different lines are stored, over all chains.
    fn stored(&self, lines: u64) {
        let found = || {
            // A frame that is being written cannot be read yet.
            let Ok(chains) = evidence::read(&self.data()) else { return Ok(None) };
            let payloads: std::collections::BTreeSet<_> = chains
                .values()
                .flat_map(|chain| chain.records.values())
                .filter(|record| record.source != 3)
                .map(|record| record.payload.clone())
                .collect();
            Ok((payloads.len() as u64 >= lines).then_some(()))
        };
        eventually("the lines are stored", BOUND, found).unwrap();
    }

    fn end(&mut self) -> Answer {
        self.sidecar.terminate().unwrap();
        self.world.seal().unwrap();
        self.world.verify(&[]).unwrap()
    }

    /// The first record of the newest chain, as text.
    fn resumed(&self) -> String {
        let chains = self.chains();
        let first = &chains.last().unwrap().records[&0];
        String::from_utf8(first.payload.clone()).unwrap()
    }

    /// How often each line is stored, over all chains.
    fn assert_each_line_once_or_more(&self) {
        let chains = self.chains();
        let all: Vec<_> = chains.iter().flat_map(|chain| chain.records.values()).collect();
        for n in 0..self.printer.printed() {
            let prefix = format!("line {n} ");
            assert!(all.iter().any(|record| record.payload.starts_with(prefix.as_bytes())), "{prefix} is not stored");
        }
    }
}

#[test]
fn a_quiet_run_is_clean() {
    let mut scene = Scene::new(3, &SidecarOptions::default());
    let answer = scene.end();
    assert_eq!((answer.code, answer.texts()), (0, String::new()));
    let chain = answer.chain(&format!("{}/app", scene.pod.directory())).unwrap();
    assert_eq!((chain.records, chain.closed), (52, true), "started, 50 lines, end");
}

#[test]
fn a_sidecar_that_lost_its_state_starts_a_chain_that_says_so() {
    let mut scene = Scene::new(2, &SidecarOptions::default());
    scene.sidecar.kill().unwrap();
    std::fs::remove_dir_all(scene.sidecar.state()).unwrap();
    std::fs::create_dir(scene.sidecar.state()).unwrap();
    scene.sidecar.restart().unwrap();
    scene.sidecar.armed().unwrap();
    scene.print(10);
    let answer = scene.end();
    assert!(scene.resumed().contains(r#""reason":"state-lost""#), "{}", scene.resumed());
    assert_eq!(answer.verdicts["integrity"], "pass", "{}", answer.texts());
    assert_eq!(answer.classes(), ["resumed"], "{}", answer.texts());
    scene.assert_each_line_once_or_more();
}

#[test]
fn a_sidecar_that_dies_before_it_has_a_state_has_lost_none() {
    let mut scene = Scene::new(2, &SidecarOptions::default());
    let pod = PodIdentity::new("payments", "api-1", "6a0c1f52-8a44-4a55-b8f6-5b1d0f8f2c12");
    let mut printer = Printer::new(&scene.world.logs().join(pod.directory()), "app").unwrap();
    printer.print_as(10, |n| format!("another pod's line {n}")).unwrap();
    // It asks collectors for its chain, and ends where it would write down that it begins it.
    let env = vec![("INDELIBLE_FAILPOINT".to_owned(), "begin".to_owned())];
    let mut sidecar = scene.world.sidecar(&pod, &SidecarOptions { env, ..SidecarOptions::default() }).unwrap();
    for next in ["begin", "begin", ""] {
        eventually("it dies", BOUND, || sidecar.process()?.ended()).unwrap();
        sidecar.set_env("INDELIBLE_FAILPOINT", next);
        sidecar.restart().unwrap();
    }
    scene.stored(scene.printer.printed() + 10);
    sidecar.terminate().unwrap();
    let answer = scene.end();
    assert_eq!((answer.code, answer.texts()), (0, String::new()));
    let chain = answer.chain(&format!("{}/app", pod.directory())).unwrap();
    assert_eq!((chain.records, chain.closed), (12, true), "started, 10 lines, end");
}

#[test]
fn after_a_reboot_of_the_node_a_new_chain_takes_over_where_the_last_one_was() {
    let mut scene = Scene::new(2, &SidecarOptions::default());
    scene.sidecar.kill().unwrap();
    let boot = scene.world.dir().join("boot-id");
    std::fs::write(&boot, "another").unwrap();
    scene.sidecar.set_env("INDELIBLE_BOOT_ID_FILE", boot.to_str().unwrap());
    scene.sidecar.restart().unwrap();
    scene.print(10);
    let answer = scene.end();
    assert!(scene.resumed().contains(r#""reason":"reboot""#), "{}", scene.resumed());
    assert_eq!(answer.code, 0, "a reboot is a warning: {}", answer.texts());
    assert_eq!((answer.classes(), &*answer.verdicts["completeness"]), (vec!["resumed"], "warn"));
    scene.assert_each_line_once_or_more();
}

#[test]
fn a_file_that_went_unread_is_a_declared_loss() {
    let mut scene = Scene::new(2, &SidecarOptions::default());
    scene.sidecar.kill().unwrap();
    // While nobody looks, lines are printed to a file that is rotated away and deleted.
    scene.printer.print(20, 100).unwrap();
    let old = scene.printer.rotate().unwrap();
    std::fs::remove_file(old).unwrap();
    scene.sidecar.restart().unwrap();
    scene.printer.print(10, 100).unwrap();
    scene.stored(scene.printer.printed() - 20);
    let answer = scene.end();
    assert!(scene.resumed().contains(r#""reason":"file-gone""#), "{}", scene.resumed());
    assert_eq!(answer.code, 2, "{}", answer.texts());
    assert_eq!(answer.classes(), ["resumed"], "{}", answer.texts());
    assert_eq!(answer.verdicts["integrity"], "pass");
    assert!(answer.texts().contains("payments/api-0") && answer.texts().contains("app"), "{}", answer.texts());
}

#[test]
fn a_file_that_came_and_went_while_the_sidecar_was_stopped_is_a_declared_loss() {
    let mut scene = Scene::new(2, &SidecarOptions::default());
    // Rotated while it looks, so that it has seen what was made so far.
    scene.printer.rotate().unwrap();
    scene.print(10);
    scene.sidecar.process().unwrap().signal(Signal::STOP).unwrap();
    // Three files while nobody looks, of which the kubelet keeps none but the last.
    let mut old = scene.printer.rotate().unwrap();
    for _ in 0..2 {
        scene.printer.print(20, 100).unwrap();
        std::fs::remove_file(old).unwrap();
        old = scene.printer.rotate().unwrap();
    }
    std::fs::remove_file(old).unwrap();
    scene.printer.print(10, 100).unwrap();
    scene.sidecar.process().unwrap().signal(Signal::CONT).unwrap();
    scene.stored(scene.printer.printed() - 40);
    let answer = scene.end();
    assert_eq!((answer.code, answer.classes()), (2, vec!["declared-gap"]), "{}", answer.texts());
    assert_eq!(answer.verdicts["integrity"], "pass");
    assert_eq!(scene.chains().len(), 1);
}

#[test]
fn a_sidecar_that_is_started_again_after_its_end_starts_another_chain() {
    let mut scene = Scene::new(2, &SidecarOptions::default());
    scene.sidecar.terminate().unwrap();
    scene.sidecar.restart().unwrap();
    scene.print(10);
    let answer = scene.end();
    assert!(scene.resumed().contains(r#""reason":"after-end""#), "{}", scene.resumed());
    assert_eq!((answer.code, answer.texts()), (0, String::new()));
    scene.assert_each_line_once_or_more();
}

#[test]
fn a_collector_that_is_gone_for_good_is_named_with_what_it_held() {
    let mut scene = Scene::new(2, &SidecarOptions::default());
    // More than 16 batches, so that both logs hold some.
    eventually("both logs hold batches", BOUND, || {
        scene.print(5);
        Ok((scene.chains()[0].logs.len() == 2).then_some(()))
    })
    .unwrap();
    // What comes a flush later is stored: so the receipts of what the lost one holds have come, and none is sent again.
    let held = scene.chains()[0].records.len();
    scene.print(5);
    eventually("more is stored", BOUND, || Ok((scene.chains()[0].records.len() >= held + 5).then_some(()))).unwrap();
    let lost = 1;
    let there = evidence::read(&scene.data()[lost..]).unwrap().into_values().next().unwrap().records;
    scene.world.collectors[lost].kill().unwrap();
    std::fs::remove_dir_all(scene.world.collectors[lost].data()).unwrap();
    let origin = scene.world.collectors[lost].origin().to_owned();
    scene.printer.print(10, 100).unwrap();
    scene.sidecar.terminate().unwrap();
    scene.world.collectors[0].terminate().unwrap();
    // An hour later nothing is pending any more.
    let later = (jiff::Timestamp::now() + Duration::from_hours(1)).to_string();
    let answer = scene.world.verify_sources(&[scene.world.collectors[0].data()], &["--now", &later]).unwrap();
    assert_eq!(answer.code, 2, "{}", answer.texts());
    assert_eq!(answer.verdicts["integrity"], "pass", "{}", answer.texts());
    assert_eq!(answer.classes(), ["absent"], "{}", answer.texts());
    let told = &answer.findings[0];
    assert_eq!(
        (told.log.as_ref(), &*told.axis, &*told.level),
        (Some(&origin), "completeness", "fail"),
        "{}",
        told.text
    );
    // What the lost log held and no other does, and the times of the records on both sides.
    let kept = evidence::read(&scene.data()[..lost]).unwrap().into_values().next().unwrap().records;
    let only_there: Vec<u64> = there.into_keys().filter(|seq| !kept.contains_key(seq)).collect();
    let ranges = only_there.chunk_by(|one, next| one + 1 == *next);
    let ranges: Vec<_> = ranges.map(|range| (range[0], range[range.len() - 1])).collect();
    assert!((1..=3).contains(&ranges.len()), "the test makes few ranges: {ranges:?}");
    let time = |seq: u64| jiff::Timestamp::from_nanosecond(kept[&seq].time.into()).unwrap();
    for (first, last) in ranges {
        let records = if first == last { format!("record {first}") } else { format!("records {first} to {last}") };
        let printed = match first.checked_sub(1).map(time) {
            Some(before) => format!("between {before:.3} and {:.3}", time(last + 1)),
            None => format!("before {:.3}", time(last + 1)),
        };
        let expected = format!("{records} of container app of pod payments/api-0, printed {printed}");
        assert!(told.text.contains(&expected), "no {expected} in: {}", told.text);
    }
}

#[test]
fn nothing_is_lost_while_all_collectors_are_away_for_a_minute() {
    let mut scene = Scene::new(3, &SidecarOptions::default());
    for collector in &mut scene.world.collectors {
        collector.kill().unwrap();
    }
    // One minute of printing and rotating. The outage itself is the test; nothing is waited for here.
    let end = std::time::Instant::now() + Duration::from_mins(1);
    while std::time::Instant::now() < end {
        scene.printer.print(200, 200).unwrap();
        if scene.printer.printed() % 2_000 < 200 {
            let old = scene.printer.rotate().unwrap();
            // Half of the rotated files are deleted at once: only the sidecar still holds them.
            if scene.printer.printed() % 4_000 < 200 {
                std::fs::remove_file(old).unwrap();
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    for collector in &mut scene.world.collectors {
        collector.restart(&[]).unwrap();
    }
    scene.stored(scene.printer.printed());
    let answer = scene.end();
    assert_eq!((answer.code, answer.texts()), (0, String::new()));
    assert_eq!(scene.chains().len(), 1);
    assert_eq!(scene.chains()[0].whole().unwrap().len() as u64, scene.printer.printed() + 2);
}

#[test]
fn a_killed_collector_is_replaced_by_another_at_once_and_used_again_when_it_is_back() {
    let mut scene = Scene::new(2, &SidecarOptions::default());
    scene.world.collectors[0].kill().unwrap();
    scene.print(50);
    scene.world.collectors[0].restart(&[]).unwrap();
    eventually("the restarted log grows again", BOUND, || {
        let before =
            evidence::read(&[scene.world.collectors[0].data()])?.values().map(|c| c.records.len()).sum::<usize>();
        scene.print(50);
        let after =
            evidence::read(&[scene.world.collectors[0].data()])?.values().map(|c| c.records.len()).sum::<usize>();
        Ok((after > before).then_some(()))
    })
    .unwrap();
    let answer = scene.end();
    assert_eq!((answer.code, answer.texts()), (0, String::new()));
}
