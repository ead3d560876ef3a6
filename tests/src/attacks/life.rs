//! What happens to running collectors and sidecars: kills, full and failing disks, outages, lost state, power loss.
//!
//! Here the attack is a failure, or someone who causes it; what must hold is that nothing receipted is lost, that no
//! chain forks, and that what is lost is said.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::stage::{pod, read, rng_of};
use super::{Side, Trial};
use crate::insider::frames_end;
use crate::peer::{Peer, Puppet, write_receipts};
use crate::printer::Printer;
use crate::stubborn::{STEPS, Stubborn};
use crate::tamper::Rng;
use crate::tamper::wire::frame;
use crate::world::{PodIdentity, Sidecar, SidecarOptions, World, eventually};

const BOUND: Duration = Duration::from_mins(1);

/// A pod of the seed's that writes to the first collector.
fn stubborn(world: &World, rng: &mut Rng) -> Result<Stubborn> {
    Ok(Stubborn::new(Puppet::new(world, &pod(0), rng.number())?))
}

/// Sends one more batch, or the one that got no receipt; whether it got one.
fn send(pod: &mut Stubborn, world: &World, rng: &mut Rng) -> Result<bool> {
    pod.send(world, |puppet| puppet.print_sized(rng))
}

/// Sends until all has its receipt, ends the chain, seals, and judges by all receipts.
fn end(mut pod: Stubborn, mut world: World, said: Vec<(i32, String)>) -> Result<Trial> {
    pod.end(&world)?;
    world.seal()?;
    let kept = world.dir().join("receipts");
    write_receipts(pod.receipts.iter().map(Vec::as_slice), &kept)?;
    let kept = kept.to_str().context("paths here are UTF-8")?.to_owned();
    let answer = world.verify(&["--receipts", &kept])?;
    let records = u64::try_from(pod.puppet.chain.len())?;
    ensure!(answer.counts["records"] == records, "{} records of {records} are there", answer.counts["records"]);
    // An attack that nobody may notice has said nothing: what is read is that all holds.
    let is_quiet = !said.is_empty() && said.iter().all(|(_, text)| text.is_empty());
    let said = if is_quiet { read(&world)? } else { said };
    let names = vec![("log", world.collectors[0].origin().to_owned())];
    Ok(Trial { answer, said, names })
}

/// A14: kill -9 at any commit step of the store.
pub fn kill(seed: u64, side: Side) -> Result<Trial> {
    let mut rng = rng_of(seed, "A14");
    let mut world = World::start(0)?;
    let segment = format!("{}Ki", rng.between(4, 12));
    world.add_collector(&["--segment-bytes", &segment, "--checkpoint-interval", "100ms"])?;
    let mut pod = stubborn(&world, &mut rng)?;
    let kills = rng.between(2, 4);
    for _ in 0..kills {
        for _ in 0..rng.between(1, 12) {
            ensure!(send(&mut pod, &world, &mut rng)?, "it takes batches");
        }
        if side.is_attack() {
            let step = rng.pick(&STEPS);
            kill_at(&mut world, &mut pod, &mut rng, step)?;
        }
    }
    let said = if side.is_attack() { vec![(0, String::new())] } else { Vec::new() };
    end(pod, world, said)
}

/// Runs the collector until it comes to a step for some time, and then as usual again.
fn kill_at(world: &mut World, pod: &mut Stubborn, rng: &mut Rng, step: &str) -> Result<()> {
    pod.hang_up();
    world.collectors[0].kill()?;
    let step = format!("{step}:{}", rng.between(1, 3));
    if cfg!(debug_assertions) {
        pod.until_killed_at(world, &step, |puppet| puppet.print_sized(rng))?;
    } else {
        world.collectors[0].restart(&[])?;
        for _ in 0..rng.between(1, 20) {
            send(pod, world, rng)?;
        }
        world.collectors[0].kill()?;
    }
    pod.hang_up();
    world.collectors[0].restart(&[])
}

/// A15: the disk is full, or fails when it is synced. `what` is the call that fails and how.
fn failing_disk(seed: u64, side: Side, attack: &str, what: &str) -> Result<Trial> {
    let mut rng = rng_of(seed, attack);
    let mut world = World::start(0)?;
    let nth = rng.between(10, 40);
    let inject = format!("inject={what}:when={nth}+");
    let calls = format!("trace={}", what.split(':').next().unwrap_or_default());
    let (log, data) = (world.dir().join("strace"), world.dir().join("collector-0/data/segments"));
    let log = log.to_str().context("paths here are UTF-8")?.to_owned();
    let segment = data.join(format!("{:020}.seg", 0));
    let segment = segment.to_str().context("paths here are UTF-8")?.to_owned();
    // `-D` makes the tracer a grandchild, so that our child is the collector itself.
    let wrapper = ["strace", "-D", "-f", "-qq", "-o", &log, "-P", &segment, "-e", &calls, "-e", &inject];
    if side.is_attack() {
        world.add_collector_under(&wrapper, &[])?;
    } else {
        world.add_collector(&[])?;
    }
    let mut pod = stubborn(&world, &mut rng)?;
    let mut said = Vec::new();
    for _ in 0..100 {
        if !send(&mut pod, &world, &mut rng)? {
            break;
        }
    }
    if side.is_attack() {
        ensure!(pod.has_unsent(), "the {nth}th {what} failed, and 100 receipts came");
        let status = world.collectors[0].process()?.wait(BOUND)?;
        let text = world.collectors[0].process()?.stderr()?;
        said.push((status.code().unwrap_or(-1), text.lines().last().unwrap_or_default().to_owned()));
        pod.hang_up();
        world.collectors[0].unwrapped();
        world.collectors[0].restart(&[])?;
    }
    end(pod, world, said)
}

