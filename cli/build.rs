//! Puts the commit into `--version`: from `INDELIBLE_COMMIT`, else from git, else `unknown`.
//!
//! A build outside a checkout (a source archive, an image) still builds and says that it does not know.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=INDELIBLE_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    // HEAD names a branch, whose commit changes without it; its log is written to each time.
    for path in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", path]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let commit = std::env::var("INDELIBLE_COMMIT")
        .ok()
        .filter(|commit| !commit.is_empty())
        .or_else(|| git(&["rev-parse", "--short", "HEAD"]))
        .unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=INDELIBLE_COMMIT={commit}");
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
