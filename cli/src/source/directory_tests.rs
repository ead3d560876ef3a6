//! Data directories as they are read: whole, hostile, of another format, while they are written.

use std::fs;

use indelible_chain::leaf::Leaf;
use indelible_chain::verify::Frame;
use proptest::prelude::*;

use super::*;
use crate::demo::issuer::Issuer;
use crate::testlog::TestLog;

fn log() -> TestLog {
    TestLog::new(6, &Issuer::new().unwrap())
}

/// Leaves that are read, and for each damage the index that it is said to concern.
fn read(log: &TestLog) -> (Vec<u64>, Vec<u64>) {
    let mut directory = Directory::open(log.path()).unwrap();
    let (mut leaves, mut damaged) = (Vec::new(), Vec::new());
    directory
        .frames(0, log.size(), &mut |found| match found {
            Found::Frame(frame) if frame.flaw.is_none() => {
                Leaf::decode(frame.leaf).unwrap();
                leaves.push(frame.index.get());
            }
            Found::Frame(frame) => damaged.push(frame.index.get()),
            Found::Damage(Damage::Lost { index, .. } | Damage::Between { before: index, .. }) => {
                damaged.push(index.get());
            }
        })
        .unwrap();
    (leaves, damaged)
}

#[test]
fn a_data_directory_shows_its_checkpoints_newest_first_and_every_leaf() {
    let log = log();
    let mut directory = Directory::open(log.path()).unwrap();
    let names: Vec<_> = directory.checkpoints().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["checkpoint", "checkpoints/2"]);
    assert!(directory.claimed().unwrap().starts_with("test/c0-"));
    assert_eq!(read(&log), ((0..log.size()).collect(), vec![]));
    let frame = directory.frame(LeafIndex::new(4)).unwrap();
    assert!(frame.is_none(), "nothing is known before the first reading");
    directory.frames(0, log.size(), &mut |_| ()).unwrap();
    let frame = directory.frame(LeafIndex::new(4)).unwrap().unwrap();
    assert!(matches!(Leaf::decode(&frame.leaf), Ok(Leaf::Batch { .. })));
    assert!(directory.frame(LeafIndex::new(log.size())).unwrap().is_none());
}

#[test]
fn a_directory_of_another_format_is_not_read() {
    let log = log();
    let check = || Directory::open(log.path()).unwrap().check_format();
    assert!(matches!(check(), Err(ReadError::NoFormat { .. })));
    for (text, is_read) in [("1 a/1\n", true), ("1", true), ("2 a/2\n", false), ("", false), ("1x\n", false)] {
        fs::write(log.path().join("version"), text).unwrap();
        assert_eq!(check().is_ok(), is_read, "{text:?}");
    }
}

#[test]
fn a_removed_frame_keeps_its_index_free_and_the_leaves_after_it_theirs() {
    let log = log();
    for n in 0..log.frames.len() {
        let mut bytes = fs::read(log.segment()).unwrap();
        bytes.drain(log.frames[n].0..log.frames[n].1);
        let whole = fs::read(log.segment()).unwrap();
        fs::write(log.segment(), bytes).unwrap();
        let n = n as u64;
        let others: Vec<u64> = (0..log.size()).filter(|index| *index != n).collect();
        assert_eq!(read(&log), (others, vec![n]), "leaf {n}");
        fs::write(log.segment(), whole).unwrap();
    }
}

#[test]
fn a_damaged_frame_is_shown_with_what_is_wrong_with_it() {
    let log = log();
    let mut bytes = fs::read(log.segment()).unwrap();
    bytes[log.frames[5].1 - 1] ^= 1;
    fs::write(log.segment(), bytes).unwrap();
    let mut directory = Directory::open(log.path()).unwrap();
    let mut flaws = Vec::new();
    directory
        .frames(0, log.size(), &mut |found| {
            if let Found::Frame(Frame { index, flaw: Some(flaw), leaf, .. }) = found {
                assert!(matches!(Leaf::decode(leaf), Ok(Leaf::Batch { .. })));
                flaws.push((index.get(), flaw.to_owned()));
            }
        })
        .unwrap();
    let [(5, flaw)] = flaws.as_slice() else { panic!("{flaws:?}") };
    assert!(flaw.contains("segments/00000000000000000000.seg") && flaw.contains("checksum"), "{flaw}");
}

#[test]
fn a_full_tile_that_is_not_there_is_said_and_one_that_is_there_is_shown() {
    let log = TestLog::new(300, &Issuer::new().unwrap());
    let mut directory = Directory::open(log.path()).unwrap();
    let seen = |directory: &mut Directory| {
        let mut seen = Vec::new();
        directory.frames(0, log.size(), &mut |_| ()).unwrap();
        directory.tiles(log.size(), &mut |file, bytes| seen.push((file.path(), bytes.map(<[u8]>::len).ok())));
        seen
    };
    let all = seen(&mut directory);
    assert_eq!(all[0], ("tile/0/000".to_owned(), Some(8192)));
    assert!(all[1].0 == "tile/entries/000" && all[1].1.is_some(), "{all:?}");
    assert_eq!(all.len(), 2);
    fs::remove_file(log.path().join("tile/0/000")).unwrap();
    assert_eq!(seen(&mut directory)[0], ("tile/0/000".to_owned(), None));
}

#[test]
fn nothing_is_written_and_no_lock_is_taken() {
    use std::os::unix::fs::PermissionsExt;
    let log = log();
    let before: Vec<_> = files(log.path());
    for dir in ["segments", "checkpoints", "tile", ""] {
        fs::set_permissions(log.path().join(dir), fs::Permissions::from_mode(0o500)).unwrap();
    }
    assert_eq!(read(&log).0.len() as u64, log.size());
    for dir in ["", "segments", "checkpoints", "tile"] {
        fs::set_permissions(log.path().join(dir), fs::Permissions::from_mode(0o700)).unwrap();
    }
    assert_eq!(files(log.path()), before);
}

fn files(dir: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push((path.clone(), fs::read(&path).unwrap())) }
    }
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_mutation_of_any_file_makes_the_reader_panic_or_show_a_leaf_twice(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..6), 1..5),
    ) {
        let log = log();
        for (file, at, kind) in edits {
            let files = files(log.path());
            let (path, mut bytes) = files[file.index(files.len())].clone();
            let at = at.index(bytes.len().max(1));
            match kind {
                0 if !bytes.is_empty() => bytes[at] ^= 1,
                1 => bytes.truncate(at),
                2 => drop(bytes.drain(at..(at + 40).min(bytes.len()))),
                3 => bytes.extend_from_within(at.min(bytes.len())..),
                4 => bytes.splice(at.min(bytes.len())..at.min(bytes.len()), [0; 100]).for_each(drop),
                _ => bytes.insert(at.min(bytes.len()), 7),
            }
            fs::write(path, bytes).unwrap();
        }
        let mut directory = Directory::open(log.path()).unwrap();
        let _ = directory.checkpoints();
        let mut last = None;
        let mut ascends = true;
        directory.frames(0, log.size(), &mut |found| {
            if let Found::Frame(frame) = found {
                ascends &= last < Some(frame.index);
                last = Some(frame.index);
            }
        }).unwrap();
        prop_assert!(ascends);
        directory.tiles(log.size(), &mut |_, _| ());
    }
}
