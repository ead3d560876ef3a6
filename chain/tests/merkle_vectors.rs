//! Every vector of `data/vectors.json` that concerns trees, tiles, notes, checkpoints and tlog-proofs.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use indelible_chain::checkpoint::{Checkpoint, Origin};
use indelible_chain::cosignature::{Cosigner, UnixSeconds};
use indelible_chain::digest::Digest;
use indelible_chain::key::PublicKey;
use indelible_chain::merkle::{
    MemoryHashes, Tree, leaf_hash, prove_consistency, prove_inclusion, root_at, verify_consistency, verify_inclusion,
};
use indelible_chain::note::{Note, NoteSignature, NoteSigner, VerifierKey};
use indelible_chain::policy::Policy;
use indelible_chain::record_proof::RecordProof;
use indelible_chain::tile::{BundleId, TileId};
use indelible_chain::tlog_proof::TlogProof;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("data/vectors.json")).unwrap()
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn seed(value: &Value) -> [u8; 32] {
    hex(value).try_into().unwrap()
}

fn digests(value: &Value) -> Vec<Digest> {
    value.as_array().unwrap().iter().map(|hash| hash.as_str().unwrap().parse().unwrap()).collect()
}

/// The numbers of a key such as `7,257`, and the value.
fn numbered(value: &Value) -> Vec<(Vec<u64>, &Value)> {
    let numbers = |key: &str| key.split(',').map(|number| number.parse().unwrap()).collect();
    value.as_object().unwrap().iter().map(|(key, value)| (numbers(key), value)).collect()
}

/// The log of the vectors: its nine leaf hashes.
fn log(v: &Value) -> MemoryHashes {
    v["leaves"].as_array().unwrap().iter().map(|leaf| leaf_hash(&hex(leaf))).collect()
}

