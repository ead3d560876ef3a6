//! Someone who has Go and the system's tools, and nothing of ours but this checkout: an empty HOME, no program in PATH.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What Go may know of the machine: where modules come from, and where they and what was built of them are kept.
const GO_KNOWS: [&str; 7] = ["GOMODCACHE", "GOCACHE", "GOFLAGS", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOTOOLCHAIN"];

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Someone who has Go, and nothing of ours but this checkout.
pub struct Outsider {
    home: tempfile::TempDir,
    path: OsString,
    environment: Vec<(String, OsString)>,
}

/// What a command said.
pub struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

impl Outsider {
    /// With a home of his own.
    pub fn new() -> Self {
        let path = std::env::var_os("PATH").unwrap();
        let go = std::env::split_paths(&path).find(|dir| dir.join("go").is_file()).expect("Go is in the path");
        let tools = [go, "/usr/bin".into(), "/bin".into()];
        for ours in ["indelible", "indelible-collector", "indelible-sidecar", "kubectl-indelible"] {
            assert!(tools.iter().all(|dir| !dir.join(ours).exists()), "{ours} is among Go's or the system's tools");
        }
        let known = Command::new("go").arg("env").args(GO_KNOWS).current_dir(root().join("tests/foreign/go")).output();
        let known = String::from_utf8(known.unwrap().stdout).unwrap();
        let mut environment: Vec<(String, OsString)> =
            GO_KNOWS.iter().zip(known.lines()).map(|(name, value)| ((*name).to_owned(), value.into())).collect();
        let proxies = ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"];
        environment.extend(proxies.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var_os(name)?))));
        let path = std::env::join_paths(tools).unwrap();
        Self { home: tempfile::tempdir().unwrap(), path, environment }
    }

    /// Runs a block of commands as somebody would who pastes it at the root of this repository.
    pub fn paste(&self, block: &str, given: &[(&str, &str)]) -> Said {
        let mut shell = Command::new("/bin/bash");
        shell.args(["-euo", "pipefail", "-c", block]).current_dir(root()).env_clear();
        shell.env("HOME", self.home.path()).env("PATH", &self.path);
        shell.envs(self.environment.iter().map(|(name, value)| (name, value))).envs(given.iter().copied());
        let output = shell.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Said {
    pub fn verified(&self) {
        assert!(self.ok && self.out.ends_with("\nverified\n"), "{}{}", self.out, self.err);
    }

    pub fn refused(&self, why: &str) {
        let said = self.err.lines().find(|line| line.starts_with("NOT verified: ")).unwrap_or_default();
        assert!(!self.ok && said.contains(why) && !self.out.contains("verified"), "{}{}", self.out, self.err);
    }
}

/// The blocks of commands in a page, in their order.
pub fn blocks(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let parts = text.split("```sh\n").skip(1);
    parts.map(|part| part.split_once("```").unwrap().0.to_owned()).collect()
}