/// A15: syncing fails.
pub fn failing_sync(seed: u64, side: Side) -> Result<Trial> {
    failing_disk(seed, side, "A15-eio", "fdatasync:error=EIO")
}

/// A15: there is no space.
pub fn full_disk(seed: u64, side: Side) -> Result<Trial> {
    failing_disk(seed, side, "A15-enospc", "pwrite64,write:error=ENOSPC")
}

/// A32: power is lost while frames are being written: they are torn, and some behind them are whole.
pub fn power_loss(seed: u64, side: Side) -> Result<Trial> {
    let mut rng = rng_of(seed, "A32");
    let mut world = World::start(1)?;
    let mut pod = stubborn(&world, &mut rng)?;
    for _ in 0..rng.between(1, 20) {
        ensure!(send(&mut pod, &world, &mut rng)?, "it takes batches");
    }
    pod.hang_up();
    world.collectors[0].kill()?;
    if side.is_attack() {
        tear(&world.collectors[0].data(), &mut rng)?;
    }
    world.collectors[0].restart(&[])?;
    let said = if side.is_attack() { vec![(0, String::new())] } else { Vec::new() };
    let is_set_aside =
        std::fs::read_dir(world.collectors[0].data().join("torn")).is_ok_and(|mut torn| torn.next().is_some());
    ensure!(is_set_aside || !side.is_attack(), "nothing was set aside");
    for _ in 0..rng.between(1, 5) {
        ensure!(send(&mut pod, &world, &mut rng)?, "it goes on");
    }
    end(pod, world, said)
}

/// Writes half a frame, and then a whole one, behind the last frame of a log.
fn tear(data: &Path, rng: &mut Rng) -> Result<()> {
    let segment = data.join("segments").join(format!("{:020}.seg", 0));
    let mut bytes = std::fs::read(&segment)?;
    let end = frames_end(&bytes).context("the segment's frames")?;
    let leaf: Vec<u8> = (0..236).map(|_| rng.byte()).collect();
    let whole = frame(&leaf, 0, &vec![7; rng.between(1, 400)]);
    let mut torn = whole.clone();
    torn.truncate(rng.between(1, whole.len() - 1));
    // What did not reach the disk reads as zeros.
    torn.resize(whole.len(), 0);
    let tail = [torn, whole].concat();
    bytes.resize(bytes.len().max(end + tail.len()), 0);
    bytes[end..end + tail.len()].copy_from_slice(&tail);
    std::fs::write(segment, bytes)?;
    Ok(())
}

/// A5: a second collector is started on a volume. The twin starts after the first has ended.
pub fn second_writer(seed: u64, side: Side) -> Result<Trial> {
    let mut rng = rng_of(seed, "A5");
    let mut world = World::start(1)?;
    let mut pod = stubborn(&world, &mut rng)?;
    for _ in 0..rng.between(1, 10) {
        ensure!(send(&mut pod, &world, &mut rng)?, "it takes batches");
    }
    let mut said = Vec::new();
    let data = world.collectors[0].data().display().to_string();
    if side.is_attack() {
        let mut second = world.collectors[0].second()?;
        let status = second.wait(BOUND)?;
        said.push((status.code().unwrap_or(-1), second.stderr()?.trim_end().to_owned()));
    } else {
        pod.hang_up();
        world.collectors[0].terminate()?;
        world.collectors[0].restart(&[])?;
    }
    let mut trial = end(pod, world, said)?;
    trial.names.push(("data", data));
    Ok(trial)
}

/// A pod with a real sidecar whose container has printed some lines, and the pool.
struct Scene {
    rng: Rng,
    world: World,
    identity: PodIdentity,
    printer: Printer,
    sidecar: Sidecar,
}

impl Scene {
    fn new(seed: u64, attack: &str, options: &SidecarOptions) -> Result<Self> {
        let (mut rng, world, identity) = (rng_of(seed, attack), World::start(2)?, pod(0));
        let printer = Printer::new(&world.logs().join(identity.directory()), "app")?;
        let sidecar = world.sidecar(&identity, options)?;
        sidecar.armed()?;
        let mut scene = Self { world, identity, printer, sidecar, rng: Rng::new(seed, 1) };
        scene.print(rng.between(5, 200))?;
        Ok(Self { rng, ..scene })
    }

