//! docs/reference/metrics.md says of each metric that a collector and a sidecar print what it is; nothing else.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use indelible_tests::printer::Printer;
use indelible_tests::tamper::wire::vkey;
use indelible_tests::world::{Metrics, PodIdentity, SidecarOptions, World, eventually};

const BOUND: Duration = Duration::from_mins(1);

/// What the page says of one metric.
struct Row {
    kind: String,
    /// The labels' cell.
    labels: String,
}

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/metrics.md")).unwrap()
}

/// The rows of metrics, by name.
fn rows(page: &str) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `indelible_")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning, _remedy] = cells[..] else { panic!("{line} has {} cells", cells.len()) };
        assert!(meaning.len() > 5, "{line} says nothing");
        let row = Row { kind: kind.into(), labels: labels.into() };
        assert!(rows.insert(name.trim_matches('`').to_owned(), row).is_none(), "{name} is there twice");
    }
    rows
}

/// What words stand in the page's table of reasons.
fn reasons(page: &str) -> BTreeSet<String> {
    let table = page.split("### Why requests are refused").nth(1).unwrap().split("\n## ").next().unwrap();
    let first = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next().map(str::to_owned));
    first
        .flat_map(|cell| cell.split(',').map(|word| word.trim().trim_matches('`').to_owned()).collect::<Vec<_>>())
        .collect()
}

/// Every metric of a scrape has its row, with type, labels and their values; every row of the program is scraped.
fn assert_same(program: &str, scraped: &Metrics, page: &str) {
    let (rows, reasons) = (rows(page), reasons(page));
    let types = scraped.types();
    assert!(types.len() > 20, "{types:?}");
    for (name, kind) in &types {
        assert!(name.starts_with(program), "{name}");
        let row = rows.get(name).unwrap_or_else(|| panic!("docs/reference/metrics.md has no row for {name}"));
        assert_eq!(row.kind, *kind, "{name}");
        for (label, values) in scraped.labels(name) {
            assert!(row.labels.contains(&format!("`{label}`")), "{name} has the label {label}, which its row has not");
            for value in values {
                let is_said = row.labels.contains(&format!("`{value}`"))
                    || reasons.contains(value)
                    || (label, name.as_str()) == ("status", "indelible_collector_rejected_requests_total");
                assert!(is_said, "{name}: the row does not say {label}={value}");
            }
        }
    }
    for name in rows.keys().filter(|name| name.starts_with(program)) {
        assert!(types.contains_key(name), "docs/reference/metrics.md has a row for {name}, which nobody prints");
    }
}

#[test]
fn every_metric_that_is_printed_is_explained_and_every_one_that_is_explained_is_printed() {
    let mut world = World::start(0).unwrap();
    // Nobody is there: what it has not cosigned is shown all the same.
    let key = SigningKey::from_bytes(&[41; 32]).verifying_key();
    let witness = format!("--witness={}=http://127.0.0.1:1", vkey("w.example", 4, key.as_bytes()));
    world.add_collector(&[&witness]).unwrap();
    let pod = PodIdentity::new("shop", "cart-1", "6b2e1f0a-8a44-4a55-b8f6-5b1d0f8f2c21");
    let mut printer = Printer::new(&world.logs().join(pod.directory()), "app").unwrap();
    let options = SidecarOptions { flags: vec!["--metrics=127.0.0.1:0".into()], ..SidecarOptions::default() };
    let mut sidecar = world.sidecar(&pod, &options).unwrap();
    printer.print(100, 80).unwrap();
    let told = eventually("all lines are receipted", BOUND, || {
        let told = sidecar.metrics()?;
        let sum = |name: &str| told.sum(name, &[]);
        let all = sum("indelible_sidecar_records_total") >= 101.0
            && sum("indelible_sidecar_unreceipted_records_bytes") == 0.0;
        Ok(all.then_some(told))
    })
    .unwrap();
    let page = page();
    assert_same("indelible_sidecar_", &told, &page);
    // Each window is measured by what has just happened.
    for window in ["read", "batch", "receipt", "state_sync"] {
        assert!(told.sum(&format!("indelible_sidecar_{window}_seconds_count"), &[]) > 0.0, "{window}");
    }
    let told = eventually("the leaves are under a checkpoint", BOUND, || {
        let told = world.collectors[0].metrics()?;
        Ok((told.sum("indelible_collector_checkpoint_seconds_count", &[]) > 0.0).then_some(told))
    })
    .unwrap();
    assert_same("indelible_collector_", &told, &page);
    for window in ["append", "fsync"] {
        assert!(told.sum(&format!("indelible_collector_{window}_seconds_count"), &[]) > 0.0, "{window}");
    }
    assert!(told.sum("indelible_collector_uncosigned_seconds", &["witness=\"1\""]) > 0.0);
    assert!(told.sum("indelible_collector_appended_records_total", &[]) >= 100.0);
    sidecar.terminate().unwrap();
    world.seal().unwrap();
}

#[test]
fn a_metric_that_the_page_does_not_explain_is_noticed() {
    let page = page();
    let rows = rows(&page);
    assert!(rows.contains_key("indelible_collector_fsync_seconds"));
    assert!(!rows.contains_key("indelible_collector_fsyncs_seconds"));
    assert!(reasons(&page).contains("no-space"), "{:?}", reasons(&page));
}
