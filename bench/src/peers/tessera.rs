//! Tessera: a library for logs like ours, here on a POSIX file system. Log and load are one program, which gets all cores.

use anyhow::Result;

use super::load::{self, Acknowledged, Load, Store};
use super::{Installed, cached};
use crate::process::Core;

/// A log in a directory.
pub const POSIX: Store = Store { name: "Tessera", find, load };

fn find() -> Result<Installed> {
    let program = cached("tessera", "load")?;
    let version = std::fs::read_to_string(cached("tessera", "version")?)?;
    Ok(Installed { program, version: version.trim().rsplit(' ').next().unwrap_or_default().to_owned() })
}

fn load(installed: &Installed, load: &Load<'_>) -> Result<Acknowledged> {
    let dir = load.dir.join("log");
    std::fs::create_dir_all(&dir)?;
    load::run(&installed.program, load, Core::Any, &["-dir", &dir.display().to_string()])
}
