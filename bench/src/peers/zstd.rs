//! `zstd -1 -B256K`: how small some bytes become.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{Installed, in_path, version};
use crate::process::Spec;

/// Finds it.
pub fn find() -> Result<Installed> {
    let program = in_path("zstd")?;
    let version = version(&program, "--version", &[])?;
    let version =
        version.split_whitespace().find(|word| word.starts_with('v')).unwrap_or(&version).trim_matches(',').to_owned();
    Ok(Installed { program, version: format!("zstd {version}") })
}

/// The size of a file when it is packed, in bytes.
pub fn packed_bytes(installed: &Installed, file: &Path, dir: &Path) -> Result<u64> {
    let packed = dir.join("packed.zst");
    let spec =
        Spec::new("zstd", &installed.program).args(["-q", "-f", "-1", "-B256K"]).arg(file).arg("-o").arg(&packed);
    crate::process::Process::run(&spec, dir, crate::limits::CASE, &[0])?;
    let bytes = std::fs::metadata(&packed).context("zstd writes a file")?.len();
    std::fs::remove_file(packed)?;
    Ok(bytes)
}
