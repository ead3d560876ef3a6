//! A followed data directory that grows, goes back, is another one, or is not there.

use std::fs;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use indelible_chain::verify::Terms;

use super::*;
use crate::demo::issuer::Issuer;
use crate::judging::{Named, Outcome, judge};
use crate::source::directory::Directory;
use crate::testlog::{NOW, TestLog, replace};

const BOUND: Duration = Duration::from_secs(30);

/// A log of which two leaves are under the checkpoint; the note of all is given, to be put there later.
fn begun() -> (TestLog, Vec<u8>) {
    let log = TestLog::new(6, &Issuer::new().unwrap());
    let all = fs::read(log.path().join("checkpoint")).unwrap();
    fs::copy(log.path().join("checkpoints/2"), log.path().join("checkpoint")).unwrap();
    (log, all)
}

/// Judges the log as it is and goes on from there.
fn followed(log: &TestLog) -> Result<Followed, &'static str> {
    let policy = Policy::from_log_keys([log.vkey().parse().unwrap()]).unwrap();
    let source = || Named::Open(Source::Directory(Box::new(Directory::open(log.path()).unwrap())));
    let mut sources = [source()];
    let outcome: Outcome = judge(&mut sources, Terms::new(policy.clone(), NOW)).unwrap();
    let [Named::Open(source)] = sources else { panic!("it is open") };
    Followed::new(source, &outcome.logs[0], &outcome.report, &policy)
}

fn start(log: &TestLog) -> Receiver<News> {
    let (send, news) = sync_channel(64);
    let followed = followed(log).unwrap();
    std::thread::spawn(move || followed.follow(&send));
    news
}

/// Why it ended, and with which code.
fn ended(news: &Receiver<News>) -> (String, u8) {
    loop {
        if let News::Ended { log, why, exit } = news.recv_timeout(BOUND).unwrap() {
            return (format!("{log}: {why}"), exit);
        }
    }
}

#[test]
fn leaves_are_handed_on_once_each_when_a_checkpoint_covers_them() {
    let (log, all) = begun();
    let news = start(&log);
    replace(&log.path().join("checkpoint"), all);
    for n in 2..log.size() {
        let News::Frame { frame, .. } = news.recv_timeout(BOUND).unwrap() else { panic!("leaf {n} is due") };
        assert_eq!(frame.index.get(), n);
    }
    fs::remove_file(log.path().join("checkpoint")).unwrap();
    let News::Away { sealed, .. } = news.recv_timeout(BOUND).unwrap() else { panic!("it is away") };
    assert!(sealed, "the last leaf says so");
}

#[test]
fn leaves_that_could_not_be_held_are_read_again_and_must_be_the_same() {
    for changes in [false, true] {
        let (log, all) = begun();
        fs::write(log.path().join("checkpoint"), &all).unwrap();
        let note = Note::parse(&all).unwrap();
        fs::copy(log.path().join("checkpoints/2"), log.path().join("checkpoint")).unwrap();
        let mut followed = followed(&log).unwrap();
        let checkpoint = Checkpoint::open(&note, &followed.key).unwrap();
        let Ok(mut frames) = followed.cover(&checkpoint) else { panic!("it is covered") };
        frames.truncate(1);
        if changes {
            let mut segment = fs::read(log.segment()).unwrap();
            // The length of the leaf, the leaf's first bytes: the frame stays where it is, its leaf is another one.
            segment[log.frames[5].0 + 12] ^= 1;
            fs::write(log.segment(), segment).unwrap();
        }
        let (send, news) = sync_channel(64);
        let done = followed.hand_on(frames, &send);
        assert_eq!(done.is_err(), changes);
        drop(send);
        let end = if changes { 5 } else { log.size() };
        assert_eq!(news.iter().count() as u64, end - 2);
    }
}

#[test]
fn a_log_that_is_away_is_asked_until_it_is_back_and_nothing_is_lost() {
    let (log, all) = begun();
    let checkpoint = log.path().join("checkpoint");
    let news = start(&log);
    fs::remove_file(&checkpoint).unwrap();
    let News::Away { log: name, sealed, .. } = news.recv_timeout(BOUND).unwrap() else { panic!("it is away") };
    assert!(name.starts_with("test/c0-") && !sealed, "{name}");
    replace(&checkpoint, all);
    let mut frames = 2;
    let mut back = false;
    while frames < log.size() || !back {
        match news.recv_timeout(BOUND).unwrap() {
            News::Frame { .. } => frames += 1,
            News::Back { .. } => back = true,
            News::Away { .. } | News::Ended { .. } => panic!("it is back"),
        }
    }
}

#[test]
fn a_log_that_goes_back_or_signs_something_else_is_false_and_named() {
    type Case = (&'static str, fn(&TestLog));
    let cases: [Case; 4] = [
        ("a checkpoint of 1", |log| log.sign_another(1)),
        ("two different roots", |log| log.sign_another(2)),
        ("the leaves 2 to 5 are not those", |log| log.sign_another(5)),
        ("does not hold", |log| {
            let other = TestLog::new(1, &Issuer::new().unwrap());
            let note = fs::read_to_string(other.path().join("checkpoint")).unwrap();
            replace(&log.path().join("checkpoint"), note.replace("test/c0-", "test/c1-"));
        }),
    ];
    for (says, change) in cases {
        let (log, _) = begun();
        let news = start(&log);
        change(&log);
        let (why, exit) = ended(&news);
        assert!(why.starts_with("test/c0-") && why.contains(says), "{says}: {why}");
        assert_eq!(exit, TAMPERED);
    }
}

#[test]
fn a_log_whose_leaves_are_not_what_it_signed_is_not_followed() {
    let (log, _) = begun();
    log.sign_another(3);
    assert!(followed(&log).is_err());
}
