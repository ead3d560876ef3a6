//! One run: everything is started, struck until the time is over, left to come to rest, and judged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use tokio::runtime::Runtime;

use super::disk::Disk;
use super::faults::{Clocks, Network, Pool, ShortToken, SmallDisk};
use super::judge::{self, Case, Printed};
use super::mortal::{Body, Fate, Mortal};
use super::pods::{self, Generator, Spec, Trait};
use super::proxy::Proxy;
use super::replayer::{Replayer, Round};
use super::window::Histogram;
use super::{Options, Outcome, Schedule, row11};
use crate::oracle::{self, Ending, Identity, Record};
use crate::tamper::Rng;
use crate::trace::{LogFile, Replay, Speed, Trace};
use crate::world::{Collector, PodIdentity, SidecarOptions, World};

/// Collectors that there are; the pool has three to five of them.
const COLLECTORS: usize = 5;
/// The collector on a small disk.
pub(super) const ON_SMALL_DISK: usize = 1;
/// The collector whose clock steps.
const CLOCKED: usize = 2;
/// How often everything is looked at.
pub(super) const STEP: Duration = Duration::from_millis(10);
/// How long it may take until everything has come to rest.
const REST: Duration = Duration::from_mins(4);
/// How long before its pod's end a sidecar is not killed any more.
const SPARED: Duration = Duration::from_secs(6);
/// Bytes that a run may have on disk.
const MAX_BYTES: u64 = 8 << 30;
/// How often that is looked at.
const MEASURED: Duration = Duration::from_secs(10);
/// Pods that come and go, at a time.
const BRIEF: usize = 3;

/// A pod whose container prints.
struct Pod {
    spec: Spec,
    identity: PodIdentity,
    sidecar: Mortal,
    generator: Generator,
}

/// Everything that runs.
struct Stage<'a> {
    options: &'a Options,
    rng: Rng,
    histogram: Histogram,
    quiet: Duration,
    network: Network,
    pool: Pool,
    collectors: Vec<Mortal>,
    pods: Vec<Pod>,
    /// The sidecars of the recorded pods.
    recorded: Vec<Mortal>,
    trace: Arc<Trace>,
    clocks: Clocks,
    token: Option<ShortToken>,
    collectors_disk: Option<SmallDisk>,
    sidecars_disk: Option<SmallDisk>,
    replayer: Replayer,
    next_round: Instant,
    brief: usize,
    next_brief: Instant,
    done: Vec<judge::Container>,
    stops: u64,
    slow: u64,
    fell: Vec<String>,
    // Last: its directory goes when all processes are gone.
    world: World,
    /// Keeps the proxies going.
    _runtime: Runtime,
}

/// Runs, and judges.
pub fn run(options: &Options) -> Result<Outcome> {
    let mut stage = Stage::set(options)?;
    match options.schedule {
        Schedule::Row11 => {
            row11::strike(&mut stage, &row11::Plan::draw(options.seed))?;
            stage.calm()?;
            stage.judge(&[])
        }
        Schedule::Storm => {
            // Faster than at twice its speed, what was recorded leaves no time to see files that come and go.
            let replayed_in = options.lasts.mul_f64(0.9).as_secs_f64().max(48.0);
            let speed = Speed::times(stage.trace.duration().as_secs_f64() / replayed_in)?;
            let replay = Replay::start(&stage.trace, stage.world.logs(), speed);
            stage.storm(&replay, speed)?;
            let replayed = replay.join()?;
            stage.calm()?;
            stage.judge(&replayed.moments)
        }
    }
}

