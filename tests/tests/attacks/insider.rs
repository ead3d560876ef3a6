//! Who has a collector's volume and its log's key: A9 and the signed half of A2.

use std::ffi::OsStr;
use std::path::PathBuf;

use indelible_chain::leaf::{Leaf as Decoded, liveness_heartbeats};
use indelible_tests::insider::{Leaf, leaves, resigned};
use indelible_tests::printer::Printer;
use indelible_tests::tamper::Image;
use indelible_tests::world::{Collector, PodIdentity, SidecarOptions, Witness, World, verify};

use super::evidence::{Evidence, assert_flips, assert_tells};

fn all(image: &Image) -> Vec<Leaf> {
    leaves(image).unwrap().into_iter().map(|(leaf, _)| leaf).collect()
}

/// Where the last ten batches begin.
fn last_ten(leaves: &[Leaf]) -> usize {
    leaves.iter().enumerate().filter(|(_, leaf)| leaf.is_batch()).rev().nth(9).unwrap().0
}

/// A2 with the stolen key: the tree is rebuilt without a batch; the kept receipt convicts the log.
#[test]
fn a_log_rebuilt_without_a_batch_is_convicted_by_a_receipt() {
    let evidence = Evidence::new(2, 30);
    let mut leaves = all(&evidence.images[0]);
    leaves.remove(last_ten(&leaves));
    let image = resigned(&evidence.images[0], &leaves).unwrap();
    let kept = evidence.kept_receipts();
    let answer = evidence.verify(&[(0, &image)], &["--receipts", kept.to_str().unwrap()]);
    assert_eq!((answer.code, &*answer.verdicts["integrity"]), (1, "fail"), "{}", answer.texts());
    assert!(answer.classes().contains(&"withheld"), "{}", answer.texts());
    assert_tells(&answer, evidence.origin(0));
}

/// The same, and nobody has a receipt but another log, which was told of it in a heartbeat: it is found there.
#[test]
fn a_log_rebuilt_without_a_batch_is_convicted_by_a_receipt_that_another_log_was_told() {
    let told = 17;
    let evidence = Evidence::with(3, 30, |world, puppet, peers, receipts| {
        let origin = world.collectors[0].origin().to_owned();
        let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap();
        let (chain, next) = (&puppet.chain, puppet.chain.len());
        let head = (chain.id, next as u64, chain.link(next));
        let beat = puppet.session.heartbeat(now, &[head], &[(origin, receipts[told].clone())]);
        peers[2].heartbeat(&puppet.session, beat).unwrap().expect(&[200, 204]).unwrap();
    });
    // No receipt lies anywhere else: not in the log that gave it, nor with anybody.
    let kept = &evidence.receipts[told];
    let holds = |image: &Image| all(image).iter().any(|leaf| leaf.plain().windows(kept.len()).any(|at| at == kept));
    assert_eq!(evidence.images.iter().map(holds).collect::<Vec<_>>(), [false, false, true]);

    let mut leaves = all(&evidence.images[0]);
    let batch = leaves.iter().position(|leaf| leaf.is_batch() && leaf.bytes[2..].starts_with(&kept[145..])).unwrap();
    leaves.remove(batch);
    let image = resigned(&evidence.images[0], &leaves).unwrap();
    let answer = evidence.verify(&[(0, &image)], &[]);
    assert_flips(&answer, "integrity", 1, &["withheld"]);
    assert_tells(&answer, evidence.origin(0));
    // It is that receipt that convicts: without the log that was told of it, the rest is missing and nobody is to blame.
    let answer = evidence.world.verify_sources(&[evidence.write(&image), evidence.data[1].clone()], &[]).unwrap();
    assert_eq!((answer.code, &*answer.verdicts["integrity"]), (2, "pass"), "{}", answer.texts());
}

