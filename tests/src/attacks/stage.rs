//! What attacks on kept evidence begin with: a pool that has stored what pods printed, sealed, and was judged whole.
//!
//! Made once for a seed by real collectors, a real sidecar and puppets whose receipts were kept; attacked many times,
//! on copies. The seed chooses how many collectors and pods there are, how large batches and segments are, and where
//! each batch goes. One log, the victim, has most batches, a full tile and the end of every puppet's chain.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;

use super::sentence::Names;
use crate::insider::leaves;
use crate::peer::{Peer, Puppet, write_receipts};
use crate::printer::Printer;
use crate::tamper::{Image, Rng};
use crate::world::{Answer, Collector, PodIdentity, SidecarOptions, Witness, World, binary, eventually, verify};

const BOUND: Duration = Duration::from_mins(1);
/// The victim gets four of five and more; a tile is full from 256 leaves on.
const BATCHES: (usize, usize) = (330, 360);
/// How many batches at the end all go to the victim.
const LAST: usize = 14;

/// A receipt that a sidecar kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The log that gave it.
    pub log: usize,
    /// Receipt and commitment.
    pub bytes: Vec<u8>,
}

impl Kept {
    /// The leaf that it is for.
    pub fn index(&self) -> usize {
        let bytes = self.bytes[33..41].try_into().expect("a receipt has 371 bytes");
        usize::try_from(u64::from_be_bytes(bytes)).expect("logs here are short")
    }
}

/// A sealed pool's evidence.
#[derive(Debug)]
pub struct Stage {
    /// What everything follows from.
    pub seed: u64,
    /// The pool; its processes have ended.
    pub world: World,
    /// The data directories.
    pub images: Vec<Image>,
    /// The same when about half of it was there and the collectors ran: older copies, genuinely signed.
    pub older: Vec<Image>,
    /// The log that is attacked.
    pub victim: usize,
    /// Kept receipts of all batches of puppets, in the order of time.
    pub receipts: Vec<Kept>,
    /// The pods whose sidecars are puppets.
    pub puppets: Vec<Puppet>,
    /// When all was sealed.
    pub sealed_at: Timestamp,
    numbers: AtomicUsize,
}

impl Stage {
    /// The stage of a seed.
    pub fn new(seed: u64) -> Result<Self> {
        let mut rng = Rng::new(seed, 0);
        let mut world = World::start(0)?;
        let segment = format!("{}Ki", rng.between(16, 64));
        for _ in 0..rng.between(2, 3) {
            world.add_collector(&["--segment-bytes", &segment, "--checkpoint-interval", "100ms"])?;
        }
        let victim = rng.below(world.collectors.len());
        let mut cast = Cast::new(&world, &mut rng, victim)?;
        let batches = rng.between(BATCHES.0, BATCHES.1);
        let half = batches * rng.between(40, 70) / 100;
        let mut older = Vec::new();
        for n in 0..batches {
            if n == half {
                older = world.collectors.iter().map(signed).collect::<Result<_>>()?;
            }
            let to = if n + LAST < batches && rng.once_in(5) { rng.below(world.collectors.len()) } else { victim };
            let puppet = rng.below(cast.puppets.len());
            cast.puppets[puppet].print_sized(&mut rng)?;
            cast.send(puppet, to)?;
        }
        for puppet in 0..cast.puppets.len() {
            cast.puppets[puppet].end()?;
            cast.send(puppet, victim)?;
        }
        let Cast { puppets, peers, receipts } = cast;
        drop(peers);
        printed_by_a_real_sidecar(&world, &mut rng, victim)?;
        world.seal()?;
        let images = world.collectors.iter().map(|c| Image::read(&c.data())).collect::<Result<_>>()?;
        let (sealed_at, numbers) = (Timestamp::now(), AtomicUsize::new(0));
        let stage = Self { seed, world, images, older, victim, receipts, puppets, sealed_at, numbers };
        let answer = stage.judge()?.run()?;
        ensure!(answer.code == 0 && answer.findings.is_empty(), "not whole before any attack: {}", answer.texts());
        Ok(stage)
    }

