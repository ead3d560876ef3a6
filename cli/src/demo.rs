//! `indelible demo`: the product on one machine, told as a story.
//!
//! Real processes, real log files, real signals: an issuer vouches for three pods, collectors and sidecars start, logs
//! are written and rotated, a collector is killed and comes back, everything verifies; then a byte is changed and a batch
//! removed in copies, and `verify` names both. Each step is checked as it is told; the demo exits 0 only if all of it
//! came out so. It needs no network but this machine's own.

pub mod issuer;
mod kubelet;
mod pods;
mod process;
mod stage;
pub mod tamper;
mod verdict;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};

use crate::args::DemoArgs;
use crate::clock;
use crate::exit::CommandError;
use crate::report::people::count;
use pods::{Printed, Workload};
use process::Programs;
use stage::Stage;
use tamper::Tampered;
use verdict::Verdict;

/// How often the pods print, and for how long.
const TICK: Duration = Duration::from_millis(25);
const TICKS: u64 = 240;
/// When a collector is killed, and when it comes back.
const KILL_AT: u64 = 80;
const RETURN_AT: u64 = 130;

/// What shells call a program that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;
/// Longest part of a finding that the story repeats.
const MAX_TOLD: usize = 210;

/// Runs the command; gives the exit code.
pub fn run(args: &DemoArgs, runtime: &Handle) -> Result<u8, CommandError> {
    let programs = Programs::find()?;
    let place = Place::make(args)?;
    // Whichever comes first; what is dropped takes its processes with it.
    let told = runtime.block_on(async {
        tokio::select! {
            told = tell(args, &programs, &place.path) => Some(told),
            () = interrupted() => None,
        }
    });
    match told {
        Some(Ok(())) => {
            place.end();
            Ok(0)
        }
        None => {
            anstream::eprintln!("indelible: interrupted; the demo's processes were ended");
            place.end();
            Ok(INTERRUPTED)
        }
        Some(Err(e)) => {
            let path = place.keep();
            anstream::eprintln!("indelible: the demo did not come out as told: {e:#}");
            anstream::eprintln!("indelible: what its processes said is in {}", path.join("run").display());
            Ok(1)
        }
    }
}

