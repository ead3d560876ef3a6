//! A receipt comes only after fdatasync, and none comes after one has failed: seen from outside, with strace in between.
//!
//! Without strace these tests fail: what cannot be seen is not so. `make test` needs no more than Rust, gcc and make, and
//! leaves them out there; continuous integration installs it.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::process::Command;
use std::time::{Duration, Instant};

use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::merkle::{MemoryHashes, leaf_hash, root_at};
use indelible_chain::note::NoteSigner;
use indelible_tests::peer::{Peer, Puppet};
use indelible_tests::printer::Printer;
use indelible_tests::world::{PodIdentity, SidecarOptions, Witness, World, eventually};

fn need_strace() {
    let there = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    assert!(there, "strace is not installed, and nothing can be seen without it: install the package strace");
}

fn pod() -> PodIdentity {
    PodIdentity::new("payments", "api-0", "6a0c1f52-8a44-4a55-b8f6-5b1d0f8f2c11")
}

/// A collector whose calls of fdatasync are tampered with. `-D` makes the tracer a grandchild, so that our child is
/// the collector itself.
fn under_strace(inject: &str) -> (World, Peer, Puppet) {
    need_strace();
    let mut world = World::start(0).unwrap();
    let inject = format!("inject=fdatasync:{inject}");
    let log = world.dir().join("strace").to_str().unwrap().to_owned();
    let wrapper = ["strace", "-D", "-f", "-qq", "-o", &log, "-e", "trace=fdatasync", "-e", &inject];
    world.add_collector_under(&wrapper, &[]).unwrap();
    let mut peer = Peer::connect(&world, 0).unwrap();
    let puppet = Puppet::new(&world, &pod(), 1).unwrap();
    puppet.introduce(&mut peer).unwrap();
    (world, peer, puppet)
}

/// `make test` leaves these out, and says so, where strace is not installed.
mod strace {
    use super::*;

    #[test]
    fn with_a_sync_that_takes_300_ms_no_receipt_is_faster() {
        let (_world, mut peer, mut puppet) = under_strace("delay_exit=300000");
        for _ in 0..5 {
            puppet.print(1).unwrap();
            let batch = puppet.seal();
            let start = Instant::now();
            peer.batch(&puppet.session, &batch).unwrap().expect(&[200]).unwrap();
            assert!(start.elapsed() >= Duration::from_millis(300), "a receipt after {:?}", start.elapsed());
        }
    }

    #[test]
    fn after_a_sync_that_failed_no_receipt_comes_and_the_collector_ends_within_a_second() {
        let (mut world, mut peer, mut puppet) = under_strace("error=EIO:when=50");
        let mut receipts = 0;
        let refused = loop {
            puppet.print(1).unwrap();
            let batch = puppet.seal();
            match peer.batch(&puppet.session, &batch) {
                Ok(reply) if reply.status == 200 => receipts += 1,
                other => break other,
            }
            assert!(receipts < 100, "the 50th sync fails, and yet 100 receipts came");
        };
        let failed = Instant::now();
        let status = world.collectors[0].process().unwrap().wait(Duration::from_secs(10)).unwrap();
        assert!(!status.success(), "{status}");
        assert!(failed.elapsed() < Duration::from_secs(1), "it ended {:?} after the failure", failed.elapsed());
        assert!(refused.is_err() || refused.unwrap().status >= 500);
        assert!((1..50).contains(&receipts), "{receipts} receipts");
        let said = world.collectors[0].process().unwrap().stderr().unwrap();
        assert!(said.contains("sync"), "{said}");
    }

    /// A witness whose calls of fsync are tampered with once it has made its key: a checkpoint makes two, the file's and its
    /// directory's. They are counted by thread.
    fn witness_under_strace(world: &World, inject: &str) -> (Witness, NoteSigner) {
        need_strace();
        let log = NoteSigner::new("foreign.example/log".parse().unwrap(), &[1; 32]);
        let mut witness = Witness::start(world, "witness.example", &[&log.verifier_key().to_string()], &[]).unwrap();
        witness.terminate().unwrap();
        let inject = format!("inject=fsync:{inject}");
        let to = world.dir().join("strace").to_str().unwrap().to_owned();
        witness.runs_under(&["strace", "-D", "-f", "-qq", "-o", &to, "-e", "trace=fsync", "-e", &inject]);
        witness.restart().unwrap();
        (witness, log)
    }

