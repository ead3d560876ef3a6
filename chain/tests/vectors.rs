//! Every vector of `data/vectors.json` that concerns records, sessions, batches, leaves, receipts and proofs.
//!
//! The `files` cases drive the sidecar's parser, in its own tests; those of trees, tiles and notes are in
//! `merkle_vectors.rs`.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use indelible_chain::batch::{Batch, BatchBuilder, COMMITMENT_BYTES, Commitment};
use indelible_chain::bytes::Reader;
use indelible_chain::digest::Digest;
use indelible_chain::genesis::Genesis;
use indelible_chain::heartbeat::Heartbeat;
use indelible_chain::id::{ChainId, Head, LeafIndex, LogId, Time};
use indelible_chain::key::{PrivateKey, PublicKey};
use indelible_chain::leaf::{Attestation, Leaf, liveness, liveness_heartbeats};
use indelible_chain::merkle::leaf_hash;
use indelible_chain::receipt::{KeptReceipt, Receipt};
use indelible_chain::record::{Flags, Record, Records, Source};
use indelible_chain::record_proof::RecordProof;
use indelible_chain::session::Session;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("data/vectors.json")).unwrap()
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn seed(value: &Value) -> PrivateKey {
    PrivateKey::from_seed(&hex(value).try_into().unwrap())
}

fn payload(record: &Value) -> Vec<u8> {
    match record.get("payload_repeat") {
        Some(repeat) => hex(&repeat[0]).repeat(usize::try_from(repeat[1].as_u64().unwrap()).unwrap()),
        None => hex(&record["payload"]),
    }
}

/// The records of the vectors, with their payloads.
fn records(v: &Value) -> Vec<(Vec<u8>, Time, Source, Flags)> {
    let records = v["records"].as_array().unwrap().iter();
    records
        .map(|r| {
            let code = |key: &str| u8::try_from(r[key].as_u64().unwrap()).unwrap();
            let time = Time::from_nanos(r["time"].as_i64().unwrap());
            (payload(r), time, Source::from_code(code("source")).unwrap(), Flags::from_bits(code("flags")).unwrap())
        })
        .collect()
}