    /// Random numbers of one attack.
    pub fn rng(&self, attack: &str) -> Rng {
        rng_of(self.seed, attack)
    }

    /// The victim's directory.
    pub fn image(&self) -> &Image {
        &self.images[self.victim]
    }

    /// The victim's name.
    pub fn origin(&self) -> &str {
        self.world.collectors[self.victim].origin()
    }

    /// A log that is not the victim.
    pub fn other(&self) -> usize {
        (self.victim + 1) % self.images.len()
    }

    /// What every sentence may name: the victim and another log.
    pub fn names(&self) -> Names {
        let other = self.world.collectors[self.other()].origin();
        vec![("log", self.origin().to_owned()), ("other", other.to_owned())]
    }

    /// A new directory to work in.
    pub fn work(&self) -> Result<PathBuf> {
        let to = self.world.dir().join(format!("work-{}", self.numbers.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&to)?;
        Ok(to)
    }

    /// A witness that knows all logs and has seen nothing yet, and its name.
    pub fn new_witness(&self) -> Result<(Witness, String)> {
        let name = format!("witness-{}", self.numbers.fetch_add(1, Ordering::Relaxed));
        let logs: Vec<&str> = self.world.collectors.iter().map(Collector::vkey).collect();
        Ok((Witness::start(&self.world, &name, &logs, &[])?, name))
    }

    /// A witness that has cosigned the newest checkpoint of each log, and its name.
    pub fn witness(&self) -> Result<(Witness, String)> {
        let (witness, name) = self.new_witness()?;
        for image in &self.images {
            witness.cosign(image.get("checkpoint").context("it is sealed")?)?;
        }
        Ok((witness, name))
    }

    /// The leaves of the victim that receipts were given for, in order.
    pub fn receipted(&self) -> impl Iterator<Item = usize> + '_ {
        self.receipts.iter().filter(|kept| kept.log == self.victim).map(Kept::index)
    }

    /// The leaf with the last batch of a puppet's chain.
    pub fn last_of(&self, puppet: usize) -> Option<usize> {
        let chain = &self.puppets[puppet].chain.id;
        // Behind the receipt's 145 bytes, version, flags and session.
        self.receipts.iter().rfind(|kept| kept.bytes[145 + 34..145 + 66] == *chain).map(Kept::index)
    }

    /// Writes kept receipts to a directory, one a file.
    pub fn keep<'a>(&self, receipts: impl IntoIterator<Item = &'a Kept>) -> Result<PathBuf> {
        let to = self.work()?;
        write_receipts(receipts.into_iter().map(|kept| &*kept.bytes), &to)?;
        Ok(to)
    }

    /// A judgement of the pool as it is, five seconds from now.
    pub fn judge(&self) -> Result<Judge<'_>> {
        let mut policy = String::new();
        for collector in &self.world.collectors {
            policy = format!("{policy}log {}\n", collector.vkey());
        }
        let sources = self.world.collectors.iter().map(Collector::data).collect();
        let after = Duration::try_from(Timestamp::now() - self.sealed_at)? + Duration::from_secs(5);
        Ok(Judge { stage: self, sources, policy, quorum: "none".to_owned(), after, flags: vec![] })
    }
}

/// Random numbers of one attack under a seed.
pub fn rng_of(seed: u64, attack: &str) -> Rng {
    let number = attack.bytes().fold(7, |sum: u64, byte| sum.wrapping_mul(131).wrapping_add(byte.into()));
    Rng::new(seed, number)
}

/// A verification of the stage's evidence, with what was changed in it.
#[derive(Debug)]
pub struct Judge<'a> {
    stage: &'a Stage,
    sources: Vec<PathBuf>,
    policy: String,
    quorum: String,
    after: Duration,
    flags: Vec<OsString>,
}

