//! The evidence format: what sidecars send, collectors store and serve, witnesses and people hand over; and the judge.

use indelible_chain::batch::{Batch, Commitment};
use indelible_chain::bytes::Reader;
use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::control::Control;
use indelible_chain::digest::Digest;
use indelible_chain::frame::{SegmentFrame, Upload, WireFrame};
use indelible_chain::genesis::Genesis;
use indelible_chain::heartbeat::Heartbeat;
use indelible_chain::id::{LeafIndex, Time};
use indelible_chain::leaf::{Leaf, liveness_heartbeats};
use indelible_chain::merkle::{verify_consistency, verify_inclusion};
use indelible_chain::note::{Note, NoteSignature, VerifierKey};
use indelible_chain::policy::Policy;
use indelible_chain::receipt::{KeptReceipt, Receipt};
use indelible_chain::record_proof::RecordProof;
use indelible_chain::session::Session;
use indelible_chain::sparse;
use indelible_chain::statement::{SignedStatement, Statement};
use indelible_chain::stored::{Codec, Packer, Stored};
use indelible_chain::tile::{BundleId, TileId};
use indelible_chain::tlog_proof::TlogProof;
use indelible_chain::verify::{Frame, Judge, Keys, Preparer, SourceKind, Terms};
use indelible_chain::witness::AddCheckpoint;

use super::corpus::Target;

/// Targets by name.
pub const TARGETS: &[Target] = &[
    ("chain_leaf", leaf),
    ("chain_introduction", introduction),
    ("chain_upload", upload),
    ("chain_body", body),
    ("chain_heartbeat", heartbeat),
    ("chain_receipt", receipt),
    ("chain_statement", statement),
    ("chain_frame", frame),
    ("chain_stored", stored),
    ("chain_note", note),
    ("chain_policy", policy),
    ("chain_proof", proof),
    ("chain_add_checkpoint", add_checkpoint),
    ("chain_tile", tile),
    ("chain_merkle", merkle),
    ("chain_judge", judge),
];

const NOW: Time = Time::from_nanos(1_800_000_000_000_000_000);
/// A log whose key nobody has, for the judge; its checkpoints cannot be forged by a fuzzer, so there is one without leaves.
const SEED: [u8; 32] = [9; 32];

fn leaf(data: &[u8]) {
    if let Ok(leaf) = Leaf::decode(data) {
        assert_eq!(leaf.encode().as_deref(), Ok(data));
        leaf.received_at();
    }
}

/// What a session introduces: itself, and chains.
fn introduction(data: &[u8]) {
    if let Ok(session) = Session::decode(data) {
        assert_eq!(session.encode().as_deref(), Ok(data));
    }
    if let Ok(genesis) = Genesis::decode(data) {
        assert_eq!(genesis.encode().as_deref(), Ok(data));
    }
}

fn upload(data: &[u8]) {
    let Ok(upload) = Upload::decode(data) else { return };
    assert_eq!(upload.encode(), data);
    let limit = upload.commitment.body_len as usize;
    let mut packer = Packer::new().expect("there is memory");
    if let Ok(body) = packer.unpack(upload.body, limit) {
        assert!(body.len() <= limit);
        // Whether it holds is another question: it must be answered.
        let _ = Batch::new(upload.commitment, body).check_body(|record, _| drop(Control::of(record)));
    }
}

/// The records of a body, canonical and sparse; and what a control record says.
fn body(data: &[u8]) {
    let mut reader = Reader::new(data);
    if let Ok(commitment) = Commitment::decode_from(&mut reader) {
        let _ = Batch::new(commitment, reader.rest()).check_body(|_, _| ());
    }
    let _ = sparse::decode(data);
    if let Ok(control) = Control::decode(data) {
        assert_eq!(control.encode().as_bytes(), data);
    }
}

fn heartbeat(data: &[u8]) {
    if let Ok(heartbeat) = Heartbeat::decode(data) {
        assert_eq!(heartbeat.encode().as_deref(), Ok(data));
    }
    if let Some((count, body)) = data.split_first_chunk() {
        let _ = liveness_heartbeats(u32::from_be_bytes(*count), body);
    }
}

fn receipt(data: &[u8]) {
    if let Ok(receipt) = Receipt::decode(data) {
        assert_eq!(receipt.encode(), data);
    }
    if let Ok(kept) = KeptReceipt::decode(data) {
        assert_eq!(kept.encode(), data);
    }
}

fn statement(data: &[u8]) {
    if let Some((kind, json)) = data.split_first_chunk()
        && let Ok(json) = std::str::from_utf8(json)
        && let Ok(statement) = Statement::decode(u16::from_be_bytes(*kind), json)
    {
        assert_eq!(statement.json(), json);
    }
    if let Ok(signed) = SignedStatement::decode(data) {
        let mut written = Vec::new();
        signed.encode_into(&mut written);
        assert_eq!(written, data);
    }
}

