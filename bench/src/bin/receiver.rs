//! `receiver`: keeps the lines that a peer sends it, until SIGTERM. Prints where it listens.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use indelible_bench::receiver::{Kept, Protocol, serve};
use tokio::signal::unix::{SignalKind, signal};

/// Appends the lines that it is sent to a file, and acknowledges them then.
#[derive(Debug, Parser)]
struct Arguments {
    /// What is spoken.
    #[arg(long, value_enum)]
    protocol: Protocol,
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// Where its file is.
    #[arg(long)]
    dir: PathBuf,
}

/// What each append takes at least: as for a collector, `commit-sync:<milliseconds>` says it.
fn slow() -> Option<Duration> {
    let slow = std::env::var("INDELIBLE_SLOW").ok()?;
    Some(Duration::from_millis(slow.strip_prefix("commit-sync:")?.parse().ok()?))
}

fn main() -> Result<()> {
    let Arguments { protocol, listen, dir } = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut terminated = {
        let _guard = runtime.enter();
        signal(SignalKind::terminate())?
    };
    let kept = Arc::new(Kept::open(&dir, slow().unwrap_or_default())?);
    let listener = TcpListener::bind(listen).with_context(|| format!("listening on {listen}"))?;
    println!("listening {}", listener.local_addr()?);
    std::thread::spawn(move || serve(&listener, protocol, &kept));
    // What is not acknowledged comes again: it may end at any time.
    runtime.block_on(terminated.recv());
    Ok(())
}