    /// A log's first checkpoint.
    fn checkpoint(log: &NoteSigner, size: u64) -> String {
        let hashes: MemoryHashes = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let origin = log.verifier_key().name().clone().into();
        Checkpoint::new(origin, size, root_at(size, &hashes).unwrap()).sign(log).unwrap().to_string()
    }

    #[test]
    fn with_syncs_that_take_300_ms_no_cosignature_is_faster_than_two_of_them() {
        let world = World::start(0).unwrap();
        let (witness, log) = witness_under_strace(&world, "delay_exit=300000");
        let start = Instant::now();
        let asked = witness.add(0, &[], &checkpoint(&log, 3)).unwrap();
        assert_eq!(asked.status, 200, "{}", asked.body);
        assert!(start.elapsed() >= Duration::from_millis(600), "a cosignature after {:?}", start.elapsed());
    }

    #[test]
    fn a_checkpoint_that_could_not_be_synced_is_not_cosigned_and_one_of_which_nobody_knows_ends_the_witness() {
        let world = World::start(0).unwrap();
        let (witness, log) = witness_under_strace(&world, "error=EIO:when=1");
        assert_eq!(witness.add(0, &[], &checkpoint(&log, 3)).unwrap().status, 503);
        assert_eq!(witness.size("foreign.example/log").unwrap(), None);
        eventually("another one is stored and cosigned", Duration::from_secs(30), || {
            Ok((witness.add(0, &[], &checkpoint(&log, 2))?.status == 200).then_some(()))
        })
        .unwrap();
        drop((witness, world));

        let world = World::start(0).unwrap();
        let (mut witness, log) = witness_under_strace(&world, "error=EIO:when=2");
        // The directory's sync fails: the file may be the new one after a power loss, or not.
        let asked = witness.add(0, &[], &checkpoint(&log, 3));
        assert!(asked.is_err() || asked.unwrap().status == 503);
        let status = witness.process().unwrap().wait(Duration::from_secs(10)).unwrap();
        assert_eq!(status.code(), Some(4));
        let said = witness.process().unwrap().stderr().unwrap();
        assert!(said.contains("nothing more is cosigned"), "{said}");
        witness.runs_under(&[]);
        witness.restart().unwrap();
        let size = witness.size("foreign.example/log").unwrap();
        assert!(size.is_none() || size == Some(3), "{size:?}");
    }

    #[test]
    fn an_idle_sidecar_wakes_at_most_once_a_second() {
        need_strace();
        let world = World::start(2).unwrap();
        let mut printer = Printer::new(&world.logs().join(pod().directory()), "app").unwrap();
        let mut sidecar = world.sidecar(&pod(), &SidecarOptions::default()).unwrap();
        sidecar.armed().unwrap();
        printer.print(3, 100).unwrap();
        let stored = || {
            let data: Vec<_> = world.collectors.iter().map(indelible_tests::world::Collector::data).collect();
            let chains = indelible_tests::evidence::read(&data).unwrap_or_default();
            Ok(chains.values().any(|chain| chain.records.len() >= 4).then_some(()))
        };
        eventually("the lines are stored", Duration::from_secs(30), stored).unwrap();
        // A heartbeat is due each 30 s, and timers of its request and of the start linger for some seconds behind it. Between
        // two of them it is one poll a second and nothing else; with all that still few.
        let pid = sidecar.process().unwrap().id().to_string();
        let log = world.dir().join("wakes");
        let is_quiet = |wakes: &usize| (1..=11).contains(wakes);
        let mut windows = Vec::new();
        while windows.len() < 6 && !windows.last().is_some_and(is_quiet) {
            windows.push(wakes_in_ten_seconds(&pid, &log));
        }
        assert!(
            windows.last().is_some_and(is_quiet),
            "{windows:?} wakes in 10 s each; none means that strace saw nothing"
        );
        assert!(windows.iter().sum::<usize>() <= 25 * windows.len(), "{windows:?} wakes in 10 s each");
    }
}

/// How often a process returned from waiting. What is measured is what happens in ten seconds, so ten seconds it takes.
fn wakes_in_ten_seconds(pid: &str, log: &std::path::Path) -> usize {
    let status = Command::new("timeout")
        .args(["-s", "INT", "10", "strace", "-f", "-qq", "-e", "trace=epoll_wait,epoll_pwait,epoll_pwait2", "-p", pid])
        .arg("-o")
        .arg(log)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(124), "strace was ended by timeout");
    let waits = std::fs::read_to_string(log).unwrap();
    waits.lines().filter(|line| line.contains(" = ") && !line.contains("unfinished")).count()
}
