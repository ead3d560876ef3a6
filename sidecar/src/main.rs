//! `indelible-sidecar`: wiring only.

#[path = "../../logging.rs"]
mod logging;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use indelible_sidecar::capture::{Capture, OpenError, Settings};
use indelible_sidecar::config::{self, Command, Config};
use indelible_sidecar::forward::Forward;
use indelible_sidecar::forward::client;
use indelible_sidecar::forward::edges::Edges;
use indelible_sidecar::forward::moment::{Moment, Now};
use indelible_sidecar::forward::resolve::Resolver;
use indelible_sidecar::reload::Watched;
use indelible_sidecar::run::Ended;
use indelible_sidecar::session::{self, Beside, Identity};
use indelible_sidecar::token::Token;
use indelible_sidecar::trust::{CaSource, Trust};
use indelible_sidecar::{armed, clock, own, run};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Wrong values and files; as for all our servers.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    // Before anything is opened: nobody of the same user may look into this process.
    let guarded = session::guard_memory();
    let (line, fail_open, state) = match config::parse(std::env::args_os()) {
        Ok(Command::Print(text)) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Ok(Command::Armed(flags)) if armed::is_set(&flags.state) => return ExitCode::SUCCESS,
        Ok(Command::Armed(flags)) => {
            let yet = || "no sidecar has listed its log directory with this --state".to_owned();
            say(&format!("not armed yet: {}", armed::why_not(&flags.state).unwrap_or_else(yet)));
            return ExitCode::FAILURE;
        }
        Ok(Command::Run(config)) => {
            let (fail_open, state) = (config.fail_open, config.state.clone());
            let started = guarded.context("cannot make the process non-dumpable").and_then(|()| start(&config));
            match started {
                Ok(()) => return ExitCode::SUCCESS,
                // A directory that is another pod's or process's stays as it is.
                Err(error)
                    if matches!(error.downcast_ref(), Some(OpenError::Foreign { .. } | OpenError::Locked { .. })) =>
                {
                    (format!("{error:#}"), fail_open, None)
                }
                Err(error) => (format!("{error:#}"), fail_open, Some(state)),
            }
        }
        Err(usage) => (usage.line, usage.fail_open, usage.state),
    };
    say(&line);
    if !fail_open {
        return ExitCode::from(USAGE);
    }
    if let Some(state) = state {
        // Where even that is impossible, the line above is all that can be done.
        let _ = std::fs::create_dir_all(&state).and_then(|()| armed::set(&state));
    }
    if idle().is_ok() { ExitCode::SUCCESS } else { ExitCode::from(USAGE) }
}

fn say(line: &str) {
    // With stderr gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "indelible-sidecar: {line}");
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// The pod goes on without us: nothing is done until we are told to end.
fn idle() -> std::io::Result<()> {
    runtime()?.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

fn start(config: &Config) -> anyhow::Result<()> {
    let colour = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(std::io::stderr);
    log.with_ansi(colour).with_target(false).finish().with(logging::filter(&[])).init();
    loop {
        match begin(config)? {
            Ended::Told(left) => {
                run::last_words(&left, config.termination_message().as_deref());
                return Ok(());
            }
            Ended::Readable => tracing::info!("the pod's logs can be read now: another session begins"),
        }
    }
}

/// One session.
fn begin(config: &Config) -> anyhow::Result<Ended> {
    let begun = Instant::now();
    let ca = config.ca();
    let ca_file = match &ca {
        CaSource::File(path) => Some(Watched::new(path)),
        CaSource::Value(_) => None,
    };
    let token_file = Watched::new(&config.token);
    let token = Token::read(&config.token)?;
    let identity = Identity::resolve(config.stated(), token.claims())?;
    let unreadable = config.own_container.as_ref().and_then(|own| own::look(&config.logs, own).err());
    let beside = Beside {
        cluster_uid: config.cluster_uid.clone(),
        audit_log: config.audit_log.clone(),
        excluded: if unreadable.is_some() { vec![session::EVERYTHING.to_owned()] } else { config.excluded() },
    };
    let own = session::begin(&identity, &beside, clock::now())?;
    let signer = own.signer.clone();
    let capture = Capture::open(settings(config, &identity)?, signer.clone())?;
    // Opening has made sure that the directory is there and ours.
    armed::clear(&config.state).with_context(|| format!("--state {}", config.state.display()))?;
    let trust = Trust::open(ca, &config.state)?;
    let unreadable = unreadable.map(|why| why.to_string());
    announce(config, &identity, unreadable.as_deref());

    let connections = client::Settings {
        bundle: trust.bundle().clone(),
        server_name: config.server_name.clone(),
        authorization: token.authorization(),
        resolver: Resolver::default(),
    };
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))?;
    let now = Now { moment: Moment::after_start(begun.elapsed()), time: clock::now() };
    let copies = usize::from(config.copies);
    let digest = trust.bundle().digest;
    let forward = Forward::new(now, signer.session, copies, &config.collectors, digest, u64::from_ne_bytes(seed));

    let (edges, reports) = Edges::new(own, connections);
    let config = config.clone();
    let parts = run::Parts { config, capture, forward, edges, trust, token_file, ca_file, unreadable, start: begun };
    Ok(runtime()?.block_on(run::run(parts, reports))?)
}

/// Says what happens from here on, for people who look at this container's own log.
fn announce(config: &Config, identity: &Identity, unreadable: Option<&str>) {
    let Identity { namespace, pod_name, .. } = identity;
    let Some(why) = unreadable else {
        tracing::info!(pod = %format_args!("{namespace}/{pod_name}"), "capturing what the pod's containers print");
        return;
    };
    let then = if config.fail_open { "run all the same" } else { "do not start" };
    tracing::error!("nothing is captured, and the pod's containers {then}: {why}");
    if let Err(error) = armed::explain(&config.state, why) {
        tracing::warn!(%error, "--state cannot be written");
    }
}

fn settings(config: &Config, identity: &Identity) -> anyhow::Result<Settings> {
    Ok(Settings {
        logs: config.logs.clone(),
        state: config.state.clone(),
        pod: identity.pod(&config.cluster_uid),
        boot_id: clock::boot_id(&config.boot_id_file).context("the node's boot id cannot be read")?,
        excluded: config.excluded(),
        flush_interval: config.flush_interval,
        max_batch_bytes: usize::try_from(config.max_batch_bytes)?,
        max_held_bytes: config.max_held_bytes,
        min_node_free_percent: config.min_node_free_percent,
    })
}
