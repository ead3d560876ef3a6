//! What is written here is what the format says, by two other implementations; what the model says of it is exact.

use indelible_chain::batch::Batch;
use indelible_chain::frame::SegmentFrame;
use indelible_chain::key::PublicKey;
use indelible_chain::leaf::{Leaf, liveness_heartbeats};
use indelible_chain::merkle::{MemoryHashes, leaf_hash, prove_consistency};
use indelible_chain::note::Note;
use indelible_chain::policy::Policy;
use indelible_chain::stored::Packer;

use super::model::{Verdict, expect};
use super::story::Length;
use super::*;

fn history(n: u64, kind: Kind) -> History {
    History::new(7, n, kind, Length(100))
}

#[test]
fn every_codec_of_the_first_implementation_accepts_what_is_written_here() {
    let mut packer = Packer::new().unwrap();
    for (n, kind) in (0..).zip(Kind::ALL) {
        let history = history(n, kind);
        let policy: Policy = Policy::parse(history.policy.as_bytes()).unwrap();
        let mut keys: std::collections::HashMap<_, PublicKey> = std::collections::HashMap::new();
        let (mut batches, mut heartbeats) = (0, 0);
        for image in &history.directories {
            let standing = Note::parse(image.get("checkpoint").unwrap()).unwrap();
            assert!(policy.check(&standing).unwrap().is_met());
            for (_, mut bytes) in
                image.below("segments").filter(|(name, _)| name.rsplit_once('.').is_some_and(|(_, kind)| kind == "seg"))
            {
                while let Ok((frame, length)) = SegmentFrame::decode(bytes) {
                    bytes = &bytes[length..];
                    let SegmentFrame::Leaf { leaf, body } = frame else { continue };
                    match Leaf::decode(leaf).unwrap() {
                        Leaf::Session { session, .. } => drop(keys.insert(session.id().unwrap(), session.public_key)),
                        Leaf::Batch { commitment, .. } => {
                            let body = packer.unpack(body, commitment.body_len as usize).unwrap();
                            Batch::new(commitment, body).check(&keys[&commitment.session]).unwrap();
                            batches += 1;
                        }
                        Leaf::Liveness { count, body_len, .. } => {
                            let body = packer.unpack(body, body_len as usize).unwrap();
                            for heartbeat in liveness_heartbeats(count, body).unwrap() {
                                assert!(heartbeat.is_signed_by(&keys[&heartbeat.session]));
                                assert!(heartbeat.receipts.iter().all(|(_, kept)| kept.is_consistent()));
                                heartbeats += 1;
                            }
                        }
                        leaf => assert!(!matches!(leaf, Leaf::Unknown(_))),
                    }
                }
            }
        }
        assert!(batches > 50 && heartbeats > 2, "{kind:?}: {batches} batches, {heartbeats} heartbeats");
    }
}

#[test]
fn the_model_raises_nothing_over_legitimate_histories() {
    for n in 0..30 {
        let history = history(n, Kind::ALL[usize::try_from(n).unwrap() % Kind::ALL.len()]);
        let untouched: Vec<_> = history.directories.iter().cloned().map(Some).collect();
        let expected = expect(&history, &untouched);
        assert_eq!(expected.exit, 0, "{:?}: {expected:?}", history.kind);
        assert!(expected.axes.iter().all(|(_, span)| span.best == Verdict::Pass && span.worst == Verdict::Pass));
    }
}

#[test]
fn a_seed_gives_the_same_histories_and_mutations_each_time() {
    let (one, other) = (history(3, Kind::Crash), history(3, Kind::Crash));
    assert_eq!(one.directories, other.directories);
    for n in 0..20 {
        let draw = |history| Mutation::draw(&mut Rng::new(5, n), history);
        assert_eq!(draw(&one).text, draw(&other).text);
        assert_eq!(draw(&one).directories, draw(&other).directories);
    }
    assert_ne!(one.directories, history(4, Kind::Crash).directories);
}

#[test]
fn the_model_names_what_each_kind_of_file_is_worth() {
    let history = History::new(7, 1, Kind::Sealed, Length(520));
    let exit = |change: &dyn Fn(&mut Image)| {
        let mut directories: Vec<_> = history.directories.iter().cloned().map(Some).collect();
        change(directories[0].as_mut().unwrap());
        expect(&history, &directories).exit
    };
    let flip = |path: &'static str| {
        move |image: &mut Image| {
            let mut bytes = image.get(path).unwrap().to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            image.put(path, bytes);
        }
    };
    for path in ["checkpoint", "tile/0/000", "tile/entries/000", "segments/00000000000000000000.seg"] {
        assert_eq!(exit(&flip(path)), 1, "{path}");
    }
    for path in ["key", "vkey", "segments/00000000000000000000.idx"] {
        assert_eq!(exit(&flip(path)), 0, "{path}");
    }
    assert_eq!(exit(&|image| image.put("version", &b"2 x\n"[..])), 4);
    assert_eq!(exit(&|image| drop(image.remove("tile/0/000"))), 1);
    assert_eq!(exit(&|image| drop(image.remove("LOCK"))), 0);
}

#[test]
fn a_proof_that_a_tree_extends_another_is_the_one_that_the_first_implementation_makes() {
    for size in 0..=33 {
        let leaves: Vec<[u8; 1]> = (0..size).map(|n| [n]).collect();
        let hashes: Vec<wire::Digest> = leaves.iter().map(|leaf| wire::leaf_hash(leaf)).collect();
        let source: MemoryHashes = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        for old in 0..=size {
            let other = prove_consistency(old.into(), size.into(), &source).unwrap();
            let other: Vec<wire::Digest> = other.iter().map(|hash| *hash.as_bytes()).collect();
            assert_eq!(wire::consistency(old.into(), &hashes), other, "{old} of {size}");
        }
    }
}

#[test]
fn a_directory_that_is_read_and_written_has_its_empty_directories_too() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir_all(from.path().join("torn/deep")).unwrap();
    std::fs::create_dir(from.path().join("segments")).unwrap();
    std::fs::write(from.path().join("segments/0.seg"), b"frames").unwrap();
    let image = Image::read(from.path()).unwrap();
    assert_eq!(image.paths().collect::<Vec<_>>(), ["segments/0.seg"]);
    image.write(&to.path().join("data"), None).unwrap();
    assert!(to.path().join("data/torn/deep").is_dir());
    assert_eq!(Image::read(&to.path().join("data")).unwrap(), image);
}
