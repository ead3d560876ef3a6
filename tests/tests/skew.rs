//! Another version's programs and data: `docs/compatibility.md` promises that they work together with this one's.
//!
//! `make skew` builds the revision that `PREVIOUS` names and says by `INDELIBLE_PREVIOUS_BIN` where its programs are; without
//! them nothing here can be tried. Programs are exchanged while containers print and their logs are rotated. In the end this
//! version's judge finds nothing, and every line is there once and in order.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indelible_tests::evidence;
use indelible_tests::printer::Printer;
use indelible_tests::tamper::wire::{hex, sha256};
use indelible_tests::world::{
    Answer, Collector, Finding, PodIdentity, Sidecar, SidecarOptions, World, binary, eventually,
};

const BOUND: Duration = Duration::from_mins(1);
/// Lines of a live file, after which it is rotated.
const ROTATED: u64 = 1000;
/// Small enough that collectors seal many segments, with an index each, while a test runs.
const SEGMENT: [&str; 2] = ["--segment-bytes", "64Ki"];

/// Which build a program is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Previous,
    This,
}
use Version::{Previous, This};

impl Version {
    fn program(self, name: &str) -> PathBuf {
        match self {
            This => binary(name).unwrap(),
            Previous => {
                let dir = std::env::var_os("INDELIBLE_PREVIOUS_BIN").expect("INDELIBLE_PREVIOUS_BIN: run `make skew`");
                let program = Path::new(&dir).join(name);
                assert!(program.is_file(), "{} is not there: run `make skew`", program.display());
                program
            }
        }
    }
}

/// How a collector ends before another version's takes its place.
#[derive(Clone, Copy)]
enum End {
    /// As in a rollout: it drains, and seals its log.
    Asked,
    /// In the middle of what it writes.
    Killed,
}

struct Pod {
    identity: PodIdentity,
    sidecar: Sidecar,
}

/// A pool, and pods whose containers print. The sidecars know one collector; the pool's list tells them the others.
struct Scene {
    world: World,
    list: PathBuf,
    epoch: u64,
    pods: Vec<Pod>,
    printers: Vec<Printer>,
}

impl Scene {
    /// One collector, and one pod, of each of these versions, in this order.
    fn new(collectors: &[Version], sidecars: &[Version]) -> Self {
        let world = World::start(0).unwrap();
        let list = world.dir().join("pool.json");
        let mut scene = Self { world, list, epoch: 0, pods: Vec::new(), printers: Vec::new() };
        scene.publish();
        for version in collectors {
            scene.add_collector(*version, &[]);
        }
        scene.publish();
        for version in sidecars {
            scene.add_pod(*version);
        }
        scene
    }

    fn add_collector(&mut self, version: Version, flags: &[&str]) {
        let list = self.list.to_str().unwrap().to_owned();
        let flags = [&SEGMENT, &["--pool", &list], flags].concat();
        self.world.add_collector_of(&version.program("indelible-collector"), &flags).unwrap();
    }

    /// Tells the pool who is in it: all.
    fn publish(&mut self) {
        self.epoch += 1;
        let ca = std::fs::read_to_string(self.world.authority.ca()).unwrap();
        let list = serde_json::json!({
            "epoch": self.epoch, "server_name": "localhost", "collectors": self.world.urls(), "ca_pem": ca,
        });
        let new = self.list.with_extension("new");
        std::fs::write(&new, list.to_string()).unwrap();
        std::fs::rename(&new, &self.list).unwrap();
    }

    fn add_pod(&mut self, version: Version) {
        let n = self.pods.len();
        let identity =
            PodIdentity::new("payments", &format!("api-{n}"), &format!("6a0c1f52-8a44-4a55-b8f6-5b1d0f8f2c{n:02}"));
        let printer = Printer::new(&self.world.logs().join(identity.directory()), "app").unwrap();
        let options = SidecarOptions {
            collectors: vec![self.world.collectors[0].url().to_owned()],
            program: Some(version.program("indelible-sidecar")),
            ..SidecarOptions::default()
        };
        let sidecar = self.world.sidecar(&identity, &options).unwrap();
        sidecar.armed().unwrap();
        self.pods.push(Pod { identity, sidecar });
        self.printers.push(printer);
    }