impl<'a> Stage<'a> {
    fn set(options: &'a Options) -> Result<Self> {
        let mut world = World::start(0)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let proxies = (0..COLLECTORS).map(|n| Proxy::start(&runtime, options.seed ^ n as u64));
        let proxies: Vec<Proxy> = proxies.collect::<Result<_>>()?;
        let urls = proxies.iter().map(Proxy::url).collect();
        let pool = Pool::new(world.dir(), urls, world.authority.ca())?;
        let mut collectors_disk = None;
        let clock = |name: &str| world.dir().join(format!("clock-{name}"));
        let (clock_of_pod, clock_of_collector) = (clock("pod"), clock("collector"));
        let clocks = Clocks::new(vec![clock_of_pod.clone(), clock_of_collector.clone()]);
        let list = pool.list().to_str().context("a path in UTF-8")?.to_owned();
        for (n, proxy) in proxies.iter().enumerate() {
            if n == ON_SMALL_DISK && options.small_disks {
                let disk = Disk::mount(&world.dir().join(format!("collector-{n}")), 1024)?;
                collectors_disk = Some(SmallDisk::new(disk, &[0, 64 << 20]));
            }
            let collector = world.add_collector(&["--pool", &list, "--segment-bytes", "4Mi"])?;
            proxy.serve(vec![collector.address()?.to_owned()]);
        }
        let fate = |quiet| if options.schedule == Schedule::Storm { Fate::Dies(quiet) } else { Fate::Lives };
        let quiet = (options.lasts / 22).clamp(Duration::from_secs(2), Duration::from_mins(1));
        let clock_of_collector = clock_of_collector.to_str().context("a path in UTF-8")?.to_owned();
        let collectors = std::mem::take(&mut world.collectors).into_iter().enumerate();
        let collectors = collectors.map(|(n, collector)| {
            let env = [("INDELIBLE_CLOCK_FILE", clock_of_collector.as_str())];
            let env = if n == CLOCKED { &env[..] } else { &[] };
            Mortal::new(&format!("collector-{n}"), Body::Collector(collector), fate(quiet), env)
        });
        let collectors = collectors.collect();
        let mut stage = Self {
            options,
            rng: Rng::new(options.seed, 0),
            histogram: Histogram::default(),
            quiet,
            network: Network::new(proxies),
            pool,
            collectors,
            pods: Vec::new(),
            recorded: Vec::new(),
            trace: Arc::new(Trace::recorded()?),
            clocks,
            token: None,
            collectors_disk,
            sidecars_disk: None,
            replayer: Replayer::start(options.seed),
            next_round: Instant::now(),
            brief: 0,
            next_brief: Instant::now(),
            done: Vec::new(),
            stops: 0,
            slow: 0,
            fell: Vec::new(),
            world,
            _runtime: runtime,
        };
        stage.lasting_pods(&clock_of_pod)?;
        Ok(stage)
    }

    fn lasting_pods(&mut self, clock: &Path) -> Result<()> {
        let specs = match self.options.schedule {
            Schedule::Storm => pods::lasting(),
            Schedule::Row11 => vec![pods::row11(row11::PACE)],
        };
        for spec in specs {
            let identity = spec.identity(self.options.seed);
            let dir = self.world.dir().join(format!("sidecar-{}", spec.name));
            if spec.special == Trait::FullDisk && self.options.small_disks {
                self.sidecars_disk = Some(SmallDisk::new(Disk::mount(&dir, 2)?, &[0]));
            }
            if spec.special == Trait::Token {
                self.token = Some(ShortToken::new(dir.join("token"), identity.clone()));
            }
            let clock = clock.to_str().context("a path in UTF-8")?;
            let env = if spec.special == Trait::Clock { &[("INDELIBLE_CLOCK_FILE", clock)][..] } else { &[] };
            self.pod(spec, identity, env)?;
        }
        for pod in self.trace.pods().iter().filter(|_| self.options.schedule == Schedule::Storm) {
            std::fs::create_dir_all(self.world.logs().join(&pod.directory))?;
            let identity = PodIdentity::from(pod);
            let sidecar = self.world.sidecar(&identity, &self.sidecar_options(&[]))?;
            let fate = Fate::Dies(self.quiet);
            self.recorded.push(Mortal::new(&identity.name, Body::Sidecar(sidecar), fate, &[]));
        }
        Ok(())
    }

    fn sidecar_options(&self, env: &[(&str, &str)]) -> SidecarOptions {
        let collectors = [0, 1, 2].iter().map(|n: &usize| self.network.proxies[*n].url()).collect();
        let flags = ["--grace-period", "10m", "--max-held-bytes", "1Gi", "--server-name", "localhost"];
        SidecarOptions {
            collectors,
            flags: flags.map(str::to_owned).into(),
            env: env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            program: None,
        }
    }

