//! What becomes of requests, one after the other and at the same time, and after a restart.

use std::path::Path;

use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::merkle::{MemoryHashes, leaf_hash, prove_consistency, root_at};
use indelible_chain::note::NoteSigner;

use super::*;
use crate::limits::LOG_BURST;

const NOW: Time = Time::from_nanos(1_795_400_000 * Time::SECOND);

fn signer(seed: u8) -> NoteSigner {
    NoteSigner::new(format!("example.com/{seed}").parse().unwrap(), &[seed; 32])
}

fn named(seed: u8) -> Named {
    Named { key: signer(seed).verifier_key().clone(), origin: None }
}

/// What log `seed` sends, whose leaves are numbers from `salt` on.
fn request(seed: u8, old: u64, new: u64, salt: u64) -> AddCheckpoint {
    let hashes: MemoryHashes = (0..new).map(|n| leaf_hash(&(n + salt).to_be_bytes())).collect();
    let origin = signer(seed).verifier_key().name().clone().into();
    let checkpoint = Checkpoint::new(origin, new, root_at(new, &hashes).unwrap()).sign(&signer(seed)).unwrap();
    AddCheckpoint { old, proof: prove_consistency(old, new, &hashes).unwrap(), checkpoint }
}

fn open(dir: &Path, named: &[Named]) -> Result<Logs, LogsError> {
    let directory = Directory::open(dir, Some(&"w1".parse().unwrap()), "test").unwrap();
    let kept = directory.kept().unwrap();
    Logs::open(directory, named, kept, Arc::new(Metrics::new()))
}

fn add(logs: &Logs, request: &AddCheckpoint) -> Answer {
    match logs.add(request.to_string().as_bytes(), NOW) {
        Added::Answered(answer) => answer,
        Added::Fatal(error) => panic!("{error}"),
    }
}

fn shown(logs: &Logs, seed: u8) -> Option<u64> {
    let answer = logs.newest(Origin::from(signer(seed).verifier_key().name().clone()).log_id());
    if answer.status == 404 {
        return None;
    }
    let note = Note::parse(answer.body.as_bytes()).unwrap();
    assert_eq!(note.signatures().len(), 2);
    note.verify([logs.directory.cosigner().verifier_key()]).unwrap();
    Some(Checkpoint::open(&note, signer(seed).verifier_key()).unwrap().size())
}

#[test]
fn a_log_that_grows_is_cosigned_shown_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path(), &[named(1), named(2)]).unwrap();
    assert_eq!(shown(&logs, 1), None);
    for (old, new) in [(0, 3), (3, 3), (3, 8)] {
        assert_eq!(add(&logs, &request(1, old, new, 0)).status, 200);
        assert_eq!(shown(&logs, 1), Some(new));
    }
    for (refused, status) in [(request(1, 3, 9, 0), 409), (request(1, 8, 9, 7), 422), (request(3, 0, 1, 0), 404)] {
        assert_eq!(add(&logs, &refused).status, status);
    }
    drop(logs);
    let logs = open(dir.path(), &[named(1), named(2)]).unwrap();
    assert_eq!((shown(&logs, 1), shown(&logs, 2)), (Some(8), None));
    assert_eq!(add(&logs, &request(1, 0, 9, 0)).body, "8\n");
    assert_eq!(add(&logs, &request(1, 8, 9, 0)).status, 200);
    // It is not cosigned any more, and what was cosigned is still shown.
    drop(logs);
    let logs = open(dir.path(), &[named(2)]).unwrap();
    assert_eq!(shown(&logs, 1), Some(9));
    assert_eq!(add(&logs, &request(1, 9, 10, 0)).status, 404);
}

#[test]
fn of_checkpoints_that_diverge_one_is_cosigned_however_they_come() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path(), &[named(1)]).unwrap();
    for round in 0..10 {
        let begin = round * 5;
        // Of one history up to here, and then of eight.
        let forks: Vec<AddCheckpoint> = (1..=8).map(|salt| fork(begin, salt)).collect();
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let asked: Vec<_> = forks.iter().map(|fork| scope.spawn(|| add(&logs, fork))).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        let cosigned = answers.iter().filter(|answer| answer.status == 200).count();
        let refused = answers.iter().filter(|answer| answer.status == 409).count();
        assert_eq!((cosigned, refused), (1, 7));
        // The next round goes on from the one that was: that is a log of its own here.
        let dir = tempfile::tempdir().unwrap();
        drop(dir);
        reset(&logs, begin + 5);
    }
    assert_eq!(std::fs::read_dir(dir.path().join("contradictions")).unwrap().count(), 1);
}

