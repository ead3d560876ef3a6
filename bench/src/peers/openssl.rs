//! `openssl dgst -sha256`: what hashing some bytes once costs, with the processor's own instructions.

use std::path::Path;

use anyhow::Result;

use super::{Installed, in_path, version};
use crate::limits::CASE;
use crate::process::{Core, Process, Spec, Usage};

/// Finds it.
pub fn find() -> Result<Installed> {
    let program = in_path("openssl")?;
    let version = version(&program, "version", &[])?;
    Ok(Installed { version: version.split(" (").next().unwrap_or_default().to_owned(), program })
}

/// Hashes a file on the measured core.
pub fn sha256(installed: &Installed, file: &Path, dir: &Path) -> Result<Usage> {
    let spec = Spec::new("openssl", &installed.program).args(["dgst", "-sha256"]).arg(file).on(Core::Measured);
    Ok(Process::run(&spec, dir, CASE, &[0])?.0)
}