    /// A pod: its sidecar first, and once that is armed its container.
    fn pod(&mut self, spec: Spec, identity: PodIdentity, env: &[(&str, &str)]) -> Result<()> {
        let logs = self.world.logs().join(identity.directory());
        std::fs::create_dir_all(&logs)?;
        let sidecar = self.world.sidecar(&identity, &self.sidecar_options(env))?;
        sidecar.armed()?;
        let generator = Generator::start(&spec, &logs, self.options.seed)?;
        let is_storm = self.options.schedule == Schedule::Storm;
        let fate = if is_storm { Fate::Dies(self.quiet) } else { Fate::Lives };
        let sidecar = Mortal::new(&spec.name, Body::Sidecar(sidecar), fate, env);
        self.pods.push(Pod { spec, identity, sidecar, generator });
        Ok(())
    }

    /// Strikes until the time is over.
    fn storm(&mut self, replay: &Replay, speed: Speed) -> Result<()> {
        let start = Instant::now();
        let mut measured = start;
        while start.elapsed() < self.options.lasts {
            if measured.elapsed() > MEASURED {
                measured = Instant::now();
                let bytes = size(self.world.dir());
                ensure!(bytes <= MAX_BYTES, "the run has {bytes} bytes on disk, more than {MAX_BYTES}");
            }
            ensure!(!self.options.is_stopped(), "ended before its time");
            let share = start.elapsed().as_secs_f64() / self.options.lasts.as_secs_f64();
            self.disturb(share)?;
            self.spare_the_doomed(replay, speed)?;
            self.come_and_go()?;
            self.send_again()?;
            self.tick()?;
            std::thread::sleep(STEP);
        }
        Ok(())
    }

    /// A recorded pod that is about to be deleted has a sidecar that is there: another one would find no files.
    fn spare_the_doomed(&mut self, replay: &Replay, speed: Speed) -> Result<()> {
        let soon = replay.progress().at + SPARED.mul_f64(speed.factor());
        for (sidecar, pod) in self.recorded.iter_mut().zip(self.trace.pods()) {
            if self.trace.gone(pod).is_some_and(|gone| gone <= soon) {
                sidecar.spare(&mut self.rng, &mut self.histogram)?;
            }
        }
        Ok(())
    }

    fn disturb(&mut self, share: f64) -> Result<()> {
        let rng = &mut self.rng;
        self.network.tick(rng, self.quiet);
        self.clocks.tick(rng)?;
        let every = (self.options.lasts / 10).max(Duration::from_secs(6));
        for disk in [&mut self.collectors_disk, &mut self.sidecars_disk].into_iter().flatten() {
            disk.tick(rng, every)?;
        }
        if let Some(token) = &mut self.token
            && token.tick(rng, &self.world.issuer)?
            && let Some(pod) = self.pods.iter_mut().find(|pod| pod.spec.special == Trait::Token)
        {
            // A session that is there does not need it any more.
            pod.sidecar.kill(rng, &mut self.histogram)?;
        }
        let collectors: Vec<&Collector> = self.collectors.iter().filter_map(Mortal::collector).collect();
        self.pool.tick(share, &collectors, &self.world.authority)
    }

    /// Gives the second client something to send again.
    fn send_again(&mut self) -> Result<()> {
        if Instant::now() < self.next_round {
            return Ok(());
        }
        self.next_round = Instant::now() + Duration::from_millis(self.rng.between(500, 2500) as u64);
        let (from, to) = (*self.rng.pick(&self.pool.members), *self.rng.pick(&self.pool.members));
        let collector = |n: usize| self.collectors[n].collector().context("a collector is one");
        let mut tokens = std::collections::BTreeMap::new();
        for pod in self.pods.iter().filter(|pod| pod.spec.special != Trait::Token) {
            let PodIdentity { namespace, name, uid } = &pod.identity;
            let (cluster_uid, container, incarnation) = ("", "app", 0);
            let identity = Identity { cluster_uid, namespace, pod: name, pod_uid: uid, container, incarnation };
            let token = std::fs::read_to_string(self.world.dir().join(format!("sidecar-{name}/token")))?;
            tokens.insert(identity.chain_id(), token);
        }
        let round = Round {
            from: (from, collector(from)?.data()),
            to: (to, collector(to)?.address()?.to_owned()),
            ca: std::fs::read(self.world.authority.ca())?,
            tokens,
        };
        self.replayer.offer(round);
        Ok(())
    }

