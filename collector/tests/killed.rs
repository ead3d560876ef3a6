//! A process that is killed at each named step of the store (attack A14): no acknowledged leaf is lost, and the log
//! goes on. Failpoints are in builds with debug assertions only.
//!
//! The test starts its own executable again as the process that dies, and reads from its output what it acknowledged.

#![cfg(debug_assertions)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::digest::Digest;
use indelible_chain::id::{LeafIndex, Time};
use indelible_chain::key::PrivateKey;
use indelible_chain::leaf::{Attestation, Attested, Leaf};
use indelible_chain::merkle::{MemoryHashes, leaf_hash, root_at};
use indelible_chain::note::Note;
use indelible_chain::session::Session;
use indelible_chain::statement::Statement;
use indelible_collector::store::{Append, Options, SealReason, Store};

const DIR: &str = "INDELIBLE_TEST_DIR";
const SIGKILL: i32 = 9;

/// Each step, and how often the process comes to it before it dies.
const STEPS: [(&str, u32); 22] = [
    ("commit-write", 1),
    ("commit-write", 40),
    ("commit-sync", 1),
    ("commit-sync", 41),
    ("commit-answer", 1),
    ("commit-answer", 300),
    ("roll-cut", 1),
    ("roll-sync", 1),
    ("roll-sync", 5),
    ("roll-index", 1),
    ("roll-index", 7),
    ("roll-create", 1),
    ("roll-create", 3),
    ("roll-done", 1),
    ("roll-done", 2),
    ("tick-tiles", 1),
    ("tick-tiles", 5),
    ("tick-checkpoint", 1),
    ("tick-checkpoint", 4),
    ("tick-publish", 1),
    ("tick-publish", 4),
    ("seal", 1),
];

fn options() -> Options {
    let (origin, checkpoint_interval) = (Some("killed".into()), Duration::from_millis(1));
    Options { origin, checkpoint_interval, segment_bytes: 8192, min_free_bytes: 0, ..Options::new("killed/1") }
}

fn session(n: u32) -> Append {
    let mut seed = [3; 32];
    seed[..4].copy_from_slice(&n.to_be_bytes());
    let session = Session {
        public_key: PrivateKey::from_seed(&seed).public(),
        cluster_uid: String::new(),
        namespace: "default".into(),
        pod_name: format!("pod-{n}"),
        pod_uid: format!("uid-{n}"),
        node_name: "node".into(),
        service_account: "default".into(),
        audit_log: "default/all".into(),
        software: "test/1".into(),
        excluded: String::new(),
        started_at: Time::from_nanos(1),
    };
    let attested = Attested {
        attestation: Attestation::None,
        issuer: String::new(),
        subject: String::new(),
        pod_uid: String::new(),
        token_id: String::new(),
        token_digest: Digest::sha256(b""),
        token_expires: Time::from_nanos(0),
    };
    Append::Session { session, attested, token: Bytes::new() }
}

/// The process that dies. Says on stdout what was acknowledged and what was public.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the test below, with a step to die at"]
async fn the_process_that_dies() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let store = Store::open(Path::new(&dir), options()).unwrap();
    for n in 0..600 {
        let answer = *store.append(session(n)).await.unwrap().get();
        println!("ack {} {}", answer.index, answer.leaf_hash);
        let published = store.checkpoint();
        println!("public {} {}", published.size, published.root);
    }
    store.seal(SealReason::Shutdown).await.unwrap();
}

