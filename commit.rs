//! The build script of all programs: puts the commit into `--version`, from `INDELIBLE_COMMIT` if that is set, else from
//! git, else "unknown": a build outside a checkout (a source archive, an image) says that it does not know.
//!
//! And has the table of what is relocated at the start packed: half a megabyte less of each process, which reads all of it.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=INDELIBLE_COMMIT");
    println!("cargo::rerun-if-changed=../commit.rs");
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    // HEAD names a branch, whose commit changes without it; its log is written to each time. Only files that exist: a
    // missing one would build anew each time.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let given = std::env::var("INDELIBLE_COMMIT").ok().filter(|text| !text.is_empty());
    let commit = given.or_else(|| git(&["rev-parse", "--short=12", "HEAD"])).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=INDELIBLE_BUILD_COMMIT={commit}");
    if unpacks_relocations().unwrap_or(false) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether a packed table is understood by what is linked in: glibc does since 2.36, and an older one would crash before
/// `main`. Where it was not looked at, there is no packing.
fn unpacks_relocations() -> Option<bool> {
    let of = |name: &str| std::env::var(name).ok();
    if of("HOST")? != of("TARGET")? || of("TARGET")? != "x86_64-unknown-linux-gnu" {
        return None;
    }
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?) >= (2, 36))
}
