//! Directories that are not opened: damaged, cut, another's, a later version's. Each is refused by name, and left as
//! it was.

use std::collections::BTreeMap;

use indelible_chain::frame::{FRAME_OVERHEAD, MARK_BYTES, SegmentFrame};
use indelible_chain::id::LeafIndex;
use indelible_chain::stored::{Codec, Stored};

use super::log::{Log, options};
use super::pod::Pod;
use crate::store::error::OpenError;
use crate::store::files::memory::{MemoryFiles, Restart};

const FIRST: &str = "segments/00000000000000000000.seg";

/// A log with one segment, three groups, and a checkpoint over all, as the power left it.
fn log() -> Log {
    let mut log = Log::new(crate::store::Options { segment_bytes: 1 << 20, ..options() });
    let pod = Pod::new(1, 0);
    log.commit(vec![pod.session_item(), pod.genesis_item()]).unwrap();
    log.commit(vec![pod.batch(0, 2).item(), pod.batch(2, 2).item()]).unwrap();
    log.commit(vec![pod.batch(4, 2).item()]).unwrap();
    log.tick().unwrap();
    log.files = log.files.restarted(Restart::Power);
    log
}

/// Opens what is left after `change`; gives the refusal, and checks that it changed nothing but an index.
fn refused(log: &Log, change: impl FnOnce(&MemoryFiles)) -> OpenError {
    let files = log.files.restarted(Restart::Power);
    change(&files);
    let before = files.contents();
    let mut next = Log { files: files.clone(), ..Log::closed(log.options.clone()) };
    let error = next.open().expect_err("the directory is refused");
    let evidence = |files: BTreeMap<String, Vec<u8>>| -> BTreeMap<_, _> {
        files.into_iter().filter(|(path, _)| path.strip_suffix(".idx").is_none()).collect()
    };
    assert_eq!(evidence(files.contents()), evidence(before), "a refusal changed something: {error}");
    error
}

fn named(log: &Log, suffix: &str) -> Vec<String> {
    log.files.contents().into_keys().filter(|path| path.strip_suffix(suffix).is_some()).collect()
}

#[test]
fn any_flipped_byte_before_the_newest_mark_is_refused_with_file_offset_and_leaf() {
    let log = log();
    let bytes = log.files.contents()[FIRST].clone();
    let mut frames = Vec::new();
    let (mut offset, mut leaves, mut newest_mark) = (0, 0, 0);
    while offset < bytes.len() {
        let (frame, length) = SegmentFrame::decode(&bytes[offset..]).unwrap();
        frames.push((offset, leaves));
        match frame {
            SegmentFrame::Leaf { .. } => leaves += 1,
            SegmentFrame::Mark { durable } => {
                assert_eq!(durable, offset as u64, "a mark says that all before it is durable");
                newest_mark = offset;
            }
        }
        offset += length;
    }
    for at in 0..bytes.len() {
        let error = refused(&log, |files| files.tamper(FIRST, |bytes| bytes[at] ^= 1 << (at % 8)));
        let frame = frames.iter().rfind(|(offset, _)| *offset <= at).unwrap();
        match error {
            OpenError::Corrupt { file, offset, index, why } => {
                assert_eq!((file.as_str(), offset, index.get()), (FIRST, frame.0 as u64, frame.1), "byte {at}: {why}");
                assert!(why.contains(if at < newest_mark { "mark" } else { "checkpoint" }), "byte {at}: {why}");
            }
            other => panic!("byte {at}: {other}"),
        }
    }
}

#[test]
fn damage_in_the_last_group_is_refused_when_only_the_process_ended() {
    let mut log = log();
    log.restart(Restart::Power).unwrap();
    let before = log.files.contents()[FIRST].len();
    log.commit(vec![Pod::new(1, 0).batch(6, 2).item()]).unwrap();
    let after = log.files.contents()[FIRST].len() - MARK_BYTES;
    let killed = |at: usize| {
        let files = log.files.restarted(Restart::Process);
        files.tamper(FIRST, |bytes| bytes[at] ^= 1);
        Log { files, ..Log::closed(log.options.clone()) }
    };
    for at in before..after {
        let error = killed(at).open().expect_err("what was receipted is damaged");
        assert!(matches!(&error, OpenError::Corrupt { why, .. } if why.contains("mark")), "byte {at}: {error}");
    }
    // The mark itself may be torn: it was never synced.
    for at in after..after + MARK_BYTES {
        let mut next = killed(at);
        next.promised.clone_from(&log.promised);
        next.open().unwrap();
        next.check();
    }
}

