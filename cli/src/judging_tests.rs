//! What the commands say of directories that are whole, changed, cut or left out.

use std::fs;
use std::path::Path;

use indelible_chain::policy::Policy;
use indelible_chain::verify::{Class, Verdict};

use super::*;
use crate::demo::issuer::Issuer;
use crate::source::directory::Directory;
use crate::testlog::{NOW, TestLog};
use crate::tokens::IssuerKeys;

fn log() -> (TestLog, Issuer) {
    let issuer = Issuer::new().unwrap();
    (TestLog::new(6, &issuer), issuer)
}

fn terms(log: &TestLog, issuer: &Issuer) -> Terms {
    let policy = Policy::from_log_keys([log.vkey().parse().unwrap()]).unwrap();
    let mut terms = Terms::new(policy, NOW.plus_nanos(1_000_000_000));
    terms.tokens = Some(Box::new(IssuerKeys::parse(issuer.jwks().as_bytes(), Issuer::AUDIENCE).unwrap()));
    terms
}

fn source(path: &Path) -> Named {
    Named::Open(Source::Directory(Box::new(Directory::open(path).unwrap())))
}

fn report(log: &TestLog, issuer: &Issuer) -> Report {
    judge(&mut [source(log.path())], terms(log, issuer)).unwrap().report
}

#[test]
fn an_untouched_log_passes_on_all_axes() {
    let (log, issuer) = log();
    let report = report(&log, &issuer);
    assert_eq!(report.findings, [], "{:?}", report.findings);
    assert_eq!((report.exit, report.counts.records), (0, 19));
    assert_eq!(report.chains.len(), 1);
    assert!(report.chains[0].closed && report.logs[0].sealed);
}

#[test]
fn the_json_has_the_documented_shape() {
    let (log, issuer) = log();
    let json = crate::report::json::render(&report(&log, &issuer));
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    expect_test::expect!["chains counts exit findings logs verdicts"].assert_eq(&keys(&value));
    expect_test::expect!["bound_by newest_leaf_time origin root sealed size source witnesses"]
        .assert_eq(&keys(&value["logs"][0]));
    expect_test::expect![
        "chain_id closed container findings first_seq first_time head last_time namespace next_seq pod pod_uid records"
    ]
    .assert_eq(&keys(&value["chains"][0]));
    expect_test::expect!["batches bytes duplicates records"].assert_eq(&keys(&value["counts"]));
    assert_eq!(value["verdicts"]["integrity"], "pass");
    assert_eq!(value["chains"][0]["records"], 19);
    assert_eq!(value["chains"][0]["first_time"], "2027-01-15T08:00:00Z");
    assert_eq!(value["logs"][0]["root"].as_str().unwrap().len(), 44);
}

#[test]
fn a_changed_body_and_a_removed_batch_are_named_with_pod_container_and_log() {
    for what in ["changed", "removed"] {
        let (log, issuer) = log();
        let mut bytes = fs::read(log.segment()).unwrap();
        let (start, end) = log.frames[5];
        if what == "changed" {
            bytes[end - 1] ^= 1;
        } else {
            bytes.drain(start..end);
        }
        fs::write(log.segment(), bytes).unwrap();
        let report = report(&log, &issuer);
        assert_eq!((report.exit, report.verdicts.integrity), (1, Verdict::Fail), "{what}: {:?}", report.findings);
        let text = &report.findings[0].text;
        for name in ["test/c0-", "checkout", "app"] {
            assert!(text.contains(name), "{what}: {name} is not in {text}");
        }
    }
}

#[test]
fn a_source_that_cannot_be_read_or_whose_key_is_unknown_is_exit_4() {
    let (log, issuer) = log();
    let empty = tempfile::tempdir().unwrap();
    let closed = Named::Closed { label: "nowhere".into(), why: "no such directory".into() };
    for (what, other) in [("empty", source(empty.path())), ("closed", closed)] {
        let alone = judge(&mut [other], terms(&log, &issuer)).unwrap().report;
        assert_eq!(alone.exit, 4, "{what}: {:?}", alone.findings);
    }
    let mut unknown = terms(&log, &issuer);
    let foreign = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    unknown.policy = Policy::from_log_keys([foreign.parse().unwrap()]).unwrap();
    let report = judge(&mut [source(log.path())], unknown).unwrap().report;
    assert!(report.findings.iter().any(|finding| finding.class == Class::UnknownKey), "{:?}", report.findings);
    assert_eq!(report.exit, 4);
}

