//! A14: kill -9 at every commit step of the store, and at random under load.

use std::time::Duration;

use indelible_tests::peer::{Peer, Puppet};
use indelible_tests::printer::Printer;
use indelible_tests::tamper::Rng;
use indelible_tests::tamper::actor::Batch;
use indelible_tests::world::{PodIdentity, SidecarOptions, World, eventually};
use rustix::process::Signal;

use super::evidence::{pod, write_receipts};

const BOUND: Duration = Duration::from_mins(1);

/// Every step of the store after which a crash leaves something else, but the seal. The names are the store's own.
const STEPS: [&str; 9] = [
    "commit-write",
    "commit-sync",
    "commit-answer",
    "roll-sync",
    "roll-index",
    "roll-create",
    "roll-done",
    "tick-checkpoint",
    "tick-publish",
];

/// A pod that keeps its receipts and sends again whatever it has none for.
struct Stubborn {
    puppet: Puppet,
    peer: Option<Peer>,
    unsent: Option<Batch>,
    receipts: Vec<Vec<u8>>,
}

impl Stubborn {
    /// Sends one more batch; false if there was no answer.
    fn send(&mut self, world: &World) -> bool {
        let batch = self.unsent.take().unwrap_or_else(|| {
            self.puppet.print(3).unwrap();
            self.puppet.seal()
        });
        if let Ok(receipt) = self.try_send(world, &batch) {
            self.receipts.push([&receipt[..], &batch.commitment].concat());
        } else {
            (self.peer, self.unsent) = (None, Some(batch));
        }
        self.peer.is_some()
    }

    fn try_send(&mut self, world: &World, batch: &Batch) -> anyhow::Result<bytes::Bytes> {
        if self.peer.is_none() {
            let mut peer = Peer::connect(world, 0)?;
            self.puppet.introduce(&mut peer)?;
            self.peer = Some(peer);
        }
        let peer = self.peer.as_mut().expect("it was just connected");
        Ok(peer.batch(&self.puppet.session, batch)?.expect(&[200])?.body)
    }
}

/// Runs the collector until it comes to a step, and then as usual again.
fn kill_at(world: &mut World, pod: &mut Stubborn, step: &str) {
    pod.peer = None;
    world.collectors[0].kill().unwrap();
    // A step can be taken before the collector listens.
    if world.collectors[0].restart(&[("INDELIBLE_FAILPOINT", step)]).is_ok() {
        eventually(&format!("the collector comes to {step}"), BOUND, || {
            pod.send(world);
            let ended = world.collectors[0].process()?.ended()?;
            anyhow::ensure!(ended.is_none_or(|status| status.code().is_none()), "it ended by itself: {ended:?}");
            Ok(ended.map(drop))
        })
        .unwrap();
    }
    pod.peer = None;
    world.collectors[0].restart(&[]).unwrap();
    for _ in 0..3 {
        assert!(pod.send(world), "it goes on after {step}");
    }
}

#[test]
fn no_receipted_record_is_lost_and_no_chain_forks_whatever_step_a_kill_falls_into() {
    let mut world = World::start(0).unwrap();
    world.add_collector(&["--segment-bytes", "8Ki", "--checkpoint-interval", "100ms"]).unwrap();
    let puppet = Puppet::new(&world, &pod(), 1).unwrap();
    let mut pod = Stubborn { puppet, peer: None, unsent: None, receipts: Vec::new() };
    // Each step at its first time and at a later one.
    for step in STEPS {
        kill_at(&mut world, &mut pod, step);
        kill_at(&mut world, &mut pod, &format!("{step}:3"));
    }
    // While the first tile is made: the log has more leaves than receipts.
    while pod.receipts.len() < 240 {
        assert!(pod.send(&world));
    }
    kill_at(&mut world, &mut pod, "tick-tiles");
    // The last step of all: while the log is being sealed.
    pod.peer = None;
    world.collectors[0].kill().unwrap();
    world.collectors[0].restart(&[("INDELIBLE_FAILPOINT", "seal")]).unwrap();
    let process = world.collectors[0].process().unwrap();
    process.signal(Signal::TERM).unwrap();
    assert_eq!(process.wait(BOUND).unwrap().code(), None, "it was killed");
    world.collectors[0].restart(&[]).unwrap();

    if pod.unsent.is_some() {
        assert!(pod.send(&world));
    }
    pod.puppet.end().unwrap();
    pod.unsent = Some(pod.puppet.seal());
    assert!(pod.send(&world));
    pod.peer = None;
    world.seal().unwrap();
    let receipts = world.dir().join("receipts");
    write_receipts(&pod.receipts, &receipts);
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
