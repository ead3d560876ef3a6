//! The chart's files as text, and rules that hold for the text of every template.

use std::fs;
use std::path::{Path, PathBuf};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub fn chart() -> PathBuf {
    root().join("charts/indelible")
}

pub fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A generated file is what it should be, or becomes it.
pub fn assert_generated(path: &str, expected: &str) {
    let path = root().join(path);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, expected).unwrap();
        return;
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let line = found.lines().zip(expected.lines()).take_while(|(found, expected)| found == expected).count() + 1;
    assert!(found == expected, "{} is out of date from line {line} on; `make generate` renews it", path.display());
}

/// All templates: the path within the chart, and the text.
pub fn templates() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut directories = vec![chart().join("templates")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(chart()).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found.sort();
    found
}

#[test]
fn every_rbac_rule_says_why() {
    let mut rules = 0;
    for (name, text) in templates() {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate() {
            if line.starts_with("- apiGroups:") && name.contains("/rbac/") || line.starts_with("- nonResourceURLs:") {
                rules += 1;
                let comment = lines[number - 1];
                assert!(comment.starts_with("# ") && comment.len() > 12, "{name}:{}: no comment says why", number + 1);
            }
        }
        let elsewhere = text.contains("kind: Role") || text.contains("kind: ClusterRole");
        assert!(!elsewhere || name.contains("/rbac/"), "{name}: roles belong into templates/rbac");
    }
    assert!(rules > 20, "{rules}");
}

#[test]
fn every_image_comes_from_the_values() {
    let mut images = 0;
    for (name, text) in templates() {
        for line in text.lines().filter(|line| line.trim_start().starts_with("image:") || line.contains("-image=")) {
            images += 1;
            assert!(line.contains("include \"indelible.image\" (dict \"root\" $"), "{name}: {line}");
        }
    }
    assert!(images >= 5, "{images}");
}

#[test]
fn nothing_depends_on_what_a_cluster_holds_or_on_chance() {
    for (name, text) in templates() {
        for function in
            ["lookup", "genCA", "genSignedCert", "genSelfSignedCert", "rand", "uuidv4", "now", "genPrivateKey"]
        {
            let called =
                text.split("{{").skip(1).filter(|action| !action.starts_with("/*") && !action.starts_with("- /*")).any(
                    |action| {
                        action
                            .split("}}")
                            .next()
                            .unwrap()
                            .split(|c: char| !c.is_alphanumeric())
                            .any(|word| word == function || function == "rand" && word.starts_with("rand"))
                    },
                );
            assert!(!called, "{name} calls {function}");
        }
        assert!(!text.contains("0.0.0.0"), "{name}: [::] listens on all addresses, of both families");
    }
}

#[test]
fn the_charts_definition_is_the_one_in_crds() {
    let name = "auditlogs.indelible.dev.yaml";
    assert_generated(&format!("charts/indelible/files/{name}"), &read(format!("crds/{name}")));
}