/// A checkpoint of five leaves more than `begin`, of which those are another's for each salt.
fn fork(begin: u64, salt: u64) -> AddCheckpoint {
    let leaves = (0..begin).map(|n| leaf_hash(&n.to_be_bytes()));
    let hashes: MemoryHashes =
        leaves.chain((0..5).map(|n| leaf_hash(&[salt, n].map(u64::to_be_bytes).concat()))).collect();
    let origin = signer(1).verifier_key().name().clone().into();
    let root = root_at(begin + 5, &hashes).unwrap();
    let checkpoint = Checkpoint::new(origin, begin + 5, root).sign(&signer(1)).unwrap();
    AddCheckpoint { old: begin, proof: prove_consistency(begin, begin + 5, &hashes).unwrap(), checkpoint }
}

/// Lets a log be seen at a size of the history that all forks share.
fn reset(logs: &Logs, size: u64) {
    let log = &logs.by_id.values().next().unwrap();
    let mut state = log.state.lock().unwrap();
    state.seen = log.known.clone().restored(&request(1, 0, size, 0).checkpoint).unwrap();
    state.pace = Pace::new();
}

#[test]
fn a_log_is_known_by_one_key_for_good_and_never_by_the_witness_own() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path(), &[named(1), named(1)]).unwrap();
    assert_eq!(logs.len(), 1);
    let own = logs.directory.cosigner().verifier_key().public_key();
    let own = VerifierKey::new("example.com/own".parse().unwrap(), indelible_chain::note::Algorithm::Ed25519, *own);
    assert_eq!(add(&logs, &request(1, 0, 3, 0)).status, 200);
    drop(logs);
    let origin: Origin = "example.com/1".parse().unwrap();
    let other = Named { key: signer(2).verifier_key().clone(), origin: Some(origin.clone()) };
    assert_eq!(open(dir.path(), &[named(1), other.clone()]).unwrap_err(), LogsError::TwoKeys(origin.clone()));
    assert_eq!(open(dir.path(), &[other]).unwrap_err(), LogsError::OtherKey(origin));
    let error = open(dir.path(), &[Named { key: own, origin: None }]).unwrap_err();
    assert!(matches!(error, LogsError::OwnKey(_)));
}

#[test]
fn a_log_that_grows_too_fast_waits_and_takes_nothing_from_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path(), &[named(1), named(2)]).unwrap();
    let burst = u64::from(LOG_BURST);
    for new in 1..=burst {
        assert_eq!(add(&logs, &request(1, new - 1, new, 0)).status, 200);
    }
    let next = request(1, burst, burst + 1, 0);
    assert_eq!(add(&logs, &next).status, 429);
    assert_eq!(add(&logs, &request(1, burst, burst, 0)).status, 200, "the same again costs no write");
    assert_eq!(add(&logs, &request(2, 0, 1, 0)).status, 200);
    let later = NOW.plus_nanos(Time::SECOND);
    assert!(matches!(logs.add(next.to_string().as_bytes(), later), Added::Answered(Answer { status: 200, .. })));
}

#[test]
fn what_cannot_be_stored_is_not_cosigned() {
    let dir = tempfile::tempdir().unwrap();
    let logs = open(dir.path(), &[named(1)]).unwrap();
    assert_eq!(add(&logs, &request(1, 0, 3, 0)).status, 200);
    let id = Origin::from(signer(1).verifier_key().name().clone()).log_id();
    let way = dir.path().join("logs").join(format!("{id}.tmp"));
    std::fs::create_dir(&way).unwrap();
    assert_eq!(add(&logs, &request(1, 3, 5, 0)).status, 503);
    assert_eq!(shown(&logs, 1), Some(3));
    std::fs::remove_dir(way).unwrap();
    assert_eq!(add(&logs, &request(1, 3, 4, 0)).status, 200);
    // Renaming over a directory fails: nobody knows what is there.
    std::fs::remove_file(dir.path().join("logs").join(id.to_string())).unwrap();
    std::fs::create_dir(dir.path().join("logs").join(id.to_string())).unwrap();
    assert!(matches!(logs.add(request(1, 4, 5, 0).to_string().as_bytes(), NOW), Added::Fatal(_)));
}