/// The big tree of the vectors, whose leaf i is `u64be(i)`.
fn big_tree() -> MemoryHashes {
    (0..1000u64).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn log_signer(v: &Value) -> NoteSigner {
    NoteSigner::new(v["origin"].as_str().unwrap().parse().unwrap(), &seed(&v["log_seed"]))
}

fn witness(v: &Value) -> Cosigner {
    Cosigner::new("witness.example/w1".parse().unwrap(), &seed(&v["witness_seed"]))
}

fn line(value: &Value) -> NoteSignature {
    NoteSignature::parse_lines(value.as_str().unwrap()).unwrap().remove(0)
}

#[test]
fn leaf_hashes_and_roots_are_those_of_the_vectors() {
    let v = vectors();
    let tree: Tree = digests(&v["leaf_hashes"]).into_iter().collect();
    assert_eq!(tree.root().to_string(), v["root"].as_str().unwrap());
    assert_eq!(root_at(9, &log(&v)).unwrap(), tree.root());

    for (size, root) in numbered(&v["roots_of_big_tree"]) {
        assert_eq!(root_at(size[0], &big_tree()).unwrap().to_string(), root.as_str().unwrap());
    }
}

#[test]
fn consistency_proofs_are_those_of_the_vectors() {
    let v = vectors();
    let mut cases: Vec<_> = numbered(&v["consistency_proofs_of_big_tree"])
        .into_iter()
        .map(|(sizes, proof)| (sizes[0], sizes[1], digests(proof), big_tree()))
        .collect();
    cases.push((3, 9, digests(&v["consistency_proof_3_to_9"]), log(&v)));
    for (old, new, proof, hashes) in cases {
        assert_eq!(prove_consistency(old, new, &hashes).unwrap(), proof, "{old} to {new}");
        let (old_root, new_root) = (root_at(old, &hashes).unwrap(), root_at(new, &hashes).unwrap());
        assert_eq!(verify_consistency(old, old_root, new, new_root, &proof), Ok(()));
    }
}

#[test]
fn inclusion_proofs_are_those_of_the_vectors() {
    let v = vectors();
    let hashes = big_tree();
    for (numbers, proof) in numbered(&v["inclusion_proofs_of_big_tree"]) {
        let [index, size] = numbers[..] else { panic!("a key is an index and a size") };
        let proof = digests(proof);
        assert_eq!(prove_inclusion(index, size, &hashes).unwrap(), proof, "{index} in {size}");
        let root = root_at(size, &hashes).unwrap();
        assert_eq!(verify_inclusion(index, size, leaf_hash(&index.to_be_bytes()), root, &proof), Ok(()));
    }
}

#[test]
fn tile_paths_are_those_of_the_vectors() {
    let v = vectors();
    for (numbers, path) in numbered(&v["tile_paths"]) {
        let [level, index, width] = numbers[..] else { panic!("a key is a level, an index and a width") };
        let tile = TileId::new(level.try_into().unwrap(), index, width.try_into().unwrap()).unwrap();
        assert_eq!(tile.path(), path.as_str().unwrap());
        assert_eq!(TileId::parse_path(path.as_str().unwrap()), Ok(tile));
    }
}

#[test]
fn the_entries_bundle_is_that_of_the_vectors() {
    let v = vectors();
    let leaves: Vec<_> = v["leaves"].as_array().unwrap().iter().map(hex).collect();
    let bundle = BundleId::in_tree(9, 0).unwrap();
    let bytes = bundle.encode(leaves.iter().map(Vec::as_slice)).unwrap();
    assert_eq!(bytes, hex(&v["entries_bundle"]));
    assert_eq!(bundle.decode(&bytes).unwrap(), leaves);
}

#[test]
fn verifier_keys_follow_from_names_and_seeds() {
    let v = vectors();
    let origin: Origin = v["origin"].as_str().unwrap().parse().unwrap();
    assert_eq!(log_signer(&v).verifier_key().to_string(), v["vkey"].as_str().unwrap());
    assert!(origin.is_of_key(log_signer(&v).verifier_key().public_key()));
    assert_eq!(witness(&v).verifier_key().to_string(), v["witness_vkey"].as_str().unwrap());
    let authority = NoteSigner::new("operator.example".parse().unwrap(), &seed(&v["witness_seed"]));
    assert_eq!(authority.verifier_key().to_string(), v["authority_vkey"].as_str().unwrap());
}

#[test]
fn weak_keys_are_no_verifier_keys() {
    use base64::Engine as _;
    let v = vectors();
    let keys = v["weak_keys"].as_array().unwrap();
    assert_eq!(keys.len(), 4);
    for key in keys {
        assert!(PublicKey::from_bytes(&seed(key)).is_err());
        for algorithm in [1, 4] {
            let typed = [&[algorithm], hex(key).as_slice()].concat();
            let id = Digest::sha256(&[b"name\n".as_slice(), &typed].concat()).to_string();
            let text = format!("name+{}+{}", &id[..8], base64::engine::general_purpose::STANDARD.encode(&typed));
            let error = text.parse::<VerifierKey>().unwrap_err();
            assert!(matches!(error, indelible_chain::note::VerifierKeyError::Key(_)), "{error}");
        }
    }
}

#[test]
fn the_checkpoint_and_its_cosignature_are_those_of_the_vectors() {
    let v = vectors();
    let text = v["checkpoint"].as_str().unwrap();
    let origin: Origin = v["origin"].as_str().unwrap().parse().unwrap();
    let checkpoint = Checkpoint::new(origin, 9, v["root"].as_str().unwrap().parse().unwrap());
    let mut note = checkpoint.sign(&log_signer(&v)).unwrap();
    assert_eq!(note.to_string(), text);
    assert_eq!(Note::parse(text.as_bytes()), Ok(note.clone()));
    assert_eq!(Checkpoint::open(&note, log_signer(&v).verifier_key()), Ok(checkpoint.clone()));

    let cosignature = line(&v["cosignature_line"]);
    note.add(cosignature.clone()).unwrap();
    let key: VerifierKey = v["witness_vkey"].as_str().unwrap().parse().unwrap();
    let cosigned_at = note.verify([&key]).unwrap()[0].cosigned_at.unwrap();
    assert_eq!(cosigned_at, UnixSeconds::new(1_795_400_001).unwrap());
    assert_eq!(witness(&v).cosign(&checkpoint, cosigned_at), Ok(cosignature));
}

#[test]
fn the_tlog_proof_shows_its_record_to_whoever_trusts_log_and_witness() {
    let v = vectors();
    let text = v["tlog_proof_of_seq_4"].as_str().unwrap();
    let proof = TlogProof::parse(text.as_bytes()).unwrap();
    assert_eq!(proof.to_string(), text);
    assert_eq!(proof.index().get(), 5);
    assert_eq!(proof.hashes(), prove_inclusion(5, 9, &log(&v)).unwrap());

    let lines =
        format!("log {}\nwitness w1 {}\nquorum w1\n", v["vkey"].as_str().unwrap(), v["witness_vkey"].as_str().unwrap());
    let policy = Policy::parse(lines.as_bytes()).unwrap();
    let leaf = RecordProof::decode(proof.extra()).unwrap().leaf_hash();
    let standing = proof.verify(leaf, &policy).unwrap();
    assert_eq!(standing.checkpoint().size(), 9);
    let witnesses: Vec<_> = standing.witnesses().iter().map(|(witness, at)| (witness.name(), at.get())).collect();
    assert_eq!(witnesses, [("w1", 1_795_400_001)]);
    assert!(proof.verify(leaf_hash(&hex(&v["leaves"][3])), &policy).is_err());
}
