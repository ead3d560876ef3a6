//! Peers as row 11 has them: what each keeps survives it, so that it may be killed and started again in the same folder.

use std::path::Path;

use anyhow::Result;

use super::{Installed, otelcol, rsyslog};
use crate::process::Spec;

/// Where a sender reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The container's log files: `0.log`, and beside it those that were rotated.
    pub logs: &'a Path,
    /// A directory of its own.
    pub dir: &'a Path,
    /// The port on 127.0.0.1 that it sends to.
    pub port: u16,
    /// The committed configurations.
    pub configurations: &'a Path,
}

/// A program that sends lines.
#[derive(Debug, Clone, Copy)]
pub struct Sender {
    /// Its name, which is that of its folder in `bench/peers`.
    pub name: &'static str,
    /// Finds it.
    pub find: fn() -> Result<Installed>,
    /// How it is started.
    pub spec: fn(&Installed, &Place<'_>) -> Result<Spec>,
}

/// Those that row 11 runs beside ours.
pub const ALL: [Sender; 2] = [rsyslog::SENDER, otelcol::SENDER];
