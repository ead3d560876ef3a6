//! The witness's life: it is killed, it is started twice, its directory is not what it was, it ends.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use indelible_tests::world::{Witness, World, eventually, files};
use rustix::process::{Pid, Signal, kill_process};

use super::support::Foreign;

const BOUND: Duration = Duration::from_secs(30);

#[test]
fn what_was_cosigned_outlives_every_kill() {
    let world = World::start(0).unwrap();
    let log = Foreign::new("foreign.example/log", 1);
    let mut witness = Witness::start(&world, "witness.example", &[&log.flag()], &[]).unwrap();
    let mut size = 0;
    for round in 1..=5 {
        let pid = Pid::from_raw(witness.process().unwrap().id().cast_signed()).unwrap();
        let answered = AtomicU64::new(size);
        // Killed while it is asked: what was answered stands, and of what was not nobody has a cosignature.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while let Ok(asked) = log.try_add(&witness, answered.load(SeqCst), answered.load(SeqCst) + 1) {
                    assert_eq!(asked.status, 200, "{}", asked.body);
                    answered.fetch_add(1, SeqCst);
                }
            });
            eventually("some are answered", BOUND, || Ok((answered.load(SeqCst) >= size + 7 * round).then_some(())))
                .unwrap();
            kill_process(pid, Signal::KILL).unwrap();
        });
        witness.kill().unwrap();
        witness.restart().unwrap();
        let answered = answered.into_inner();
        size = witness.size(log.origin()).unwrap().unwrap();
        assert!((answered..=answered + 1).contains(&size), "{answered} were answered, {size} are remembered");
        assert_eq!(log.add(&witness, size, (size, 0, 7)).status, 409, "another history of that size");
    }
}

#[test]
fn a_directory_has_one_witness_and_it_ends_when_it_is_told_to() {
    let world = World::start(0).unwrap();
    let log = Foreign::new("foreign.example/log", 1);
    let mut witness = Witness::start(&world, "witness.example", &[&log.flag()], &[]).unwrap();
    let mut second = witness.second().unwrap();
    assert_eq!(second.wait(BOUND).unwrap().code(), Some(4));
    assert!(second.stderr().unwrap().contains("in use by another process"), "{}", second.stderr().unwrap());
    assert_eq!(log.grow(&witness, 0, 3).status, 200, "the first goes on");
    witness.terminate().unwrap();
    witness.restart().unwrap();
    assert_eq!(witness.size(log.origin()).unwrap(), Some(3));
}

#[test]
fn a_directory_that_is_damaged_or_another_log_of_that_name_is_refused_and_left_alone() {
    let world = World::start(0).unwrap();
    let log = Foreign::new("foreign.example/log", 1);
    let mut witness = Witness::start(&world, "witness.example", &[&log.flag()], &[]).unwrap();
    assert_eq!(log.grow(&witness, 0, 3).status, 200);
    witness.terminate().unwrap();
    let before = files(&witness.data()).unwrap();
    let refused = |witness: &Witness, code, why: &str| {
        let held = files(&witness.data()).unwrap();
        let mut process = witness.second().unwrap();
        assert_eq!(process.wait(BOUND).unwrap().code(), Some(code), "{}", process.stderr().unwrap());
        let said = process.stderr().unwrap();
        assert!(said.lines().last().unwrap().contains(why), "{said}");
        assert_eq!(process.stdout().unwrap(), "");
        assert_eq!(files(&witness.data()).unwrap(), held, "{why}");
    };
    for (file, text, why) in [
        ("version", "witness 2 indelible 9.0.0\n", "has format 2"),
        ("version", "1 indelible-collector 0.1.0\n", "no witness's data directory"),
        ("vkey", "nonsense\n", "is no verifier key"),
        ("key", "short", "not 32 bytes long"),
        ("notes", "mine", "no witness's data directory"),
    ] {
        std::fs::write(witness.data().join(file), text).unwrap();
        refused(&witness, 4, why);
        for (path, bytes) in &before {
            std::fs::write(path, bytes).unwrap();
        }
        let _ = std::fs::remove_file(witness.data().join("notes"));
    }
    let (path, _) = before.iter().find(|(path, _)| path.parent().unwrap().ends_with("logs")).unwrap();
    let cosigned = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, cosigned.replace("\n3\n", "\n2\n")).unwrap();
    refused(&witness, 4, "was not cosigned by this witness");
    std::fs::write(path, cosigned).unwrap();

    let reborn = Foreign::new("foreign.example/log", 2);
    let mut other = Witness::start(&world, "other", &[&reborn.flag()], &[]).unwrap();
    other.knows(&[&log.flag()]);
    other.terminate().unwrap();
    refused(&other, 5, "two keys are given for the log foreign.example/log");
    witness.restart().unwrap();
    assert_eq!(witness.size(log.origin()).unwrap(), Some(3));
}