async fn interrupted() {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
    let terminated = async {
        match &mut terminated {
            Some(signal) => {
                signal.recv().await;
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// Where the demo works.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    is_kept: bool,
}

impl Place {
    fn make(args: &DemoArgs) -> Result<Self, CommandError> {
        if let Some(dir) = &args.dir {
            fs::create_dir_all(dir).with_context(|| format!("--dir {}", dir.display()))?;
            let mut entries = fs::read_dir(dir).with_context(|| format!("--dir {}", dir.display()))?;
            if entries.next().is_some() {
                let text = format!("--dir {}: not empty; name a directory of its own for the demo", dir.display());
                return Err(CommandError::Usage(text));
            }
            let path = dir.canonicalize().with_context(|| format!("--dir {}", dir.display()))?;
            return Ok(Self { path, is_kept: true });
        }
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|e| anyhow!("a name for the temporary directory: {e}"))?;
        let path = std::env::temp_dir().join(format!("indelible-demo-{:016x}", u64::from_be_bytes(random)));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self { path, is_kept: args.keep })
    }

    /// Removes what is not to be kept.
    fn end(self) {
        if !self.is_kept
            && let Err(e) = fs::remove_dir_all(&self.path)
        {
            anstream::eprintln!("indelible: {} could not be removed: {e}", self.path.display());
        }
    }

    fn keep(self) -> PathBuf {
        self.path
    }
}

/// Tells a line of the story, with the seconds since it began.
#[derive(Debug)]
struct Story {
    began: Instant,
}

impl Story {
    fn tell(&self, line: &str) {
        let elapsed = self.began.elapsed();
        let style = anstyle::Style::new().dimmed();
        anstream::println!("{style}{:>5.1}s{style:#}  {line}", elapsed.as_secs_f64());
    }
}

async fn tell(args: &DemoArgs, programs: &Programs, dir: &Path) -> Result<()> {
    let story = Story { began: Instant::now() };
    story.tell(&format!("the demo works in {}, its content follows from seed {}", dir.display(), args.seed));
    let mut stage = Stage::set(dir, programs.clone())?;
    story.tell("an issuer made its keys: it vouches for pods as Kubernetes does");
    for n in 0..args.collectors {
        let collector = stage.add_collector(n).await?;
        story.tell(&format!(
            "collector {} listens on {}; its log is {}",
            collector.name, collector.url, collector.origin
        ));
    }
    stage.write_policy()?;
    let mut pods = Workload::all(dir, args.seed)?;
    for pod in &pods {
        stage.add_sidecar(&pod.pod)?;
        let (namespace, name) = (&pod.pod.namespace, &pod.pod.name);
        story.tell(&format!("pod {namespace}/{name} runs on {}, with a sidecar beside it", pod.pod.node));
    }
    let printed = act(&mut stage, &mut pods, &story).await?;
    story.tell(&format!(
        "the pods stop: {}, {} across files, older files compressed",
        count(printed.lines, "line", "lines"),
        count(printed.rotations, "rotation", "rotations")
    ));
    stage.end_sidecars().await?;
    story.tell("the sidecars read to the end, closed their chains, and left with every receipt");
    stage.keep_checkpoints()?;
    stage.end_collectors().await?;
    story.tell("the collectors sealed their logs and left; a checkpoint of each was kept aside");
    verify(&stage, &story, printed).await?;
    tamper(&stage, &story).await?;
    epilogue(args, &stage, &story);
    Ok(())
}

/// The pods print, a collector is killed, and comes back.
async fn act(stage: &mut Stage, pods: &mut [Workload], story: &Story) -> Result<Printed> {
    let mut printed = Printed::default();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0..TICKS {
        ticks.tick().await;
        for pod in &mut *pods {
            printed += pod.print(tick, clock::now()).context("writing the pods' logs")?;
        }
        if tick == KILL_AT {
            let name = stage.kill_collector().await?;
            story.tell(&format!("collector {name} is killed (SIGKILL) while it is written to; the others take over"));
        }
        if tick == RETURN_AT {
            let collector = stage.restart_collector().await?;
            story.tell(&format!(
                "collector {} is back on {}: what it had receipted is there",
                collector.name, collector.url
            ));
        }
    }
    Ok(printed)
}

async fn verify(stage: &Stage, story: &Story, printed: Printed) -> Result<()> {
    let verdict = Verdict::of(stage, &stage.data()).await?;
    // A line is a record at least; the sidecars add what they have to say themselves.
    ensure!(verdict.exit == 0, "verify should find nothing and exit 0, and does this: {}", verdict.summary());
    ensure!(verdict.fails() == 0, "verify should find nothing that fails: {}", verdict.summary());
    ensure!(
        verdict.records >= printed.lines,
        "{} lines were printed, {} records are there",
        printed.lines,
        verdict.records
    );
    story.tell(&format!(
        "verify: {} in {} over {}",
        count(verdict.records, "record", "records"),
        count(verdict.chains, "chain", "chains"),
        count(verdict.logs, "log", "logs")
    ));
    story.tell(&format!("        {} (exit 0)", verdict.verdicts));
    Ok(())
}

async fn tamper(stage: &Stage, story: &Story) -> Result<()> {
    for tampered in [Tampered::byte(stage)?, Tampered::batch(stage)?] {
        story.tell(&format!("in a copy: {}", tampered.what));
        let verdict = Verdict::of(stage, &tampered.data).await?;
        ensure!(verdict.exit == 1, "verify should exit 1, and does this: {}", verdict.summary());
        let named = verdict.naming(&tampered)?;
        story.tell(&format!("verify: {} (exit 1)", verdict.verdicts));
        story.tell(&format!("        {}", shortened(&named)));
    }
    Ok(())
}

/// The beginning of a finding's text, up to the end of a word.
fn shortened(text: &str) -> String {
    let cut = text.char_indices().take_while(|(at, _)| *at < MAX_TOLD).filter(|(_, c)| *c == ' ').last();
    match cut {
        Some((at, _)) if text.len() > MAX_TOLD => format!("{} …", &text[..at]),
        _ => text.to_owned(),
    }
}

fn epilogue(args: &DemoArgs, stage: &Stage, story: &Story) {
    story.tell("everything came out as told");
    let program = stage.programs.indelible.display();
    if !args.keep && args.dir.is_none() {
        anstream::println!("\nTry next: {program} demo --keep, and look at what it leaves.");
        return;
    }
    let dir = stage.dir.display();
    let data: Vec<String> = stage.data().iter().map(|data| data.display().to_string()).collect();
    let (data, trust) = (data.join(" "), format!("--policy {dir}/policy --issuer-keys {dir}/jwks.json"));
    anstream::println!("\nKept: {dir}/data, policy, jwks.json, ca.pem, logs, written, seen, tampered. Try next:");
    anstream::println!("  {program} verify {data} {trust}");
    anstream::println!("  {program} logs {data} {trust} --prefix | tail");
    anstream::println!("  {program} status {data}");
}
