//! `indelible-csi`: wiring only.

#[path = "../../logging.rs"]
mod logging;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use indelible_csi::config::{self, Config, ConfigError};
use indelible_csi::run;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Wrong values and directories; as for all our servers.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let started = match config::read(std::env::args_os()) {
        Ok(config) => start(config).map_err(|error| format!("{error:#}")),
        Err(ConfigError::Told(text)) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(ConfigError::Refused(line)) => Err(line),
    };
    let Err(line) = started else { return ExitCode::SUCCESS };
    // With stderr gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "indelible-csi: {line}");
    ExitCode::from(USAGE)
}

fn start(config: Config) -> anyhow::Result<()> {
    let colour = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(std::io::stderr);
    log.with_ansi(colour).with_target(false).finish().with(logging::filter(&[])).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the system gives no event queue")?;
    let done = runtime.block_on(run::run(config));
    // A call that hangs on a dead disk does not keep the process: the kubelet repeats it.
    runtime.shutdown_background();
    Ok(done?)
}