impl Judge<'_> {
    /// Another directory in place of a log's own.
    pub fn instead(mut self, log: usize, image: &Image) -> Result<Self> {
        self.sources[log] = self.stage.work()?.join("data");
        image.write(&self.sources[log], None)?;
        Ok(self)
    }

    /// The victim's, if this is the attack.
    pub fn attacked(self, side: super::Side, image: &Image) -> Result<Self> {
        let victim = self.stage.victim;
        if side.is_attack() { self.instead(victim, image) } else { Ok(self) }
    }

    /// Another directory on disk in place of a log's own.
    #[must_use]
    pub fn reading(mut self, log: usize, source: PathBuf) -> Self {
        self.sources[log] = source;
        self
    }

    /// One more source.
    #[must_use]
    pub fn and(mut self, source: PathBuf) -> Self {
        self.sources.push(source);
        self
    }

    /// Without a log's source, which the policy still names.
    #[must_use]
    pub fn without(mut self, log: usize) -> Self {
        self.sources.remove(log);
        self
    }

    /// With one more log in the policy.
    #[must_use]
    pub fn trust(mut self, vkey: &str) -> Self {
        self.policy = format!("{}log {vkey}\n", self.policy);
        self
    }

    /// With another key in place of a log's.
    #[must_use]
    pub fn distrust(mut self, log: usize, vkey: &str) -> Self {
        self.policy = self.policy.replace(self.stage.world.collectors[log].vkey(), vkey);
        self
    }

    /// With a witness in the policy, which is asked.
    #[must_use]
    pub fn witness(mut self, witness: &Witness) -> Self {
        self.policy = format!("{}{}\n", self.policy, witness.line());
        self
    }

    /// With a witness, by its line in a policy, that must have cosigned each log.
    #[must_use]
    pub fn quorum(mut self, name: &str, line: &str) -> Self {
        self.policy = format!("{}{line}\n", self.policy);
        name.clone_into(&mut self.quorum);
        self
    }

    /// With what `--state` remembers of an honest pool.
    pub fn remembering(self, honest: Self) -> Result<Self> {
        let state = self.stage.work()?;
        let answer = honest.flag("--state", &state).run()?;
        ensure!(answer.code == 0, "the honest pool is remembered: {}", answer.texts());
        Ok(self.flag("--state", state))
    }

    /// One more flag.
    #[must_use]
    pub fn flag(mut self, flag: &str, value: impl Into<OsString>) -> Self {
        self.flags.extend([flag.into(), value.into()]);
        self
    }

    /// How long after the seal it is judged, at least.
    #[must_use]
    pub fn later(mut self, after: Duration) -> Self {
        self.after = self.after.max(after);
        self
    }

    /// Runs `indelible verify`.
    pub fn run(&self) -> Result<Answer> {
        verify(&self.sources, &self.flags()?.iter().map(AsRef::as_ref).collect::<Vec<_>>())
    }

    /// The directories that are judged.
    pub fn sources(&self) -> &[PathBuf] {
        &self.sources
    }

    /// The report for programs.
    pub fn report(&self) -> Result<Vec<u8>> {
        let mut command = Command::new(binary("indelible")?);
        command.arg("verify").args(&self.sources).arg("--json").args(self.flags()?);
        Ok(command.output()?.stdout)
    }

    /// The report for people, line by line.
    pub fn read(&self) -> Result<Vec<(i32, String)>> {
        read_by_people(&self.sources, &self.flags()?)
    }

    fn flags(&self) -> Result<Vec<OsString>> {
        let policy = self.stage.work()?.join("policy");
        std::fs::write(&policy, format!("{}quorum {}\n", self.policy, self.quorum))?;
        let mut flags: Vec<OsString> = vec!["--policy".into(), policy.into()];
        flags.extend(["--issuer-keys".into(), self.stage.world.issuer.jwks().into()]);
        flags.extend(["--now".into(), (self.stage.sealed_at + self.after).to_string().into()]);
        flags.extend(self.flags.iter().cloned());
        Ok(flags)
    }
}