fn run(dir: &Path, step: &str) -> (std::process::ExitStatus, Vec<String>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_process_that_dies", "--ignored", "--nocapture"]);
    let output = command.env(DIR, dir).env("INDELIBLE_FAILPOINT", step).output().unwrap();
    (output.status, String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

/// What the dead process said: leaf hashes by index, roots by size.
fn said(lines: &[String], what: &str) -> BTreeMap<u64, Digest> {
    let said = lines.iter().filter_map(|line| line.strip_prefix(what)?.trim().split_once(' '));
    said.map(|(number, digest)| (number.parse().unwrap(), digest.parse().unwrap())).collect()
}

fn check(dir: &Path, lines: &[String], context: &str) {
    let store = Store::open(dir, options()).unwrap_or_else(|error| panic!("{context}: {error}"));
    let mut frames = store.frames(LeafIndex::ZERO, LeafIndex::new(u64::MAX));
    let mut leaves = Vec::new();
    while let Some(frame) = frames.next_frame().unwrap() {
        leaves.push(leaf_hash(frame.leaf));
    }
    for (index, hash) in said(lines, "ack ") {
        assert_eq!(leaves.get(usize::try_from(index).unwrap()), Some(&hash), "{context}: leaf {index}");
    }
    let hashes: MemoryHashes = leaves.into_iter().collect();
    for (size, root) in said(lines, "public ") {
        assert_eq!(root_at(size, &hashes).unwrap(), root, "{context}: the tree at {size}");
    }
    let note = Note::parse(&store.checkpoint().note).unwrap();
    let checkpoint = Checkpoint::open(&note, store.identity().signer().verifier_key()).unwrap();
    assert_eq!(root_at(checkpoint.size(), &hashes).unwrap(), checkpoint.root(), "{context}");
}

#[test]
fn a_process_that_is_killed_at_any_step_has_lost_nothing_that_it_acknowledged() {
    for (step, times) in STEPS {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let step = format!("{step}:{times}");
        let (status, first) = run(&data, &step);
        assert_eq!(status.signal(), Some(SIGKILL), "{step} was not come to");
        check(&data, &first, &step);
        // Once more on the same directory: what is known is acknowledged where it is.
        let (_, second) = run(&data, &step);
        check(&data, &first, &step);
        check(&data, &second, &step);
        let (status, third) = run(&data, "none");
        assert!(status.success(), "{step}: {third:?}");
        check(&data, &first, &step);
        assert_eq!(said(&third, "ack ").len(), 600);
        for (index, hash) in said(&first, "ack ") {
            assert_eq!(said(&third, "ack ").get(&index), Some(&hash), "{step}: leaf {index} got another place");
        }
    }
}

#[test]
fn a_process_that_is_killed_while_it_sets_a_torn_tail_aside_keeps_the_tail_and_says_and_logs_it_once() {
    for step in ["recover-copied", "recover-cut"] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let (status, first) = run(&data, "commit-sync:41");
        assert_eq!(status.signal(), Some(SIGKILL));
        let segments = std::fs::read_dir(data.join("segments")).unwrap().map(|entry| entry.unwrap().path());
        let newest = segments.filter(|path| path.extension().is_some_and(|end| end == "seg")).max().unwrap();
        let torn = b"what a power loss left of a group";
        OpenOptions::new().append(true).open(newest).unwrap().write_all(torn).unwrap();
        let (status, died) = run(&data, step);
        assert_eq!((status.signal(), said(&died, "ack ").len()), (Some(SIGKILL), 0), "{step} was not come to");
        for is_first in [true, false] {
            let log = dir.path().join("log");
            let to = Arc::new(File::create(&log).unwrap());
            let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(to).finish();
            tracing::subscriber::with_default(subscriber, || check(&data, &first, step));
            let logged = std::fs::read_to_string(log).unwrap();
            let warns = logged.contains("a torn tail is set aside") && logged.contains("bytes=33");
            assert_eq!(warns, is_first, "{step}: {logged}");
            let kept: Vec<_> =
                std::fs::read_dir(data.join("torn")).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert_eq!(kept.len(), 1, "{step}: {kept:?}");
            assert_eq!(std::fs::read(&kept[0]).unwrap(), torn);
            assert_eq!(recovered(&data), [Statement::Recovered { bytes: 33, sha256: Digest::sha256(torn) }], "{step}");
        }
    }
}

/// The statements 2 of a log.
fn recovered(dir: &Path) -> Vec<Statement> {
    let store = Store::open(dir, options()).unwrap();
    let mut frames = store.frames(LeafIndex::ZERO, LeafIndex::new(u64::MAX));
    let mut recovered = Vec::new();
    while let Some(frame) = frames.next_frame().unwrap() {
        if let Leaf::Statement { statement, .. } = Leaf::decode(frame.leaf).unwrap()
            && matches!(statement, Statement::Recovered { .. })
        {
            recovered.push(statement);
        }
    }
    recovered
}