    /// Lets short-lived pods begin, and forgets those that are over.
    fn come_and_go(&mut self) -> Result<()> {
        let alive = self.pods.iter().filter(|pod| pod.is_brief()).count();
        if alive < BRIEF && Instant::now() >= self.next_brief {
            self.brief += 1;
            let spec = pods::brief(self.brief, &mut self.rng);
            let identity = spec.identity(self.options.seed);
            self.pod(spec, identity, &[])?;
            self.next_brief = Instant::now() + Duration::from_millis(self.rng.between(2000, 10_000) as u64);
        }
        for pod in self.pods.iter_mut().filter(|pod| pod.is_brief() && pod.generator.is_over()) {
            pod.sidecar.fate = Fate::Ends;
        }
        while let Some(at) = self.pods.iter().position(|pod| pod.is_brief() && pod.sidecar.has_ended()) {
            let pod = self.pods.swap_remove(at);
            let logs = self.world.logs().join(pod.identity.directory());
            self.over(pod)?;
            std::fs::remove_dir_all(logs)?;
        }
        Ok(())
    }

    /// A pod is over: what it printed is for the judge.
    fn over(&mut self, pod: Pod) -> Result<()> {
        let (script, files) = pod.generator.end()?;
        let name = format!("{}/app", pod.identity.directory());
        self.stops += pod.sidecar.stops.len() as u64;
        self.fell.extend(pod.sidecar.fell);
        let printed = Printed::Script { script, files };
        let Mortal { deaths, stops, .. } = pod.sidecar;
        self.done.push(judge::Container { name, printed, deaths, stops });
        Ok(())
    }

    fn tick(&mut self) -> Result<()> {
        let (rng, histogram) = (&mut self.rng, &mut self.histogram);
        let is_full = |disk: &Option<SmallDisk>| disk.as_ref().is_some_and(SmallDisk::is_full);
        for pod in &mut self.pods {
            pod.sidecar.tick(rng, histogram)?;
            // On a full disk it may have to end, or cannot begin.
            if pod.spec.special == Trait::FullDisk && is_full(&self.sidecars_disk) {
                pod.sidecar.fell.clear();
            }
        }
        for sidecar in &mut self.recorded {
            sidecar.tick(rng, histogram)?;
        }
        for (n, collector) in self.collectors.iter_mut().enumerate() {
            collector.tick(rng, histogram)?;
            if n == ON_SMALL_DISK && is_full(&self.collectors_disk) {
                collector.fell.clear();
            }
        }
        Ok(())
    }

    /// Lets everything come to rest: all is printed, delivered, closed, sealed.
    fn calm(&mut self) -> Result<()> {
        self.network.calm();
        self.clocks.calm()?;
        self.replayer.stop();
        if let Some(token) = &mut self.token {
            token.calm(&self.world.issuer)?;
        }
        for disk in [&mut self.collectors_disk, &mut self.sidecars_disk].into_iter().flatten() {
            disk.free()?;
        }
        for pod in &mut self.pods {
            pod.generator.stop();
        }
        let start = Instant::now();
        while !self.pods.iter().all(|pod| pod.generator.is_over()) {
            self.rest(start, "generators that still print")?;
        }
        for collector in &mut self.collectors {
            collector.fate = Fate::Lives;
        }
        for sidecar in self.pods.iter_mut().map(|pod| &mut pod.sidecar).chain(&mut self.recorded) {
            sidecar.fate = Fate::Ends;
        }
        while !self.pods.iter().map(|pod| &pod.sidecar).chain(&self.recorded).all(Mortal::has_ended) {
            self.rest(start, "sidecars that have not ended")?;
        }
        for collector in &mut self.collectors {
            collector.fate = Fate::Ends;
        }
        while !self.collectors.iter().all(Mortal::has_ended) {
            self.rest(start, "collectors that have not sealed their logs")?;
        }
        Ok(())
    }

    fn rest(&mut self, start: Instant, what: &str) -> Result<()> {
        ensure!(!self.options.is_stopped(), "ended before its time");
        if start.elapsed() > REST {
            let all = self.pods.iter().map(|pod| &pod.sidecar).chain(&self.recorded).chain(&self.collectors);
            let left: Vec<&str> = all.filter(|one| !one.has_ended()).map(|one| one.name.as_str()).collect();
            bail!("after {REST:?} of calm there are {what}: {}", left.join(", "));
        }
        self.tick()?;
        std::thread::sleep(STEP);
        Ok(())
    }

