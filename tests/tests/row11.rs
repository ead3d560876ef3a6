//! The fault run of row 11 in seconds, for each peer that is installed: whether it runs and counts, not how it goes.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use indelible_tests::soak::row11::{Peer, Plan, run_peer};

/// Lines come back from receivers as they were printed, also after all kills; how many are missing is the peer's affair.
fn few_are_missing(name: &str, protocol: &str) {
    let peer = Peer {
        name,
        protocol,
        seed: 1,
        plan: Plan::short(1),
        pace: 500_000,
        still: Duration::from_secs(30),
        small_disks: false,
        stop: Arc::new(AtomicBool::new(false)),
    };
    let counted = run_peer(&peer).unwrap();
    let Some(tally) = counted.tally else {
        eprintln!("LEFT OUT: {name}: {}", counted.note);
        return;
    };
    assert!(tally.printed > 5000, "{counted:?}");
    assert!(tally.lost + tally.garbled < tally.printed / 2, "{counted:?}");
}

#[test]
fn rsyslog_is_killed_three_times_and_its_lines_are_counted() {
    few_are_missing("rsyslog", "relp");
}

#[test]
fn the_opentelemetry_collector_is_killed_three_times_and_its_lines_are_counted() {
    few_are_missing("otelcol", "otlp");
}