    /// Does something to it while all containers print, each collector before and after it gets records; then waits until
    /// all that was printed is stored.
    fn under_load(&mut self, change: impl FnOnce(&mut Self)) {
        let stop = AtomicBool::new(false);
        let mut printers = std::mem::take(&mut self.printers);
        std::thread::scope(|scope| {
            let _stops = Stop(&stop);
            for printer in &mut printers {
                scope.spawn(|| load(printer, &stop));
            }
            self.all_get_more();
            change(self);
            self.all_get_more();
        });
        self.printers = printers;
        self.stored();
    }

    fn all_get_more(&self) {
        for collector in &self.world.collectors {
            gets_more(collector);
        }
    }

    /// Waits until all that was printed so far is stored.
    fn stored(&self) {
        let printed: u64 = self.printers.iter().map(Printer::printed).sum();
        let stored = || Ok(lines(&self.data()).is_some_and(|stored| stored >= printed).then_some(()));
        eventually("the lines are stored", BOUND, stored).unwrap();
    }

    fn data(&self) -> Vec<PathBuf> {
        self.world.collectors.iter().map(Collector::data).collect()
    }

    /// Exchanges one collector after the other, as a rollout does: each is used again before the next one's turn.
    fn collectors_become(&mut self, version: Version, end: End) {
        for collector in &mut self.world.collectors {
            collector.becomes(&version.program("indelible-collector"));
            match end {
                End::Asked => collector.terminate().unwrap(),
                End::Killed => collector.kill().unwrap(),
            }
            collector.restart(&[]).unwrap();
            gets_more(collector);
        }
    }

    /// Exchanges a pod's sidecar, which leaves its state behind as it was at that moment.
    fn sidecar_becomes(&mut self, pod: usize, version: Version) {
        let sidecar = &mut self.pods[pod].sidecar;
        sidecar.kill().unwrap();
        sidecar.becomes(&version.program("indelible-sidecar"));
        sidecar.restart().unwrap();
        sidecar.armed().unwrap();
    }

    /// Waits until a log file is full and another one is begun.
    fn rotates(&self, pod: usize) {
        let directory = self.world.logs().join(self.pods[pod].identity.directory()).join("app");
        let files = || std::fs::read_dir(&directory).unwrap().count();
        let before = files();
        eventually("the log is rotated", BOUND, || Ok((files() > before).then_some(()))).unwrap();
    }

    /// The sealed segments with their indexes, by path. Not the newest segment of a log: it may still be written to.
    fn sealed(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut sealed = BTreeMap::new();
        for data in self.data() {
            let files = std::fs::read_dir(data.join("segments")).unwrap().map(|entry| entry.unwrap().path());
            for index in files.filter(|path| path.extension().is_some_and(|extension| extension == "idx")) {
                for path in [index.with_extension("seg"), index] {
                    sealed.insert(path.clone(), std::fs::read(path).unwrap());
                }
            }
        }
        sealed
    }

    /// This version's `indelible logs` shows what the running collectors have: each line once.
    fn is_shown(&self) {
        let mut printed: Vec<_> = self.printers.iter().flat_map(|printer| expected(printer.printed())).collect();
        printed.sort_unstable();
        let all = || {
            let mut shown = self.shown();
            shown.sort_unstable();
            // What came since the last checkpoint is not shown yet.
            Ok((shown.len() >= printed.len()).then_some(shown))
        };
        let shown = eventually("all lines are shown", BOUND, all).unwrap();
        assert!(shown == printed, "{} lines are shown, {} were printed", shown.len(), printed.len());
    }