    /// Prints lines, and waits until the sidecar has their receipts: its cursor is behind them.
    fn print(&mut self, lines: usize) -> Result<()> {
        self.printer.print(u64::try_from(lines)?, 100)?;
        let printed = self.printer.printed();
        let logs: Vec<_> = self.world.collectors.iter().map(crate::world::Collector::data).collect();
        eventually("the lines are stored", BOUND, || {
            // A frame that is being written cannot be read yet.
            let Ok(chains) = crate::evidence::read(&logs) else { return Ok(None) };
            let records = chains.values().flat_map(|chain| chain.records.values());
            let lines: std::collections::BTreeSet<_> =
                records.filter(|record| record.source != 3).map(|record| &record.payload).collect();
            Ok((u64::try_from(lines.len())? >= printed).then_some(()))
        })
    }

    fn judged(mut self) -> Result<Trial> {
        self.sidecar.terminate()?;
        self.world.seal()?;
        let PodIdentity { namespace, name, .. } = &self.identity;
        let names = vec![("pod", format!("{namespace}/{name}"))];
        Ok(Trial::judged(self.world.verify(&[])?, names))
    }
}

/// A31: a sidecar dies, and what is done to its state, boot id or files before it starts again.
fn crash(seed: u64, side: Side, attack: &str, harm: impl FnOnce(&mut Scene) -> Result<()>) -> Result<Trial> {
    let mut scene = Scene::new(seed, attack, &SidecarOptions::default())?;
    scene.sidecar.kill()?;
    if side.is_attack() {
        harm(&mut scene)?;
    }
    scene.sidecar.restart()?;
    scene.sidecar.armed()?;
    scene.printer.print(u64::try_from(scene.rng.between(1, 50))?, 100)?;
    scene.judged()
}

/// A31: its state is lost.
pub fn state_lost(seed: u64, side: Side) -> Result<Trial> {
    crash(seed, side, "A31-state", |scene| {
        std::fs::remove_dir_all(scene.sidecar.state())?;
        Ok(std::fs::create_dir(scene.sidecar.state())?)
    })
}

/// A31: the node was booted again.
pub fn reboot(seed: u64, side: Side) -> Result<Trial> {
    crash(seed, side, "A31-reboot", |scene| {
        let boot = scene.world.dir().join("boot-id");
        std::fs::write(&boot, "another")?;
        scene.sidecar.set_env("INDELIBLE_BOOT_ID_FILE", boot.to_str().context("paths here are UTF-8")?);
        Ok(())
    })
}

/// A31: a file was rotated away and deleted unread.
pub fn file_gone(seed: u64, side: Side) -> Result<Trial> {
    crash(seed, side, "A31-file", |scene| {
        scene.printer.print(u64::try_from(scene.rng.between(1, 50))?, 100)?;
        let old = scene.printer.rotate()?;
        Ok(std::fs::remove_file(old)?)
    })
}

/// A30: no collector answers, and the container floods until older lines are given up. The twin's outage is as long and
/// what is printed fits.
pub fn flood(seed: u64, side: Side) -> Result<Trial> {
    let options = SidecarOptions { flags: vec!["--max-held-bytes".into(), "1Mi".into()], ..SidecarOptions::default() };
    let mut scene = Scene::new(seed, "A30", &options)?;
    for collector in &mut scene.world.collectors {
        collector.kill()?;
    }
    let rounds = if side.is_attack() { scene.rng.between(30, 50) } else { scene.rng.between(1, 2) };
    for _ in 0..rounds {
        scene.printer.print(400, 1_000)?;
        scene.printer.rotate()?;
    }
    scene.printer.print(10, 100)?;
    if side.is_attack() {
        let gives_up = || Ok(scene.sidecar.process()?.stderr()?.contains("given up").then_some(()));
        eventually("the sidecar gives up the oldest lines", BOUND, gives_up)?;
    }
    for collector in &mut scene.world.collectors {
        collector.restart(&[])?;
    }
    scene.judged()
}

/// A17: a pod's node has a clock that is an hour ahead.
pub fn node_clock(seed: u64, side: Side) -> Result<Trial> {
    let mut rng = rng_of(seed, "A17-node");
    let mut world = World::start(1)?;
    let mut puppet = Puppet::new(&world, &pod(0), rng.number())?;
    let mut peer = Peer::connect(&world, 0)?;
    puppet.introduce(&mut peer)?;
    let ahead = if side.is_attack() { Duration::from_hours(1) } else { Duration::ZERO };
    for _ in 0..rng.between(1, 10) {
        puppet.print_ahead(&mut rng, ahead)?;
        puppet.deliver(&mut peer)?;
    }
    puppet.end()?;
    puppet.deliver(&mut peer)?;
    drop(peer);
    world.seal()?;
    let answer = world.verify(&[])?;
    let records = u64::try_from(puppet.chain.len())?;
    if answer.counts["records"] != records {
        bail!("{} records of {records} are there", answer.counts["records"]);
    }
    let PodIdentity { namespace, name, .. } = pod(0);
    let log = world.collectors[0].origin().to_owned();
    Ok(Trial::judged(answer, vec![("pod", format!("{namespace}/{name}")), ("log", log)]))
}