#[test]
fn segments_that_hold_less_than_the_checkpoint_are_refused() {
    let log = log();
    // Cut at the end of each frame, where nothing else shows it.
    let bytes = log.files.contents()[FIRST].clone();
    let mut offset = 0;
    let mut leaves = 0;
    while offset < bytes.len() {
        let error = refused(&log, |files| files.tamper(FIRST, |bytes| bytes.truncate(offset)));
        assert!(matches!(error, OpenError::Shorter { found, signed: 6 } if found == leaves), "{error}");
        assert!(error.to_string().contains("predecessor"), "the remedy is named: {error}");
        let (frame, length) = SegmentFrame::decode(&bytes[offset..]).unwrap();
        leaves += u64::from(matches!(frame, SegmentFrame::Leaf { .. }));
        offset += length;
    }
    let error = refused(&log, |files| files.remove(FIRST));
    assert!(matches!(error, OpenError::Shorter { found: 0, signed: 6 }));
}

#[test]
fn leaves_that_are_not_those_that_were_signed_are_refused() {
    let log = log();
    // A leaf is exchanged for another of the same length, checksum and all.
    let error = refused(&log, |files| {
        files.tamper(FIRST, |bytes| {
            let (mark, length) = SegmentFrame::decode(bytes).unwrap();
            assert!(matches!(mark, SegmentFrame::Mark { .. }));
            let (frame, end) = SegmentFrame::decode(&bytes[length..]).unwrap();
            let SegmentFrame::Leaf { leaf, .. } = frame else { panic!("the first leaf follows the first mark") };
            let mut leaf = leaf.to_vec();
            let last = leaf.len() - 1;
            leaf[last] ^= 1;
            let mut other = Vec::new();
            let body = Stored { codec: Codec::Plain, bytes: &[] };
            SegmentFrame::Leaf { leaf: &leaf, body }.encode_into(&mut other);
            assert!(other.len() > FRAME_OVERHEAD);
            bytes.splice(length..length + end, other);
        });
    });
    assert!(matches!(error, OpenError::RootDiffers { size: 6, .. }), "{error}");
}

#[test]
fn a_sealed_segment_that_is_damaged_cut_or_gone_is_refused_by_name() {
    let mut log = Log::new(options());
    let pod = Pod::new(1, 0);
    log.commit(vec![pod.session_item(), pod.genesis_item()]).unwrap();
    for n in 0..60 {
        log.append(pod.batch(n, 1).item()).unwrap();
    }
    log.tick().unwrap();
    let paths = named(&log, ".seg");
    assert!(paths.len() > 3);
    for (n, path) in paths[..paths.len() - 1].iter().enumerate() {
        let idx = path.replace(".seg", ".idx");
        // Without its index a segment is read frame by frame.
        let error = refused(&log, |files| {
            files.remove(&idx);
            files.tamper(path, |bytes| bytes[700] ^= 1);
        });
        assert!(matches!(&error, OpenError::Corrupt { file, .. } if file == path), "{error}");
        // A cut one does not have the length that its index was signed for.
        let error = refused(&log, |files| files.tamper(path, |bytes| bytes.truncate(bytes.len() - 1)));
        assert!(matches!(&error, OpenError::Corrupt { file, .. } if file == path), "{error}");
        let error = refused(&log, |files| files.remove(path));
        assert!(matches!(&error, OpenError::Broken { name, .. } if *name == paths[n + 1]), "{error}");
    }
}

#[test]
fn a_later_format_is_refused_with_the_version_that_reads_it() {
    let log = log();
    let error =
        refused(&log, |files| files.tamper("version", |text| *text = b"2 indelible-collector/9.1.0\n".to_vec()));
    assert!(error.to_string().contains("run indelible-collector/9.1.0 or a later one"), "{error}");
    let error = refused(&log, |files| files.tamper("version", Vec::clear));
    assert!(matches!(error, OpenError::Broken { ref name, .. } if name == "version"), "{error}");
}

