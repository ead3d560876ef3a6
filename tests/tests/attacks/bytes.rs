//! Who can write to a volume: A1 and A2, and a directory that is left out.

use indelible_tests::insider::leaves;
use indelible_tests::tamper::Image;

use super::evidence::{Evidence, assert_flips, assert_tells};

/// A directory with one bit of a file flipped.
fn flipped(image: &Image, path: &str, at: usize) -> Image {
    let mut bytes = image.get(path).unwrap().to_vec();
    bytes[at] ^= 1;
    let mut image = image.clone();
    image.put(path, bytes);
    image
}

/// A1: flip one bit in a body, a leaf, a leaf bundle, a tile, a checkpoint: integrity.
#[test]
fn one_flipped_bit_fails_integrity_and_nothing_else() {
    let evidence = Evidence::new(2, 310);
    let image = &evidence.images[0];
    let all = leaves(image).unwrap();
    assert!(all.len() > 256, "the log has a full tile");
    let (_, batch) = all[all.len() / 2..].iter().find(|(leaf, _)| leaf.is_batch()).unwrap();
    let note = image.get("checkpoint").unwrap();
    let size = note.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let cases = [
        (&*batch.segment, batch.end - 1, "bad-body"),
        (&*batch.segment, batch.start + 10 + 100, "bad-leaf"),
        ("tile/0/000", 1000, "bad-tile"),
        ("tile/entries/000", 1000, "bad-tile"),
        ("checkpoint", size, "bad-checkpoint"),
    ];
    for (path, at, class) in cases {
        let answer = evidence.verify(&[(0, &flipped(image, path, at))], &[]);
        assert_flips(&answer, "integrity", 1, &[class]);
        assert_tells(&answer, evidence.origin(0));
    }
}

/// A2, plainly: a middle batch deleted. With the receipts that were kept, the log is convicted by its own word, too.
#[test]
fn a_deleted_batch_fails_integrity_with_and_without_its_receipt() {
    let evidence = Evidence::new(2, 30);
    let all = leaves(&evidence.images[0]).unwrap();
    let (_, batch) = all[all.len() / 2..].iter().find(|(leaf, _)| leaf.is_batch()).unwrap();
    let mut bytes = evidence.images[0].get(&batch.segment).unwrap().to_vec();
    bytes.drain(batch.start..batch.end);
    let mut image = evidence.images[0].clone();
    image.put(&batch.segment, bytes);
    let answer = evidence.verify(&[(0, &image)], &[]);
    assert_flips(&answer, "integrity", 1, &["bad-leaf"]);
    assert_tells(&answer, evidence.origin(0));
    let kept = evidence.kept_receipts();
    let answer = evidence.verify(&[(0, &image)], &["--receipts", kept.to_str().unwrap()]);
    assert_eq!((answer.code, &*answer.verdicts["integrity"]), (1, "fail"), "{}", answer.texts());
    assert_tells(&answer, evidence.origin(0));
}

/// One of three directories is left out although the policy names its log.
#[test]
fn a_directory_that_is_left_out_is_missing_by_name() {
    let evidence = Evidence::new(3, 30);
    let sources = [evidence.data[0].clone(), evidence.data[2].clone()];
    let answer = evidence.world.verify_sources(&sources, &[]).unwrap();
    assert_eq!(answer.code, 2, "{}", answer.texts());
    assert_eq!(answer.verdicts["integrity"], "pass", "{}", answer.texts());
    assert_eq!((&*answer.verdicts["completeness"], answer.classes()), ("fail", vec!["absent"]), "{}", answer.texts());
    assert_tells(&answer, evidence.origin(1));
}
