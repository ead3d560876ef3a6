//! `peer`: becomes a peer's sender with its configuration for row 11, or says its version.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Parser;
use indelible_bench::peers::sender::{self, Place};

/// Reads the log files of one container and sends their lines to 127.0.0.1, until SIGTERM.
#[derive(Debug, Parser)]
struct Arguments {
    /// Which.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(sender::ALL.map(|sender| sender.name)))]
    name: String,
    /// Print its version instead; fails if it is not installed.
    #[arg(long)]
    version_only: bool,
    /// Folder of the container's log files.
    #[arg(long, default_value = ".")]
    logs: PathBuf,
    /// Folder of its own, where it keeps what must survive it.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Port on 127.0.0.1 that it sends to.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Folder of the committed configurations.
    #[arg(long, default_value = "bench/peers")]
    configurations: PathBuf,
}

fn main() -> Result<()> {
    let Arguments { name, version_only, logs, dir, port, configurations } = Arguments::parse();
    let sender = sender::ALL.iter().find(|sender| sender.name == name).context("a peer of this name")?;
    let installed = (sender.find)()?;
    if version_only {
        println!("{}", installed.version);
        return Ok(());
    }
    let place = Place { logs: &logs, dir: &dir, port, configurations: &configurations };
    let spec = (sender.spec)(&installed, &place)?;
    // The same process goes on as the peer: whoever started it may kill it.
    let error = Command::new(&spec.program).args(spec.arguments).envs(spec.environment).exec();
    Err(error).with_context(|| format!("becoming {}", spec.program.display()))
}