    fn shown(&self) -> Vec<Vec<u8>> {
        let (policy, world) = (self.world.policy().unwrap(), &self.world);
        let output = Command::new(This.program("indelible"))
            .arg("logs")
            .args(world.urls())
            .args([OsStr::new("--ca"), world.authority.ca().as_os_str(), "--policy".as_ref(), policy.as_os_str()])
            .args([OsStr::new("--issuer-keys"), world.issuer.jwks().as_os_str()])
            .output()
            .unwrap();
        // The chains are not closed yet, and their last sign of life may be a line, whose time is long ago.
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.lines().all(|line| line.contains("fail unclosed")), "{told}");
        output.stdout.split_inclusive(|byte| *byte == b'\n').map(|line| line.trim_ascii_end().to_vec()).collect()
    }

    /// Ends everything: nothing is found, and every line is there once and in order, in one chain of its container.
    fn end(&mut self) -> Answer {
        for pod in &mut self.pods {
            pod.sidecar.terminate().unwrap();
        }
        self.world.seal().unwrap();
        let answer = self.world.verify(&[]).unwrap();
        assert_eq!((answer.code, answer.texts()), (0, String::new()));
        let stored = evidence::read(&self.data()).unwrap();
        for (pod, printer) in self.pods.iter().zip(&self.printers) {
            let container = format!("{}/app", pod.identity.directory());
            let [chain] = *answer.chains_of(&container) else { panic!("{container} has not one chain") };
            assert!(chain.closed, "{container}");
            let mut own = stored.values().filter(|chain| chain.container() == container);
            let records = own.next().unwrap().whole().unwrap();
            let printed = records.iter().filter(|record| record.source != 3).map(|record| &record.payload);
            assert!(printed.eq(&expected(printer.printed())), "{container}: each line once and in order");
            assert_eq!(chain.records, printer.printed() + 2, "{container}: that it started, each line, that it ended");
        }
        answer
    }
}

/// Ends the load, also when what is waited for does not come.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn load(printer: &mut Printer, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        printer.print_as(10, line).unwrap();
        if printer.printed().is_multiple_of(ROTATED) {
            printer.rotate().unwrap();
        }
        // The load's pace.
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A line. Half of its 500 bytes remain when it is compressed: a session that delivers less is quiet, and does not use all
/// collectors.
fn line(n: u64) -> String {
    let noise = (0..8_u8).map(|part| hex(&sha256(&[&n.to_be_bytes()[..], &[part]].concat())));
    format!("line {n} {}", noise.collect::<String>())
}

/// What a printer's lines are as records.
fn expected(printed: u64) -> Vec<Vec<u8>> {
    (0..printed).map(|n| line(n).into_bytes()).collect()
}

/// How many lines these directories hold, each position of a chain once. `None` while a frame is being written.
fn lines(data: &[PathBuf]) -> Option<u64> {
    let chains = evidence::read(data).ok()?;
    let lines = chains.values().flat_map(|chain| chain.records.values()).filter(|record| record.source != 3).count();
    u64::try_from(lines).ok()
}

/// Waits until a collector has more lines than now.
fn gets_more(collector: &Collector) {
    let data = [collector.data()];
    let before = eventually("it can be read", BOUND, || Ok(lines(&data))).unwrap();
    let more = || Ok(lines(&data).is_some_and(|now| now > before).then_some(()));
    eventually("the collector gets records", BOUND, more).unwrap();
}

/// Pods of one version and collectors of the other, one of which joins later, and one of which dies.
fn meet(collectors: Version, sidecars: Version) {
    let mut scene = Scene::new(&[collectors; 2], &[sidecars; 2]);
    scene.under_load(|scene| {
        scene.add_collector(collectors, &[]);
        scene.publish();
    });
    scene.under_load(|scene| {
        scene.world.collectors[1].kill().unwrap();
        gets_more(&scene.world.collectors[2]);
        scene.world.collectors[1].restart(&[]).unwrap();
    });
    scene.is_shown();
    scene.end();
}

#[test]
#[ignore = "needs another version's programs: make skew"]
fn sidecars_of_the_previous_version_deliver_to_collectors_of_this_one() {
    meet(This, Previous);
}

#[test]
#[ignore = "needs another version's programs: make skew"]
fn sidecars_of_this_version_deliver_to_collectors_of_the_previous_one() {
    meet(Previous, This);
}