fn chain(v: &Value) -> ChainId {
    v["chain_id"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_chain_id_follows_from_its_genesis() {
    let v = vectors();
    let genesis = Genesis::decode(&hex(&v["genesis"])).unwrap();
    assert_eq!(genesis.namespace, "payments");
    assert_eq!(genesis.encode().unwrap(), hex(&v["genesis"]));
    assert_eq!(genesis.chain_id().unwrap(), chain(&v));
}

#[test]
fn contents_and_links_are_those_of_the_vectors() {
    let v = vectors();
    let mut head = Head::start_of(chain(&v));
    for ((payload, time, source, flags), expected) in records(&v).iter().zip(v["records"].as_array().unwrap()) {
        let record = Record { time: *time, source: *source, flags: *flags, payload };
        assert_eq!(record.content().to_string(), expected["content"].as_str().unwrap());
        head = record.link(chain(&v), head);
        assert_eq!(head.link.to_string(), expected["link"].as_str().unwrap());
    }
    assert_eq!(head.next_seq.get(), 7);
}

/// Seals records 0 to 2 and 3 to 6 as two batches.
fn seal(v: &Value) -> Vec<(Commitment, Vec<u8>)> {
    let key = seed(&v["session_seed"]);
    let session = Session::decode(&hex(&v["session"])).unwrap().id().unwrap();
    let mut builder = BatchBuilder::new(chain(v), Head::start_of(chain(v)));
    let mut sealed = Vec::new();
    for (i, (payload, time, source, flags)) in records(v).iter().enumerate() {
        assert!(builder.has_room_for(payload.len()));
        builder.push(&Record { time: *time, source: *source, flags: *flags, payload });
        if i == 2 || i == 6 {
            sealed.push((builder.seal(session, &key).unwrap(), builder.body().to_vec()));
            builder.clear();
        }
    }
    sealed
}

#[test]
fn sealing_gives_the_bodies_and_commitments_of_the_vectors() {
    let v = vectors();
    let sealed = seal(&v);
    assert_eq!(sealed[0].1, hex(&v["body_of_records_0_to_2"]));
    assert_eq!(Digest::sha256(&sealed[1].1).to_string(), v["sha256_of_body_of_records_3_to_6"].as_str().unwrap());
    assert_eq!(sealed[0].0.encode().to_vec(), hex(&v["commitments"]["records 0 to 2"]));
    assert_eq!(sealed[1].0.encode().to_vec(), hex(&v["commitments"]["records 3 to 6, final"]));
}

#[test]
fn the_batches_of_the_vectors_hold_and_no_changed_one_does() {
    let v = vectors();
    let key = seed(&v["session_seed"]).public();
    for (commitment, body) in seal(&v) {
        assert!(Batch::new(commitment, &body).check(&key).is_ok());
        for at in [0, 9, 12, body.len() - 1] {
            let mut body = body.clone();
            body[at] ^= 1;
            assert!(Batch::new(commitment, &body).check(&key).is_err(), "byte {at} of the body");
        }
        for at in 0..COMMITMENT_BYTES {
            let mut bytes = commitment.encode();
            bytes[at] ^= 1;
            let changed = Commitment::decode_from(&mut Reader::new(&bytes));
            let holds = changed.is_ok_and(|changed| Batch::new(changed, &body).check(&key).is_ok());
            assert!(!holds, "byte {at} of the commitment");
        }
    }
}

#[test]
fn a_session_id_follows_from_the_session() {
    let v = vectors();
    let session = Session::decode(&hex(&v["session"])).unwrap();
    assert_eq!(session.encode().unwrap(), hex(&v["session"]));
    assert_eq!(session.id().unwrap().to_string(), v["session_id"].as_str().unwrap());
    assert_eq!(session.excluded, "istio-proxy");
    assert!(session.owns(&Genesis::decode(&hex(&v["genesis"])).unwrap()));
}

#[test]
fn weak_keys_are_refused() {
    let v = vectors();
    for key in v["weak_keys"].as_array().unwrap() {
        assert!(PublicKey::from_bytes(&hex(key).try_into().unwrap()).is_err(), "{key}");
        let mut session = hex(&v["session"]);
        session[1..33].copy_from_slice(&hex(key));
        assert!(Session::decode(&session).is_err(), "{key}");
    }
}

#[test]
fn the_heartbeat_is_that_of_the_vectors() {
    let v = vectors();
    let key = seed(&v["session_seed"]);
    let mut heartbeat = Heartbeat::decode(&hex(&v["heartbeat"])).unwrap();
    assert!(heartbeat.is_signed_by(&key.public()));
    assert_eq!((heartbeat.heads.len(), heartbeat.receipts.len()), (2, 1));
    heartbeat.signature = [0; 64];
    assert!(!heartbeat.is_signed_by(&key.public()));
    heartbeat.sign(&key).unwrap();
    assert_eq!(heartbeat.encode().unwrap(), hex(&v["heartbeat"]));

    let body = hex(&v["liveness_body"]);
    assert_eq!(liveness_heartbeats(1, &body).unwrap(), std::slice::from_ref(&heartbeat));
    assert!(liveness_heartbeats(2, &body).is_err());
    let received_at = Leaf::decode(&hex(&v["leaves"][6])).unwrap().received_at().unwrap();
    let (leaf, built) = liveness(vec![(heartbeat.session, hex(&v["heartbeat"]))], received_at).unwrap();
    assert_eq!(built, body);
    assert_eq!(leaf.encode().unwrap(), hex(&v["leaves"][6]));
}

#[test]
fn the_leaves_of_the_vectors_are_read_and_written_and_hash_as_they_say() {
    let v = vectors();
    let leaves = v["leaves"].as_array().unwrap();
    for (bytes, hash) in leaves.iter().zip(v["leaf_hashes"].as_array().unwrap()) {
        let bytes = hex(bytes);
        assert_eq!(Leaf::decode(&bytes).unwrap().encode().unwrap(), bytes);
        assert_eq!(leaf_hash(&bytes).to_string(), hash.as_str().unwrap());
    }
    let Leaf::Session { attested, .. } = Leaf::decode(&hex(&leaves[1])).unwrap() else { panic!("leaf 1 is a session") };
    assert_eq!(attested.attestation, Attestation::ServiceAccountToken);
    assert_eq!(attested.token_digest, Digest::sha256(v["jwt_of_the_session"].as_str().unwrap().as_bytes()));
    let Leaf::Authority { signed, .. } = Leaf::decode(&hex(&leaves[7])).unwrap() else {
        panic!("leaf 7 is a statement")
    };
    let origin = v["origin"].as_str().unwrap();
    let authority = seed(&v["witness_seed"]);
    assert!(signed.is_signed_by(&authority.public(), origin));
    assert!(!signed.is_signed_by(&authority.public(), "another"));
}

#[test]
fn receipts_are_those_of_the_vectors() {
    let v = vectors();
    let key = seed(&v["log_seed"]);
    let bytes = hex(&v["receipt_for_leaf_5"]);
    let receipt = Receipt::decode(&bytes).unwrap();
    assert!(receipt.is_signed_by(&key.public()));
    let log = LogId::new(Digest::sha256(v["origin"].as_str().unwrap().as_bytes()));
    let hash = leaf_hash(&hex(&v["leaves"][5]));
    let again = Receipt::sign(&key, log, LeafIndex::new(5), hash, receipt.received_at);
    assert_eq!(again.encode().to_vec(), bytes);

    let kept = KeptReceipt::decode(&hex(&v["kept_receipt_of_another_log"])).unwrap();
    assert!(kept.is_consistent());
    assert_eq!(kept.encode().to_vec(), hex(&v["kept_receipt_of_another_log"]));
    let other = KeptReceipt { receipt, ..kept };
    assert!(!other.is_consistent());
}

#[test]
fn the_proof_of_one_record_shows_that_record_and_no_other() {
    use base64::Engine as _;
    let v = vectors();
    let text = v["tlog_proof_of_seq_4"].as_str().unwrap();
    let extra = text.lines().nth(1).unwrap().strip_prefix("extra ").unwrap();
    let extra = base64::engine::general_purpose::STANDARD.decode(extra).unwrap();
    let proof = RecordProof::decode(&extra).unwrap();
    assert_eq!(proof.encode().unwrap(), extra);
    assert_eq!(proof.leaf(), hex(&v["leaves"][5]));
    let record = proof.check().unwrap();
    assert_eq!(record.seq.get(), 4);
    assert_eq!(record.payload, payload(&v["records"][4]));

    let mut other = proof.clone();
    other.n = 2;
    assert!(other.check().is_err(), "the payload of record 2 is not shown");
    let at = other.sparse_body.len() - 1;
    other.n = 1;
    other.sparse_body[at] ^= 1;
    assert!(other.check().is_err(), "a changed digest");

    let (_, body) = seal(&v).remove(1);
    assert_eq!(indelible_chain::sparse::show_one(&body, 1).unwrap(), proof.sparse_body);
}

#[test]
fn a_body_gives_its_records_again() {
    let v = vectors();
    for ((_, body), (from, to)) in seal(&v).iter().zip([(0, 3), (3, 7)]) {
        let read: Vec<_> = Records::new(body).map(Result::unwrap).collect();
        let all = records(&v);
        let expected: Vec<_> = all[from..to]
            .iter()
            .map(|(payload, time, source, flags)| Record { time: *time, source: *source, flags: *flags, payload })
            .collect();
        assert_eq!(read, expected);
    }
}
