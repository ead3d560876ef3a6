//! Alerts and dashboard: each alert has its runbook page, and each metric that is asked for is one that a program has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files::{chart, read, root};

fn alerts() -> Vec<Value> {
    let rules: Value = serde_saphyr::from_str(&read(chart().join("files/alerts.yaml"))).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read(chart().join("files/dashboard.json"))).unwrap()
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.extend(c.to_lowercase());
    }
    out
}

#[test]
fn every_alert_has_a_runbook_page_and_every_page_an_alert() {
    let expected: BTreeSet<String> =
        alerts().iter().map(|alert| format!("{}.md", kebab(alert["alert"].as_str().unwrap()))).collect();
    let pages = fs::read_dir(root().join("docs/runbooks")).unwrap();
    let found: BTreeSet<String> = pages
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    assert_eq!(found, expected);
    for name in found {
        let page = read(format!("docs/runbooks/{name}"));
        for part in ["## What it means", "## What to look at", "## What to do"] {
            assert!(page.contains(part), "docs/runbooks/{name} has no part {part:?}");
        }
    }
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_happened() {
    for alert in alerts() {
        let severity = alert["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning")), "{alert}");
        for text in ["summary", "description"] {
            assert!(alert["annotations"][text].as_str().is_some_and(|text| text.len() > 20), "{alert}");
        }
    }
}

/// The words of an expression that look like metrics of ours.
fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("indelible_") && !word.starts_with("indelible_dev_"))
}

fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for key in ["expr", "query"] {
                found.extend(fields.get(key).and_then(Value::as_str).map(str::to_owned));
            }
            fields.values().for_each(|value| expressions(value, found));
        }
        Value::Array(all) => all.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// A program registers the metric: its name, less what the registry adds to it, is a string of that program's source.
fn is_registered(metric: &str) -> bool {
    let (part, name) = metric.strip_prefix("indelible_").unwrap().split_once('_').unwrap();
    let mut files = Vec::new();
    sources(&root().join(part).join("src"), &mut files);
    let text: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut names = vec![name];
    for end in ["_total", "_bucket", "_sum", "_count", "_seconds", "_bytes"] {
        names.extend(names.clone().into_iter().filter_map(|name| name.strip_suffix(end)));
    }
    names.iter().any(|name| text.contains(&format!("\"{name}\"")))
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_a_program_has() {
    let mut asked = Vec::new();
    for alert in alerts() {
        expressions(&alert, &mut asked);
    }
    expressions(&dashboard(), &mut asked);
    let metrics: BTreeSet<&str> = asked.iter().flat_map(|expression| metrics(expression)).collect();
    assert!(metrics.len() > 10, "{metrics:?}");
    for metric in metrics {
        assert!(is_registered(metric), "no program registers {metric}");
    }
}

#[test]
fn a_metric_that_no_program_has_is_noticed() {
    assert!(is_registered("indelible_collector_fsync_seconds_bucket"));
    assert!(!is_registered("indelible_collector_fsyncs_seconds_bucket"));
}
