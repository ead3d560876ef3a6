//! The rules of `ARCHITECTURE.md` that can be read off the tree: who may depend on whom, and how long a file may be.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn metadata() -> Value {
    let version = String::from_utf8(run(Command::new("rustc").arg("-vV"))).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", host]);
    serde_json::from_slice(&run(&mut cargo)).unwrap()
}

/// Which crates of the workspace each crate of the workspace depends on, in whatever role.
fn arrows(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let packages = metadata["packages"].as_array().unwrap();
    let ours = || packages.iter().filter(|package| package["source"].is_null());
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let names: BTreeSet<String> = ours().map(name).collect();
    ours()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter().map(name);
            (name(package), dependencies.filter(|dependency| names.contains(dependency)).collect())
        })
        .collect()
}

#[test]
fn every_arrow_between_crates_ends_at_chain() {
    for (from, to) in arrows(&metadata()) {
        let allowed: BTreeSet<String> =
            if from == "indelible-chain" { BTreeSet::new() } else { ["indelible-chain".to_owned()].into() };
        assert!(to.is_subset(&allowed), "{from} may depend on {allowed:?} only, and it depends on {to:?}");
    }
}

#[test]
fn chain_knows_no_runtime_no_network_and_no_clock() {
    let metadata = metadata();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let node = |id: &str| nodes.iter().find(|node| node["id"] == id).unwrap();
    let chain = nodes.iter().map(|node| node["id"].as_str().unwrap()).find(|id| id.contains("/chain#")).unwrap();
    let mut reached = BTreeSet::new();
    let mut next = vec![chain.to_owned()];
    while let Some(id) = next.pop() {
        for dependency in node(&id)["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            let package = dependency["pkg"].as_str().unwrap().to_owned();
            if kinds.iter().any(|kind| kind["kind"].is_null()) && reached.insert(package.clone()) {
                next.push(package);
            }
        }
    }
    for forbidden in ["tokio", "hyper", "kube", "mio", "reqwest", "rustls", "jiff", "chrono", "time", "tracing"] {
        let found = reached.iter().find(|id| id.contains(&format!("#{forbidden}@")));
        assert_eq!(found, None, "chain may not know {forbidden}");
    }
    assert!(reached.iter().any(|id| id.contains("#sha2@")), "the walk over the dependencies found nothing");
}

#[test]
fn chain_names_no_file_no_clock_and_no_environment() {
    for file in sources(&root().join("chain/src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for forbidden in ["std::fs", "std::net", "std::env", "std::thread", "SystemTime", "Instant"] {
            assert!(!text.contains(forbidden), "{} names {forbidden}", file.display());
        }
    }
}

/// What forges evidence speaks the format by an implementation of its own: an error of the product's is not made twice.
#[test]
fn what_forges_links_no_crate_of_the_product() {
    let tests = root().join("tests/src");
    let mut files = sources(&tests.join("attacks"));
    files.extend(sources(&tests.join("tamper")));
    files.extend(["insider.rs", "peer.rs", "attacks.rs", "tamper.rs"].map(|name| tests.join(name)));
    // What fails is not forged, and the second implementation is compared with the first.
    let may = [tests.join("attacks/life.rs"), tests.join("tamper/tests.rs")];
    let mut looked_at = 0;
    for file in files.iter().filter(|file| !may.contains(file)) {
        let text = std::fs::read_to_string(file).unwrap();
        for forbidden in ["indelible_chain", "indelible_collector", "indelible_sidecar", "crate::evidence"] {
            assert!(!text.contains(forbidden), "{} names {forbidden}", file.display());
        }
        looked_at += 1;
    }
    assert!(looked_at > 20, "the forgers were not found: {looked_at} files");
}

#[test]
fn second_opinions_share_nothing_with_chain() {
    for room in ["tests/src/oracle", "tests/src/tamper", "tests/src/soak/judge", "tests/src/soak/row11"] {
        let mut files = sources(&root().join(room));
        files.push(root().join(room).with_extension("rs"));
        // Their own tests hold them against chain.
        for file in files.into_iter().filter(|file| !file.ends_with("tests.rs")) {
            let text = std::fs::read_to_string(&file).unwrap();
            for forbidden in ["indelible_chain", "crate::evidence"] {
                assert!(!text.contains(forbidden), "{} names {forbidden}", file.display());
            }
        }
    }
}

#[test]
fn an_image_is_built_from_all_members_of_the_workspace() {
    let ignore = std::fs::read_to_string(root().join(".dockerignore")).unwrap();
    let root = root();
    for package in metadata()["packages"].as_array().unwrap().iter().filter(|package| package["source"].is_null()) {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap()).strip_prefix(&root).unwrap();
        let member = manifest.iter().next().unwrap().to_str().unwrap();
        assert!(ignore.lines().any(|line| line == format!("!{member}")), ".dockerignore keeps {member} out");
    }
}

#[test]
fn no_source_file_is_over_600_lines() {
    for file in sources(&root()) {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 600, "{} has {lines} lines: split it by meaning", file.display());
    }
}

#[test]
fn every_source_file_says_what_it_owns() {
    for file in sources(&root()) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//!"), "{} does not begin with what it owns", file.display());
    }
}

/// All `.rs` files below a folder of this workspace, built ones left out.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
