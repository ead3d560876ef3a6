//! The short form of `make tamper`: kept evidence is changed a few hundred times, and the verifier answers as an
//! independent model of the format says.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use indelible_tests::tamper::Kind;
use indelible_tests::tamper::campaign::{Campaign, Told};

/// A seed's mutations, and as many histories as a tenth of them.
fn as_the_model_says(seed: u64, count: usize) {
    println!("seed {seed}; `make tamper SEED={seed} N={count}` makes the same changes again");
    let dir = tempfile::tempdir().unwrap();
    let campaign = Campaign { seed, dir: dir.path().into(), keep: None };
    let mut told = campaign.mutations(&(0..count).collect::<Vec<_>>()).unwrap();
    assert_eq!(told.len(), count);
    told.extend(campaign.histories("untouched", count / 10, &Kind::ALL).unwrap());
    let wrong: Vec<&Told> = told.iter().filter(|(_, outcome)| !outcome.wrong.is_empty()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn two_hundred_changes_of_kept_evidence_are_judged_as_the_model_says() {
    as_the_model_says(1, 200);
}

#[test]
fn so_are_changes_that_nobody_has_seen_before() {
    let drawn = jiff::Timestamp::now().subsec_nanosecond().unsigned_abs();
    as_the_model_says(drawn.into(), 100);
}
