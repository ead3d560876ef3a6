//! Puts the commit into `--version`: from `INDELIBLE_COMMIT`, else from git, else `unknown`.
//!
//! A build outside a checkout (a source archive, an image) still builds and says that it does not know.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=INDELIBLE_COMMIT");
    println!("cargo::rerun-if-changed=../.git/HEAD");
    let commit = std::env::var("INDELIBLE_COMMIT").ok().or_else(git_commit).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=INDELIBLE_COMMIT={commit}");
}

fn git_commit() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}