#[test]
fn records_are_printed_as_they_were_and_what_is_damaged_is_not() {
    use crate::logs::{Format, Printer, print};
    let (log, issuer) = log();
    let printed = |log: &TestLog| {
        let mut sources = [source(log.path())];
        let outcome = judge(&mut sources, terms(log, &issuer)).unwrap();
        let mut out = Vec::new();
        let format = Format { timestamps: false, prefix: false, json: false };
        let mut printer = Printer::new(&mut out, format, indelible_chain::verify::Scope::default());
        let exit = print(&outcome, &mut sources, &mut printer).unwrap().exit;
        printer.end().unwrap();
        drop(printer);
        (String::from_utf8(out).unwrap(), exit)
    };
    let (text, exit) = printed(&log);
    let whole: String = (0..6).flat_map(|n| (0..3).map(move |line| format!("line {line} of batch {n}\n"))).collect();
    assert_eq!((text, exit), (whole.clone(), 0));
    let mut bytes = fs::read(log.segment()).unwrap();
    bytes[log.frames[5].1 - 1] ^= 1;
    fs::write(log.segment(), bytes).unwrap();
    let (text, _) = printed(&log);
    let damaged: Vec<_> = whole.lines().filter(|line| !text.lines().any(|shown| shown == *line)).collect();
    assert_eq!(damaged, ["line 0 of batch 2", "line 1 of batch 2", "line 2 of batch 2"]);
}

#[test]
fn a_source_that_changes_between_the_two_readings_is_worse_than_one_that_goes() {
    use crate::logs::{Format, Printer, print};
    let exit = |change: fn(&TestLog, Vec<u8>) -> Vec<u8>| {
        let (log, issuer) = log();
        let mut sources = [source(log.path())];
        let outcome = judge(&mut sources, terms(&log, &issuer)).unwrap();
        fs::write(log.segment(), change(&log, fs::read(log.segment()).unwrap())).unwrap();
        let format = Format { timestamps: false, prefix: false, json: false };
        let mut printer = Printer::new(Vec::new(), format, indelible_chain::verify::Scope::default());
        print(&outcome, &mut sources, &mut printer).unwrap().exit
    };
    assert_eq!(exit(|_, bytes| bytes), 0);
    assert_eq!(exit(|log, bytes| bytes[..log.frames[5].0].to_vec()), 4, "the rest is gone");
    let another = |log: &TestLog, mut bytes: Vec<u8>| {
        let ((from, to), (at, end)) = (log.frames[4], log.frames[5]);
        assert_eq!(to - from, end - at);
        bytes.copy_within(from..to, at);
        bytes
    };
    assert_eq!(exit(another), 1, "another batch is in its place");
}

