//! Logs that Tessera wrote, by our verifier: its checkpoint, its tiles, each leaf, and whether it only ever grew.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use indelible_tests::tamper::wire::{base64, hex, key_id, vkey};
use indelible_tests::world::{Answer, World, verify};

use super::outsider::{Outsider, Said};

const NAME: &str = "foreign.example/log";
const ED25519: u8 = 1;

/// A log that Tessera keeps in a directory.
pub struct TesseraLog {
    dir: tempfile::TempDir,
    key: ed25519_dalek::SigningKey,
    added: usize,
}

impl TesseraLog {
    /// One without leaves yet, whose key follows from a number.
    pub fn new(seed: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        let id = hex(&key_id(NAME, ED25519, key.verifying_key().as_bytes()));
        let secret = base64(&[&[ED25519], &[seed; 32][..]].concat());
        std::fs::write(dir.path().join("secret"), format!("PRIVATE+KEY+{NAME}+{id}+{secret}")).unwrap();
        Self { dir, key, added: 0 }
    }

    /// Adds leaves, with Tessera's own program; `flags` are more of its.
    pub fn add(&mut self, leaves: &[Vec<u8>], flags: &str) {
        let said = self.try_add(leaves, flags);
        assert!(said.ok, "{}", said.err);
    }

    /// The same, and what the program said.
    pub fn try_add(&mut self, leaves: &[Vec<u8>], flags: &str) -> Said {
        let entries = self.dir.path().join(format!("entries-{}", self.added));
        std::fs::create_dir(&entries).unwrap();
        for (n, leaf) in leaves.iter().enumerate() {
            std::fs::write(entries.join(format!("{n:06}")), leaf).unwrap();
        }
        self.added += leaves.len();
        let dir = self.dir.path().display();
        Outsider::new().paste(
            &format!(
                "cd tests/foreign/go; go tool posix-oneshot -storage_dir={dir}/log -private_key={dir}/secret \
                 -entries='{}/*' {flags}",
                entries.display()
            ),
            &[],
        )
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Its verifier key.
    pub fn vkey(&self) -> String {
        vkey(NAME, ED25519, self.key.verifying_key().as_bytes())
    }

    /// What our verifier says of it, with more flags.
    pub fn verified(&self, flags: &[&OsStr]) -> Answer {
        let vkey = self.vkey();
        let all = [&["--log-key".as_ref(), vkey.as_ref()], flags].concat();
        verify(&[self.path()], &all).unwrap()
    }
}

/// Leaves of a type that nobody has given a meaning yet.
pub fn unknown(numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    numbers.map(|n| [&[1, 200], format!("leaf {n} {}", "x".repeat(n % 50)).as_bytes()].concat()).collect()
}

fn flip(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
#[ignore = "needs Go: make foreign"]
fn a_log_that_tessera_wrote_is_read_and_every_byte_of_it_is_held_against_its_checkpoint() {
    let mut log = TesseraLog::new(7);
    log.add(&unknown(0..300), "");
    let first = log.dir.path().join("first");
    std::fs::copy(log.path().join("checkpoint"), &first).unwrap();
    log.add(&unknown(300..700), "");
    let seen: [&OsStr; 2] = ["--checkpoint".as_ref(), first.as_ref()];

    let answer = log.verified(&seen);
    assert_eq!((&*answer.verdicts["integrity"], answer.classes()), ("warn", vec!["bad-leaf"]), "{}", answer.texts());
    assert!(answer.code != 1 && answer.texts().contains("holds 700 leaves"), "{} {}", answer.code, answer.texts());

    let changed = |file: &str| {
        let path = log.path().join(file);
        let whole = std::fs::read(&path).unwrap();
        flip(&path);
        let answer = log.verified(&seen);
        std::fs::write(path, whole).unwrap();
        answer
    };
    for file in ["tile/entries/001", "tile/entries/002.p/188", "tile/0/000", "tile/0/002.p/188", "tile/1/000.p/2"] {
        let answer = changed(file);
        assert_eq!((&*answer.verdicts["integrity"], answer.code), ("fail", 1), "{file}: {}", answer.texts());
    }
    assert_eq!(log.verified(&seen).verdicts["integrity"], "warn", "all was put back");

    // The same key, another past.
    let mut other = TesseraLog::new(7);
    other.add(&unknown(1..701), "");
    let answer = other.verified(&seen);
    assert!(answer.classes().contains(&"rewritten") && answer.code == 1, "{}", answer.texts());
}

#[test]
#[ignore = "needs Go: make foreign"]
fn leaves_of_ours_that_tessera_has_logged_are_judged_as_far_as_they_go_without_their_bodies() {
    let mut world = World::start(1).unwrap();
    let pod = indelible_tests::world::PodIdentity::new("shop", "checkout-0", "9b2d8f0e-4c6e-4b7c-8d4e-0c9d7a1f2b3c");
    let mut printer = indelible_tests::printer::Printer::new(&world.logs().join(pod.directory()), "app").unwrap();
    printer.print(500, 100).unwrap();
    let mut sidecar = world.sidecar(&pod, &indelible_tests::world::SidecarOptions::default()).unwrap();
    sidecar.armed().unwrap();
    sidecar.terminate().unwrap();
    world.seal().unwrap();
    let leaves = leaves(&world.collectors[0].data());
    assert!(leaves.len() > 4, "{} leaves", leaves.len());

    let mut log = TesseraLog::new(8);
    log.add(&leaves, "");
    let answer = log.verified(&[]);
    assert_eq!(answer.verdicts["integrity"], "unknown", "{}", answer.texts());
    assert_eq!(answer.chains.len(), 1, "{}", answer.texts());
    let theirs = world.verify(&[]).unwrap();
    assert_eq!((&answer.chains[0].id, &answer.chains[0].head), (&theirs.chains[0].id, &theirs.chains[0].head));
}

/// The leaves in a data directory's segments.
fn leaves(data: &Path) -> Vec<Vec<u8>> {
    let segment = std::fs::read(data.join("segments/00000000000000000000.seg")).unwrap();
    let (mut rest, mut leaves) = (&*segment, Vec::new());
    while let Ok((frame, length)) = indelible_chain::frame::SegmentFrame::decode(rest) {
        if let indelible_chain::frame::SegmentFrame::Leaf { leaf, .. } = frame {
            leaves.push(leaf.to_vec());
        }
        rest = &rest[length..];
    }
    leaves
}