#[test]
fn missing_pieces_are_named_and_nothing_is_made_in_their_place() {
    let log = log();
    for name in ["key", "vkey", "version", "checkpoint"] {
        let error = refused(&log, |files| files.remove(name));
        assert!(matches!(&error, OpenError::Broken { name: broken, .. } if broken == name), "{name}: {error}");
    }
    for name in ["segments", "checkpoints", "torn", "tile"] {
        let error = refused(&log, |files| files.remove(name));
        assert!(error.to_string().contains(name), "{name}: {error}");
    }
    let error = refused(&log, |files| files.tamper("key", |key| key[5] ^= 1));
    assert!(matches!(error, OpenError::Broken { ref name, .. } if name == "vkey"), "{error}");
    // An older checkpoint, put back.
    let mut older = Log { files: log.files.restarted(Restart::Power), ..Log::closed(log.options.clone()) };
    let first = log.files.contents()["checkpoint"].clone();
    older.open().unwrap();
    let error = refused(&older, |files| files.tamper("checkpoint", |note| note.clone_from(&first)));
    assert!(matches!(error, OpenError::Broken { ref name, .. } if name == "checkpoint"), "{error}");
    let error = refused(&log, |files| files.tamper("checkpoint", |note| note[20] ^= 1));
    assert!(matches!(error, OpenError::Broken { ref name, .. } if name == "checkpoint"), "{error}");
}

#[test]
fn a_directory_that_is_something_else_is_left_alone() {
    for name in ["etc", "notes.txt", ".git"] {
        let log = Log::closed(options());
        let error = refused(&log, |files| files.place(name, b"mine"));
        assert!(matches!(&error, OpenError::Foreign { name: found, .. } if found == name), "{error}");
    }
    // What a new volume holds is no one's.
    let mut log = Log::closed(options());
    log.files.place("lost+found", b"");
    log.open().unwrap();
}

#[test]
fn a_log_keeps_its_origin_and_a_new_one_needs_it() {
    let mut log = log();
    log.options.origin = Some("another/log".into());
    let error = refused(&log, |_| ());
    assert!(matches!(&error, OpenError::OtherOrigin { given, .. } if given == "another/log"), "{error}");
    log.options.origin = None;
    log.restart(Restart::Power).unwrap();
    let without = crate::store::Options { origin: None, ..options() };
    let error = refused(&Log::closed(without), |_| ());
    assert!(matches!(error, OpenError::OriginRequired { .. }));
    for origin in ["", "with space", "with+plus"] {
        let error = refused(&Log::closed(crate::store::Options { origin: Some(origin.into()), ..options() }), |_| ());
        assert!(matches!(error, OpenError::Option(_)), "{origin:?}: {error}");
    }
}

#[test]
fn a_mark_inside_a_body_of_the_torn_tail_is_not_believed() {
    let log = log();
    // Behind a bad frame lie good ones, and in one of their bodies what looks like marks, but for their offsets.
    let files = log.files.restarted(Restart::Power);
    let clean = files.contents()[FIRST].len() as u64;
    let mut body = Vec::new();
    for durable in [0, clean, clean + 1, u64::MAX] {
        SegmentFrame::Mark { durable }.encode_into(&mut body);
    }
    let leaf = log.frames()[0].leaf.clone();
    files.tamper(FIRST, |bytes| {
        bytes.extend([0xff; 30]);
        SegmentFrame::Leaf { leaf: &leaf, body: Stored { codec: Codec::Plain, bytes: &body } }.encode_into(bytes);
    });
    let mut next = Log { files: files.clone(), ..Log::closed(log.options.clone()) };
    next.open().unwrap();
    next.check();
    assert_eq!(next.durable(), 8, "it started, and says what it set aside");
    // With its own offset it is a mark: all before it was durable.
    let files = log.files.restarted(Restart::Power);
    files.tamper(FIRST, |bytes| {
        bytes.extend([0xff; 30]);
        let durable = bytes.len() as u64;
        SegmentFrame::Mark { durable }.encode_into(bytes);
    });
    let error = refused(&Log { files, ..log }, |_| ());
    assert!(matches!(error, OpenError::Corrupt { index, .. } if index == LeafIndex::new(6)), "{error}");
}

type Forgery = Box<dyn Fn(&mut Vec<u8>)>;

