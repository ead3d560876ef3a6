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

use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::args::DemoArgs;
use crate::clock;
use crate::exit::{CommandError, is_broken_pipe};
use crate::report::people::count;
use crate::terminal::say;
use crate::text::shell;
use issuer::Pod;
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

/// What ends the demo early: Ctrl-C, a supervisor, a terminal that is closed. Shells add 128 to the number.
const ENDINGS: [(SignalKind, u8); 4] = [
    (SignalKind::interrupt(), 130),
    (SignalKind::terminate(), 143),
    (SignalKind::hangup(), 129),
    (SignalKind::quit(), 131),
];
/// Longest part of a finding that the story repeats.
const MAX_TOLD: usize = 210;

/// Runs the command; gives the exit code.
pub fn run(args: &DemoArgs, runtime: &Handle) -> Result<u8, CommandError> {
    let programs = Programs::find()?;
    let place = Place::make(args)?;
    // Whichever comes first; what is dropped takes its processes with it.
    let told = runtime.block_on(async {
        tokio::select! {
            told = tell(args, &programs, &place.path) => Ok(told),
            code = interrupted() => Err(code),
        }
    });
    match told {
        Ok(Ok(())) => {
            place.end();
            Ok(0)
        }
        Err(code) => {
            place.end();
            say("interrupted; the demo's processes were ended");
            Ok(code)
        }
        // Whoever listened has gone away: the story is over.
        Ok(Err(e)) if is_broken_pipe(&e) => {
            place.end();
            Err(e.into())
        }
        Ok(Err(e)) => {
            let path = place.keep();
            say(format_args!("the demo did not come out as told: {e:#}"));
            say(format_args!("what its processes said is in {}", path.join("run").display()));
            Ok(1)
        }
    }
}

/// Waits for one of [`ENDINGS`]; gives the exit code.
async fn interrupted() -> u8 {
    let (send, mut ended) = mpsc::channel(ENDINGS.len());
    for (kind, code) in ENDINGS {
        let Ok(mut signals) = signal(kind) else { continue };
        let send = send.clone();
        tokio::spawn(async move {
            signals.recv().await;
            let _ = send.send(code).await; // the demo may have ended by itself
        });
    }
    match ended.recv().await {
        Some(code) => code,
        None => std::future::pending().await,
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
            let refuse = |why: &dyn Display| {
                let dir = dir.display();
                CommandError::Usage(format!(
                    "--dir {dir}: {why}; name a directory of its own for the demo, new or empty"
                ))
            };
            fs::create_dir_all(dir).map_err(|e| refuse(&e))?;
            let mut entries = fs::read_dir(dir).map_err(|e| refuse(&e))?;
            if entries.next().is_some() {
                return Err(refuse(&"not empty"));
            }
            let path = dir.canonicalize().map_err(|e| refuse(&e))?;
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
            say(format_args!("{} could not be removed: {e}", self.path.display()));
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
    fn tell(&self, line: &str) -> std::io::Result<()> {
        let elapsed = self.began.elapsed();
        let style = anstyle::Style::new().dimmed();
        writeln!(anstream::stdout().lock(), "{style}{:>5.1}s{style:#}  {line}", elapsed.as_secs_f64())
    }
}

async fn tell(args: &DemoArgs, programs: &Programs, dir: &Path) -> Result<()> {
    let story = Story { began: Instant::now() };
    story.tell(&format!("the demo works in {}, its content follows from seed {}", dir.display(), args.seed))?;
    let mut stage = Stage::set(dir, programs.clone())?;
    story.tell("an issuer made its keys: it vouches for pods as Kubernetes does")?;
    for n in 0..args.collectors {
        let collector = stage.add_collector(n).await?;
        story.tell(&format!(
            "collector {} listens on {}; its log is {}",
            collector.name, collector.url, collector.origin
        ))?;
    }
    stage.write_policy()?;
    let mut pods = Workload::all(dir, args.seed)?;
    for pod in &pods {
        stage.add_sidecar(&pod.pod)?;
        let (namespace, name) = (&pod.pod.namespace, &pod.pod.name);
        story.tell(&format!("pod {namespace}/{name} runs on {}, with a sidecar beside it", pod.pod.node))?;
    }
    let printed = act(&mut stage, &mut pods, &story).await?;
    story.tell(&format!(
        "the pods stop: {}, {} across files, older files compressed",
        count(printed.lines, "line", "lines"),
        count(printed.rotations, "rotation", "rotations")
    ))?;
    stage.end_sidecars().await?;
    story.tell("the sidecars read to the end, closed their chains, and left with every receipt")?;
    stage.keep_checkpoints()?;
    stage.end_collectors().await?;
    story.tell("the collectors sealed their logs and left; a checkpoint of each was kept aside")?;
    verify(&stage, &story, printed).await?;
    tamper(&stage, &story).await?;
    let pod = pods.first().context("the demo has pods")?;
    epilogue(args, &stage, &pod.pod, &story)
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
            story
                .tell(&format!("collector {name} is killed (SIGKILL) while it is written to; the others take over"))?;
        }
        if tick == RETURN_AT {
            let collector = stage.restart_collector().await?;
            story.tell(&format!(
                "collector {} is back on {}: what it had receipted is there",
                collector.name, collector.url
            ))?;
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
    ))?;
    story.tell(&format!("        {} (exit 0)", verdict.verdicts))?;
    Ok(())
}

async fn tamper(stage: &Stage, story: &Story) -> Result<()> {
    for tampered in [Tampered::byte(stage)?, Tampered::batch(stage)?] {
        story.tell(&format!("in a copy: {}", tampered.what))?;
        let verdict = Verdict::of(stage, &tampered.data).await?;
        ensure!(verdict.exit == 1, "verify should exit 1, and does this: {}", verdict.summary());
        let named = verdict.naming(&tampered)?;
        story.tell(&format!("verify: {} (exit 1)", verdict.verdicts))?;
        story.tell(&format!("        {}", shortened(&named)))?;
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

/// What to do next: commands that can be pasted as they are.
fn epilogue(args: &DemoArgs, stage: &Stage, pod: &Pod, story: &Story) -> Result<()> {
    story.tell("everything came out as told")?;
    let mut out = anstream::stdout().lock();
    let program = shell(&stage.programs.indelible);
    if !args.keep && args.dir.is_none() {
        writeln!(out, "\nTry next, to look at what it leaves:")?;
        return Ok(writeln!(out, "  {program} demo --keep")?);
    }
    let path = |name: &str| shell(&stage.dir.join(name));
    let data = stage.data().iter().map(|data| shell(data)).collect::<Vec<_>>().join(" ");
    let policy = format!("--policy {}", path("policy"));
    let trust = format!("{policy} --issuer-keys {}", path("jwks.json"));
    let (pod, proof) = (&pod.name, path("record.tlog-proof"));
    writeln!(out, "\nKept in {}: data, policy, jwks.json, ca.pem, logs, written, seen, tampered. Try next:", path(""))?;
    writeln!(out, "  {program} verify {data} {trust}")?;
    writeln!(out, "  {program} logs {data} {trust} --prefix | tail")?;
    writeln!(out, "  {program} status {data}")?;
    writeln!(out, "  {program} prove {data} 1 --pod {pod} --container app {policy} -o {proof}")?;
    Ok(writeln!(out, "  {program} prove --check {proof} {policy}")?)
}