#[test]
#[ignore = "needs another version's programs: make skew"]
fn sidecars_of_the_previous_version_wait_where_this_one_limits_what_a_pod_may_write() {
    let mut scene = Scene::new(&[], &[]);
    scene.add_collector(This, &["--limit-pod-bytes", "128Ki"]);
    scene.publish();
    scene.add_pod(Previous);
    let begun = Instant::now();
    scene.printers[0].print_as(2000, line).unwrap();
    scene.stored();
    // A megabyte at an eighth of that a second; what is above it in the first second, and one batch, are not waited for.
    assert!(begun.elapsed() > Duration::from_secs(3), "the limit is not felt: {:?}", begun.elapsed());
    scene.end();
}

#[test]
#[ignore = "needs another version's programs: make skew"]
fn a_pool_is_upgraded_and_rolled_back_under_load_and_upgraded_again() {
    let mut scene = Scene::new(&[Previous; 3], &[Previous; 2]);
    scene.under_load(|scene| scene.collectors_become(This, End::Asked));
    let upgraded = scene.sealed();
    // The other pod is not created again: its sidecar stays what it was all the time.
    scene.under_load(|scene| scene.sidecar_becomes(0, This));
    scene.under_load(|scene| scene.collectors_become(Previous, End::Killed));
    let rolled_back = scene.sealed();
    scene.under_load(|scene| scene.sidecar_becomes(0, Previous));
    scene.under_load(|scene| scene.collectors_become(This, End::Killed));
    scene.under_load(|scene| scene.sidecar_becomes(0, This));
    scene.is_shown();
    scene.end();

    // Each version read what the other one had sealed, as it was.
    let last = scene.sealed();
    assert!(!upgraded.is_empty() && upgraded.len() < rolled_back.len() && rolled_back.len() < last.len());
    for (path, bytes) in upgraded.iter().chain(&rolled_back) {
        assert!(last.get(path) == Some(bytes), "{} was written anew", path.display());
    }
}

#[test]
#[ignore = "needs another version's programs: make skew"]
fn what_a_sidecar_held_while_the_pool_was_away_is_delivered_by_the_other_versions() {
    for (before, after) in [(Previous, This), (This, Previous)] {
        let mut scene = Scene::new(&[before; 2], &[before]);
        scene.under_load(|scene| {
            for collector in &mut scene.world.collectors {
                collector.kill().unwrap();
            }
            scene.rotates(0);
            scene.sidecar_becomes(0, after);
            for collector in &mut scene.world.collectors {
                collector.becomes(&after.program("indelible-collector"));
                collector.restart(&[]).unwrap();
            }
        });
        scene.end();
    }
}

#[test]
#[ignore = "needs another version's programs: make skew"]
fn what_the_previous_version_wrote_is_judged_by_this_one_as_by_that_one() {
    let mut scene = Scene::new(&[Previous; 2], &[Previous; 2]);
    scene.under_load(|_| {});
    scene.end();
    let judged = |version: Version, sources: &[PathBuf]| {
        let answer = scene.world.verify_by(&version.program("indelible"), sources, &[]).unwrap();
        let findings: Vec<_> =
            answer.findings.iter().map(|found| Finding { text: String::new(), ..found.clone() }).collect();
        format!("{} {:?} {:?} {findings:#?}", answer.code, answer.verdicts, answer.chains)
    };
    let [first, second] = &*scene.data() else { panic!("two collectors") };
    let alike = |what: &str, sources: &[PathBuf], code: &str| {
        let that = judged(Previous, sources);
        assert!(that.starts_with(code), "{what}: {that}");
        assert_eq!(judged(This, sources), that, "{what}");
    };
    alike("whole", &scene.data(), "0 ");
    alike("a log is missing", std::slice::from_ref(second), "2 ");
    let segment = scene.sealed().into_keys().find(|path| path.starts_with(first)).unwrap().with_extension("seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    alike("a byte is another", &scene.data(), "1 ");
}