/// The same with what real sidecars send: a log is told of another one's receipts in the heartbeats that it keeps.
#[test]
fn what_sidecars_tell_other_logs_convicts_a_log_that_was_rebuilt() {
    let mut world = World::start(3).unwrap();
    // Which collectors hear of a session is its sidecar's to draw.
    for n in 0..8 {
        let pod = PodIdentity::new("payments", &format!("api-{n}"), &format!("6a0c1f52-8a44-4a55-b8f6-5b1d0f8f2c1{n}"));
        let mut printer = Printer::new(&world.logs().join(pod.directory()), "app").unwrap();
        let mut sidecar = world.sidecar(&pod, &SidecarOptions::default()).unwrap();
        sidecar.armed().unwrap();
        printer.print(20, 100).unwrap();
        sidecar.terminate().unwrap();
    }
    world.seal().unwrap();
    let data: Vec<_> = world.collectors.iter().map(Collector::data).collect();
    let images: Vec<Image> = data.iter().map(|data| Image::read(data).unwrap()).collect();
    let whole = world.verify_sources(&data, &[]).unwrap();
    assert_eq!((whole.code, whole.texts()), (0, String::new()));

    let (log, commitment) = images.iter().flat_map(told).next().expect("a log was told of another one's receipt");
    let at = world.collectors.iter().position(|collector| collector.origin() == log).unwrap();
    let mut leaves = all(&images[at]);
    let batch = leaves.iter().position(|leaf| leaf.is_batch() && leaf.bytes[2..].starts_with(&commitment)).unwrap();
    leaves.remove(batch);
    let changed = world.dir().join("changed");
    resigned(&images[at], &leaves).unwrap().write(&changed, None).unwrap();
    let mut sources = data.clone();
    sources[at] = changed;
    let answer = world.verify_sources(&sources, &[]).unwrap();
    assert_eq!((answer.code, &*answer.verdicts["integrity"]), (1, "fail"), "{}", answer.texts());
    assert!(answer.findings[0].class == "withheld", "{}", answer.texts());
    assert!(answer.findings[0].log.as_deref() == Some(&*log), "{}", answer.texts());
    // Where it was the last batch of its chain, that has no end any more.
    assert!(answer.findings.iter().all(|f| ["withheld", "unclosed"].contains(&&*f.class)), "{}", answer.texts());
}

/// The receipts of other logs that a log was told of: whose, and the commitment of the batch.
fn told(image: &Image) -> Vec<(String, Vec<u8>)> {
    let mut told = Vec::new();
    for leaf in all(image) {
        let Ok(Decoded::Liveness { count, .. }) = Decoded::decode(&leaf.bytes) else { continue };
        for heartbeat in liveness_heartbeats(count, &leaf.plain()).unwrap() {
            let receipts = heartbeat.receipts.into_iter();
            told.extend(receipts.map(|(origin, kept)| (origin, kept.commitment.encode().to_vec())));
        }
    }
    told
}

/// A2 with the stolen key, and nobody has a receipt: a witness has seen the log with the batch.
#[test]
fn a_log_rebuilt_without_a_batch_is_convicted_by_a_witness() {
    let evidence = Evidence::new(2, 30);
    let logs: Vec<&str> = evidence.world.collectors.iter().map(Collector::vkey).collect();
    let witness = Witness::start(&evidence.world, "witness-1", &logs, &[]).unwrap();
    for image in &evidence.images {
        witness.cosign(image.get("checkpoint").unwrap()).unwrap();
    }
    let policy = std::fs::read_to_string(evidence.world.policy().unwrap()).unwrap();
    let with = evidence.world.dir().join("policy-with-witness");
    std::fs::write(&with, policy.replace("quorum none", &format!("{}\nquorum none", witness.line()))).unwrap();
    let judged = |sources: &[PathBuf], more: &[&OsStr]| {
        let flags = [("--policy", with.as_path()), ("--issuer-keys", evidence.world.issuer.jwks())];
        let flags = flags.iter().flat_map(|(flag, value)| [OsStr::new(flag), value.as_os_str()]);
        verify(sources, &flags.chain(more.iter().copied()).collect::<Vec<_>>()).unwrap()
    };
    let answer = judged(&evidence.data, &[]);
    assert_eq!((answer.code, answer.texts()), (0, String::new()), "a witness that saw the same has nothing to say");

    let mut leaves = all(&evidence.images[0]);
    leaves.remove(last_ten(&leaves));
    let changed = evidence.write(&resigned(&evidence.images[0], &leaves).unwrap());
    let sources = [changed, evidence.data[1].clone()];
    let answer = judged(&sources, &[]);
    assert_flips(&answer, "integrity", 1, &["bad-leaf", "rewritten"]);
    assert_tells(&answer, evidence.origin(0));
    assert!(answer.texts().contains("witness-1"), "{}", answer.texts());
    // It is the witness that convicts: without it the log is sound.
    let answer = judged(&sources, &["--offline".as_ref()]);
    assert_eq!(answer.verdicts["integrity"], "pass", "{}", answer.texts());
}

