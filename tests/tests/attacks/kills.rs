//! A14: kill -9 at every commit step of the store, and at random under load.

use std::time::Duration;

use indelible_tests::peer::{Puppet, write_receipts};
use indelible_tests::printer::Printer;
use indelible_tests::stubborn::{STEPS, Stubborn};
use indelible_tests::tamper::Rng;
use indelible_tests::world::{PodIdentity, SidecarOptions, World};
use rustix::process::Signal;

use super::evidence::pod;

const BOUND: Duration = Duration::from_mins(1);

fn send(pod: &mut Stubborn, world: &World) -> bool {
    pod.send(world, |puppet| puppet.print(3)).unwrap()
}

/// Runs the collector until it comes to a step, and then as usual again.
fn kill_at(world: &mut World, pod: &mut Stubborn, step: &str) {
    pod.hang_up();
    world.collectors[0].kill().unwrap();
    pod.until_killed_at(world, step, |puppet| puppet.print(3)).unwrap();
    pod.hang_up();
    world.collectors[0].restart(&[]).unwrap();
    for _ in 0..3 {
        assert!(send(pod, world), "it goes on after {step}");
    }
}

#[test]
fn no_receipted_record_is_lost_and_no_chain_forks_whatever_step_a_kill_falls_into() {
    let mut world = World::start(0).unwrap();
    world.add_collector(&["--segment-bytes", "8Ki", "--checkpoint-interval", "100ms"]).unwrap();
    let puppet = Puppet::new(&world, &pod(), 1).unwrap();
    let mut pod = Stubborn::new(puppet);
    // Each step at its first time and at a later one.
    for step in STEPS {
        kill_at(&mut world, &mut pod, step);
        kill_at(&mut world, &mut pod, &format!("{step}:3"));
    }
    // While the first tile is made: the log has more leaves than receipts.
    while pod.receipts.len() < 240 {
        assert!(send(&mut pod, &world));
    }
    kill_at(&mut world, &mut pod, "tick-tiles");
    // The last step of all: while the log is being sealed.
    pod.hang_up();
    world.collectors[0].kill().unwrap();
    world.collectors[0].restart(&[("INDELIBLE_FAILPOINT", "seal")]).unwrap();
    let process = world.collectors[0].process().unwrap();
    process.signal(Signal::TERM).unwrap();
    assert_eq!(process.wait(BOUND).unwrap().code(), None, "it was killed");
    world.collectors[0].restart(&[]).unwrap();

    pod.end(&world).unwrap();
    world.seal().unwrap();
    let receipts = world.dir().join("receipts");
    write_receipts(pod.receipts.iter().map(Vec::as_slice), &receipts).unwrap();
    let answer = world.verify(&["--receipts", receipts.to_str().unwrap()]).unwrap();
    assert_eq!((answer.code, answer.texts()), (0, String::new()));
    assert_eq!(answer.counts["records"], u64::try_from(pod.puppet.chain.len()).unwrap());
}

/// Collectors are killed at random while real sidecars send: everything is there afterwards, and nothing is raised.
#[test]
fn collectors_killed_at_random_under_load_lose_nothing() {
    let mut world = World::start(3).unwrap();
    let pods = ["api-0", "api-1"].map(|name| PodIdentity::new("payments", name, &format!("6a0c1f52-{name}")));
    let mut printers: Vec<_> =
        pods.iter().map(|pod| Printer::new(&world.logs().join(pod.directory()), "app").unwrap()).collect();
    let mut sidecars: Vec<_> = pods.iter().map(|pod| world.sidecar(pod, &SidecarOptions::default()).unwrap()).collect();
    for sidecar in &sidecars {
        sidecar.armed().unwrap();
    }
    let mut rng = Rng::new(14, 0);
    for _ in 0..12 {
        for printer in &mut printers {
            printer.print(u64::try_from(rng.between(50, 400)).unwrap(), 120).unwrap();
        }
        let victim = rng.below(3);
        world.collectors[victim].kill().unwrap();
        for printer in &mut printers {
            printer.print(100, 120).unwrap();
        }
        world.collectors[victim].restart(&[]).unwrap();
    }
    for sidecar in &mut sidecars {
        sidecar.terminate().unwrap();
    }
    world.seal().unwrap();
    let answer = world.verify(&[]).unwrap();
    assert_eq!((answer.code, answer.texts()), (0, String::new()));
    for (pod, printer) in pods.iter().zip(&printers) {
        let chain = answer.chain(&format!("{}/app", pod.directory())).unwrap();
        assert_eq!((chain.records, chain.closed), (printer.printed() + 2, true), "started, the lines, end");
    }
}
