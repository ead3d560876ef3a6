//! `indelible logs --follow` over running collectors: what is printed as it comes, and how it ends.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::ffi::OsString;
use std::time::Duration;

use indelible_tests::printer::Printer;
use indelible_tests::world::{PodIdentity, Process, Sidecar, SidecarOptions, World, binary, eventually};
use rustix::process::Signal;

const BOUND: Duration = Duration::from_mins(1);

/// A world with one pod whose container prints, and what follows it.
struct Scene {
    world: World,
    printer: Printer,
    sidecar: Sidecar,
    follow: Process,
}

impl Scene {
    /// Starts all of it, and waits until the first lines are printed.
    fn new(collectors: usize, by_url: bool) -> Self {
        let world = World::start(collectors).unwrap();
        let pod = PodIdentity::new("payments", "api-0", "6a0c1f52-8a44-4a55-b8f6-5b1d0f8f2c11");
        let mut printer = Printer::new(&world.logs().join(pod.directory()), "app").unwrap();
        printer.print(3, 40).unwrap();
        let sidecar = world.sidecar(&pod, &SidecarOptions::default()).unwrap();
        sidecar.armed().unwrap();
        let follow = follow(&world, by_url);
        let mut scene = Self { world, printer, sidecar, follow };
        scene.print(0);
        scene
    }

    /// Prints lines, and waits until all lines so far are shown.
    fn print(&mut self, count: u64) {
        self.printer.print(count, 40).unwrap();
        let due = self.printer.printed();
        eventually("the lines are shown", BOUND, || Ok((self.shown().len() as u64 >= due).then_some(()))).unwrap();
    }

    /// The numbers of the lines that were printed.
    fn shown(&self) -> Vec<u64> {
        let text = self.follow.stdout().unwrap();
        let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        whole.map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect()
    }

    /// Waits until it has said something.
    fn said(&self, what: &str) {
        eventually(what, BOUND, || Ok(self.follow.stderr()?.contains(what).then_some(()))).unwrap();
    }

    /// Ends it as a user does; each line was shown once. Gives the exit code.
    fn interrupt(mut self) -> Option<i32> {
        self.follow.signal(Signal::INT).unwrap();
        let status = self.follow.wait(BOUND).unwrap();
        self.assert_each_line_once();
        status.code()
    }

    fn assert_each_line_once(&self) {
        let mut shown = self.shown();
        shown.sort_unstable();
        assert_eq!(shown, (0..self.printer.printed()).collect::<Vec<_>>(), "{}", self.follow.stderr().unwrap());
    }
}

fn follow(world: &World, by_url: bool) -> Process {
    let mut args: Vec<OsString> = vec!["logs".into(), "--follow".into()];
    for collector in &world.collectors {
        args.push(if by_url { collector.url().into() } else { collector.data().into() });
    }
    for (flag, path) in [
        ("--ca", world.authority.ca().to_owned()),
        ("--policy", world.policy().unwrap()),
        ("--issuer-keys", world.issuer.jwks().to_owned()),
    ] {
        args.extend([flag.into(), path.into()]);
    }
    Process::start("follow", world.dir(), &binary("indelible").unwrap(), &args, &[]).unwrap()
}

#[test]
fn lines_are_shown_as_they_come_from_urls_and_from_directories_until_it_is_interrupted() {
    for by_url in [true, false] {
        let mut scene = Scene::new(2, by_url);
        for _ in 0..3 {
            scene.print(20);
        }
        assert_eq!(scene.interrupt(), Some(0), "by URL: {by_url}");
    }
}

#[test]
fn an_outage_of_a_collector_is_said_once_and_costs_no_line() {
    let mut scene = Scene::new(2, true);
    let origin = scene.world.collectors[0].origin().to_owned();
    scene.world.collectors[0].kill().unwrap();
    scene.said(&format!("{origin} (https://"));
    scene.said(" is away: ");
    scene.print(20);
    scene.world.collectors[0].restart(&[]).unwrap();
    scene.said(") is back");
    scene.print(20);
    let said = scene.follow.stderr().unwrap();
    assert_eq!(said.matches(" is away").count(), 1, "{said}");
    assert!(!said.contains("indelible: fail"), "{said}");
    assert_eq!(scene.interrupt(), Some(0), "it is back");
}

#[test]
fn a_log_that_is_away_at_the_end_is_exit_code_4() {
    let mut scene = Scene::new(2, true);
    scene.world.collectors[0].kill().unwrap();
    scene.said(" is away: ");
    assert_eq!(scene.interrupt(), Some(4));
}

#[test]
fn the_last_second_of_a_collector_that_ends_is_shown() {
    let mut scene = Scene::new(1, true);
    scene.printer.print(20, 40).unwrap();
    // What it prints last is stored when the sidecar has ended, and the collector ends at once after it.
    scene.sidecar.terminate().unwrap();
    scene.world.seal().unwrap();
    scene.print(0);
    scene.said(" is away, sealed");
    assert_eq!(scene.interrupt(), Some(0), "a log that has ended in order owes nothing");
}

#[test]
fn a_log_that_was_rewritten_while_it_was_followed_is_exit_code_1_and_named() {
    let mut scene = Scene::new(1, true);
    let collector = &scene.world.collectors[0];
    let (origin, data) = (collector.origin().to_owned(), collector.data());
    // A copy of the log from before the next lines takes its place later.
    scene.world.collectors[0].terminate().unwrap();
    let before = scene.world.dir().join("before");
    let copy = std::process::Command::new("cp").arg("-a").arg(&data).arg(&before).status().unwrap();
    assert!(copy.success());
    scene.world.collectors[0].restart(&[]).unwrap();
    scene.print(20);
    scene.sidecar.terminate().unwrap();
    scene.world.collectors[0].kill().unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&before, &data).unwrap();
    scene.world.collectors[0].restart(&[]).unwrap();
    let status = scene.follow.wait(BOUND).unwrap();
    let said = scene.follow.stderr().unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&origin) && said.contains("is not followed any more: rewritten"), "{said}");
    scene.assert_each_line_once();
}