fn read_by_people(sources: &[PathBuf], flags: &[OsString]) -> Result<Vec<(i32, String)>> {
    let output = Command::new(binary("indelible")?).arg("verify").args(sources).args(flags).output()?;
    Ok(String::from_utf8(output.stdout)?.lines().map(|line| (0, line.to_owned())).collect())
}

/// The report for people of a world that was sealed, line by line.
pub fn read(world: &World) -> Result<Vec<(i32, String)>> {
    let sources: Vec<_> = world.collectors.iter().map(Collector::data).collect();
    let flags = ["--policy".into(), world.policy()?.into(), "--issuer-keys".into(), world.issuer.jwks().into()];
    read_by_people(&sources, &flags)
}

/// The puppets, their connections, and the receipts they keep.
struct Cast {
    puppets: Vec<Puppet>,
    peers: Vec<Peer>,
    receipts: Vec<Kept>,
}

impl Cast {
    fn new(world: &World, rng: &mut Rng, victim: usize) -> Result<Self> {
        let mut peers = (0..world.collectors.len()).map(|at| Peer::connect(world, at)).collect::<Result<Vec<_>>>()?;
        let mut puppets = Vec::new();
        for n in 0..rng.between(1, 3) {
            let puppet = Puppet::new(world, &pod(n), rng.number())?;
            // The victim is not the only one that vouches for it.
            for at in 0..peers.len() {
                puppet.introduce(&mut peers[(victim + at) % world.collectors.len()])?;
            }
            puppets.push(puppet);
        }
        Ok(Self { puppets, peers, receipts: Vec::new() })
    }

    fn send(&mut self, puppet: usize, log: usize) -> Result<()> {
        let puppet = &mut self.puppets[puppet];
        let batch = puppet.seal();
        let receipt = self.peers[log].batch(&puppet.session, &batch)?.expect(&[200])?;
        self.receipts.push(Kept { log, bytes: [&receipt.body[..], &batch.commitment].concat() });
        Ok(())
    }
}

/// A pod of the stage.
pub fn pod(n: usize) -> PodIdentity {
    PodIdentity::new("payments", &format!("api-{n}"), &format!("6a0c1f52-8a44-4a55-b8f6-5b1d0f8f2c{n:02}"))
}

/// One more pod, whose sidecar is the real one. It knows one log only, not the victim: what it told another log of the
/// victim's receipts would convict in runs that are to have no receipts.
fn printed_by_a_real_sidecar(world: &World, rng: &mut Rng, victim: usize) -> Result<()> {
    let pod = PodIdentity::new("payments", "web-0", "1bb0e1c2-0000-4a55-b8f6-5b1d0f8f2c11");
    let mut printer = Printer::new(&world.logs().join(pod.directory()), "app")?;
    let collectors = vec![world.urls().swap_remove((victim + 1) % world.collectors.len())];
    let mut sidecar = world.sidecar(&pod, &SidecarOptions { collectors, ..SidecarOptions::default() })?;
    sidecar.armed()?;
    printer.print(u64::try_from(rng.between(5, 300))?, rng.between(20, 300))?;
    sidecar.terminate()
}

/// A running collector's directory, once its checkpoint covers all that it holds.
fn signed(collector: &Collector) -> Result<Image> {
    eventually("a checkpoint covers the log", BOUND, || {
        // A file can be gone between its listing and its reading.
        let Ok(image) = Image::read(&collector.data()) else { return Ok(None) };
        let held = leaves(&image).ok().map(|leaves| leaves.len());
        Ok((size(&image) == held).then_some(image))
    })
}

/// The size of a directory's checkpoint.
pub fn size(image: &Image) -> Option<usize> {
    std::str::from_utf8(image.get("checkpoint")?).ok()?.lines().nth(1)?.parse().ok()
}