/// A frame's content, which a checksum guards against chance and not against people; and frames on the wire.
fn frame(data: &[u8]) {
    let mut frame = u32::try_from(data.len() + 4).expect("no input is so long").to_be_bytes().to_vec();
    frame.extend(crc32c::crc32c(data).to_be_bytes());
    frame.extend(data);
    if let Ok((decoded, length)) = SegmentFrame::decode(&frame) {
        let mut written = Vec::new();
        decoded.encode_into(&mut written);
        assert_eq!(written, frame[..length]);
    }
    let _ = SegmentFrame::decode_damaged(data);
    let mut reader = Reader::new(data);
    while let Ok(frame) = WireFrame::decode_from(&mut reader) {
        let mut written = Vec::new();
        frame.encode_into(&mut written);
        assert!(data[..data.len() - reader.rest().len()].ends_with(&written));
    }
}

fn stored(data: &[u8]) {
    let Some((head, bytes)) = data.split_first_chunk::<3>() else { return };
    let Ok(codec) = Codec::from_code(head[0]) else { return };
    let limit = usize::from(u16::from_be_bytes([head[1], head[2]]));
    let mut packer = Packer::new().expect("there is memory");
    if let Ok(body) = packer.unpack(Stored { codec, bytes }, limit) {
        assert!(body.len() <= limit);
    }
}

fn note(data: &[u8]) {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.to_string().as_bytes(), data);
        if let Ok(checkpoint) = Checkpoint::parse(note.text()) {
            assert_eq!(checkpoint.to_string(), note.text());
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = NoteSignature::parse_lines(text);
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_string(), text);
    }
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
}

fn policy(data: &[u8]) {
    if let Ok(policy) = Policy::parse(data) {
        assert!(policy.logs().len() <= data.len());
    }
}

/// A proof that somebody keeps: of an entry, and of a record.
fn proof(data: &[u8]) {
    if let Ok(proof) = TlogProof::parse(data) {
        assert_eq!(proof.to_string().as_bytes(), data);
    }
    if let Ok(proof) = RecordProof::decode(data) {
        assert_eq!(proof.encode().as_deref().ok(), Some(data));
    }
}

fn add_checkpoint(data: &[u8]) {
    if let Ok(request) = AddCheckpoint::parse(data) {
        assert_eq!(request.to_string().as_bytes(), data);
    }
}

/// A path and the bytes behind it, divided by a newline.
fn tile(data: &[u8]) {
    let Some(line) = data.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(path) = std::str::from_utf8(&data[..line]) else { return };
    let bytes = &data[line + 1..];
    if let Ok(tile) = TileId::parse_path(path) {
        assert_eq!(tile.path(), path);
        let _ = tile.decode(bytes);
    }
    if let Ok(bundle) = BundleId::parse_path(path) {
        assert_eq!(bundle.path(), path);
        if let Ok(leaves) = bundle.decode(bytes) {
            assert_eq!(bundle.encode(leaves).as_deref().ok(), Some(bytes));
        }
    }
}

/// Proofs of any shape, for trees of any size.
fn merkle(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<16>() else { return };
    let number = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().expect("8 bytes"));
    let hashes: Vec<Digest> = rest.chunks_exact(32).map(Digest::sha256).collect();
    let [first, second, proof @ ..] = &*hashes else { return };
    let _ = verify_inclusion(number(0), number(8), *first, *second, proof);
    let _ = verify_consistency(number(0), *first, number(8), *second, proof);
}

/// Wire frames as the leaves of a log, past the judge; their indexes do not matter.
fn judge(data: &[u8]) {
    let key = indelible_chain::key::PrivateKey::from_seed(&SEED);
    let origin = indelible_chain::checkpoint::Origin::of_key("fuzz", &key.public()).expect("a short name");
    let signer = indelible_chain::note::NoteSigner::new(origin.key_name().expect("the origin is a key's name"), &SEED);
    let policy = format!("log {}\nquorum none\n", signer.verifier_key());
    let mut frames = Vec::new();
    let mut tree = indelible_chain::merkle::Tree::new();
    let mut reader = Reader::new(data);
    while let Ok(WireFrame { index: _, leaf, body }) = WireFrame::decode_from(&mut reader) {
        tree.push(indelible_chain::merkle::leaf_hash(leaf));
        frames.push((leaf, body));
    }
    // The fuzzer cannot sign: what it makes up is what the log has signed.
    let checkpoint = Checkpoint::new(origin, frames.len() as u64, tree.root());
    let note = checkpoint.sign(&signer).expect("the log's own key").to_string().into_bytes();
    let mut judge = Judge::new(Terms::new(Policy::parse(policy.as_bytes()).expect("a policy"), NOW));
    let source = judge.source("fuzz", SourceKind::Collector);
    let view = judge.log(source, None, &[("checkpoint".to_owned(), note)]).expect("the policy has its key");
    let (mut keys, mut preparer) = (Keys::default(), Preparer::new().expect("there is memory"));
    let shown = |index: usize| {
        let (leaf, body) = frames[index];
        Frame { index: LeafIndex::new(index as u64), leaf, body, flaw: None }
    };
    for (index, (leaf, _)) in frames.iter().enumerate() {
        keys.learn(leaf);
        let prepared = preparer.prepare(&shown(index), &keys);
        judge.take(view, prepared);
    }
    loop {
        let wanted = judge.wanted();
        if wanted.is_empty() {
            break;
        }
        for (view, index) in wanted {
            judge.take_again(view, &shown(usize::try_from(index.get()).expect("it was shown")), &mut preparer);
        }
    }
    let report = judge.report();
    assert!(report.exit <= 5);
}