#[test]
fn what_is_remembered_is_the_largest_checkpoint_and_an_older_log_is_then_named() {
    use crate::remembered::Remembered;
    let (log, issuer) = log();
    let state = tempfile::tempdir().unwrap();
    let run = |log: &TestLog| {
        let remembered = Remembered::open(state.path()).unwrap();
        let mut terms = terms(log, &issuer);
        terms.known.extend(remembered.known());
        let outcome = judge(&mut [source(log.path())], terms).unwrap();
        remembered.update(&outcome.report, &outcome.logs).unwrap();
        outcome.report
    };
    assert_eq!(run(&log).exit, 0);
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
    assert_eq!(run(&log).exit, 0);
    // Of two copies of the log the larger one is remembered, whichever comes last.
    let fresh = tempfile::tempdir().unwrap();
    let copy = fresh.path().join("copy");
    crate::demo::tamper::copy_all(log.path(), &copy).unwrap();
    fs::copy(log.path().join("checkpoints/2"), copy.join("checkpoint")).unwrap();
    let (two, state_of_two) = ([log.path(), &copy], fresh.path().join("state"));
    let outcome = judge(&mut two.map(source), terms(&log, &issuer)).unwrap();
    assert_eq!((outcome.report.exit, outcome.report.logs.len()), (0, 2), "{:?}", outcome.report.findings);
    Remembered::open(&state_of_two).unwrap().update(&outcome.report, &outcome.logs).unwrap();
    let kept = fs::read_dir(&state_of_two).unwrap().next().unwrap().unwrap().path();
    assert!(fs::read_to_string(kept).unwrap().contains(&format!("\n{}\n", log.size())));
    // A copy from before: its checkpoint is the one of two leaves.
    fs::copy(log.path().join("checkpoints/2"), log.path().join("checkpoint")).unwrap();
    let older = run(&log);
    assert!(older.findings.iter().any(|finding| finding.class == Class::Rewritten), "{:?}", older.findings);
    assert_eq!((older.exit, older.verdicts.integrity), (1, Verdict::Fail));
    let kept = fs::read_dir(state.path()).unwrap().next().unwrap().unwrap().path();
    assert!(fs::read_to_string(kept).unwrap().contains(&format!("\n{}\n", log.size())));
}

#[test]
fn a_remembered_checkpoint_that_was_altered_never_gives_a_pass() {
    use crate::remembered::Remembered;
    let (log, issuer) = log();
    let state = tempfile::tempdir().unwrap();
    let run = || {
        let remembered = Remembered::open(state.path()).unwrap();
        let mut terms = terms(&log, &issuer);
        terms.known.extend(remembered.known());
        let outcome = judge(&mut [source(log.path())], terms).unwrap();
        remembered.update(&outcome.report, &outcome.logs).unwrap();
        outcome.report
    };
    assert_eq!(run().exit, 0);
    let path = fs::read_dir(state.path()).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&path).unwrap();
    let line = |n: usize| whole.split(|byte| *byte == b'\n').take(n).map(|line| line.len() + 1).sum::<usize>();
    // A byte of the size, of the root, of the signature; half of it; nothing of it.
    for (what, at) in [("size", line(1)), ("root", line(2)), ("signature", whole.len() - 10), ("half", 0), ("none", 0)]
    {
        let mut altered = whole.clone();
        match what {
            "half" => altered.truncate(whole.len() / 2),
            "none" => altered.clear(),
            _ => altered[at] ^= 1,
        }
        assert_ne!(altered, whole);
        fs::write(&path, &altered).unwrap();
        let report = run();
        assert_ne!(report.verdicts.integrity, Verdict::Pass, "{what}: {:?}", report.findings);
        assert_eq!(report.exit, 4, "{what}: {:?}", report.findings);
        let named = report.findings.iter().any(|finding| finding.class == Class::BadCheckpoint);
        assert!(named, "{what}: {:?}", report.findings);
        assert_eq!(fs::read(&path).unwrap(), altered, "{what}: what integrity did not pass with is not replaced");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(run().exit, 0);
}

#[test]
fn a_remembered_log_of_another_policy_is_left_out_and_left_alone() {
    use crate::remembered::Remembered;
    let (log, issuer) = log();
    let state = tempfile::tempdir().unwrap();
    let outcome = judge(&mut [source(log.path())], terms(&log, &issuer)).unwrap();
    Remembered::open(state.path()).unwrap().update(&outcome.report, &outcome.logs).unwrap();
    let foreign = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    for (key, left_out) in [(log.vkey(), 0), (foreign.to_owned(), 1)] {
        let policy = Policy::from_log_keys([key.parse().unwrap()]).unwrap();
        let mut remembered = Remembered::open(state.path()).unwrap();
        assert_eq!(remembered.leave_out_strangers(&policy).len(), left_out);
        assert_eq!(remembered.known().count(), 1 - left_out);
    }
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
}