#[test]
fn a_forged_or_damaged_index_neither_hides_nor_invents_a_batch() {
    let mut log = Log::new(options());
    let (a, b) = (Pod::new(1, 0), Pod::new(2, 0));
    log.commit(vec![a.session_item(), a.genesis_item(), b.session_item(), b.genesis_item()]).unwrap();
    for n in 0..40 {
        log.commit(vec![a.batch(n, 1).item(), b.batch(n, 1).item()]).unwrap();
    }
    let whole = log.frames();
    let indexes = named(&log, ".idx");
    assert!(indexes.len() > 3);
    let length = log.files.contents()[&indexes[1]].len();
    let other = log.files.contents()[&indexes[2]].clone();
    let forgeries: Vec<Forgery> = vec![
        Box::new(Vec::clear),
        Box::new(|bytes| bytes.truncate(100)),
        Box::new(|bytes| bytes.truncate(bytes.len() - 20)),
        Box::new(|bytes| bytes.extend([0; 20])),
        Box::new(move |bytes| bytes.clone_from(&other)),
    ];
    let flips = (0..length).step_by(37).map(|at| -> Forgery { Box::new(move |bytes| bytes[at] ^= 4) });
    for forge in forgeries.into_iter().chain(flips) {
        let files = log.files.restarted(Restart::Power);
        files.tamper(&indexes[1], |bytes| forge(bytes));
        let mut next = Log { files, ..Log::closed(log.options.clone()) };
        next.promised.clone_from(&log.promised);
        next.open().unwrap();
        assert_eq!(next.frames()[..whole.len()], whole);
        for pod in [&a, &b] {
            assert_eq!(super::start::batches_of(&next, pod, 0, u64::MAX).len(), 40);
        }
        let again = next.append(a.batch(4, 1).item()).unwrap();
        assert!(!again.fresh, "a stored batch is known");
        next.check();
        assert_eq!(next.files.contents()[&indexes[1]], log.files.contents()[&indexes[1]], "the index is made again");
    }
}

#[test]
fn an_index_that_is_damaged_while_the_log_runs_hides_nothing_and_is_made_again() {
    let mut log = Log::new(options());
    let (a, b) = (Pod::new(1, 0), Pod::new(2, 0));
    log.commit(vec![a.session_item(), a.genesis_item(), b.session_item(), b.genesis_item()]).unwrap();
    for n in 0..40 {
        log.commit(vec![a.batch(n, 1).item(), b.batch(n, 1).item()]).unwrap();
    }
    log.restart(Restart::Power).unwrap();
    let whole = log.frames();
    let index = named(&log, ".idx")[1].clone();
    let before = log.files.contents()[&index].clone();
    let rows = crate::store::index::sealed::HEADER_BYTES;
    let cut = |to: usize| -> Forgery { Box::new(move |bytes| bytes.truncate(to)) };
    let flips = (rows..before.len()).step_by(7).map(|at| -> Forgery { Box::new(move |bytes| bytes[at] ^= 4) });
    for forge in [cut(0), cut(rows), cut(before.len() - 20)].into_iter().chain(flips) {
        log.files.tamper(&index, |bytes| forge(bytes));
        assert_eq!(log.frames()[..whole.len()], whole);
        for pod in [&a, &b] {
            assert_eq!(super::start::batches_of(&log, pod, 0, u64::MAX).len(), 40);
            assert!(!log.append(pod.batch(4, 1).item()).unwrap().fresh, "a stored batch is known");
        }
        assert_eq!(super::start::chains_of(&log).len(), 2);
        assert_eq!(log.files.contents()[&index], before, "the index is made again");
    }
}

#[test]
fn a_chain_whose_genesis_is_damaged_while_the_log_runs_hides_no_other_from_the_list() {
    let mut log = Log::new(options());
    for n in 0..20 {
        let pod = Pod::new(n, 0);
        log.commit(vec![pod.session_item(), pod.genesis_item()]).unwrap();
    }
    log.restart(Restart::Power).unwrap();
    let all = super::start::chains_of(&log);
    assert_eq!(all.len(), 20);
    let damaged = all.iter().find(|chain| chain.index.get() < 10).unwrap();
    let leaf = log.frames()[usize::try_from(damaged.index.get()).unwrap()].leaf.clone();
    log.files.tamper(FIRST, |bytes| {
        let at = bytes.windows(leaf.len()).position(|bytes| bytes == leaf).unwrap();
        bytes[at + 20] ^= 1;
    });
    let rest: Vec<_> = all.iter().filter(|chain| chain.chain != damaged.chain).cloned().collect();
    assert_eq!(super::start::chains_of(&log), rest);
}