    /// Judges what the collectors hold, and asks the verifier.
    fn judge(mut self, moments: &[std::ops::Range<Timestamp>]) -> Result<Outcome> {
        for pod in std::mem::take(&mut self.pods) {
            self.over(pod)?;
        }
        for (sidecar, pod) in std::mem::take(&mut self.recorded).into_iter().zip(self.trace.pods()) {
            let of_pod = |container: &&String| container.starts_with(&format!("{}/", pod.directory));
            for container in self.trace.heads().keys().filter(of_pod) {
                let printed = recorded(&self.trace, container, moments);
                let (name, deaths, stops) = (container.clone(), sidecar.deaths.clone(), sidecar.stops.clone());
                self.done.push(judge::Container { name, printed, deaths, stops });
            }
            self.stops += sidecar.stops.len() as u64;
            self.fell.extend(sidecar.fell);
        }
        for collector in std::mem::take(&mut self.collectors) {
            self.stops += collector.stops.len() as u64;
            self.slow += collector.slow;
            self.fell.extend(collector.fell);
            if let Body::Collector(collector) = collector.body {
                self.world.collectors.push(collector);
            }
        }
        let repeated = self.replayer.end();
        let data: Vec<PathBuf> = self.world.collectors.iter().map(Collector::data).collect();
        let answer = self.world.verify(&[])?;
        let case = Case { data, containers: self.done, repeated: repeated.elsewhere };
        let verdict = judge::judge(&case)?;
        let outcome = Outcome {
            schedule: self.options.schedule,
            lasts: self.options.lasts,
            histogram: self.histogram,
            verdict,
            answer,
            fell: self.fell,
            stops: self.stops,
            slow: self.slow,
            network: self.network.changes,
            steps: self.clocks.steps,
            full: [&self.collectors_disk, &self.sidecars_disk].into_iter().flatten().map(|disk| disk.times).sum(),
            expired: self.token.map_or(0, |token| token.times),
            brief: self.brief,
            pool: self.pool.told,
            again: repeated.answers,
        };
        if self.options.keep && !outcome.wrong().is_empty() {
            println!("kept: {}", self.world.keep().display());
        }
        Ok(outcome)
    }
}

impl row11::Ground for Stage<'_> {
    fn kill_sender(&mut self) -> Result<()> {
        self.pods[0].sidecar.kill(&mut self.rng, &mut self.histogram)
    }

    fn kill_receiver(&mut self, receiver: usize) -> Result<()> {
        self.collectors[receiver].kill(&mut self.rng, &mut self.histogram)
    }

    fn receivers(&mut self) -> &mut [Mortal] {
        &mut self.collectors
    }

    fn disk(&mut self) -> Option<&mut SmallDisk> {
        self.collectors_disk.as_mut()
    }

    fn tick(&mut self) -> Result<()> {
        ensure!(!self.options.is_stopped(), "ended before its time");
        Stage::tick(self)
    }
}

impl Pod {
    fn is_brief(&self) -> bool {
        matches!(self.spec.volume, pods::Volume::Brief(_))
    }
}

/// Bytes of the files below a directory, as far as they are still there.
fn size(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let size_of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        metadata => metadata.map_or(0, |metadata| metadata.len()),
    };
    entries.map(size_of).sum()
}

/// What a recorded container printed, and when each line had left the disk.
fn recorded(trace: &Trace, container: &str, moments: &[std::ops::Range<Timestamp>]) -> Printed {
    let files = trace.files(container);
    let records = oracle::records(&files, Ending::Closed);
    let lines: Vec<Record> = records.into_iter().filter(|record| record.source != oracle::CONTROL).collect();
    let when = |file: &LogFile| file.gone_by.and_then(|number| moments.get(number)).map(|moment| moment.end);
    let gone: Vec<_> = trace.log_files(container).iter().map(when).collect();
    let gone = lines.iter().map(|line| gone[line.bytes.start.file]).collect();
    Printed::Recorded { lines, gone }
}