/// The last ten batches are cut off, and the log is signed again with its own key at the length that it had: it
/// contradicts a checkpoint that was seen earlier.
#[test]
fn a_log_without_its_last_batches_contradicts_a_checkpoint_seen_earlier() {
    let evidence = Evidence::new(3, 40);
    let mut leaves = all(&evidence.images[0]);
    let size = leaves.len();
    let sealed = leaves.pop().unwrap();
    leaves.truncate(last_ten(&leaves));
    leaves.resize(size - 1, Leaf { bytes: clock(&sealed), codec: 0, body: Vec::new() });
    leaves.push(sealed);
    let image = resigned(&evidence.images[0], &leaves).unwrap();
    let seen = evidence.data[0].join("checkpoint");
    let answer = evidence.verify(&[(0, &image)], &["--checkpoint", seen.to_str().unwrap()]);
    assert_eq!((answer.code, &*answer.verdicts["integrity"]), (1, "fail"), "{}", answer.texts());
    assert!(answer.classes().contains(&"rewritten"), "{}", answer.texts());
    assert_tells(&answer, evidence.origin(0));
}

/// Statement 10, a sign of life, with the time of another statement.
fn clock(other: &Leaf) -> Vec<u8> {
    let json = br#"{"offset_ms":0}"#;
    let time = &other.bytes[other.bytes.len() - 8..];
    [&[1, 4, 0, 10, 0, 0, 0, 15][..], json, time].concat()
}

/// The same, plainly shorter: a copy that shows less than was seen is not whole, whoever made it so.
#[test]
fn a_copy_that_is_shorter_than_what_was_seen_never_passes() {
    let evidence = Evidence::new(3, 40);
    let mut leaves = all(&evidence.images[0]);
    leaves.truncate(last_ten(&leaves));
    let image = resigned(&evidence.images[0], &leaves).unwrap();
    let seen = evidence.data[0].join("checkpoint");
    let answer = evidence.verify(&[(0, &image)], &["--checkpoint", seen.to_str().unwrap()]);
    assert_eq!(answer.code, 1, "{}", answer.texts());
    assert!(answer.findings.iter().any(|finding| finding.text.contains(evidence.origin(0))), "{}", answer.texts());
}

/// A9: every signature is stripped. Evidence without signatures fails; it does not pass for want of something wrong.
#[test]
fn evidence_without_signatures_fails() {
    let evidence = Evidence::new(2, 10);
    // The logs' own: checkpoints are left with their text, in one directory, and in both.
    let bare: Vec<_> = evidence.images.iter().map(unsigned_checkpoints).collect();
    for changed in [&[(0, &bare[0])][..], &[(0, &bare[0]), (1, &bare[1])]] {
        let answer = evidence.verify(changed, &[]);
        assert_eq!((answer.code, &*answer.verdicts["integrity"]), (1, "fail"), "{}", answer.texts());
        let told = answer.findings.iter().find(|finding| finding.class == "bad-checkpoint").unwrap();
        assert!(told.text.contains(evidence.origin(0)), "{}", answer.texts());
    }
    // The sidecars': every batch keeps all but its signature, and the logs are signed again with their own keys.
    let images: Vec<_> = evidence.images.iter().map(unsigned_batches).collect();
    let answer = evidence.verify(&[(0, &images[0]), (1, &images[1])], &[]);
    assert_eq!((answer.code, &*answer.verdicts["integrity"]), (1, "fail"), "{}", answer.texts());
    assert!(answer.classes().contains(&"forged"), "{}", answer.texts());
}

fn unsigned_checkpoints(image: &Image) -> Image {
    let mut bare = image.clone();
    let notes: Vec<_> = bare.paths().filter(|path| path.starts_with("checkpoint")).map(str::to_owned).collect();
    for path in &notes {
        let text = String::from_utf8(bare.get(path).unwrap().to_vec()).unwrap();
        let unsigned = text.split("\n\n").next().unwrap().to_owned() + "\n\n";
        bare.put(path, unsigned.into_bytes());
    }
    bare
}

fn unsigned_batches(image: &Image) -> Image {
    let mut leaves = all(image);
    for leaf in leaves.iter_mut().filter(|leaf| leaf.is_batch()) {
        // The commitment's last 64 bytes.
        leaf.bytes[2 + 162..2 + 226].fill(0);
    }
    resigned(image, &leaves).unwrap()
}
